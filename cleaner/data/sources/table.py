"""A CSV or Parquet that names image files and their labels."""

import csv
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from cleaner.data import images
from cleaner.data.listings import (
    as_text,
    blank_rows,
    fingerprint,
    refuse,
    repeated_rows,
    require_columns,
    require_labels,
    unreadable,
)
from cleaner.data.parquet import bytes_columns, footer, read_parquet
from cleaner.errors import SourceError
from cleaner.threads import threaded

_ABSOLUTE = re.compile(r"/|\\\\|[A-Za-z]:[\\/]")
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
    """Each row is a sample; `path` is relative to the file's own folder, with forward slashes, and stays in it."""

    path: Path
    form: ClassVar[str] = "a CSV or Parquet with the columns path and label"

    @classmethod
    def accepts(cls, path: Path) -> bool:
        kind = path.suffix.lower()
        return path.is_file() and (kind == ".csv" or (kind == ".parquet" and not bytes_columns(path)))

    @classmethod
    def open(cls, path: Path) -> "Table":
        content = _content(path)
        listing = _listing(path, content)
        _require_paths(path, listing.column("path"), content)
        require_labels(path, listing.column("label"), content.place)
        return cls(path)

    def fingerprint(self) -> str:
        own = self.path.read_bytes() if self.path.suffix.lower() == ".csv" else footer(self.path)
        return fingerprint(self.listing(), own)

    def listing(self) -> pa.Table:
        return _listing(self.path, _content(self.path))

    def file(self, path: str) -> Path:
        return self.path.parent / path

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        return threaded(images.read, map(self.file, paths), workers=_READERS)


def _content(file: Path) -> _Content:
    if file.suffix.lower() == ".csv":
        return _read_csv(file)
    table = read_parquet(file)
    return _Content(table, "row", range(1, len(table) + 1))


def _listing(file: Path, content: _Content) -> pa.Table:
    table = content.table
    require_columns(file, table.column_names, _COLUMNS)
    others = [name for name in table.column_names if name not in _COLUMNS]
    texts = {name: as_text(file, table, name) for name in _COLUMNS}
    return pa.table(texts | {name: table.column(name) for name in others})


def _read_csv(file: Path) -> _Content:
    records, lines = [], []
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
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
    return _tabulated(file, records, lines)


def _tabulated(file: Path, records: list[list[str]], lines: list[int]) -> _Content:
    header, *body = records
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        raise SourceError(f"{file}: its columns are not separated by commas ({header[0]!r}); save it with commas")
    require_columns(file, header, _COLUMNS)
    ragged = [f"line {lines[n]} ({len(record)})" for n, record in enumerate(records) if len(record) != len(header)]
    refuse(file, f"lines with other than {len(header)} values", ragged, "quote values that hold a comma")
    columns = zip(*body, strict=True) if body else [()] * len(header)
    table = pa.table({name: pa.array(values, pa.string()) for name, values in zip(header, columns, strict=True)})
    return _Content(table, "line", lines[1:])


def _require_paths(file: Path, column: pa.ChunkedArray, content: _Content) -> None:
    """Check that each path is of a file under the table's folder, and of another than the rows before.

    Raises:
        SourceError: some path is not.
    """
    blank = [content.place(row) for row in blank_rows(column)]
    refuse(file, "empty path", blank, "write the path of the image, or remove the row")
    paths, root, relative = column.to_pylist(), file.parent, "paths relative to the file's folder"

    def complain(what: str, rows: list[int], remedy: str) -> None:
        refuse(file, what, [f"{content.place(row)} ({paths[row]})" for row in rows], remedy)

    absolute = [row for row, path in enumerate(paths) if _ABSOLUTE.match(path)]
    complain("absolute path", absolute, f"write {relative}")
    complain("path outside the file's folder", _outside(root, paths), f"move the images there; {relative}")
    missing = [row for row, path in enumerate(paths) if not _is_file(root / path)]
    complain("missing file", missing, f"write {relative}, with forward slashes")
    complain("the same path again", repeated_rows(list(map(posixpath.normpath, paths))), "keep one row an image")


def _outside(root: Path, paths: list[str]) -> list[int]:
    """The rows whose path leaves `root`, by `..` or through a link to a folder. A link to a file may lead anywhere."""
    real_root = os.path.realpath(root)
    folders = [posixpath.dirname(path) for path in paths]
    inside = {folder: _is_inside(real_root, folder) for folder in set(folders)}
    return [row for row, folder in enumerate(folders) if not inside[folder]]


def _is_inside(real_root: str, folder: str) -> bool:
    try:
        return Path(os.path.realpath(Path(real_root, folder))).is_relative_to(real_root)
    except ValueError:  # A null character: no file has such a path, so it will be missing.
        return True


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
