"""How far a run is, for people who wait for it: a bar at a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from cleaner.progress import listening


class Display(Protocol):
    """Shows one step after the other."""

    def say(self, line: str) -> None:
        """Show a line."""
        ...

    def step(self, name: str) -> AbstractContextManager[None]:
        """Show what is tracked within the block, and at its end that the step is done."""
        ...


@dataclass(frozen=True)
class Lines:
    """At most one line a step every `every` seconds, and one when it is done.

    Attributes:
        write: takes one line.
    """

    write: Callable[[str], None]
    every: float = 10.0

    def say(self, line: str) -> None:
        self.write(line)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = began = told = time.monotonic()

        def hear(what: str, done: int, total: int) -> None:
            nonlocal began, told
            now = time.monotonic()
            if done == 0:
                began = now
            elif now - told >= self.every:
                told = now
                self.write(f"{name}: {done:,} of {total:,} {what}, {_pace(done, total, now - began)}")

        with listening(hear):
            yield
        self.write(f"{name}: done in {_span(time.monotonic() - started)}")


@dataclass(frozen=True)
class Bar:
    """One bar for the step at work; what is done stays above it as a line."""

    console: Console

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            shown = progress.add_task(name, total=None)

            def hear(what: str, done: int, total: int) -> None:
                if done == 0:
                    progress.reset(shown, description=f"{name}: {what}", total=total)
                progress.update(shown, completed=done)

            with listening(hear):
                yield
        took = _span(time.monotonic() - started)
        self.console.print(Text.assemble(("✓ ", "green"), name, (f" {took}", "dim")))


class _Count(MofNCompleteColumn):
    """Empty where nothing is counted, rather than `0/?`."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.1f}/s" if task.speed else "", style="progress.data.speed")


def _pace(done: int, total: int, seconds: float) -> str:
    return f"{done / seconds:,.1f}/s, {_span((total - done) * seconds / done)} left"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def display_on(console: Console) -> Display:
    """A bar where `console` is a terminal, else plain lines on it."""
    if console.is_terminal:
        return Bar(console)
    return Lines(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
