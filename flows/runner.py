"""Carrying out an order: what every runner does, whoever performs the steps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cleaner.config import Config
from cleaner.loop.asking import Ask, ask_people
from cleaner.loop.results import conclude, retract
from cleaner.loop.rounds import done, plan
from cleaner.loop.runs import NO_REVIEWER, Run, open_run, remember
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
    order: Order, run: Run, perform_step: Callable[[Step], object], *, begin: Callable[[], None] = lambda: None
) -> None:
    """Hold the run against other commands, `begin`, do what the plan says is missing, and write the results.

    Raises:
        RunLocked: another command works on the run.
        WaitsForPeople: answers are missing.
    """
    with run.store.locked():
        begin()
        remember(run, order.source, reviewer=order.reviewer, truth=order.truth)
        for item in plan(run):
            if not (done(run, item) if isinstance(item, Ask) else all(done(run, step) for step in item)):
                retract(run)
            if isinstance(item, Ask):
                ask_people(run, item)
            else:
                for step in item:
                    if not done(run, step):
                        perform_step(step)
        conclude(run)


def run_here(order: Order, run: Run, display: Display) -> None:
    """Carry out `order`, performing the steps in this process.

    Raises:
        WaitsForPeople: answers are missing.
    """

    def perform_step(step: Step) -> None:
        with display.step(step.name):
            perform(run.store, step)

    carry_out(order, run, perform_step)
