"""One training, opened: what it learns from and is measured on, and the folder that it has."""

import glob
import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image
from torch import nn

from cleaner.data.scan import scan
from cleaner.data.sources import Source, open_source, source_at
from cleaner.errors import CleanerError, InputError, RunError
from cleaner.evidence.weights import file_hash
from cleaner.run.files import digest, read_table, write_json, write_table
from cleaner.run.origin import Origin, origin_of
from cleaner.run.versions import CLEAN, RAW
from cleaner.tables import Classes, array
from cleaner.training.contact_sheet import contact_sheet
from cleaner.training.engine import CHECKPOINT, METHOD, Trainer
from cleaner.training.kept import FOLDER, read_summary
from cleaner.training.loader import Images, World, evenly_weighted
from cleaner.training.models import check, shown_to
from cleaner.training.optimisation import optimiser_of
from cleaner.training.pixels import learnt_from, measured_on
from cleaner.training.request import SPEC, TrainingSpec
from cleaner.training.split import NOTHING, Split, held_out, near_copies, split_of
from cleaner.training.versions import TRUE, Cleaned, Version
from cleaner.words import counted

DATA = "data.parquet"
"""What a training learns from and is measured on: `role` (learnt, validation, test), `content_hash`, `path`, `label`,
`weight`."""
_LEARNT, _VALIDATION, _TEST = "learnt", "validation", "test"
_KNOWN_BY = ("content_hash", "path")
_TEST_SPLIT, _VALIDATION_SPLIT = 2, 1
_ON_A_SHEET = 8


@dataclass(frozen=True)
class Measured:
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
    def contents(self) -> list[str]:
        """The hashes of the images."""
        hashes: list[str] = self.manifest.column("content_hash").take(pa.array(self.rows)).to_pylist()
        return hashes

    def by_content(self, most: int | None) -> "Measured":
        """The same images in the order of their hashes, of many the first so many."""
        order = np.lexsort((self.labels, np.array(self.contents, "S")))[:most]
        return replace(self, rows=self.rows[order], labels=self.labels[order])


@dataclass(frozen=True)
class _Other:
    """Another data set, to measure on."""

    source: Source
    manifest: pa.Table
    words: str


