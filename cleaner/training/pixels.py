"""Decoded images: read once, kept small on disk, and given in batches."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock

from cleaner.data.images import resized
from cleaner.data.scan import load
from cleaner.data.sources import Source
from cleaner.progress import note, track
from cleaner.run.cache import cache_folder
from cleaner.run.files import digest, storage_error, write_json
from cleaner.training.preprocessing import Preprocessing

_DONE = "done.json"
_TOGETHER = 2_000
"""Images between two notes of how far decoding is; a kill costs so many at most."""
_SPARE = 1.05
_METHOD = 2
"""Raised when images are decoded or made small in another way."""
_MOST_PIXELS = 2**31
"""The scan has refused what is too large, and nothing else than what it has read is decoded."""

Pixels = Callable[[np.ndarray], np.ndarray]
"""uint8 n x side x side x 3 of n rows of a manifest, in any order."""
Read = Callable[[bytes], np.ndarray]
"""From an encoded image to uint8 side x side x 3, RGB."""


@dataclass(frozen=True)
class Decoded:
    """Images in memory that the system maps from a file. `place` is where each row of the manifest is, -1 where not."""

    pixels: np.ndarray
    place: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.pixels[self.place[rows]])


@dataclass(frozen=True)
class Decoding:
    """Images that are decoded each time."""

    source: Source
    manifest: pa.Table
    read: Read
    workers: int
    _turn: Lock = field(default_factory=Lock, compare=False, repr=False)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        wanted, places = np.unique(rows, return_inverse=True)
        # All threads work on one batch; more than that take turns on the cores from whoever learns from it.
        with self._turn:
            images = load(self.source, self.manifest, wanted, read=self.read, workers=self.workers)
            return np.stack(list(images))[places]


def learnt_from(source: Source, manifest: pa.Table, rows: np.ndarray, *, side: int, workers: int, keep: bool) -> Pixels:
    """The images of the ascending `rows`, side x side, for augmentations to work on: their centre squares, which a
    decoder may have made smaller on its way. Kept and raised as `measured_on`."""
    read = partial(resized, side=side, max_pixels=_MOST_PIXELS)
    return _pixels(source, manifest, rows, read, side=side, named=f"{side}", workers=workers, keep=keep)


def measured_on(
    source: Source, manifest: pa.Table, rows: np.ndarray, shown: Preprocessing, *, workers: int, keep: bool
) -> Pixels:
    """The images of the ascending `rows`, as they are shown to a network that is measured; kept decoded in the cache
    folder, by their content, where there is room for it. What was decoded before it was killed is not decoded again.

    Raises:
        SourceError: an image is not what was scanned.
        StorageError: the disk refuses a write.
    """
    read = partial(shown.pixels, max_pixels=_MOST_PIXELS)
    named = f"{shown.geometry}-whole"
    return _pixels(source, manifest, rows, read, side=shown.size, named=named, workers=workers, keep=keep)


def _pixels(
    source: Source,
    manifest: pa.Table,
    rows: np.ndarray,
    read: Read,
    *,
    side: int,
    named: str,
    workers: int,
    keep: bool,
) -> Pixels:
    hashes = manifest.column("content_hash").take(pa.array(rows)).to_pylist()
    folder = cache_folder() / "pixels" / f"{digest(hashes, named, _METHOD)}-{side}"
    size = len(rows) * side * side * 3
    if keep and not (folder / _DONE).exists() and size * _SPARE > _room(folder):
        note(f"no room to keep {size / 2**30:,.0f} GB of decoded images in {folder.parent}: they are decoded each time")
        keep = False
    if not keep:
        return Decoding(source, manifest, read, workers)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = np.full(len(manifest), -1, np.int64)
        place[rows] = np.arange(len(rows))
        # Two commands that want the same images wait for each other.
        with FileLock(folder / "lock"):
            _decode(folder, source, manifest, rows, read, side, workers)
        shape = (len(rows), side, side, 3)
        return Decoded(np.memmap(folder / "pixels", np.uint8, "r", shape=shape), place)
    except OSError as error:
        raise storage_error(folder, error) from error


def _decode(
    folder: Path, source: Source, manifest: pa.Table, rows: np.ndarray, read: Read, side: int, workers: int
) -> None:
    done = _done(folder)
    if done == len(rows):
        return
    mode: Any = "r+" if (folder / "pixels").exists() else "w+"
    kept = np.memmap(folder / "pixels", np.uint8, mode, shape=(len(rows), side, side, 3))
    images = load(source, manifest, rows[done:], read=read, workers=workers)
    for number, image in enumerate(track(images, len(rows) - done, "images decoded"), done):
        kept[number] = image
        if (number + 1) % _TOGETHER == 0:
            kept.flush()
            write_json(folder / _DONE, number + 1)
    kept.flush()
    write_json(folder / _DONE, len(rows))


def _done(folder: Path) -> int:
    file = folder / _DONE
    return int(json.loads(file.read_text())) if file.exists() and (folder / "pixels").exists() else 0


def _room(folder: Path) -> int:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(there).free
