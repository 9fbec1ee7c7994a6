"""A folder of class folders."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from cleaner.data import images
from cleaner.data.listings import fingerprint, refuse, require_classes, unreadable
from cleaner.data.parquet import parquet_files
from cleaner.threads import threaded

_BESIDE_IMAGES = re.compile(
    r"thumbs\.db|desktop\.ini|.*\.(csv|tsv|txt|jsonl?|xml|ya?ml|toml|md|rst|html|log|parquet|py)", re.IGNORECASE
)
_READERS = 4
_LISTING = pa.schema([("path", pa.string()), ("label", pa.string())])


class _File(NamedTuple):
    path: str
    size: int


@dataclass(frozen=True)
class Folder:
    """Every file is a sample, and the folder it lies in is its class: `fruit/red apple/7.jpg` is a `fruit/red apple`.

    Hidden files and folders are left out, and what often lies beside images: text, tables, thumbnail caches. What else
    is no image, and an image beside the class folders, becomes a sample with a problem. Links are followed wherever
    they lead (who put one there meant it), save a link to a folder around itself.
    """

    root: Path
    form: ClassVar[str] = "a folder of class folders"

    @classmethod
    def accepts(cls, path: Path) -> bool:
        return path.is_dir() and not parquet_files(path)

    @classmethod
    def open(cls, path: Path) -> "Folder":
        folder = cls(path)
        listing = folder.listing()
        if not any("/" in file.path for file in folder._files):
            found = listing.column("path").to_pylist()
            refuse(path, "images without a class", found, "put each into a folder that is named like its class")
        require_classes(path, listing.column("label"))
        return folder

    def fingerprint(self) -> str:
        return fingerprint(self.listing(), np.array([file.size for file in self._files], np.int64).tobytes())

    def listing(self) -> pa.Table:
        paths = [file.path for file in self._files]
        return pa.table({"path": paths, "label": [path.rpartition("/")[0] for path in paths]}, _LISTING)

    def file(self, path: str) -> Path:
        return self.root / path

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        return threaded(self._read, paths, workers=_READERS)

    def _read(self, path: str) -> bytes | OSError:
        if "/" not in path:
            return OSError("it lies beside the class folders, so it has no label")
        return images.read(self.file(path))

    @cached_property
    def _files(self) -> list[_File]:
        """All files, sorted by path: walking a large folder takes long, so once."""
        return sorted(_walk(self.root, "", {_identity(self.root.stat())}))

    def __getstate__(self) -> dict[str, Path]:
        return {"root": self.root}


def _walk(folder: Path, prefix: str, around: set[tuple[int, int]]) -> Iterator[_File]:
    """The files under `folder`; `around` holds the identities of the folder and of those around it."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry, _status(entry)) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise unreadable(folder, error) from error
    for entry, status in found:
        path = prefix + _readable(entry.name)
        if status is not None and stat.S_ISDIR(status.st_mode):
            identity = _identity(status)
            if identity not in around:
                yield from _walk(Path(entry.path), f"{path}/", around | {identity})
        elif _is_sample(entry.name, status):
            yield _File(path, -1 if status is None else status.st_size)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:  # A link to nothing: its sample will have a problem.
        return None


def _is_sample(name: str, status: os.stat_result | None) -> bool:
    is_file = status is None or stat.S_ISREG(status.st_mode)
    return is_file and not _BESIDE_IMAGES.fullmatch(name)


def _readable(name: str) -> str:
    """The name, or, of one that is no UTF-8, a text with escapes. A file of such a name can't be read by its path."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
