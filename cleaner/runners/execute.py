"""Carries out a cleaning: holds the run's lock, walks the plan, hands a runner the steps that are missing, writes what
comes of them. Every runner and every face stands on this."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pyarrow.compute as pc

from cleaner.config import Config
from cleaner.errors import RunError
from cleaner.plan.asking import ask_people
from cleaner.plan.clean import plan
from cleaner.plan.items import Begins, Ends, Reached, Stands
from cleaner.plan.pruning import prune, remember_needed
from cleaner.plan.questions import done
from cleaner.plan.results import conclude, concluded
from cleaner.plan.run_checks import NO_REVIEWER
from cleaner.plan.runs import Run, open_run, remember, verified
from cleaner.plan.so_far import SoFar, require_some_left
from cleaner.progress import listening
from cleaner.run.finished import PROVISIONAL, damage, read_summary, withdraw
from cleaner.run.state import Journal, leaving
from cleaner.run.steps import Step
from cleaner.run.versions import remember as remember_version
from cleaner.runners.telling import Display, Telling

_PAGE_EVERY = 30.0


@dataclass(frozen=True)
class CleanRequest:
    """What `cleaner clean` is asked for, as names."""

    source: Path
    folder: Path
    config: Config
    reviewer: str = NO_REVIEWER
    truth: Path | None = None
    workers: int | None = None

    def open(self) -> Run:
        """Check the whole request; nothing is written.

        Raises:
            InputError: it can't be done as it is.
        """
        return open_run(
            self.source, self.folder, self.config, reviewer=self.reviewer, truth=self.truth, workers=self.workers
        )


@dataclass(frozen=True)
class Batch:
    """Steps that do not depend on each other, and that are all missing.

    Attributes:
        words: what a step does, in a person's words.
        performing: within its block a step is performed, whose progress is shown.
    """

    steps: Sequence[Step]
    words: Callable[[Step], str]
    performing: Callable[[Step], AbstractContextManager[None]]


Runner = Callable[[Batch], None]
"""Performs all steps of a batch, wherever and in whatever order; afterwards each has its output in the run's store."""


def read_again(run: Run, display: Display) -> Run:
    """`verified`, as people see it."""
    display.begins("reading all images again", 0.0)
    try:
        with listening(lambda what, count, total: display.progressed(what, count, total, count / max(total, 1))):
            return verified(run)
    finally:
        display.close()


def execute(run: Run, runner: Runner, display: Display, *, begin: Callable[[], None] = lambda: None) -> None:
    """Hold the run against other commands, `begin`, do what the plan says is missing, and write the results.

    Results of before that other settings or answers led to are withdrawn first. What the run has come to is shown on
    `display` and written down as it goes; what stands after a round is written as provisional results.

    Raises:
        RunLocked: another command works on the run.
        WaitsForPeople: answers are missing.
        NothingLeft: every image was dropped.
    """
    folder = run.store.folder
    with run.store.locked():
        journal = Journal(folder)
        with closing(display), leaving(journal):
            begin()
            for note in run.notes:
                display.say(note)
            for results in (folder, folder / PROVISIONAL):
                if not _are_of(run, results):
                    _withdraw(results, display)
            remember(run)
            _execute(run, runner, Telling(display, journal))


def _execute(run: Run, runner: Runner, telling: Telling) -> None:
    parts = _Parts()
    end = _walk(run, parts, runner, telling)
    telling.journal.has(end.names())
    remember_version(run.store, end.manifest, end.parts, spoken=run.store.rows(end.answers))
    remember_needed(run.store, end.standing, parts.outputs())
    if not concluded(end, run.store.folder):
        with telling.step(0, 1):
            conclude(run, end, parts.steps())
    withdraw(run.store.folder / PROVISIONAL)
    prune(run, dear=False, replaced=_replaced(run, end))
    telling.ends(Ends(""))
    require_some_left(run.store.read(end.standing))


