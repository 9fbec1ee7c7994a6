"""Performs the steps in this process, one after the other."""

from collections.abc import Callable

from cleaner.plan.runs import Run
from cleaner.run.steps import Step, perform
from cleaner.runners.execute import Batch, Runner, execute
from cleaner.runners.telling import Display


def execute_here(run: Run, display: Display) -> None:
    """Carry out `run` in this process.

    Raises:
        CleanerError: as `execute`.
    """
    execute(run, one_by_one(lambda step: perform(run.store, step)), display)


def one_by_one(performed: Callable[[Step], object]) -> Runner:
    """The runner that has each step `performed` after the one before."""

    def runner(batch: Batch) -> None:
        for step in batch.steps:
            with batch.performing(step):
                performed(step)

    return runner
