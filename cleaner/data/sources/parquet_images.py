"""Parquet files that hold the encoded images themselves."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
    split_of,
    unreadable,
)
from cleaner.data.parquet import bytes_columns, footer, parquet_files, read_parquet
from cleaner.errors import SourceError

_BATCH = 32


class _Group(NamedTuple):
    """A row group, which of the data set's rows are in it, and the stamp of its file: another file under the same name
    has other groups."""

    file: Path
    facts: Stamp
    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class ParquetImages:
    """One Parquet file, or a folder of them taken in the order of their names; each row is a sample. Files that are
    called as splits are, all of them and at least two ways (`train-00000-of-00002`, `test`), give a column `split`.

    The images are in the column of bytes, or of the Hugging Face `struct<bytes, path>`; of several such columns in
    `image`. A sample's path is its `path` column, without one its row number, from 0.

    Attributes:
        path: the file or folder.
        label: the column of labels.
    """

    path: Path
    label: str = "label"
    form: ClassVar[str] = "a Parquet, or a folder of Parquet files, with image bytes and the column label"

    @classmethod
    def accepts(cls, path: Path) -> bool:
        return any(bytes_columns(file) for file in parquet_files(path))

    @classmethod
    def open(cls, path: Path, **settings: Any) -> "ParquetImages":
        source = cls(path, **settings)
        for file in parquet_files(path):
            _images_in(file)
        listing = source.listing()
        paths = listing.column("path")
        refuse(path, "empty path", _places(blank_rows(paths)), "give each row a path, or drop the column")
        refuse(path, "the same path again", _places(repeated_rows(paths.to_pylist())), "give each row another path")
        require_labels(path, listing.column("label"), _place)
        return source

    def fingerprint(self, *, moved: bool = False) -> str:
        files = parquet_files(self.path)
        facts = facts_of((Stamp.of(file.stat()) for file in files), moved=moved)
        return fingerprint(self.listing(), facts, *map(footer, files))

    def listing(self) -> pa.Table:
        try:
            table = pa.concat_tables([self._listing(file) for file in parquet_files(self.path)])
        except pa.ArrowInvalid as error:
            message = f"{self.path}: its Parquet files differ in their columns ({error})"
            raise SourceError(f"{message}; give one file, or files of the same columns") from error
        if "path" in table.column_names:
            return table
        return table.add_column(0, "path", pa.array(map(str, range(len(table))), pa.string()))

    def notes(self) -> list[str]:
        notes = [f"read as splits: {', '.join(sorted(set(self._splits.values())))}"] if self._splits else []
        return notes + doubtful_labels(self.listing().column("label"))

    @property
    def _splits(self) -> dict[Path, str]:
        """Of each file the split that it is; nothing where they are not called so."""
        names = {file: re.sub(r"-\d+-of-\d+$", "", file.stem) for file in parquet_files(self.path)}
        return names if all(map(split_of, names.values())) and len(set(names.values())) > 1 else {}

    def _listing(self, file: Path) -> pa.Table:
        table = _listing(file, self.label)
        if not self._splits or "split" in table.column_names:
            return table
        return table.append_column("split", pa.array([self._splits[file]] * len(table), pa.string()))

    @property
    def test(self) -> None:
        return None

    def places(self) -> list[Path]:
        return [self.path]

    def file(self, path: str) -> None:
        return None

    def stamps(self) -> None:
        return None

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        for group in _groups(parquet_files(self.path)):
            first, last = np.searchsorted(rows, (group.start, group.stop))
            if first < last:
                yield from self._read_group(group, rows[first:last] - group.start)

    def _read_group(self, group: _Group, rows: np.ndarray) -> Iterator[bytes]:
        """The images of the ascending `rows`, counted from the group's first; a null is an empty image."""
        # Taken out while it is used, so that two readers never share one.
        reader = next((self._readers.pop() for kept in self._readers if kept.group == group), None)
        if reader is None or reader.start > rows[0]:
            reader = _Reader(group)
        try:
            for row in rows:
                yield reader.image(int(row))
        except (OSError, pa.ArrowInvalid) as error:
            raise unreadable(group.file, error) from error
        self._readers[:] = [reader]

    @cached_property
    def _readers(self) -> list["_Reader"]:
        """The reader that was used last, if any: who reads on where it stopped need not decode all before again."""
        return []

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "label": self.label}


def _place(row: int) -> str:
    return f"row {row + 1}"


def _places(rows: Iterable[int]) -> list[str]:
    return [_place(row) for row in rows]


def _images_in(file: Path) -> str:
    """Where in a file's columns the encoded images are.

    Raises:
        SourceError: there is no such column, or more than one might be it.
    """
    columns = bytes_columns(file)
    if len(columns) == 1:
        return next(iter(columns.values()))
    if "image" not in columns:
        found = f"columns of bytes: {', '.join(columns) or 'none'}"
        raise SourceError(f"{file}: it is not clear which column holds the images ({found}); name it image")
    return columns["image"]


def _listing(file: Path, label: str) -> pa.Table:
    names, hidden = pq.read_schema(file).names, bytes_columns(file)
    require_columns(file, names, [label])
    table = read_parquet(file, [name for name in names if name not in hidden])
    texts = {"path": as_text(file, table, "path")} if "path" in names else {}
    texts["label"] = as_labels(as_text(file, table, label))
    others = [name for name in table.column_names if name not in (*texts, label)]
    return pa.table(texts | {name: table.column(name) for name in others})


def _groups(files: list[Path]) -> Iterator[_Group]:
    start = 0
    for file in files:
        metadata, status = pq.read_metadata(file), file.stat()
        for number in range(metadata.num_row_groups):
            stop = start + metadata.row_group(number).num_rows
            yield _Group(file, Stamp.of(status), number, start, stop)
            start = stop


class _Reader:
    """Goes through the images of one row group, a batch at a time; `start` is the first row that it can still give."""

    def __init__(self, group: _Group) -> None:
        self.group = group
        self.start = 0
        self._batch: pa.Array = pa.array([], pa.binary())
        self._batches = _batches(group)

    def image(self, row: int) -> bytes:
        """The image of `row`, not lower than `start`."""
        while row >= self.start + len(self._batch):
            self.start += len(self._batch)
            self._batch = next(self._batches)
        return self._batch[row - self.start].as_py() or b""


def _batches(group: _Group) -> Iterator[pa.Array]:
    column = _images_in(group.file)
    with pq.ParquetFile(group.file, memory_map=True) as parquet:
        for batch in parquet.iter_batches(_BATCH, row_groups=[group.number], columns=[column]):
            values = batch.column(0)
            yield values.field("bytes") if pa.types.is_struct(values.type) else values
