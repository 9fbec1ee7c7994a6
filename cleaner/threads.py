"""Work done by threads a little ahead of who takes it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 4
_TOGETHER = 16
_BYTES_TOGETHER = 2**16


def threaded(function: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """`function` of each item, in order, by `workers` threads.

    Small items, up to 16 in 64 KiB, go to a thread together: handing one over costs as much as decoding an icon. No
    more than four such parcels a thread are under way, so memory does not grow with the number of items.
    """
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[list[R]]] = deque()

    def each(parcel: list[T]) -> list[R]:
        return [function(item) for item in parcel]

    try:
        for parcel in _parcels(items):
            pending.append(pool.submit(each, parcel))
            if len(pending) >= _AHEAD * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _parcels(items: Iterable[T]) -> Iterator[list[T]]:
    parcel: list[T] = []
    size = 0
    for item in items:
        parcel.append(item)
        size += _size(item)
        if len(parcel) == _TOGETHER or size >= _BYTES_TOGETHER:
            yield parcel
            parcel, size = [], 0
    if parcel:
        yield parcel


def _size(item: Any) -> int:
    """How many bytes of an image are in it; of what holds none nobody knows what comes of it, and it goes alone."""
    images = [part for part in (item if isinstance(item, tuple) else (item,)) if isinstance(part, bytes | OSError)]
    return sum(len(image) for image in images if isinstance(image, bytes)) if images else _BYTES_TOGETHER
