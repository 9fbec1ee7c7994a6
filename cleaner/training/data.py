"""What one training learns from and is measured on, and the file that keeps it: a run that is cleaned meanwhile takes
nothing from a training that has begun."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cleaner.data.sources import Source
from cleaner.errors import RunError
from cleaner.run.files import digest, read_table, write_table
from cleaner.tables import Classes, array, is_usable
from cleaner.training.versions import Version
from cleaner.words import counted

DATA = "data.parquet"
"""What a training learns from and is measured on: `role` (learnt, validation, test), `content_hash`, `path`, `label`,
`weight`."""
_LEARNT, _VALIDATION, _TEST = "learnt", "validation", "test"
_KNOWN_BY = ("content_hash", "path")


@dataclass(frozen=True)
class DataSet:
    """A data set whose images were looked at once."""

    source: Source
    manifest: pa.Table


@dataclass(frozen=True)
class Measured:
    """Images to measure on.

    Attributes:
        of: the data set in which they are.
        rows: of its manifest.
        labels: class numbers, int32.
        words: what it is, for people.
        trusted: whether its labels are known to be right, rather than judged by cleaning.
    """

    of: DataSet
    rows: np.ndarray
    labels: np.ndarray
    words: str
    trusted: bool

    @property
    def contents(self) -> list[str]:
        """The hashes of the images."""
        hashes: list[str] = self.of.manifest.column("content_hash").take(pa.array(self.rows)).to_pylist()
        return hashes

    def by_content(self, most: int | None) -> "Measured":
        """The same images in the order of their hashes, of many the first so many."""
        order = np.lexsort((self.labels, np.array(self.contents, "S")))[:most]
        return replace(self, rows=self.rows[order], labels=self.labels[order])


@dataclass(frozen=True)
class TrainingData:
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

    def write(self, folder: Path, manifest: pa.Table, *, method: int) -> None:
        """Keep it in a training's folder.

        Args:
            manifest: of the run whose version is learnt from.
            method: of the engine that begins with it.
        """
        classes = np.array(self.version.classes, object)
        parts = [(_LEARNT, manifest, self.version.rows, self.version.labels, self.version.weights)]
        about: dict[str, Any] = {"method": method, "classes": list(self.version.classes)}
        for role, some in ((_VALIDATION, self.validation), (_TEST, self.test)):
            parts.append((role, some.of.manifest, some.rows, some.labels, np.ones(len(some.rows), np.float32)))
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
        write_table(folder / DATA, pa.concat_tables(tables).replace_schema_metadata({"about": json.dumps(about)}))

    @classmethod
    def read(cls, folder: Path, name: str, own: DataSet, test: DataSet) -> "TrainingData":
        """As it was written.

        Args:
            name: of the version.
            own: in which are the images to learn from and for validation.
            test: in which are those to test on.

        Raises:
            RunError: the file is damaged, or an image is gone.
        """
        about, table = _about(folder), read_table(folder / DATA)
        parts = {role: table.filter(pc.equal(table.column("role"), role)) for role in (_LEARNT, _VALIDATION, _TEST)}
        classes = tuple(about["classes"])
        labels = {role: Classes(classes).encode(part.column("label")) for role, part in parts.items()}

        def measured(role: str, of: DataSet) -> Measured:
            rows = _rows(folder, of.manifest, parts[role])
            return Measured(of, rows, labels[role], about[role]["words"], about[role]["trusted"])

        learnt = parts[_LEARNT]
        rows, contents = _rows(folder, own.manifest, learnt), np.array(learnt.column("content_hash").to_pylist(), "S")
        version = Version(name, rows, labels[_LEARNT], array(learnt, "weight"), contents, classes)
        return cls(version, measured(_VALIDATION, own), measured(_TEST, test))


def method_of(folder: Path) -> int | None:
    """The method of the engine that began the training in `folder`.

    Raises:
        RunError: the file is damaged.
    """
    return _about(folder).get("method")


def _about(folder: Path) -> dict[str, Any]:
    """What stands beside the data with which a training began."""
    try:
        about: dict[str, Any] = json.loads((pq.read_schema(folder / DATA).metadata or {})[b"about"])
        return about
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{folder / DATA}: is damaged ({error}); delete the training's folder") from error


def _rows(folder: Path, manifest: pa.Table, kept: pa.Table) -> np.ndarray:
    """The row of each image in a manifest; of a file that is there more than once the one whose path was kept, if it is
    there still.

    Raises:
        RunError: one is gone.
    """
    usable = np.flatnonzero(is_usable(manifest))
    there = manifest.select(["content_hash", "path"]).take(pa.array(usable))
    hashes, paths = there.column("content_hash").combine_chunks(), there.column("path").combine_chunks()
    places = pc.index_in(kept.column("content_hash"), value_set=hashes)
    if places.null_count:
        gone = f"{counted(places.null_count, 'image')} that it began with are gone"
        raise RunError(f"{folder}: {gone}; put them back, or delete it to train on what is there")
    same = pc.index_in(kept.column("path"), value_set=paths)
    found = pc.equal(kept.column("content_hash"), hashes.take(same.combine_chunks().fill_null(0)))
    known = np.asarray(found) & ~np.asarray(same.is_null())
    return usable[np.where(known, np.asarray(same.fill_null(0)), np.asarray(places))]  # type: ignore[no-any-return]
