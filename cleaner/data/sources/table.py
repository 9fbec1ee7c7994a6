"""A CSV or Parquet that names image files and their labels."""

import csv
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from cleaner.data import images
from cleaner.data.listings import (
    Stamp,
    as_labels,
    as_text,
    blank_rows,
    facts_of,
    fingerprint,
    look_alikes,
    refuse,
    repeated_rows,
    require_columns,
    require_labels,
    stamped,
    unreadable,
)
from cleaner.data.parquet import bytes_columns, footer, read_parquet
from cleaner.errors import SourceError
from cleaner.threads import threaded

_COLUMNS = ("path", "label")
_READERS = 4


class _Content(NamedTuple):
    """The table as it stands in the file, and where a person finds each row there."""

    table: pa.Table
    unit: str
    numbers: Sequence[int]

    def place(self, row: int) -> str:
        return f"{self.unit} {self.numbers[row]}"


@dataclass(frozen=True)
class Table:
    """Each row is a sample; its `path` is relative to the file's own folder, with forward slashes, or absolute.

    Attributes:
        path: the file.
        root: the folder under which all images must lie; None: the file's own.
        images: the folder from which relative paths lead; None: the file's own.
        separator: between the values of a line; a blank: any white space.
        columns: their names, where the first line does not hold them but a sample.
        named: the columns of paths and of labels.
    """

    path: Path
    root: Path | None = None
    images: Path | None = None
    separator: str = ","
    columns: tuple[str, ...] = ()
    named: tuple[str, str] = _COLUMNS
    form: ClassVar[str] = "a CSV or Parquet with the columns path and label"

    @classmethod
    def accepts(cls, path: Path) -> bool:
        kind = path.suffix.lower()
        return path.is_file() and (kind == ".csv" or (kind == ".parquet" and not bytes_columns(path)))

    @classmethod
    def open(cls, path: Path, **settings: Any) -> "Table":
        table = cls(path, **settings)
        if not table._around.is_dir():
            raise SourceError(f"--root {table._around}: is no folder; give the one under which the images lie")
        content = table._content()
        listing = table._listing(content)
        _require_paths(path, table._around, table._from, listing.column("path"), content)
        require_labels(path, listing.column("label"), content.place)
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
        own = footer(self.path) if self._is_parquet else self.path.read_bytes()
        return fingerprint(self.listing(), own, facts_of(self._stamps(), moved=moved))

    def stamps(self) -> pa.Table:
        return stamped(self.listing().column("path").to_pylist(), self._stamps())

    def _stamps(self) -> list[Stamp]:
        return [Stamp.of(self.file(path).stat()) for path in self.listing().column("path").to_pylist()]

    def listing(self) -> pa.Table:
        return self._listing(self._content())

    def notes(self) -> list[str]:
        return look_alikes(self.listing().column("label"))

    def places(self) -> list[Path]:
        return [self.path]

    def file(self, path: str) -> Path:
        return self._from / path

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        return threaded(images.read, map(self.file, paths), workers=_READERS)

    def _content(self) -> _Content:
        if not self._is_parquet:
            return _read_csv(self)
        table = read_parquet(self.path)
        return _Content(table, "row", range(1, len(table) + 1))

    def _listing(self, content: _Content) -> pa.Table:
        table = content.table
        require_columns(self.path, table.column_names, self.named)
        path, label = self.named
        others = [name for name in table.column_names if name not in self.named]
        labels = as_labels(as_text(self.path, table, label))
        return pa.table(
            {"path": as_text(self.path, table, path), "label": labels} | {name: table.column(name) for name in others}
        )


def _read_csv(source: Table) -> _Content:
    file = source.path
    records, lines = [], []
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(_evenly(stream, source.separator), delimiter=source.separator, strict=True)
            for record in filter(None, reader):
                records.append(record)
                lines.append(reader.line_num)
    except OSError as error:
        raise unreadable(file, error) from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}: no UTF-8 after byte {error.start}; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise SourceError(f"{file}: line {reader.line_num}: {error}; mend the quotes or the line") from error
    if not records:
        raise SourceError(f"{file}: empty; it needs a line with the column names path,label and a line an image")
    return _tabulated(source, records, lines)


def _evenly(lines: Iterable[str], separator: str) -> Iterable[str]:
    """Where a blank stands for any white space, one blank each."""
    return (" ".join(line.split()) for line in lines) if separator == " " else lines


def _tabulated(source: Table, records: list[list[str]], lines: list[int]) -> _Content:
    file = source.path
    if source.columns:
        header, body = list(source.columns), records
    else:
        header, *body = records
        lines = lines[1:]
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        raise SourceError(f"{file}: its columns are not separated by commas ({header[0]!r}); save it with commas")
    require_columns(file, header, source.named)
    ragged = [
        f"line {line} ({len(record)})" for line, record in zip(lines, body, strict=True) if len(record) != len(header)
    ]
    refuse(file, f"lines with other than {len(header)} values", ragged, "quote values that hold a comma")
    columns = zip(*body, strict=True) if body else [()] * len(header)
    # Lists without a header are written by hand: `path, 3, 1`.
    text = str.strip if source.columns else str
    table = pa.table(
        {name: pa.array(map(text, values), pa.string()) for name, values in zip(header, columns, strict=True)}
    )
    return _Content(table, "line", lines)


def _require_paths(file: Path, root: Path, own: Path, column: pa.ChunkedArray, content: _Content) -> None:
    """Check that each path, from the folder `own`, is of a file under `root`, and of another than the rows before.

    Raises:
        SourceError: some path is not.
    """
    blank = [content.place(row) for row in blank_rows(column)]
    refuse(file, "empty path", blank, "write the path of the image, or remove the row")
    where = "the file's folder" if own == file.parent else str(own)
    paths, relative = column.to_pylist(), f"paths relative to {where}"

    def complain(what: str, rows: list[int], remedy: str) -> None:
        refuse(file, what, [f"{content.place(row)} ({paths[row]})" for row in rows], remedy)

    outside = _outside(own, root, paths)
    complain(f"path outside {root}", outside, f"give the folder that holds them all, --root {_common(own, paths)}")
    missing = [row for row, path in enumerate(paths) if not _is_file(own / path)]
    complain("missing file", missing, f"write {relative}, with forward slashes")
    complain(
        "the same path again",
        repeated_rows([posixpath.normpath(own / path) for path in paths]),
        "keep one row an image",
    )


def _outside(own: Path, root: Path, paths: list[str]) -> list[int]:
    """The rows whose path, from the folder `own`, leads out of `root`, by `..`, as an absolute one or through a link to
    a folder. A link to a file may lead anywhere."""
    real_root = os.path.realpath(root)
    folders = [posixpath.dirname(path) for path in paths]
    inside = {folder: _is_inside(real_root, own / folder) for folder in set(folders)}
    return [row for row, folder in enumerate(folders) if not inside[folder]]


def _common(own: Path, paths: list[str]) -> str:
    """The deepest folder that holds all `paths`."""
    folders = {posixpath.dirname(path) for path in paths if "\0" not in path}
    return os.path.commonpath([os.path.realpath(own / folder) for folder in [*folders, ""]])


def _is_inside(real_root: str, folder: Path) -> bool:
    try:
        return Path(os.path.realpath(folder)).is_relative_to(real_root)
    except ValueError:  # A null character: no file has such a path, so it will be missing.
        return True


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
