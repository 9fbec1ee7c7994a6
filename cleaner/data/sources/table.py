"""A table that names image files and their labels: CSV and its relatives, JSON lines, or Parquet."""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from cleaner.data import images
from cleaner.data.delimited import kind_of, read_bytes, read_delimited, table_of
from cleaner.data.found_files import common, found_file, is_file, those_outside
from cleaner.data.listings import (
    Stamp,
    as_labels,
    as_text,
    blank_rows,
    doubtful_labels,
    facts_of,
    fingerprint,
    refuse,
    repeated_rows,
    require_columns,
    require_labels,
    stamped,
)
from cleaner.data.parquet import bytes_columns, footer, read_parquet
from cleaner.errors import SourceError
from cleaner.threads import threaded
from cleaner.words import counted, shown

_COLUMNS = ("path", "label")
_READERS = 4
_PATHS = (
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "file",
    "image",
    "image_path",
    "img",
    "img_path",
    "image_id",
)
_LABELS = ("class", "class_name", "label_name", "labels", "category", "category_name", "target", "species", "classname")
"""What the columns of paths and of labels are often called elsewhere: for remedies, nothing is read by them."""


class _Read(NamedTuple):
    """The table as it was read: its columns of paths and of labels, where a person finds each row, and what is to be
    said of it."""

    table: pa.Table
    path: str
    label: str
    unit: str
    numbers: Sequence[int]
    notes: list[str]

    def place(self, row: int) -> str:
        return f"{self.unit} {self.numbers[row]}"

    def without(self, rows: set[int], note: str) -> "_Read":
        kept = [row for row in range(len(self.table)) if row not in rows]
        table, numbers = self.table.take(pa.array(kept, pa.int64())), [self.numbers[row] for row in kept]
        return self._replace(table=table, numbers=numbers, notes=[*self.notes, note])


