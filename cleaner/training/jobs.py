"""One training: what it is of, what it learns from, what it is measured on, and what it leaves."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import nn

from cleaner.data.scan import scan
from cleaner.data.sources import Source, open_source, source_at
from cleaner.errors import InputError
from cleaner.evidence.networks import timm
from cleaner.evidence.weights import file_hash
from cleaner.run.files import digest, write_bytes, write_json, write_table
from cleaner.run.origin import Origin, origin_of
from cleaner.run.versions import CLEAN, RAW
from cleaner.spreadsheets import as_csv
from cleaner.tables import Classes
from cleaner.threads import network_threads
from cleaner.training.contact_sheet import contact_sheet
from cleaner.training.engine import METHOD, Engine, Images, World, evenly_weighted
from cleaner.training.inference import predicted
from cleaner.training.kept import FOLDER, PREDICTIONS, SUMMARY, read_summary
from cleaner.training.models import check, shown_to
from cleaner.training.optimisation import optimiser_of
from cleaner.training.pixels import learnt_from, measured_on
from cleaner.training.recipe import Recipe
from cleaner.training.versions import TRUE, Cleaned, Version, evenly_spread
from cleaner.words import counted

JOB = "training.json"
CONFUSION, CLASSES = "confusion.parquet", "classes.csv"
_ON_A_SHEET = 8
_HELD_OUT_SHARE = 10
"""Where there is no test set, one image in so many is held out."""


class Asked(BaseModel):
    """What `cleaner train` was asked for, whatever the version and the seed.

    Attributes:
        run: the directory of a finished run.
        name: the recipe's.
        recipe: it.
        test: a data set to measure on; None: what the run's own data set has.
        root: where the images of `test` lie.
        truth: the true labels, for the version `true`, and for a test set that is held out.
        workers: threads that decode.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: Path
    name: str
    recipe: Recipe
    test: Path | None = None
    root: Path | None = None
    truth: Path | None = None
    workers: int

    def jobs(self, version: str, seed: int) -> "list[Job]":
        """A job for each network of the recipe."""
        networks = range(len(self.recipe.networks))
        return [Job(**dict(self), network=number, version=version, seed=seed) for number in networks]


class Job(Asked):
    """It, for one network.

    Attributes:
        network: which of the recipe's networks.
        version: what is learnt from.
        seed: of all randomness.
    """

    network: int
    version: str
    seed: int


@dataclass(frozen=True)
class TestSet:
    """Images to measure on.

    Attributes:
        source, manifest: of the data set in which they are.
        rows: of the manifest.
        labels: class numbers, int32.
        words: what it is, for people.
        trusted: whether its labels are known to be right, rather than judged by cleaning.
    """

    source: Source
    manifest: pa.Table
    rows: np.ndarray
    labels: np.ndarray
    words: str
    trusted: bool

    @property
    def digest(self) -> str:
        """12 hex digits that tell these images and labels from others."""
        hashes = self.manifest.column("content_hash").take(pa.array(self.rows)).to_pylist()
        return digest(hashes, self.labels.tolist(), self.words)


