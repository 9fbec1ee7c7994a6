"""Work done by threads ahead of who takes it, and computing that gives the same bytes by any number of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 4
_TOGETHER = 16
_BYTES_TOGETHER = 2**16
NETWORK_THREADS = 4


def threaded(function: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """`function` of each item, in order, by `workers` threads.

    Small items, up to 16 in 64 KiB, go to a thread together: handing one over costs as much as decoding an icon. No
    more than four such chunks a thread are under way, so memory does not grow with the number of items.
    """
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[list[R]]] = deque()

    def each(chunk: list[T]) -> list[R]:
        return [function(item) for item in chunk]

    try:
        for chunk in _chunks(items):
            pending.append(pool.submit(each, chunk))
            if len(pending) >= _AHEAD * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Within it whatever computes (BLAS, OpenMP, torch) takes the thread that calls it and no other: pools of threads
    add up in an order, and choose kernels, that depend on how many they are. On a busy machine they also wait for one
    another most of the time.

    Libraries that are to be held to it must be loaded before.

    Yields:
        How many threads may compute side by side by `computed`: those that torch would have taken.
    """
    import torch
    from threadpoolctl import threadpool_limits

    workers = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield workers
        finally:
            torch.set_num_threads(workers)


@contextmanager
def network_threads() -> Iterator[None]:
    """Within it, and in what it decorates, torch takes four threads on any CPU: the layers of a network can't be cut
    into parts that do not depend on how many threads there are. Four on two cores cost a quarter more than two; on a
    busy machine half as much, since OpenMP waits idly where there are more threads than cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(NETWORK_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def computed(function: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """`function` of each item, in order, by `workers` threads of which each computes alone. At most `workers` results
    wait for who takes them.

    With one worker nothing is started: a GPU, too, is asked by the thread that calls.
    """
    if workers == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, initializer=_alone)
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _alone() -> None:
    """OpenMP keeps for each thread how many others it may take."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="openmp")


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    chunk: list[T] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += _size(item)
        if len(chunk) == _TOGETHER or size >= _BYTES_TOGETHER:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _size(item: Any) -> int:
    """How many bytes of an image are in it; of what holds none nobody knows what comes of it, and it goes alone."""
    images = [part for part in (item if isinstance(item, tuple) else (item,)) if isinstance(part, bytes | OSError)]
    return sum(len(image) for image in images if isinstance(image, bytes)) if images else _BYTES_TOGETHER
