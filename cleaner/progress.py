"""How long work tells how far it is, without knowing who watches.

A part wraps its loop in `track`; whoever runs the part may listen with `listening`. Nobody listening costs nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Listener = Callable[[str, int, int], None]
"""Called with what is counted, how many are done and how many there are."""

_listener: ContextVar[Listener | None] = ContextVar("cleaner_progress", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within the block `listener` hears of every tracked loop of this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield `items`, telling the listener after each that one more of `total` is done."""
    listener = _listener.get()
    if listener is not None:
        listener(what, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        if listener is not None:
            listener(what, done, total)
