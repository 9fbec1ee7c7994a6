"""How far a run is, for people who wait for it: a bar at a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from cleaner.words import span
from flows.console import say


@dataclass
class _Pace:
    """Time left, by the share of the run that was done since the first look at it."""

    _start: tuple[float, float] | None = None

    def left(self, done: float) -> str:
        """`2 min 05 s left`; empty where it can't be said yet."""
        now = time.monotonic()
        started, before = self._start = self._start or (now, done)
        if done - before < 0.01 or now - started < 1:
            return ""
        return f"about {span((now - started) * (1 - done) / (done - before))} left"


@dataclass
class Lines:
    """A line for each part, and within it at most one every `every` seconds.

    Attributes:
        write: takes one line.
    """

    write: Callable[[str], None]
    every: float = 10.0
    _words: str = ""
    _told: float = field(default_factory=time.monotonic)
    _pace: _Pace = field(default_factory=_Pace)

    def say(self, line: str) -> None:
        self.write(line)

    def begins(self, words: str, done: float) -> None:
        self._words, self._told = words, time.monotonic()
        self._pace.left(done)

    def progressed(self, what: str, count: int, total: int, done: float) -> None:
        if count == 0 or time.monotonic() - self._told < self.every:
            return
        self._told = time.monotonic()
        left = self._pace.left(done)
        self.write(f"{self._words}: {count:,} of {total:,} {what}" + f"; {left} of the whole run" * bool(left))

    def ends(self, told: str) -> None:
        self.write(told)

    def close(self) -> None:
        pass


@dataclass
class Bar:
    """A bar of the part at work above one of the whole run; what is done stays above both as a line."""

    console: Console
    _pace: _Pace = field(default_factory=_Pace)
    _progress: Progress | None = None

    def say(self, line: str) -> None:
        say(self.console, line)

    def begins(self, words: str, done: float) -> None:
        part, detail = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[detail]}"))
        self._progress = Progress(part, BarColumn(24), detail, console=self.console, transient=True)
        self._progress.add_task(words, total=None, detail="")
        self._progress.update(self._progress.add_task("the whole run", total=1, detail=""), completed=done)
        self._pace.left(done)
        self._progress.start()

    def progressed(self, what: str, count: int, total: int, done: float) -> None:
        if self._progress is None:
            return
        part, whole = self._progress.tasks
        detail = f"{count:,} of {total:,} {what}"
        self._progress.update(part.id, completed=count, total=total, detail=detail)
        shown = max(done, whole.completed)
        detail = ", ".join(filter(None, (f"{100 * shown:.0f} %", self._pace.left(shown))))
        self._progress.update(whole.id, completed=shown, detail=detail)

    def ends(self, told: str) -> None:
        self.close()
        self.console.print(Text.assemble(("✓ ", "green"), told), soft_wrap=True)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def display_on(console: Console) -> Lines | Bar:
    """A bar where `console` is a terminal, else plain lines on it."""
    if console.is_terminal:
        return Bar(console)
    return Lines(lambda line: say(console, line))
