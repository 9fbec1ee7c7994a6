"""Training, as the command line performs it and speaks of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from cleaner.loop.runs import cores
from cleaner.progress import listening
from cleaner.run.state import Journal
from cleaner.run.store import Store
from cleaner.training.jobs import CLASSES, Job, Training, said, train
from cleaner.training.recipe import Recipe
from flows.progress_bar import Display, display_on
from flows.runner import leaving


def jobs_of(
    run: Path, name: str, recipe: Recipe, version: str, seed: int, *, test: Path | None, root: Path | None
) -> list[Job]:
    """A job for each network of the recipe."""
    shared: dict[str, Any] = {"run": run.resolve(), "name": Path(name).stem, "recipe": recipe}
    shared |= {"version": version, "seed": seed, "workers": cores()}
    shared |= {"test": test.resolve() if test else None, "root": root.resolve() if root else None}
    return [Job(network=number, **shared) for number in range(len(recipe.networks))]


def train_here(jobs: list[Job]) -> list[dict[str, Any]]:
    """Carry out the jobs one after the other, those that are done already left as they are; what each came to.

    Raises:
        CleanerError: one can't be.
    """
    # Everything that a person can get wrong is found before anything is trained.
    trainings = [Training(job) for job in jobs]
    for training in trainings:
        _ = training.folder
    display = display_on(Console(stderr=True))
    return [_performed(training, display) for training in trainings]


def _performed(training: Training, display: Display) -> dict[str, Any]:
    if (summary := training.done()) is not None:
        display.say(f"{training.words}: trained before, {os.path.relpath(training.folder)}")
        return summary
    with Store(training.folder).locked():
        journal = Journal(training.folder)
        with leaving(journal), _told(training, display, journal):
            return train(training)


@contextmanager
def _told(training: Training, display: Display, journal: Journal) -> Iterator[None]:
    """Within the block people hear how far it is."""
    for line in said(training):
        display.say(line)
    display.begins(training.words, 0.0)
    journal.begins(training.words, 0.0)

    def hear(what: str, count: int, total: int) -> None:
        done = count / max(total, 1) if what == "steps" else 0.0
        journal.progressed(done)
        display.progressed(what, count, total, done)

    try:
        with listening(hear, display.say):
            yield
    finally:
        display.close()


def show_trained(jobs: list[Job], summaries: list[dict[str, Any]]) -> None:
    """What each training came to, and where it lies."""
    for job, summary in zip(jobs, summaries, strict=True):
        training = Training(job)
        test = summary["test"]
        line = f"{training.words}: {100 * summary['accuracy']:.1f} % of {test['images']:,} test images right"
        typer.echo(f"{line}, {100 * summary['mean_class_accuracy']:.1f} % as a mean of classes")
        typer.echo(f"the model        {os.path.relpath(training.folder)}")
        typer.echo(f"class by class   {os.path.relpath(training.folder / CLASSES)}")