@dataclass(frozen=True)
class _Data:
    """What is learnt from and what is measured on."""

    version: Version
    validation: Measured
    test: Measured

    @property
    def digest(self) -> str:
        """12 hex digits that tell it from others: by the contents of images, not by where they lie."""
        version, measured = self.version, (self.validation, self.test)
        contents = version.contents.tolist(), *[[each.encode() for each in some.contents] for some in measured]
        hashes = [hashlib.sha256(b"".join(each)).hexdigest() for each in contents]
        labels = [some.labels for some in measured]
        arrays = [values.tobytes().hex() for values in (version.labels, version.weights, *labels)]
        return digest(version.name, list(version.classes), *hashes, *arrays)


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
    def cleaned(self) -> Cleaned:
        return Cleaned.of(self.spec.run)

    @cached_property
    def origin(self) -> Origin:
        return origin_of(self.spec.run)

    @cached_property
    def source(self) -> Source:
        return source_at(self.origin.form, self.origin.source, self.origin.config.sources)

    @cached_property
    def split(self) -> Split:
        """Who is measured on, and left out of what is learnt from, as things are now."""
        manifest, duplicates, other = self.cleaned.manifest, self.cleaned.duplicates, self._other
        test, validation = self._splits
        contents = near = NOTHING
        if other is not None:
            contents = other.manifest.column("content_hash").combine_chunks()
            near = near_copies(self.spec.run, self.source, other.manifest, other.source, workers=self.spec.workers)
        elif not test.any():
            test = held_out(manifest, duplicates)
        share = self.spec.recipe.samples.validation
        return split_of(manifest, duplicates, test, validation, contents, near, share=share)

    @cached_property
    def _splits(self) -> tuple[np.ndarray, np.ndarray]:
        """bool, the rows of the data set's own splits to test on, and for validation; that there is only one of, is to
        test on, where nothing else is."""
        held, other = self.cleaned.held_out, self._other is not None
        if other or (held == _TEST_SPLIT).any():
            return held == _TEST_SPLIT, held == _VALIDATION_SPLIT
        return held > 0, np.zeros(len(held), bool)

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
        begun = [
            folder for folder in sorted(self._parent.glob(f"{glob.escape(self._stem)}-*")) if self._goes_on(folder)
        ]
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
        folders = sorted(self._parent.glob(f"{glob.escape(self._stem)}-*"))
        return [each for each in folders if self._unfinished(each) and _about(each).get("method") != METHOD]

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
        return (
            self._parent / f"{self._stem}-{digest(METHOD, self._settings(self.spec), self._weights, self._now.digest)}"
        )

    @property
    def _parent(self) -> Path:
        return self.spec.run / FOLDER

    @property
    def _stem(self) -> str:
        spec = self.spec
        backbone = spec.recipe.networks[spec.network].backbone.partition(".")[0]
        return f"{spec.name}-{backbone}-{spec.version}-{spec.seed}"

    def _goes_on(self, folder: Path) -> bool:
        """Whether a training like this one began there, and is not at its end."""
        if not self.go_on or not self._unfinished(folder) or _about(folder).get("method") != METHOD:
            return False
        other = TrainingSpec.model_validate_json((folder / SPEC).read_text(encoding="utf-8"))
        same = ("run", "test", "root", "truth")
        return self._settings(other) == self._settings(self.spec) and all(
            getattr(other, name) == getattr(self.spec, name) for name in same
        )

    @staticmethod
    def _unfinished(folder: Path) -> bool:
        there = all((folder / name).exists() for name in (SPEC, DATA, CHECKPOINT))
        return there and read_summary(folder) is None

    @staticmethod
    def _settings(spec: TrainingSpec) -> dict[str, Any]:
        """What of a spec makes another model."""
        where = {"run", "workers", "test", "root", "truth"}
        return spec.model_dump(mode="json", exclude={**dict.fromkeys(where, True), "recipe": {"description"}})

    @cached_property
    def _data(self) -> _Data:
        return self._kept() if (self.folder / DATA).exists() else self._now

    @cached_property
    def _now(self) -> _Data:
        """As the run and the test set are now."""
        samples, other = self.spec.recipe.samples, self._other
        # What can be wrong with it is found before near-copies are looked for.
        test = self._own_test if other is None else self._named_test(other)
        version = self.cleaned.version(
            self.spec.version,
            relabelled=samples.relabelled,
            weigh=samples.weigh,
            without=self.split.left_out,
            truth=self.spec.truth,
        )
        version = version.thinned(samples.most) if samples.most else version
        if len(np.unique(version.labels)) < 2:
            raise InputError(f"samples.most = {samples.most}: images of one class are left to learn from; take more")
        validation = self._own(self.split.validation, self._splits[1] & self.split.validation, "held out for that")
        return _Data(version.by_content(), validation.by_content(samples.most), test.by_content(samples.most))

    def keep_data(self) -> None:
        """Write down what is learnt from and measured on: a run that is cleaned meanwhile takes nothing from it."""
        if (self.folder / DATA).exists():
            return
        version = self._data.version
        classes = np.array(version.classes, object)
        parts = [(_LEARNT, self.cleaned.manifest, version.rows, version.labels, version.weights)]
        about: dict[str, Any] = {"method": METHOD, "classes": list(version.classes)}
        for role, some in ((_VALIDATION, self.validation), (_TEST, self.test)):
            parts.append((role, some.manifest, some.rows, some.labels, np.ones(len(some.rows), np.float32)))
            about[role] = {"words": some.words, "trusted": some.trusted}
        tables = [
            pa.table(
                {
                    "role": pa.array([role] * len(rows), pa.string()),
                    **{name: manifest.column(name).take(pa.array(rows)).cast(pa.string()) for name in _KNOWN_BY},
                    "label": pa.array(classes[labels], pa.string()),
                    "weight": weights,
                }
            )
            for role, manifest, rows, labels, weights in parts
        ]
        write_table(self.folder / DATA, pa.concat_tables(tables).replace_schema_metadata({"about": json.dumps(about)}))

    def _kept(self) -> _Data:
        """As it was when it began."""
        about, table, other = _about(self.folder), read_table(self.folder / DATA), self._other
        own = self.source, self.cleaned.manifest
        parts = {role: table.filter(pc.equal(table.column("role"), role)) for role in (_LEARNT, _VALIDATION, _TEST)}
        classes = tuple(about["classes"])
        labels = {role: Classes(classes).encode(part.column("label")) for role, part in parts.items()}

        def measured(role: str, source: Source, manifest: pa.Table) -> Measured:
            rows, known = self._rows(manifest, parts[role]), about[role]
            return Measured(source, manifest, rows, labels[role], known["words"], known["trusted"])

        learnt = parts[_LEARNT]
        rows, contents = self._rows(own[1], learnt), np.array(learnt.column("content_hash").to_pylist(), "S")
        version = Version(self.spec.version, rows, labels[_LEARNT], array(learnt, "weight"), contents, classes)
        test = measured(_TEST, *(own if other is None else (other.source, other.manifest)))
        return _Data(version, measured(_VALIDATION, *own), test)

    def _rows(self, manifest: pa.Table, kept: pa.Table) -> np.ndarray:
        """The row of each image in a manifest; of a file that is there more than once the one whose path was kept, if
        it is there still.

        Raises:
            RunError: one is gone.
        """
        usable = np.flatnonzero(manifest.column("problem").is_null().to_numpy())
        there = manifest.select(["content_hash", "path"]).take(pa.array(usable))
        hashes, paths = there.column("content_hash").combine_chunks(), there.column("path").combine_chunks()
        places = pc.index_in(kept.column("content_hash"), value_set=hashes)
        if places.null_count:
            gone = f"{counted(places.null_count, 'image')} that it began with are gone"
            raise RunError(f"{self.folder}: {gone}; put them back, or delete it to train on what is there")
        same = pc.index_in(kept.column("path"), value_set=paths)
        found = pc.equal(kept.column("content_hash"), hashes.take(same.combine_chunks().fill_null(0)))
        known = np.asarray(found) & ~np.asarray(same.is_null())
        return usable[np.where(known, np.asarray(same.fill_null(0)), np.asarray(places))]  # type: ignore[no-any-return]

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

    @cached_property
    def _other(self) -> _Other | None:
        """The data set to measure on, where it is not the run's own."""
        settings = {"root": self.spec.root}
        if self.spec.test is not None:
            source: Any = open_source(self.spec.test, {"table": settings, "data_manifest": settings})
            source, words = source.test or source, f"{self.spec.test}"
        else:
            source, words = self.source.test, "the data set's own test set"
        if source is None:
            return None
        return _Other(source, _scanned(source, self.origin.config.scan.max_pixels, self.spec.workers), words)

    @property
    def _own_test(self) -> Measured:
        return self._own(self.split.test, self._splits[0], "a tenth of the images, held out")

    def _own(self, chosen: np.ndarray, of_splits: np.ndarray, otherwise: str) -> Measured:
        """Rows of the run's own: of splits of the data set, if there are such, or chosen `otherwise`."""
        splits = (
            sorted(set(self.cleaned.manifest.column("split").filter(pa.array(of_splits)).to_pylist()))
            if of_splits.any()
            else []
        )
        which = f"the images of its {' and '.join(splits)} split{'s' * (len(splits) > 1)}" if splits else otherwise
        if self.spec.truth is not None:
            name, words = TRUE, f"{which}, by their true labels"
        elif splits:
            name, words = RAW, f"{which}, labels as given"
        else:
            name, words = CLEAN, f"{which}, labels as they stand after cleaning"
        none = np.zeros(len(chosen), bool)
        found = self.cleaned.version(name, relabelled="use", weigh=False, without=none, truth=self.spec.truth)
        held = chosen[found.rows]
        rows, labels = found.rows[held], found.labels[held]
        return Measured(self.source, self.cleaned.manifest, rows, labels, words, name == TRUE)

    def _named_test(self, other: _Other) -> Measured:
        rows = np.flatnonzero(other.manifest.column("problem").is_null().to_numpy())
        labels = other.manifest.column("label").take(pa.array(rows))
        return Measured(other.source, other.manifest, rows, self._encoded(labels), other.words, True)

    def _encoded(self, labels: Any) -> np.ndarray:
        """Class numbers.

        Raises:
            InputError: a label is no class of the run.
        """
        numbers = Classes(self.cleaned.classes).encode(labels)
        if (numbers < 0).any():
            unknown = sorted(set(np.asarray(labels)[numbers < 0].tolist()))
            shown = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
            raise InputError(f"the test set has classes that {self.spec.run} has not: {shown}; give --test another")
        return numbers

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
            remedy = "" if self._splits[1].any() else "; raise samples.validation"
            raise InputError(f"there are no validation images to tell the best epoch by{remedy}")
        if self.done() is None:
            check(self.spec.recipe.networks[self.spec.network])

    def sheet(self) -> Image.Image:
        """A picture of what the recipe's augmentations do to a few images."""
        spec, version = self.spec, self.version.thinned(_ON_A_SHEET)
        size = spec.recipe.networks[spec.network].image_size
        manifest, side = self.cleaned.manifest, _side(size, spec.recipe.samples.margin)
        rows = np.unique(version.rows)
        pixels = learnt_from(self.source, manifest, rows, side=side, workers=spec.workers, keep=False)
        chosen = [
            (settings["name"], made)
            for settings, made in zip(spec.recipe.augment, spec.recipe.augmentations(), strict=True)
        ]
        return contact_sheet(pixels(version.rows), version.labels, version.classes, chosen, size=size, seed=spec.seed)

    def done(self) -> dict[str, Any] | None:
        """What it came to; None where it is not at its end."""
        return read_summary(self.folder)

    def engine(self, world: World) -> Trainer:
        """The engine that trains it, with all images decoded."""
        spec, version = self.spec, self.version
        network = spec.recipe.networks[spec.network]
        samples = spec.recipe.samples
        side = _side(network.image_size, samples.margin)
        keep, workers = samples.keep_decoded, spec.workers
        rows = np.unique(version.rows)
        learnt = learnt_from(self.source, self.cleaned.manifest, rows, side=side, workers=workers, keep=keep)
        shown = shown_to(network)

        def measured(some: Measured) -> Images:
            there = np.unique(some.rows)
            pixels = measured_on(some.source, some.manifest, there, shown, workers=workers, keep=keep)
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