def _walk(run: Run, parts: "_Parts", runner: Runner, telling: Telling) -> SoFar:
    """Go through the plan, do what is missing, and give what it comes to. Until something is, whoever looks at the run
    sees what it had come to before: a command that finds all done shows nothing half.

    Raises:
        WaitsForPeople: answers are missing.
    """
    performed, provisional, walked = False, _Provisional(run, parts), plan(run)
    while True:
        try:
            item = next(walked)
        except StopIteration as end:
            reached: SoFar = end.value
            return reached
        if isinstance(item, Begins):
            telling.begins(item)
        elif isinstance(item, Ends):
            telling.ends(item)
        elif isinstance(item, list):
            parts.take(telling.part.words, item)
            missing = [step for step in item if not done(run, step)]
            if missing:
                performed = True
                _withdraw(run.store.folder, telling.display)
                provisional.goes_on()
                words = partial(_words, telling.part.words, item)
                runner(Batch(missing, words, partial(_performing, telling, item)))
        elif isinstance(item, Reached):
            reached = item.so_far
            if performed:
                telling.journal.has(reached.names())
        elif isinstance(item, Stands):
            provisional.stands(item)
        else:
            waits = not done(run, item)
            if waits and not provisional.waits():
                # Answers that are missing are waited for when there are results of those that are there.
                item = replace(item, waits=False)
            elif waits:
                telling.journal.has(reached.names())
                _withdraw(run.store.folder, telling.display)
            ask_people(run, item, telling.display.say)


def _replaced(run: Run, end: SoFar) -> list[str]:
    """The features of before that are among those of now: of a data set that grew, not of one that lacks images."""
    if run.before is None or run.before.names.features_by != end.data.features_by:
        return []
    was, now = (
        table.filter(table.column("problem").is_null()).column("content_hash")
        for table in (run.before.manifest, run.store.read(end.manifest))
    )
    there = pc.is_in(was, value_set=now.combine_chunks())
    return run.before.names.features if pc.all(there).as_py() in (True, None) else []


@dataclass
class _Parts:
    """The steps of each part of the run, by its words. What was done for provisional results, or for answers of before,
    is of the part that needs it last."""

    _of: dict[str, tuple[str, Step]] = field(default_factory=dict)

    def take(self, words: str, steps: list[Step]) -> None:
        for step in steps:
            name = step.output
            self._of.pop(name, None)
            self._of[name] = words, step

    def outputs(self) -> list[str]:
        return list(self._of)

    def steps(self) -> dict[str, list[Step]]:
        found: dict[str, list[Step]] = {}
        for words, step in self._of.values():
            found.setdefault(words, []).append(step)
        return found


@dataclass
class _Provisional:
    """Writes provisional results: the data after each round, before the run goes on; the page too before people are
    waited for, and every half minute, since it takes seconds however few the images."""

    run: Run
    parts: "_Parts"
    _stands: Stands | None = None
    _page: float = field(default_factory=time.monotonic)

    def stands(self, stands: Stands) -> None:
        self._stands = stands

    def goes_on(self) -> None:
        """A step is about to be performed."""
        if self._stands is not None:
            now = time.monotonic()
            with_page = now - self._page > _PAGE_EVERY
            self._page = now if with_page else self._page
            self._write(with_page=with_page)

    def waits(self) -> bool:
        """People are to be waited for: whether there are results of what stands until then."""
        self._write(with_page=True)
        if self._stands is not None:
            so_far = self._stands.so_far
            spoken = self.run.store.rows(so_far.answers)
            remember_version(self.run.store, so_far.manifest, so_far.parts, spoken=spoken)
        return self._stands is not None or _are_of(self.run, self.run.store.folder / PROVISIONAL)

    def _write(self, *, with_page: bool) -> None:
        folder, stands = self.run.store.folder / PROVISIONAL, self._stands
        if stands is not None and not concluded(stands.so_far, folder, with_report=with_page):
            conclude(self.run, stands.so_far, self.parts.steps(), provisional=stands.words, with_report=with_page)


def _words(part: str, steps: list[Step], step: Step) -> str:
    return part + (f", {steps.index(step) + 1:,} of {len(steps):,}" if len(steps) > 1 else "")


def _performing(telling: Telling, steps: list[Step], step: Step) -> AbstractContextManager[None]:
    return telling.step(steps.index(step), len(steps), _span(step, steps))


def _span(step: Step, steps: list[Step]) -> tuple[int, int, int] | None:
    """The samples that one of several steps is about, and how many they are about together; None where it is about
    all, or other things."""
    if "stop" not in step.settings:
        return None
    return step.settings["start"], step.settings["stop"], steps[-1].settings["stop"]


def _are_of(run: Run, results: Path) -> bool:
    """Whether the results that lie there, if any, are of this data set and these settings, and whole."""
    try:
        summary = read_summary(results)
    except RunError:
        return False
    return summary is not None and summary.get("order") == run.origin.digest and not damage(results)


def _withdraw(folder: Path, display: Display) -> None:
    if gone := withdraw(folder):
        display.say(f"removing outdated results: {', '.join(gone)}")