@dataclass(frozen=True)
class Training:
    """A job whose data is opened.

    Raises, as its parts are looked at:
        InputError: the run, the version or the test set can't be what they are.
    """

    job: Job

    @cached_property
    def cleaned(self) -> Cleaned:
        return Cleaned.of(self.job.run)

    @cached_property
    def origin(self) -> Origin:
        return origin_of(self.job.run)

    @cached_property
    def source(self) -> Source:
        return source_at(self.origin.form, self.origin.source, self.origin.config.sources)

    @cached_property
    def version(self) -> Version:
        samples = self.job.recipe.samples
        found = self.cleaned.version(
            self.job.version,
            relabelled=samples.relabelled,
            weigh=samples.weigh,
            without=self._without,
            truth=self.job.truth,
        )
        return found.thinned(samples.most) if samples.most else found

    @cached_property
    def test(self) -> TestSet:
        found = self._own_test if self.job.test is None else self._named_test(self.job.test)
        few = evenly_spread(len(found.rows), self.job.recipe.samples.most or len(found.rows))
        return TestSet(found.source, found.manifest, found.rows[few], found.labels[few], found.words, found.trusted)

    @cached_property
    def folder(self) -> Path:
        """Where it is kept: what differs in anything has another one."""
        job = self.job
        settings = job.model_dump(mode="json", exclude={"run", "workers", "test", "root", "truth"})
        key = digest(METHOD, settings, self._weights, self.version.digest, self.test.digest)
        backbone = job.recipe.networks[job.network].backbone.partition(".")[0]
        return job.run / FOLDER / f"{job.name}-{backbone}-{job.version}-{job.seed}-{key}"

    @property
    def words(self) -> str:
        """What it is, for people."""
        network = self.job.recipe.networks[self.job.network].backbone
        return f"{network} by {self.job.name} on {self.job.version}, seed {self.job.seed}"

    @cached_property
    def _weights(self) -> str:
        """What lies in the file of weights with which the network begins, if there is one."""
        weights = self.job.recipe.networks[self.job.network].weights
        return file_hash(weights, "networks.weights") if weights else ""

    @cached_property
    def _without(self) -> np.ndarray:
        """The rows of the run that are measured on."""
        held = self.cleaned.held_out()
        if held.any() or self.job.test is not None or getattr(self.source, "test", None) is not None:
            return held
        # By content, so that copies of one picture are on one side.
        hashes = self.cleaned.manifest.column("content_hash").to_pylist()
        return np.array([each is not None and int(each[:8], 16) % _HELD_OUT_SHARE == 0 for each in hashes])

    @property
    def _own_test(self) -> TestSet:
        own = getattr(self.source, "test", None)
        if own is not None:
            return self._scanned(own, "the data set's own test set")
        manifest, cleaned = self.cleaned.manifest, self.cleaned
        none = np.zeros(len(manifest), bool)
        which = "the images of its other splits" if cleaned.held_out().any() else "a tenth of the images, held out"
        if self.job.truth is not None:
            name, words = TRUE, f"{which}, by their true labels"
        elif cleaned.held_out().any():
            name, words = RAW, f"{which}, labels as given"
        else:
            name, words = CLEAN, f"{which}, labels as they stand after cleaning"
        found = cleaned.version(name, relabelled="use", weigh=False, without=none, truth=self.job.truth)
        held = self._without[found.rows]
        return TestSet(self.source, manifest, found.rows[held], found.labels[held], words, name == TRUE)

    def _named_test(self, path: Path) -> TestSet:
        settings = {"root": self.job.root}
        source = open_source(path, {"table": settings, "data_manifest": settings})
        return self._scanned(getattr(source, "test", None) or source, f"{path}")

    def _scanned(self, source: Any, words: str) -> TestSet:
        manifest = _scanned(source, self.origin.config.scan.max_pixels, self.job.workers)
        rows = np.flatnonzero(manifest.column("problem").is_null().to_numpy())
        labels = manifest.column("label").take(pa.array(rows))
        return TestSet(source, manifest, rows, self._encoded(labels), words, True)

    def _encoded(self, labels: Any) -> np.ndarray:
        """Class numbers.

        Raises:
            InputError: a label is no class of the run.
        """
        numbers = Classes(self.cleaned.classes).encode(labels)
        if (numbers < 0).any():
            unknown = sorted(set(np.asarray(labels)[numbers < 0].tolist()))
            shown = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
            raise InputError(f"the test set has classes that {self.job.run} has not: {shown}; give --test another")
        return numbers

    def check(self) -> None:
        """Find what a person can get wrong before anything is written or decoded.

        Raises:
            InputError: the run, the version or the test set can't be what they are.
            ConfigError: an optimiser or the network can't.
            WeightsError: the network's weights can't be had.
        """
        for phase in self.job.recipe.optimisation.phases:
            optimiser_of(phase, nn.Linear(1, 1))
        if self.done() is None:
            check(self.job.recipe.networks[self.job.network])

    def sheet(self) -> Image.Image:
        """A picture of what the recipe's augmentations do to a few images."""
        job, version = self.job, self.version.thinned(_ON_A_SHEET)
        size = job.recipe.networks[job.network].image_size
        manifest, side = self.cleaned.manifest, _side(size, job.recipe.samples.margin)
        pixels = learnt_from(self.source, manifest, version.rows, side=side, workers=job.workers, keep=False)
        chosen = [
            (settings["name"], made)
            for settings, made in zip(job.recipe.augment, job.recipe.augmentations(), strict=True)
        ]
        return contact_sheet(pixels(version.rows), version.labels, version.classes, chosen, size=size, seed=job.seed)

    def done(self) -> dict[str, Any] | None:
        """What it came to; None where it is not at its end."""
        return read_summary(self.folder)

    def engine(self, world: World) -> Engine:
        """The engine that trains it, with all images decoded."""
        job, version, test = self.job, self.version, self.test
        network = job.recipe.networks[job.network]
        samples = job.recipe.samples
        side = _side(network.image_size, samples.margin)
        keep, workers = samples.keep_decoded, job.workers
        usable = np.flatnonzero(self.cleaned.manifest.column("problem").is_null().to_numpy())
        # Of all versions, so that they share what is decoded; unless few are wanted.
        rows = version.rows if samples.most else usable
        learnt = learnt_from(self.source, self.cleaned.manifest, rows, side=side, workers=workers, keep=keep)
        shown = shown_to(network)
        measured = measured_on(test.source, test.manifest, test.rows, shown, workers=workers, keep=keep)
        return Engine(
            self.folder,
            job.recipe,
            network,
            classes=version.classes,
            images=evenly_weighted(Images(learnt, version.rows, version.labels, version.weights)),
            test=Images(measured, test.rows, test.labels, np.ones(len(test.rows), np.float32)),
            seed=job.seed,
            world=world,
        )


