"""A folder of class folders, as training frameworks read them."""

import io
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from cleaner.data.exporters import clean
from cleaner.data.sources import Source
from cleaner.errors import InputError, SourceError
from cleaner.progress import track
from cleaner.run.files import storage_error

_LONGEST_NAME = 200
"""Bytes of a file's or folder's name; file systems take 255, and a suffix must fit."""


@dataclass(frozen=True)
class ImageFolder:
    """OUT/CLASS/FILE; a class name's slashes make nested folders.

    Attributes:
        copy: copy the files instead of linking to them. Images that lie inside a table are always written.
    """

    copy: bool = False

    def export(self, standing: pa.Table, manifest: pa.Table, source: Source, out: Path) -> int:
        out = out.absolute()
        if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
            raise InputError(f"{out}: is there already and not empty; give --out a new folder, or remove this one")
        table = clean(standing, manifest)
        partial = out.with_name(f".{out.name}.cleaner-partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            self._fill(partial, table, manifest, source)
            partial.replace(out)
        except OSError as error:
            raise storage_error(out, error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return len(table)

    def _fill(self, folder: Path, table: pa.Table, manifest: pa.Table, source: Source) -> None:
        paths, labels = table.column("path").to_pylist(), table.column("label").to_pylist()
        names = _Names(folder, labels)
        files = [source.file(path) for path in paths]
        inside = [i for i, file in enumerate(files) if file is None]
        for i, file in track(list(enumerate(files)), len(files), "images linked"):
            if file is not None:
                self._place(file, names.take(labels[i], PurePosixPath(paths[i]).name))
        rows = np.asarray(_rows(table, manifest))[inside]
        images = source.read(rows, [paths[i] for i in inside])
        for i, image in track(zip(inside, images, strict=True), len(inside), "images written"):
            if isinstance(image, OSError):
                raise SourceError(f"{paths[i]}: can't be read ({image}); mend the data set and export again")
            names.take(labels[i], _named_by_format(paths[i], image)).write_bytes(image)

    def _place(self, file: Path, target: Path) -> None:
        if not file.is_file():
            raise SourceError(f"{file}: is gone since it was scanned; put it back and export again")
        if self.copy:
            shutil.copyfile(file, target)
        else:
            target.symlink_to(file.resolve())


def _rows(table: pa.Table, manifest: pa.Table) -> np.ndarray:
    position = {sample: row for row, sample in enumerate(manifest.column("sample_id").to_pylist())}
    return np.array([position[sample] for sample in table.column("sample_id").to_pylist()], np.int64)


class _Names:
    """Free names under `folder`: one folder a class, and no name twice in it, however file systems see its case."""

    def __init__(self, folder: Path, labels: list[str]) -> None:
        self._root = folder
        self._taken: dict[str, int] = {}
        self._folders: dict[str, Path] = {}
        for label in sorted(set(labels)):
            relative = self._free("/".join(_safe(part) for part in label.split("/")))
            self._folders[label] = folder / relative
        for made in self._folders.values():
            made.mkdir(parents=True, exist_ok=True)
            for parent in made.relative_to(folder).parents:
                self._taken.setdefault(parent.as_posix().casefold(), 1)

    def take(self, label: str, name: str) -> Path:
        folder = self._folders[label].relative_to(self._root)
        return self._root / self._free((folder / _safe(name)).as_posix())

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
