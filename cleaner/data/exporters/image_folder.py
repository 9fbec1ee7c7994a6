"""A folder of class folders, as training frameworks read them."""

import csv
import io
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import pyarrow as pa
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from cleaner.data.exporters import Exported, clean, images_of
from cleaner.data.listings import SPLITS
from cleaner.data.sources import Source
from cleaner.errors import InputError, SourceError
from cleaner.progress import track
from cleaner.run.files import storage_error

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

    def export(self, standing: pa.Table, manifest: pa.Table, source: Source, out: Path, *, force: bool) -> Exported:
        out = out.absolute()
        _check_place(out, force=force)
        table = clean(standing, manifest)
        partial, old = (out.with_name(f".{out.name}.cleaner-{what}") for what in ("partial", "old"))
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            linked = self._fill(partial, table, manifest, source)
            if out.exists():
                shutil.rmtree(old, ignore_errors=True)
                out.replace(old)
            partial.replace(out)
        except OSError as error:
            raise storage_error(out, error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
        copied = len(table) - linked
        words = [f"{linked:,} links to the files they are" if linked else "", f"{copied:,} copies" if copied else ""]
        return Exported(len(table), ", ".join(filter(None, words)))

    def _fill(self, folder: Path, table: pa.Table, manifest: pa.Table, source: Source) -> int:
        """Put all images into `folder`; how many are links."""
        paths, labels = table.column("path").to_pylist(), table.column("label").to_pylist()
        splits = _splits(table)
        names = _Names(folder, sorted(set(labels)), sorted(set(splits)))
        names.list_classes()
        places = list(zip(splits, labels, paths, strict=True))
        if not self.copy and paths and source.file(paths[0]) is not None:
            sizes = dict(zip(*(manifest.column(name).to_pylist() for name in ("path", "bytes")), strict=True))
            for split, label, path in track(places, len(places), "images linked"):
                _link(Path(str(source.file(path))), names.take(split, label, PurePosixPath(path).name), sizes[path])
            return len(paths)
        images = track(images_of(table, manifest, source), len(places), "images written")
        for (split, label, path), image in zip(places, images, strict=True):
            name = _named_by_format(path, image) if source.file(path) is None else PurePosixPath(path).name
            names.take(split, label, name).write_bytes(image)
        return 0


def _link(file: Path, target: Path, size: int) -> None:
    if not file.is_file():
        raise SourceError(f"{file}: is gone since it was scanned; put it back and export again")
    if file.stat().st_size != size:
        raise SourceError(f"{file}: has changed since it was scanned; clean the data set anew in a new run")
    target.symlink_to(file.resolve())


def _check_place(out: Path, *, force: bool) -> None:
    """Raise InputError where something lies at `out` that is not to be replaced. What is no image folder that cleaner
    wrote is never replaced."""
    if not out.is_symlink() and (not out.exists() or (out.is_dir() and not any(out.iterdir()))):
        return
    ours = out.is_dir() and not out.is_symlink() and (out / CLASSES).is_file()
    if not ours:
        raise InputError(f"{out}: is there already and not empty; give --out a new folder, or remove this one")
    if not force:
        raise InputError(f"{out}: is there already; give --out a new folder, or --force to replace it")


def _splits(table: pa.Table) -> list[str]:
    """Of each sample the folder of its split; empty where the data set has none."""
    column = table.column("split").to_pylist() if "split" in table.column_names else [""]
    known = all(isinstance(split, str) and split.lower() in SPLITS for split in column)
    return column if known and len(column) == len(table) else [""] * len(table)


class _Names:
    """Free names under `folder`: one folder a class, and no name twice in it, however file systems see its case."""

    def __init__(self, folder: Path, labels: list[str], splits: list[str]) -> None:
        self._root = folder
        self._taken: dict[str, int] = {CLASSES.casefold(): 1}
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
