"""Work done by threads a little ahead of who takes it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 4


def threaded(function: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """`function` of each item, in order, by `workers` threads.

    No more than four items a thread are under way, so memory does not grow with the number of items.
    """
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= _AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
