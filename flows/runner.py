"""Carrying out an order: what every runner does, whoever performs the steps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cleaner.config import Config
from cleaner.errors import RunError
from cleaner.loop.asking import Ask, ask_people
from cleaner.loop.results import conclude
from cleaner.loop.rounds import done, plan
from cleaner.loop.runs import NO_REVIEWER, Run, open_run, remember
from cleaner.run.finished import damage, read_summary, withdraw
from cleaner.run.steps import Step, perform
from flows.progress_bar import Display


@dataclass(frozen=True)
class Order:
    """What `cleaner clean` is asked for, as names."""

    source: Path
    folder: Path
    config: Config
    reviewer: str = NO_REVIEWER
    truth: Path | None = None
    workers: int | None = None

    def open(self) -> Run:
        """Check the whole order; nothing is written.

        Raises:
            InputError: it can't be done as it is.
        """
        return open_run(
            self.source, self.folder, self.config, reviewer=self.reviewer, truth=self.truth, workers=self.workers
        )


def carry_out(
    run: Run,
    perform_step: Callable[[Step], object],
    *,
    say: Callable[[str], None],
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Hold the run against other commands, `begin`, do what the plan says is missing, and write the results.

    Results of before that other settings or answers led to are withdrawn first; `say` hears of it.

    Raises:
        RunLocked: another command works on the run.
        WaitsForPeople: answers are missing.
    """
    folder = run.store.folder
    with run.store.locked():
        begin()
        remember(run)
        if not _results_are_of(run):
            _withdraw(folder, say)
        for item in plan(run):
            if not (done(run, item) if isinstance(item, Ask) else all(done(run, step) for step in item)):
                _withdraw(folder, say)
            if isinstance(item, Ask):
                ask_people(run, item)
            else:
                for step in item:
                    if not done(run, step):
                        perform_step(step)
        conclude(run)


def _results_are_of(run: Run) -> bool:
    """Whether the results that lie there, if any, are of this data set and these settings, and whole."""
    try:
        summary = read_summary(run.store.folder)
    except RunError:
        return False
    return summary is not None and summary.get("order") == run.origin.digest and not damage(run.store.folder)


def _withdraw(folder: Path, say: Callable[[str], None]) -> None:
    if gone := withdraw(folder):
        say(f"the results of before no longer hold and are taken away until new ones are there: {', '.join(gone)}")


def run_here(run: Run, display: Display) -> None:
    """Carry out `run`, performing the steps in this process.

    Raises:
        WaitsForPeople: answers are missing.
    """

    def perform_step(step: Step) -> None:
        with display.step(step.name):
            perform(run.store, step)

    carry_out(run, perform_step, say=display.say)
