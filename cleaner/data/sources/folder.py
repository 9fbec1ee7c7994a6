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
from cleaner.data.listings import (
    Stamp,
    as_labels,
    doubtful_labels,
    facts_of,
    fingerprint,
    refuse,
    require_classes,
    split_of,
    stamped,
    unreadable,
)
from cleaner.data.parquet import SYSTEM_FOLDERS, parquet_files
from cleaner.errors import SourceError
from cleaner.threads import threaded
from cleaner.words import shown

_BESIDE_IMAGES = re.compile(
    r"(eh)?thumbs\.db|desktop\.ini|Icon\r|.*\.(csv|tsv|txt|jsonl?|xml|ya?ml|toml|md|rst|html|log|parquet|py)",
    re.IGNORECASE,
)
_READERS = 4
_LISTING = pa.schema([("path", pa.string()), ("label", pa.string())])


class _File(NamedTuple):
    path: str
    stamp: Stamp


class _Walked(NamedTuple):
    """All files that may be images, sorted by path; the folders that are not looked into, each with the reason; and
    those that are."""

    files: list[_File]
    left_out: dict[str, str]
    folders: list[str]


@dataclass(frozen=True)
class Folder:
    """Every file is a sample, and the first folder on its way is its class, as torchvision's ImageFolder has it:
    `apple/shop 3/7.jpg` is an `apple`.

    Folders that are called as splits are (`train`, `Testing`, `val_images`) and hold the same classes are no classes
    but splits: then the class is the folder within, and the listing has a column `split`. Where all folders are
    called so, and do not hold the same classes, nobody can tell, and it is refused. Hidden files and folders are left
    out, those of systems (recycle bins, Synology's thumbnails), and what often lies beside images: text, tables,
    thumbnail caches. What else is no image, and an image above the class folders, becomes a sample with a problem.
    Links are followed wherever they lead (who put one there meant it), save a link to a folder around itself.

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
        require_classes(path, listing.column("label"), folder._one_level_too_high())
        folder._refuse_unclear_splits()
        return folder

    def fingerprint(self, *, moved: bool = False) -> str:
        return fingerprint(self.listing(), facts_of((file.stamp for file in self._files), moved=moved))

    def stamps(self) -> pa.Table:
        return stamped([file.path for file in self._files], [file.stamp for file in self._files])

    def listing(self) -> pa.Table:
        paths = [file.path for file in self._files]
        labels = as_labels(pa.array([self._label(path) for path in paths], pa.string()))
        table = pa.table({"path": paths, "label": labels}, _LISTING)
        if not self._splits:
            return table
        return table.append_column("split", pa.array([path.partition("/")[0] for path in paths], pa.string()))

    def notes(self) -> list[str]:
        found = [*self._walked.left_out.items(), *self._beside_splits.items()]
        folders = [f"{folder} ({why})" for folder, why in sorted(found)]
        notes = [f"folders left out: {shown(folders, 5)}"] if found else []
        if self._splits:
            notes.append(f"read as splits, not as classes: {', '.join(sorted(self._splits))}")
        return notes + self._doubts() + doubtful_labels(self.listing().column("label"))

    @property
    def test(self) -> None:
        return None

    def places(self) -> list[Path]:
        return [self.root]

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
        folders: list[str] = []
        files = sorted(_walk(self.root, "", {_identity(self.root.stat())}, left_out, folders))
        return _Walked(files, left_out, folders)

    @cached_property
    def _splits(self) -> frozenset[str]:
        """The top folders that are splits."""
        classes = {top: within for top, within in self._within.items() if split_of(top) and within}
        splits = frozenset(top for top in classes if _shared(classes, top))
        return splits if len(splits) > 1 else frozenset()

    @cached_property
    def _within(self) -> dict[str, set[str]]:
        """Of each top folder that holds files the classes in it, if it is a split."""
        found: dict[str, set[str]] = {}
        for file in self._walked.files:
            top, *within = file.path.split("/")[:-1] or [""]
            if top:
                classes = found.setdefault(top, set())
                if len(within) >= self.class_depth:
                    classes.add("/".join(within[: self.class_depth]))
        return found

    def _one_level_too_high(self) -> str:
        """What to do where there is one class only; empty where nothing is known."""
        for top, within in self._within.items():
            if within and not self._splits:
                inner = shown(sorted(within))
                deeper = f"--set folder.class_depth={self.class_depth + 1}"
                return f"; {top} holds the folders {inner}: give {self.root / top}, or {deeper}"
        return ""

    def _refuse_unclear_splits(self) -> None:
        """Raise SourceError where all folders are called as splits are, and can't be any."""
        called = sorted(top for top in self._within if split_of(top))
        if self._splits or self.class_depth > 1 or len(called) < 2 or len(called) < len(self._within):
            return
        what = "hold no class folders" if not any(map(self._within.get, called)) else "do not hold the same classes"
        raise SourceError(
            f"{self.root}: the folders {shown(called)} are called as splits are, but {what}; give the one"
            " that holds class folders, or a table of paths and labels; if these are the classes, rename them"
        )

    def _doubts(self) -> list[str]:
        """Lines about folders that may not be what they were taken for."""
        notes = []
        classes = set() if self._splits or self.class_depth > 1 else set(self._within)
        if called := sorted(top for top in classes if split_of(top)):
            notes.append(f"taken for classes though they are called as splits are: {shown(called)}")
        inner = {name for top in classes for name in self._within[top]}
        common = sorted(name for name in inner if all(name in self._within[top] for top in classes))
        if common and len(classes) > 1:
            what = f"{shown(sorted(classes))}: taken for classes, though each holds"
            inner_ = f"the folders {shown(common)}"
            notes.append(f"{what} {inner_}; if those are the classes, give a table of paths and labels")
        inside = [
            folder for folder in self._walked.folders if not self._splits or folder.partition("/")[0] in self._splits
        ]
        empty = sorted(
            {self._label(f"{folder}/") for folder in inside} - {self._label(file.path) for file in self._files} - {""}
        )
        if empty:
            notes.append(f"classes without an image, left out: {shown(empty)}")
        return notes

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


def _walk(
    folder: Path, prefix: str, around: set[tuple[int, int]], left_out: dict[str, str], looked_into: list[str]
) -> Iterator[_File]:
    """The files under `folder`; `around` holds the identities of the folder and of those around it; `left_out` gets the
    folders that are not looked into, and `looked_into` those that are."""
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
            elif SYSTEM_FOLDERS.fullmatch(entry.name):
                left_out[path] = "a system's"
            elif identity in around:
                left_out[path] = "a link to a folder around it"
            else:
                looked_into.append(path)
                yield from _walk(Path(entry.path), f"{path}/", around | {identity}, left_out, looked_into)
        elif _is_sample(entry.name, status):
            yield _File(path, Stamp.of(status))


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
