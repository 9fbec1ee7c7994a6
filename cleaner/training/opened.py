"""One training, opened: the folder that it has, and the engine that trains it."""

import glob
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from cleaner.errors import CleanerError, InputError
from cleaner.evidence.weights import file_hash
from cleaner.run.files import digest, write_json
from cleaner.training.choice import Choice
from cleaner.training.contact_sheet import contact_sheet
from cleaner.training.data import DATA, Measured, TrainingData, method_of
from cleaner.training.engine import CHECKPOINT, METHOD, Trainer
from cleaner.training.kept import FOLDER, read_summary
from cleaner.training.loader import Images, World, evenly_weighted
from cleaner.training.models import check, shown_to
from cleaner.training.optimisation import optimiser_of
from cleaner.training.pixels import learnt_from, measured_on
from cleaner.training.request import SPEC, TrainingSpec
from cleaner.training.versions import Version
from cleaner.words import counted

_ON_A_SHEET = 8


@dataclass(frozen=True)
class Training:
    """A training whose data is opened.

    Attributes:
        spec: what it is.
        at: the folder of one that has begun; None: found by what it is of.
        go_on: whether one that began before the run was cleaned goes on with what it began with; trainings that are
            compared have to be of the same data.

    Raises, as its parts are looked at:
        InputError: the run, the version or the test set can't be what they are.
        RunError: images that it began with are gone.
    """

    spec: TrainingSpec
    at: Path | None = None
    go_on: bool = True

    @cached_property
    def choice(self) -> Choice:
        """What it would learn from, did it begin now."""
        return Choice(self.spec)

    @property
    def version(self) -> Version:
        return self._data.version

    @property
    def validation(self) -> Measured:
        return self._data.validation

    @property
    def test(self) -> Measured:
        return self._data.test

    @cached_property
    def folder(self) -> Path:
        """Where it is kept: what differs in anything has another one, but where one has begun under the same settings
        whose run was cleaned since: that goes on with what it began with."""
        if self.at is not None:
            return self.at
        begun = [folder for folder in self._alike() if self._goes_on(folder)]
        try:
            return begun[0] if begun and not self._fresh.exists() else self._fresh
        except CleanerError:
            # What there is now need not be anything that could be learnt from.
            if not begun:
                raise
            return begun[0]

    @property
    def lost(self) -> list[Path]:
        """Those like it that began by another method, and will never come to their end."""
        return [each for each in self._alike() if _unfinished(each) and method_of(each) != METHOD]

    @property
    def goes_on_with_other_data(self) -> bool:
        """Whether the run was cleaned since it began."""
        try:
            return self.folder != self._fresh
        except CleanerError:
            return True

    @cached_property
    def _fresh(self) -> Path:
        """Where it is kept if it learns from what there is now."""
        known = digest(METHOD, _settings(self.spec), self._weights, self.choice.data.digest)
        return self.spec.run / FOLDER / f"{self._stem}-{known}"

    @property
    def _stem(self) -> str:
        spec = self.spec
        backbone = spec.recipe.networks[spec.network].backbone.partition(".")[0]
        return f"{spec.name}-{backbone}-{spec.version}-{spec.seed}"

    def _alike(self) -> list[Path]:
        """The folders of trainings like it, whatever their data."""
        return sorted((self.spec.run / FOLDER).glob(f"{glob.escape(self._stem)}-*"))

    def _goes_on(self, folder: Path) -> bool:
        """Whether a training like this one began there, and is not at its end."""
        if not self.go_on or not _unfinished(folder) or method_of(folder) != METHOD:
            return False
        other = TrainingSpec.model_validate_json((folder / SPEC).read_text(encoding="utf-8"))
        same = ("run", "test", "root", "truth")
        return _settings(other) == _settings(self.spec) and all(
            getattr(other, name) == getattr(self.spec, name) for name in same
        )

    @cached_property
    def _data(self) -> TrainingData:
        return self._kept() if (self.folder / DATA).exists() else self.choice.data

    def _kept(self) -> TrainingData:
        """As it was when it began."""
        own = self.choice.own
        return TrainingData.read(self.folder, self.spec.version, own, self.choice.other or own)

    @property
    def words(self) -> str:
        """What it is, for people."""
        network = self.spec.recipe.networks[self.spec.network].backbone
        return f"{network} by {self.spec.name} on {self.spec.version}, seed {self.spec.seed}"

    @cached_property
    def _weights(self) -> str:
        """What lies in the file of weights with which the network begins, if there is one."""
        weights = self.spec.recipe.networks[self.spec.network].weights
        return file_hash(weights, "networks.weights") if weights else ""

    def check(self) -> None:
        """Find what a person can get wrong before anything is written or decoded.

        Raises:
            InputError: the run, the version or the test set can't be what they are, or there is no image by which the
                best epoch could be told.
            ConfigError: an optimiser or the network can't.
            WeightsError: the network's weights can't be had.
        """
        for phase in self.spec.recipe.optimisation.phases:
            optimiser_of(phase, nn.Linear(1, 1))
        if self.spec.recipe.optimisation.select == "best" and not len(self.validation.rows):
            remedy = "" if self.choice.has_validation_split else "; raise samples.validation"
            raise InputError(f"there are no validation images to tell the best epoch by{remedy}")
        if self.done() is None:
            check(self.spec.recipe.networks[self.spec.network])

    def sheet(self) -> Image.Image:
        """A picture of what the recipe's augmentations do to a few images."""
        spec, version, own = self.spec, self.version.thinned(_ON_A_SHEET), self.choice.own
        size = spec.recipe.networks[spec.network].image_size
        side, rows = _side(size, spec.recipe.samples.margin), np.unique(version.rows)
        pixels = learnt_from(own.source, own.manifest, rows, side=side, workers=spec.workers, keep=False)
        chosen = [
            (settings["name"], made)
            for settings, made in zip(spec.recipe.augment, spec.recipe.augmentations(), strict=True)
        ]
        return contact_sheet(pixels(version.rows), version.labels, version.classes, chosen, size=size, seed=spec.seed)

    def done(self) -> dict[str, Any] | None:
        """What it came to; None where it is not at its end."""
        return read_summary(self.folder)

    def trainer(self, world: World) -> Trainer:
        """The engine that trains it, with all images decoded."""
        spec, version, own = self.spec, self.version, self.choice.own
        network = spec.recipe.networks[spec.network]
        samples = spec.recipe.samples
        side = _side(network.image_size, samples.margin)
        keep, workers = samples.keep_decoded, spec.workers
        rows = np.unique(version.rows)
        learnt = learnt_from(own.source, own.manifest, rows, side=side, workers=workers, keep=keep)
        shown = shown_to(network)

        def measured(some: Measured) -> Images:
            there = np.unique(some.rows)
            pixels = measured_on(some.of.source, some.of.manifest, there, shown, workers=workers, keep=keep)
            return Images(pixels, some.rows, some.labels, np.ones(len(some.rows), np.float32))

        return Trainer(
            self.folder,
            spec.recipe,
            network,
            classes=version.classes,
            images=evenly_weighted(Images(learnt, version.rows, version.labels, version.weights)),
            validation=measured(self.validation),
            test=measured(self.test),
            seed=spec.seed,
            world=world,
        )

    def begin(self) -> Trainer:
        """Write down what the spec is and what is learnt from, and decode the images; the engine, at the epoch where it
        was."""
        if not (self.folder / DATA).exists():
            self._data.write(self.folder, self.choice.own.manifest, method=METHOD)
        write_json(self.folder / SPEC, self.spec.model_dump(mode="json"))
        return self.trainer(World.around())

    def sentences(self) -> list[str]:
        """What it learns from and is measured on, for people."""
        version, validation, test = self.version, self.validation, self.test
        classes = counted(len(np.unique(version.labels)), "class", "classes")
        lines = [
            f"{self.spec.version}: {counted(len(version), 'image')} of {classes}",
            f"measured on {counted(len(test.rows), 'image')}: {test.words}",
        ]
        if len(validation.rows):
            lines.append(f"looked at after each epoch, {counted(len(validation.rows), 'image')}: {validation.words}")
        if left_out := self.choice.split.words():
            lines.append(left_out)
        lines += [
            f"{folder}: was begun by another version of cleaner and can't go on; delete it" for folder in self.lost
        ]
        if self.goes_on_with_other_data:
            lines.append(
                "goes on with what it began with, though the run was cleaned since; delete its folder to begin anew"
            )
        if not test.trusted:
            lines.append("no test set whose labels are known to be right; --test gives one")
        return lines


def _unfinished(folder: Path) -> bool:
    """Whether a training began there that is not at its end."""
    there = all((folder / name).exists() for name in (SPEC, DATA, CHECKPOINT))
    return there and read_summary(folder) is None


def _settings(spec: TrainingSpec) -> dict[str, Any]:
    """What of a spec makes another model."""
    where = {"run", "workers", "test", "root", "truth"}
    return spec.model_dump(mode="json", exclude={**dict.fromkeys(where, True), "recipe": {"description"}})


def _side(size: int, margin: float) -> int:
    """Of the images that are kept, for a network of this size; even."""
    return -(-round(size * margin) // 2) * 2
