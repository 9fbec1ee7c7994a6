"""A data set described by a TOML file: read as its publisher ships it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner import parts
from cleaner.data.descriptions import Description, Names, Part, read_description
from cleaner.data.listings import doubtful_labels, fingerprint, refuse, require_classes, require_columns
from cleaner.data.parquet import bytes_columns, parquet_files
from cleaner.data.sources import Source
from cleaner.errors import SourceError

_MEANT = ("group", "split")


@dataclass(frozen=True)
class DataManifest:
    """The labelled images of one part of what a data manifest describes (`data_manifests/`, `data/descriptions.py`).

    The part's rows come from a folder of class folders, from Parquet files of image bytes or from a list of files; of
    them those that the manifest wants, with the classes' names as labels, and `group` and `split` as columns.

    Attributes:
        path: the TOML file.
        root: where the data lies; None: where the manifest says.
        part: which of its parts.
    """

    path: Path
    root: Path | None = None
    part: Literal["train", "test"] = "train"
    form: ClassVar[str] = "a TOML file that describes a data set"

    @classmethod
    def accepts(cls, path: Path) -> bool:
        return path.is_file() and path.suffix.lower() == ".toml"

    @classmethod
    def open(cls, path: Path, **settings: Any) -> "DataManifest":
        source = cls(path, **settings)
        source._require_data()
        form, at, wanted = source._form()
        form.open(at, **wanted)
        labels = source.listing().column("label")
        refuse(path, f"labels without a name in {source._where_names}", _unnamed(labels), "complete the names")
        require_classes(path, labels)
        return source

    @property
    def test(self) -> "DataManifest | None":
        """The labelled test set, if there is one."""
        return DataManifest(self.path, self.root, "test") if self.says.test else None

    @property
    def unlabelled(self) -> Path:
        """The folder of images without labels.

        Raises:
            SourceError: there is none.
        """
        if self.says.unlabelled is None:
            raise SourceError(f"{self.path}: names no unlabelled images; give a folder of images")
        return self._around / self.says.unlabelled.at

    def fingerprint(self, *, moved: bool = False) -> str:
        return fingerprint(self.listing(), self._inner.fingerprint(moved=moved).encode())

    def stamps(self) -> pa.Table | None:
        stamps = self._inner.stamps()
        return None if stamps is None else stamps.take(self._rows)

    def listing(self) -> pa.Table:
        return self._listing

    def notes(self) -> list[str]:
        listing, checks = self.listing(), self.says.checks
        wanted, classes = getattr(checks, self.part), len(listing.column("label").unique())
        notes = [f"{self.says.name}: licence {self.says.licence}"]
        if wanted is not None and wanted != len(listing):
            notes.append(f"{self.says.name} has {wanted:,} images to {self.part}, here are {len(listing):,}")
        if checks.classes is not None and checks.classes != classes:
            notes.append(f"{self.says.name} has {checks.classes:,} classes, here are {classes:,}")
        return notes + doubtful_labels(listing.column("label"))

    def places(self) -> list[Path]:
        return [self.path, *self._inner.places()]

    def file(self, path: str) -> Path | None:
        return self._inner.file(path)

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        return self._inner.read(self._rows.to_numpy()[rows], paths)

    @cached_property
    def says(self) -> Description:
        """What the manifest says."""
        return read_description(self.path)

    @property
    def _part(self) -> Part:
        part = getattr(self.says, self.part)
        assert isinstance(part, Part)
        return part

    @property
    def _around(self) -> Path:
        return (self.root or self.path.parent / self.says.root).resolve()

    @property
    def _where_names(self) -> str:
        return str(self._around / self.says.classes.at) if isinstance(self.says.classes, Names) else "classes"

    def _require_data(self) -> None:
        part, names = self._part, self.says.classes
        wanted = [part.at, *([part.images] if part.images != "." else []), *([part.only] if part.only else [])]
        wanted += [names.at] if isinstance(names, Names) else []
        missing = [path for path in wanted if not (self._around / path).exists()]
        if missing:
            where = f"{self.path}: {self.says.name} does not lie in {self._around} (no {', no '.join(missing)})"
            raise SourceError(f"{where}; {self.says.get}, or give --root the folder in which it lies")

    @cached_property
    def _inner(self) -> Source:
        """The source of all rows."""
        form, at, settings = self._form()
        found: Source = form(at, **settings)
        return found

    def _form(self) -> tuple[Any, Path, dict[str, Any]]:
        """The kind of source that reads the part, where, and its settings."""
        part, at = self._part, self._around / self._part.at
        if at.is_dir() and not parquet_files(at):
            return _source("folder"), at, {}
        if any(bytes_columns(file) for file in parquet_files(at)):
            return _source("parquet_images"), at, {"label": part.label}
        images, named = self._around / part.images, (part.path, part.label)
        listed = {"separator": part.separator, "columns": part.columns, "named": named}
        return _source("table"), at, {"root": self._around, "images": images} | listed

    @cached_property
    def _rows(self) -> pa.Array:
        """Which rows of all are this part's."""
        listing, part = self._inner.listing(), self._part
        require_columns(self.path, listing.column_names, list(part.where))
        chosen = np.ones(len(listing), bool)
        for name, value in part.where.items():
            chosen &= pc.equal(pc.cast(listing.column(name), pa.string()), value).to_numpy(zero_copy_only=False)
        if part.only:
            only = (self._around / part.only).read_text(encoding="utf-8").split()
            chosen &= pc.is_in(listing.column("path"), pa.array(only, pa.string())).to_numpy(zero_copy_only=False)
        return pa.array(np.flatnonzero(chosen))

    @cached_property
    def _listing(self) -> pa.Table:
        listing = self._inner.listing().take(self._rows)
        meant = {getattr(self._part, name): name for name in _MEANT if getattr(self._part, name)}
        require_columns(self.path, listing.column_names, list(meant))
        listing = listing.rename_columns([meant.get(name, name) for name in listing.column_names])
        names = self._names
        if names is None:
            return listing
        label = pa.array([names.get(label, "") for label in listing.column("label").to_pylist()], pa.string())
        return listing.set_column(listing.schema.get_field_index("label"), "label", label)

    @cached_property
    def _names(self) -> dict[str, str] | None:
        """What stands as label -> the class's name; None where labels are names."""
        declared = self.says.classes
        if declared is None:
            return None
        if not isinstance(declared, Names):
            return {str(number): name for number, name in enumerate(declared)}
        at, number = self._around / declared.at, declared.id or declared.name
        rows = _source("table")(
            at, separator=declared.separator, columns=declared.columns, named=(number, declared.name)
        ).listing()
        names = rows.column("label").to_pylist()
        ids = rows.column("path").to_pylist() if declared.id else map(str, range(len(names)))
        return dict(zip(ids, names, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "root": self.root, "part": self.part}


def _source(form: str) -> Any:
    return parts.find("sources", form)


def _unnamed(labels: pa.ChunkedArray) -> list[str]:
    return [f"row {row + 1}" for row, label in enumerate(labels.to_pylist()) if not label]
