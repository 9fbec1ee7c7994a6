"""Training, as the command line performs it and speaks of it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import typer
import vl_convert

from cleaner import parts
from cleaner.charts.learning_rates import losses as drawn
from cleaner.config import Scan
from cleaner.plan.runs import cores
from cleaner.progress import listening
from cleaner.run.files import write_atomically, write_bytes
from cleaner.run.state import Journal, leaving
from cleaner.run.store import Store
from cleaner.runners.telling import Display
from cleaner.training.comparison import write_comparison
from cleaner.training.concluding import CLASSES
from cleaner.training.kept import FOLDER, outcome
from cleaner.training.loader import World
from cleaner.training.opened import Training
from cleaner.training.optimisation import suggested
from cleaner.training.predicting import Model, predict, write_predictions
from cleaner.training.processes import train
from cleaner.training.recipe import Recipe
from cleaner.training.request import TrainingSpec, TrainRequest
from cleaner.words import counted
from flows.console import console
from flows.progress_bar import display_on


def asked_for(
    run: Path, recipe: str, read: Recipe, *, test: Path | None, root: Path | None, truth: Path | None
) -> TrainRequest:
    """What a person asks for in one place, so that other processes may work on it from another: `recipe` is a name, or
    a file, and `read` what it says."""
    paths = {"run": run, "test": test, "root": root, "truth": truth}
    absolute: dict[str, Any] = {name: path.resolve() if path else None for name, path in paths.items()}
    return TrainRequest(name=Path(recipe).stem, recipe=read, workers=cores(), **absolute)


def train_here(specs: list[TrainingSpec], *, go_on: bool = True) -> list[tuple[Training, dict[str, Any]]]:
    """Carry out the specs one after the other, those that are done already left as they are; each training, and what it
    came to. Those that began before the run was cleaned `go_on` with what they began with, or begin anew.

    Raises:
        CleanerError: one can't be.
    """
    # Everything that a person can get wrong is found before anything is trained.
    trainings = [Training(spec, go_on=go_on) for spec in specs]
    for training in trainings:
        training.check()
    display = display_on(console(stderr=True))
    shares = [(number / len(trainings), (number + 1) / len(trainings)) for number in range(len(trainings))]
    return [
        (training, _performed(training, display, *share)) for training, share in zip(trainings, shares, strict=True)
    ]


def _performed(training: Training, display: Display, start: float, stop: float) -> dict[str, Any]:
    """Carry out one training, of all that is to be done the part from the share `start` to `stop`."""
    if (summary := training.done()) is not None:
        display.say(f"{training.words}: trained before, {os.path.relpath(training.folder)}")
        return summary
    with Store(training.folder).locked():
        journal = Journal(training.folder)
        with leaving(journal), _told(training, display, journal, start, stop):
            return train(training)


@contextmanager
def _told(training: Training, display: Display, journal: Journal, start: float, stop: float) -> Iterator[None]:
    """Within the block people hear how far it is."""
    for line in training.sentences():
        display.say(line)
    display.begins(training.words, start)
    journal.begins(training.words, 0.0)

    def hear(what: str, count: int, total: int) -> None:
        done = count / max(total, 1) if what == "steps" else 0.0
        journal.progressed(done)
        display.progressed(what, count, total, start + done * (stop - start))

    try:
        with listening(hear, display.say):
            yield
    finally:
        display.close()


def show_trained(trained: Sequence[tuple[Training, dict[str, Any]]]) -> None:
    """What each training came to, and where it lies."""
    for training, summary in trained:
        typer.echo(f"{training.words}: {outcome(summary)}")
        typer.echo(f"the model        {os.path.relpath(training.folder)}")
        typer.echo(f"class by class   {os.path.relpath(training.folder / CLASSES)}")


def compare_here(asked: TrainRequest, versions: Sequence[str], seeds: Sequence[int]) -> None:
    """Train on each version with each seed, and say what cleaning was worth.

    Raises:
        CleanerError: a training can't be.
    """
    specs = [spec for version in versions for seed in seeds for spec in asked.specs(version, seed)]
    trained = [(training.folder, summary) for training, summary in train_here(specs, go_on=False)]
    file, text = write_comparison(asked.run / FOLDER, asked.name, trained)
    typer.echo(f"{text}\ntable and picture  {os.path.relpath(file)}")


def show_augmented(asked: TrainRequest, version: str, seed: int) -> None:
    """Write a picture of what the recipe's augmentations do.

    Raises:
        CleanerError: the run, the recipe or an image can't be read.
    """
    for spec in asked.specs(version, seed):
        sheet = Training(spec).sheet()
        size = spec.recipe.networks[spec.network].image_size
        file = asked.run / FOLDER / f"augment-{spec.name}-{size}.png"
        write_atomically(file, partial(sheet.save, format="PNG"))
        typer.echo(os.path.relpath(file))


def find_rates(asked: TrainRequest, version: str, seed: int) -> None:
    """Try learning rates that grow, and write a picture of the losses.

    Raises:
        CleanerError: the run or the recipe can't be read.
    """
    display = display_on(console(stderr=True))
    for spec in asked.specs(version, seed):
        training = Training(spec)
        training.check()
        with _shown(display, f"{training.words}: trying learning rates"):
            trainer = training.trainer(World(0, 1))
            rates, losses = trainer.tried_rates()
        best = suggested(rates, losses)
        chart = drawn(pd.DataFrame({"rate": rates, "loss": losses}), best)
        file = asked.run / FOLDER / f"learning-rates-{spec.name}-{trainer.network.backbone}.png"
        write_bytes(file, vl_convert.vegalite_to_png(chart.to_json(), scale=2))
        setting = best * trainer.settings.lr / trainer.lr
        typer.echo(f"{trainer.network.backbone}: --set optimisation.lr={setting:.2g}  ({os.path.relpath(file)})")


@contextmanager
def _shown(display: Display, words: str) -> Iterator[None]:
    """Within the block people see how far it is."""
    display.begins(words, 0.0)
    try:
        with listening(lambda what, count, total: display.progressed(what, count, total, count / max(total, 1))):
            yield
    finally:
        display.close()


def predict_here(model: Path, folder: Path, out: Path, root: Path | None = None) -> None:
    """Write what a model says of the images in a folder, or of those without labels that a data manifest names.

    Raises:
        CleanerError: model or images can't be read.
    """
    described = parts.find("sources", "data_manifest")
    if described.accepts(folder):
        folder = described(folder, root).unlabelled
    with _shown(display_on(console(stderr=True)), f"judging the images in {folder}"):
        table = predict(Model.of(model), folder, max_pixels=Scan().max_pixels, workers=cores())
    listed, whole = write_predictions(table, out)
    unread = len(table) - table.column("problem").null_count
    typer.echo(f"{counted(len(table) - unread, 'image')} judged, {unread:,} can't be used")
    typer.echo(f"path,label,prob  {listed}\nall of it        {whole}")