@dataclass(frozen=True)
class Table:
    """Each row is a sample; its path is relative to the file's own folder, or absolute. Backslashes, as Windows has
    them, and either of Unicode's forms lead to a file too, where none is called just so.

    Attributes:
        path: the file.
        root: the folder under which all images must lie; None: the file's own.
        images: the folder from which relative paths lead; None: the file's own.
        separator: between the values of a line; a blank: any white space; empty: found out.
        columns: their names, where the first line does not hold them but a sample.
        named: the columns of paths and of labels; where the first line holds no names, their numbers from 1.
        skip_missing: whether a row without a label, of a file that is not there or that stands in a row before is left
            out and told, in place of refused.
    """

    path: Path
    root: Path | None = None
    images: Path | None = None
    separator: str = ""
    columns: tuple[str, ...] = ()
    named: tuple[str, str] = _COLUMNS
    skip_missing: bool = False
    form: ClassVar[str] = "a CSV, TSV, JSON lines or Parquet with the columns path and label"

    @classmethod
    def accepts(cls, path: Path) -> bool:
        is_parquet = path.suffix.lower() == ".parquet" and not bytes_columns(path)
        return path.is_file() and (bool(kind_of(path)) or is_parquet)

    @classmethod
    def open(cls, path: Path, **settings: Any) -> "Table":
        table = cls(path, **settings)
        if not table._around.is_dir():
            raise SourceError(f"--root {table._around}: is no folder; give the one under which the images lie")
        table._require_paths()
        require_labels(path, table.listing().column("label"), table._read.place)
        return table

    @property
    def _around(self) -> Path:
        return self.root or self.path.parent

    @property
    def _from(self) -> Path:
        return self.images or self.path.parent

    @property
    def _is_parquet(self) -> bool:
        return self.path.suffix.lower() == ".parquet"

    def fingerprint(self, *, moved: bool = False) -> str:
        own = footer(self.path) if self._is_parquet else read_bytes(self.path)
        return fingerprint(self.listing(), own, facts_of(self._stamps(), moved=moved))

    def stamps(self) -> pa.Table:
        return stamped(self.listing().column("path").to_pylist(), self._stamps())

    def _stamps(self) -> list[Stamp]:
        return [Stamp.of(self.file(path).stat()) for path in self.listing().column("path").to_pylist()]

    def listing(self) -> pa.Table:
        return _listing(self.path, self._read)

    def notes(self) -> list[str]:
        return [*self._read.notes, *doubtful_labels(self.listing().column("label"))]

    @property
    def test(self) -> None:
        return None

    def places(self) -> list[Path]:
        return [self.path]

    def file(self, path: str) -> Path:
        return found_file(self._from, path)

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        return threaded(images.read, map(self.file, paths), workers=_READERS)

    @cached_property
    def _read(self) -> _Read:
        """Reading a large table takes long, so once."""
        read = self._parsed()
        return self._with_what_is_there(read) if self.skip_missing else read

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _parsed(self) -> _Read:
        if self._is_parquet:
            table = read_parquet(self.path)
            self._require_columns(table.column_names)
            return _Read(table, *self.named, "row", range(1, len(table) + 1), [])
        content = read_delimited(self.path, separator=self.separator, columns=self.columns, wanted=self.named)
        if content.names is not None:
            self._require_columns(content.names)
            return _Read(table_of(content, content.names), *self.named, "line", content.lines, [])
        numbers = [str(number) for number in range(1, len(content.rows[0]) + 1)]
        of_files = [number for number, cell in zip(numbers, content.rows[0], strict=True) if self._is_there(cell or "")]
        if not of_files:
            self._require_columns([cell or "" for cell in content.rows[0]])
        path, label = self.named if self.named != _COLUMNS else self._numbered(numbers, of_files)
        require_columns(self.path, numbers, (path, label))
        note = f"the first line of {self.path.name} holds no names but an image: column {path} was read as the path,"
        note += f" column {label} as the label"
        named = [{path: "path", label: "label"}.get(number, f"column_{number}") for number in numbers]
        return _Read(table_of(content, named), *_COLUMNS, "line", content.lines, [note])

    def _numbered(self, numbers: list[str], of_files: list[str]) -> tuple[str, str]:
        """The columns of paths and labels of a table without names."""
        if len(numbers) != 2 or len(of_files) != 1:
            what = "its first line holds no names of columns but an image"
            raise SourceError(f"{self.path}: {what}; say which are which by their numbers, --columns path=1,label=2")
        (path,) = of_files
        return path, next(number for number in numbers if number != path)

    def _require_columns(self, found: list[str]) -> None:
        """Raise SourceError where columns are missing; the message names those that may be meant."""
        lower = {name.strip().lower(): name for name in reversed(found)}
        meant = []
        for wanted, others in zip(self.named, (_PATHS, _LABELS), strict=True):
            meant.append(wanted if wanted in found else next((lower[name] for name in others if name in lower), ""))
        hint = ""
        if self.named == _COLUMNS and all(meant):
            hint = f"; give --columns path={meant[0]},label={meant[1]}"
        elif self.named == _COLUMNS:
            hint = "; where they are called otherwise, give --columns path=NAME,label=NAME"
        require_columns(self.path, found, self.named, hint)

    def _with_what_is_there(self, read: _Read) -> _Read:
        """`read` without rows of nothing, each kind told."""
        listing = _listing(self.path, read)
        paths, labels = listing.column("path").to_pylist(), listing.column("label").to_pylist()
        blank = {int(row) for name in _COLUMNS for row in blank_rows(listing.column(name))}
        missing = {row for row, path in enumerate(paths) if row not in blank and not self._is_there(path)}
        first: dict[str, int] = {}
        again = set()
        for row, path in enumerate(paths):
            if row in blank | missing:
                continue
            before = first.setdefault(posixpath.normpath(self._from / path), row)
            if before != row and labels[before] == labels[row]:
                again.add(row)
        kinds = {"missing file": missing, "row without path or label": blank, "repeated row": again}
        reasons = [_told(what, [read.place(row) for row in sorted(rows)]) for what, rows in kinds.items() if rows]
        return read.without(blank | missing | again, f"left out: {', '.join(reasons)}") if reasons else read

    def _is_there(self, path: str) -> bool:
        return is_file(found_file(self._from, path))

    def _require_paths(self) -> None:
        """Check that each path is of a file under the root, and of another than the rows before.

        Raises:
            SourceError: some path is not.
        """
        read, own, column = self._read, self._from, self.listing().column("path")
        skip = "; or leave them out, --skip-missing"
        blank = [read.place(row) for row in blank_rows(column)]
        refuse(self.path, "empty path", blank, f"write the path of the image, or remove the row{skip}")
        where = "the file's folder" if own == self.path.parent else str(own)
        paths = column.to_pylist()

        def complain(what: str, rows: list[int], remedy: str) -> None:
            refuse(self.path, what, [f"{read.place(row)} ({paths[row]})" for row in rows], remedy)

        found = [str(found_file(own, path)) for path in paths]
        strange = those_outside(own, self._around, found)
        remedy = f"give the folder that holds them all, --root {common(own, found)}"
        complain(f"path outside {self._around}", strange, remedy)
        missing = [row for row, path in enumerate(found) if not is_file(Path(path))]
        complain("missing file", missing, f"write paths relative to {where}{skip}")
        again = repeated_rows([posixpath.normpath(path) for path in found])
        remedy = "leave one label of it" if self.skip_missing else f"keep one row an image{skip}"
        complain("the same path again", again, remedy)


def _told(what: str, places: list[str]) -> str:
    """`3 missing files (line 4, line 9, line 17)`."""
    many = what.replace("row ", "rows ") if what.startswith("row ") else f"{what}s"
    return f"{counted(len(places), what, many)} ({shown(places)})"


def _listing(file: Path, read: _Read) -> pa.Table:
    others = [name for name in read.table.column_names if name not in (read.path, read.label)]
    labels = as_labels(as_text(file, read.table, read.label))
    paths = as_text(file, read.table, read.path)
    return pa.table({"path": paths, "label": labels} | {name: read.table.column(name) for name in others})