def begin(training: Training) -> Engine:
    """Write down what the job is, and decode its images; the engine, at the epoch where it was."""
    write_json(training.folder / JOB, training.job.model_dump(mode="json"))
    return training.engine(World.around())


@network_threads()
def conclude(training: Training, engine: Engine, model: nn.Module) -> dict[str, Any]:
    """Write what is measured on the test set, and the summary last."""
    folder, test, classes = training.folder, training.test, np.array(training.version.classes, object)
    found = predicted(model, engine.test.pixels, test.rows, engine.device)
    probs = torch.cat([some for _, some in found]) if len(test.rows) else torch.zeros(0, len(classes))
    guesses, sure = probs.argmax(1).numpy(), probs.amax(1).numpy() if len(test.rows) else np.zeros(0, np.float32)
    paths = test.manifest.column("path").take(pa.array(test.rows))
    columns = {"path": paths, "label": classes[test.labels], "guess": classes[guesses], "prob": sure}
    write_table(folder / PREDICTIONS, pa.table(columns))
    confused = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confused, (test.labels, guesses), 1)
    label, guess = confused.nonzero()
    pairs = {"label": classes[label], "guess": classes[guess], "images": confused[label, guess]}
    write_table(folder / CONFUSION, pa.table(pairs))
    images, right = confused.sum(1), confused.diagonal()
    learnt = np.bincount(training.version.labels, minlength=len(classes))
    _write_classes(folder, classes, learnt, images, right)
    there = images > 0
    summary = {
        "recipe": training.job.name,
        "network": engine.network.backbone,
        "version": training.job.version,
        "seed": training.job.seed,
        "learnt_from": len(training.version.rows),
        "test": {"images": len(test.rows), "what": test.words, "labels_known_to_be_right": test.trusted},
        "accuracy": float(right.sum() / max(1, images.sum())),
        "mean_class_accuracy": float((right[there] / images[there]).mean()) if there.any() else float("nan"),
        "epochs": training.job.recipe.optimisation.epochs,
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
    }
    write_json(folder / SUMMARY, summary)
    return summary


def _write_classes(
    folder: Path, classes: np.ndarray, learnt: np.ndarray, images: np.ndarray, right: np.ndarray
) -> None:
    accuracy = pa.array(np.divide(right, images, where=images > 0, out=np.full(len(images), np.nan)), from_pandas=True)
    columns = {"class": classes, "learnt_from": learnt, "tested_on": images, "right": right, "accuracy": accuracy}
    write_bytes(folder / CLASSES, as_csv(pa.table(columns)))


@lru_cache(maxsize=2)
def _scanned(source: Source, max_pixels: int, workers: int) -> pa.Table:
    """A test set's manifest; the last ones are remembered, since many trainings are measured on one."""
    listing = source.listing()
    return scan(listing, source=source, start=0, stop=len(listing), max_pixels=max_pixels, workers=workers)


def _side(size: int, margin: float) -> int:
    """Of the images that are kept, for a network of this size; even."""
    return -(-round(size * margin) // 2) * 2


def said(training: Training) -> list[str]:
    """What a job learns from and is measured on, for people."""
    version, test = training.version, training.test
    classes = counted(len(np.unique(version.labels)), "class", "classes")
    lines = [
        f"{training.job.version}: {counted(len(version.rows), 'image')} of {classes}",
        f"measured on {counted(len(test.rows), 'image')}: {test.words}",
    ]
    if not test.trusted:
        lines.append("no test set whose labels are known to be right; --test gives one")
    return lines
