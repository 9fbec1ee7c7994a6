"""A folder of class folders."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from cleaner.data import images
from cleaner.data.listings import SPLITS, as_labels, fingerprint, look_alikes, refuse, require_classes, unreadable
from cleaner.data.parquet import parquet_files
from cleaner.tables import STAMPS
from cleaner.threads import threaded

_BESIDE_IMAGES = re.compile(
    r"thumbs\.db|desktop\.ini|.*\.(csv|tsv|txt|jsonl?|xml|ya?ml|toml|md|rst|html|log|parquet|py)", re.IGNORECASE
)
_READERS = 4
_SHOWN = 5
_LISTING = pa.schema([("path", pa.string()), ("label", pa.string())])


class _File(NamedTuple):
    """`size` in bytes and `changed` in whole seconds; -1 where it can't be looked at."""

    path: str
    size: int
    changed: int


class _Walked(NamedTuple):
    """All files that may be images, sorted by path, and the folders that are not looked into, each with the reason."""

    files: list[_File]
    left_out: dict[str, str]


@dataclass(frozen=True)
class Folder:
    """Every file is a sample, and the first folder on its way is its class, as torchvision's ImageFolder has it:
    `apple/shop 3/7.jpg` is an `apple`.

    Folders named train, val, valid, validation or test that hold the same classes are no classes but splits: then the
    class is the folder within, and the listing has a column `split`. Hidden files and folders are left out, and what
    often lies beside images: text, tables, thumbnail caches. What else is no image, and an image above the class
    folders, becomes a sample with a problem. Links are followed wherever they lead (who put one there meant it), save a
    link to a folder around itself.

    Attributes:
        root: the folder.
        class_depth: how many folders on a file's way make its class: with 2 `fruit/apple/7.jpg` is a `fruit/apple`.
    """

    root: Path
    class_depth: int = 1
    form: ClassVar[str] = "a folder of class folders"

    @classmethod
    def accepts(cls, path: Path) -> bool:
        return path.is_dir() and not parquet_files(path)

    @classmethod
    def open(cls, path: Path, **settings: Any) -> "Folder":
        folder = cls(path, **settings)
        listing = folder.listing()
        if not any(listing.column("label").to_pylist()):
            found = listing.column("path").to_pylist()
            deep = f" within {folder.class_depth - 1} more" if folder.class_depth > 1 else ""
            refuse(path, "images without a class", found, f"put each into a folder that is named like its class{deep}")
        require_classes(path, listing.column("label"))
        return folder

    def fingerprint(self) -> str:
        facts = np.array([(file.size, file.changed) for file in self._files], np.int64)
        return fingerprint(self.listing(), facts.tobytes())

    def stamps(self) -> pa.Table:
        return pa.table([list(column) for column in zip(*self._files, strict=True)], STAMPS)

    def listing(self) -> pa.Table:
        paths = [file.path for file in self._files]
        labels = as_labels(pa.array([self._label(path) for path in paths], pa.string()))
        table = pa.table({"path": paths, "label": labels}, _LISTING)
        if not self._splits:
            return table
        return table.append_column("split", pa.array([path.partition("/")[0] for path in paths], pa.string()))

    def notes(self) -> list[str]:
        found = [*self._walked.left_out.items(), *self._beside_splits.items()]
        shown = ", ".join(f"{folder} ({why})" for folder, why in sorted(found)[:_SHOWN])
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        said = [f"folders left out: {shown}{more}"] if found else []
        if self._splits:
            said.append(f"read as splits, not as classes: {', '.join(sorted(self._splits))}")
        return said + look_alikes(self.listing().column("label"))

    def file(self, path: str) -> Path:
        return self.root / path

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        return threaded(images.read, map(self.file, paths), workers=_READERS)

    def _label(self, path: str) -> str:
        """The class of a file; empty for one that lies above the class folders."""
        folders = path.split("/")[1 if self._splits else 0 : -1]
        return "/".join(folders[: self.class_depth]) if len(folders) >= self.class_depth else ""

    @property
    def _files(self) -> list[_File]:
        if not self._splits:
            return self._walked.files
        return [file for file in self._walked.files if file.path.partition("/")[0] in self._splits]

    @cached_property
    def _walked(self) -> _Walked:
        """Walking a large folder takes long, so once."""
        left_out: dict[str, str] = {}
        files = sorted(_walk(self.root, "", {_identity(self.root.stat())}, left_out))
        return _Walked(files, left_out)

    @cached_property
    def _splits(self) -> frozenset[str]:
        """The top folders that are splits."""
        classes: dict[str, set[str]] = {}
        for file in self._walked.files:
            top, *within = file.path.split("/")[:-1] or [""]
            if top.lower() in SPLITS and len(within) >= self.class_depth:
                classes.setdefault(top, set()).add("/".join(within[: self.class_depth]))
        splits = frozenset(top for top in classes if _shared(classes, top))
        return splits if len(splits) > 1 else frozenset()

    @cached_property
    def _beside_splits(self) -> dict[str, str]:
        tops = {file.path.partition("/")[0] for file in self._walked.files} if self._splits else set()
        return dict.fromkeys(tops - self._splits, "beside the splits")

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "class_depth": self.class_depth}


def _shared(classes: dict[str, set[str]], top: str) -> bool:
    """Whether at least half of the classes of the folder `top` are in another split's too."""
    others = set().union(*(names for name, names in classes.items() if name != top))
    return 2 * len(classes[top] & others) >= len(classes[top])


def _walk(folder: Path, prefix: str, around: set[tuple[int, int]], left_out: dict[str, str]) -> Iterator[_File]:
    """The files under `folder`; `around` holds the identities of the folder and of those around it, and `left_out`
    gets the folders that are not looked into."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry, _status(entry)) for entry in entries]
    except OSError as error:
        raise unreadable(folder, error) from error
    for entry, status in found:
        path = prefix + _readable(entry.name)
        if status is not None and stat.S_ISDIR(status.st_mode):
            identity = _identity(status)
            if entry.name.startswith("."):
                left_out[path] = "hidden"
            elif identity in around:
                left_out[path] = "a link to a folder around it"
            else:
                yield from _walk(Path(entry.path), f"{path}/", around | {identity}, left_out)
        elif _is_sample(entry.name, status):
            yield _File(path, *((-1, -1) if status is None else (status.st_size, int(status.st_mtime))))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:  # A link to nothing: its sample will have a problem.
        return None


def _is_sample(name: str, status: os.stat_result | None) -> bool:
    is_file = status is None or stat.S_ISREG(status.st_mode)
    return is_file and not name.startswith(".") and not _BESIDE_IMAGES.fullmatch(name)


def _readable(name: str) -> str:
    """The name, or, of one that is no UTF-8, a text with escapes that says so, and so is no other file's name. A file
    of such a name can't be read by its path."""
    try:
        return os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace") + " (no UTF-8)"
