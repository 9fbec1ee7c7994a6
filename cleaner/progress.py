"""Progress reporting, without knowing who watches.

A part wraps its loop in `track`, and says by `note` what a person should know; whoever runs the part may listen with
`listening`. Nobody listening costs nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Listener = Callable[[str, int, int], None]
"""Called with what is counted, how many are done and how many there are."""

_listener: ContextVar[Listener | None] = ContextVar("cleaner_progress", default=None)
_say: ContextVar[Callable[[str], None] | None] = ContextVar("cleaner_notes", default=None)


@contextmanager
def listening(listener: Listener, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Within the block `listener` hears of every tracked loop of this thread, and `say` of its notes."""
    token, say_token = _listener.set(listener), _say.set(say)
    try:
        yield
    finally:
        _listener.reset(token)
        _say.reset(say_token)


def note(line: str) -> None:
    """Say what a person should know."""
    say = _say.get()
    if say is not None:
        say(line)


def tell(what: str, done: int, total: int) -> None:
    """Tell the listener how far it is, where no loop of this process does."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield `items`, telling the listener after each that one more of `total` is done."""
    listener = _listener.get()
    if listener is not None:
        listener(what, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        if listener is not None:
            listener(what, done, total)
