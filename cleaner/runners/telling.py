"""Tells people, and whoever looks at the run, how far a run is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from cleaner.plan.items import Begins, Ends
from cleaner.progress import listening
from cleaner.run.state import Journal
from cleaner.words import span


class Display(Protocol):
    """Shows one part of a run after the other. Shares are of the whole run, in [0, 1]."""

    def say(self, line: str) -> None:
        """Show a line."""
        ...

    def begins(self, words: str, done: float) -> None:
        """A part begins, up to which the share `done` is done."""
        ...

    def progressed(self, what: str, count: int, total: int, done: float) -> None:
        """Within the part `count` of `total` `what` are done, and of the whole run the share `done`."""
        ...

    def ends(self, told: str) -> None:
        """The part ends; `told` is its line."""
        ...

    def close(self) -> None:
        """The command ends, perhaps within a part."""
        ...


@dataclass
class Telling:
    """Tells the display and the journal of each part, in which something is left to do, how far it is."""

    display: Display
    journal: Journal
    part: Begins = field(default_factory=lambda: Begins("", 0.0, 0.0))
    shown: bool = False
    _started: float = field(default_factory=time.monotonic)

    def begins(self, part: Begins) -> None:
        self.part, self.shown, self._started = part, False, time.monotonic()
        self.journal.begins(part.words, part.before)

    def ends(self, end: Ends) -> None:
        told = f"{self.part.words}: {end.words}" if end.words else self.part.words
        self.journal.ends(told)
        if self.shown:
            self.display.ends(f"{told} ({span(time.monotonic() - self._started)})")

    @contextmanager
    def step(self, number: int, of: int, span: tuple[int, int, int] | None = None) -> Iterator[None]:
        """Within the block the `number`th of the `of` steps that come next is performed; with a `span` it is about the
        samples from the first number on, up to the second, of so many as the third."""
        if not self.shown:
            self.shown = True
            self.display.begins(self.part.words, self.part.before)

        def hear(what: str, count: int, total: int) -> None:
            share = (number + count / max(total, 1)) / of
            done = self.part.before + (self.part.after - self.part.before) * share
            self.journal.progressed(done)
            if span is not None:
                start, stop, all_ = span
                count, total = start + round((stop - start) * count / max(total, 1)), all_
            self.display.progressed(what, count, total, done)

        with listening(hear, self.display.say):
            yield
