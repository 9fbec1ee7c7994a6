"""A folder of class folders, as training frameworks read them."""

import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar

import pyarrow as pa
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from cleaner.data.exporters import images_of
from cleaner.data.listings import split_of
from cleaner.data.receipts import RECEIPT
from cleaner.data.sources import Source
from cleaner.errors import SourceError
from cleaner.progress import track
from cleaner.words import counted

CLASSES = "classes.csv"
_LONGEST_NAME = 200
"""Bytes of a file's or folder's name; file systems take 255, and a suffix must fit."""


@dataclass(frozen=True)
class ImageFolder:
    """OUT/CLASS/FILE, or OUT/SPLIT/CLASS/FILE of a data set with splits.

    Every class gets one folder: its name, or where that can't be a folder's name (`a/b`, `..`) one like it;
    OUT/classes.csv lists which folder is which class.
    """

    copy: Annotated[
        bool,
        Field(description="copy the files instead of linking to them; images that lie in a table are always written"),
    ] = False

    folder: ClassVar[bool] = True

    def write(self, table: pa.Table, manifest: pa.Table, source: Source, place: Path) -> str:
        paths, labels = table.column("path").to_pylist(), table.column("label").to_pylist()
        splits = _splits(table)
        names = _Names(place, sorted(set(labels)), sorted(set(splits)))
        names.list_classes()
        link = not self.copy and bool(paths) and source.file(paths[0]) is not None
        images = track(images_of(table, manifest, source), len(paths), "images linked" if link else "images written")
        for split, label, path, image in zip(splits, labels, paths, images, strict=True):
            file = source.file(path)
            name = PurePosixPath(path).name if file is not None else _named_by_format(path, image)
            target = names.take(split, label, name)
            if link:
                target.symlink_to(Path(os.path.realpath(str(file))))
            else:
                target.write_bytes(image)
        return f"{counted(len(paths), 'link')} to the files they are" if link else counted(len(paths), "copy", "copies")


def _splits(table: pa.Table) -> list[str]:
    """Of each sample the folder of its split; empty where the data set has none."""
    column = table.column("split").to_pylist() if "split" in table.column_names else [""]
    known = all(isinstance(split, str) and bool(split_of(split)) for split in column)
    return column if known and len(column) == len(table) else [""] * len(table)


class _Names:
    """Free names under `folder`: one folder a class, and no name twice in it, however file systems see its case."""

    def __init__(self, folder: Path, labels: list[str], splits: list[str]) -> None:
        self._root = folder
        self._taken: dict[str, int] = {CLASSES.casefold(): 1, RECEIPT.casefold(): 1}
        self._classes = {label: self._free(_safe(label)) for label in labels}
        for split in splits:
            for name in self._classes.values():
                (folder / split / name).mkdir(parents=True, exist_ok=True)

    def list_classes(self) -> None:
        with (self._root / CLASSES).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("folder", "label"), *((name, label) for label, name in self._classes.items())])

    def take(self, split: str, label: str, name: str) -> Path:
        return self._root / self._free(PurePosixPath(split, self._classes[label], _safe(name)).as_posix())

    def _free(self, path: str) -> str:
        """`path`, or where that is taken `path` with the next number before its suffix."""
        wanted, free = PurePosixPath(path), path
        while free.casefold() in self._taken:
            number = self._taken[path.casefold()] = self._taken[path.casefold()] + 1
            free = str(wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}"))
        self._taken[free.casefold()] = 1
        return free


def _safe(name: str) -> str:
    """`name` as one folder or file name that stays where it is put."""
    name = re.sub(r"[\x00-\x1f\x7f\\/]", "_", name)
    if name in {"", ".", ".."}:
        return "_" + name.replace(".", "_")
    suffix = PurePosixPath(name).suffix
    room = _LONGEST_NAME - len(os.fsencode(suffix))
    if len(os.fsencode(name)) <= _LONGEST_NAME or room <= 0:
        return _cut(name, _LONGEST_NAME)
    return _cut(name.removesuffix(suffix), room) + suffix


def _cut(name: str, most: int) -> str:
    return os.fsencode(name)[:most].decode(errors="ignore")


def _named_by_format(path: str, image: bytes) -> str:
    """The path's name, with the suffix that the image's format has."""
    name = PurePosixPath(path.replace("\\", "/")).name or "image"
    try:
        with Image.open(io.BytesIO(image)) as opened:
            kind = opened.format
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise SourceError(f"{path}: is no image any more ({error}); mend the data set and export again") from error
    suffixes = Image.registered_extensions()
    if suffixes.get(PurePosixPath(name).suffix.lower()) == kind:
        return name
    return name + _SUFFIX.get(str(kind), f".{str(kind).lower()}")


_SUFFIX = {"JPEG": ".jpg", "TIFF": ".tif"}