def begin(training: Training) -> Trainer:
    """Write down what the spec is, and decode its images; the engine, at the epoch where it was."""
    training.keep_data()
    write_json(training.folder / SPEC, training.spec.model_dump(mode="json"))
    return training.engine(World.around())


def _about(folder: Path) -> dict[str, Any]:
    """What stands beside the data with which a training began.

    Raises:
        RunError: the file is damaged.
    """
    try:
        told: dict[str, Any] = json.loads((pq.read_schema(folder / DATA).metadata or {})[b"about"])
        return told
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{folder / DATA}: is damaged ({error}); delete the training's folder") from error


@lru_cache(maxsize=2)
def _scanned(source: Source, max_pixels: int, workers: int) -> pa.Table:
    """A test set's manifest; the last ones are remembered, since many trainings are measured on one."""
    listing = source.listing()
    return scan(listing, source=source, start=0, stop=len(listing), max_pixels=max_pixels, workers=workers)


def _side(size: int, margin: float) -> int:
    """Of the images that are kept, for a network of this size; even."""
    return -(-round(size * margin) // 2) * 2


def said(training: Training) -> list[str]:
    """What a spec learns from and is measured on, for people."""
    version, validation, test = training.version, training.validation, training.test
    classes = counted(len(np.unique(version.labels)), "class", "classes")
    lines = [
        f"{training.spec.version}: {counted(len(version), 'image')} of {classes}",
        f"measured on {counted(len(test.rows), 'image')}: {test.words}",
    ]
    if len(validation.rows):
        lines.append(f"looked at after each epoch, {counted(len(validation.rows), 'image')}: {validation.words}")
    if left_out := training.split.words():
        lines.append(left_out)
    lines += [
        f"{folder}: was begun by another version of cleaner and can't go on; delete it" for folder in training.lost
    ]
    if training.goes_on_with_other_data:
        lines.append(
            "goes on with what it began with, though the run was cleaned since; delete its folder to begin anew"
        )
    if not test.trusted:
        lines.append("no test set whose labels are known to be right; --test gives one")
    return lines
