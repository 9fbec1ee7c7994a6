"""Decoded images: read once, kept small on disk, and given in batches.

They are kept in the cache folder, by their content: a folder for each way of showing them, in it pieces of some hundred
images, each a file of pixels, written whole, and beside it a table of the images in it, written after. An image more in
a data set is one image to decode.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from cleaner.data.images import resized
from cleaner.data.scan import load
from cleaner.data.sources import Source
from cleaner.errors import StorageError
from cleaner.progress import note, track
from cleaner.run.cache import cache_folder
from cleaner.run.files import digest, read_table, storage_error, write_bytes, write_table
from cleaner.tables import array
from cleaner.training.preprocessing import Preprocessing

_PIECE, _PIECE_BYTES = 2_000, 2**27
"""Images, and bytes, of a piece at most: a kill costs so much decoding."""
_SPARE = 0.05
"""Share of the disk that is left free: before, pieces go that were not used for the longest."""
_METHOD = 3
"""Raised when images are decoded or made small in another way."""
_MOST_PIXELS = 2**31
"""The scan has refused what is too large, and nothing else than what it has read is decoded."""

Pixels = Callable[[np.ndarray], np.ndarray]
"""uint8 n x side x side x 3 of n rows of a manifest, in any order."""
Read = Callable[[bytes], np.ndarray]
"""From an encoded image to uint8 side x side x 3, RGB."""


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


@dataclass(frozen=True)
class Decoded:
    """Images in files that the system maps into memory.

    Attributes:
        pieces: uint8 images x side x side x 3 each.
        sums: int64 checksums of each piece's images.
        piece, place: of each row of the manifest, -1 where it is in none.
        again: for an image that is not what was kept.
    """

    pieces: tuple[np.ndarray, ...]
    sums: tuple[np.ndarray, ...]
    piece: np.ndarray
    place: np.ndarray
    again: Decoding

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sound", np.zeros(len(self.piece), bool))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        piece, place = self.piece[rows], self.place[rows]
        images = np.empty((len(rows), *self.pieces[0].shape[1:]), np.uint8)
        for number in np.unique(piece):
            own = piece == number
            images[own] = self.pieces[number][place[own]]
        sound: np.ndarray = self._sound  # type: ignore[attr-defined]
        for at in np.flatnonzero(~sound[rows]):
            # Each image is looked at once: a disk that filled up, or was cut off, leaves zeros without a word.
            if crc32(images[at].data) != self.sums[piece[at]][place[at]]:
                images[at] = self.again(rows[at : at + 1])[0]
            else:
                sound[rows[at]] = True
        return images


def learnt_from(source: Source, manifest: pa.Table, rows: np.ndarray, *, side: int, workers: int, keep: bool) -> Pixels:
    """The images of the ascending `rows`, side x side, for augmentations to work on: their centre squares, which a
    decoder may have made smaller on its way. Kept and raised as `measured_on`."""
    decoding = Decoding(source, manifest, partial(resized, side=side, max_pixels=_MOST_PIXELS), workers)
    return _kept(decoding, rows, side=side, named=f"{side}") if keep else decoding


def measured_on(
    source: Source, manifest: pa.Table, rows: np.ndarray, shown: Preprocessing, *, workers: int, keep: bool
) -> Pixels:
    """The images of the ascending `rows`, as they are shown to a network that is measured; kept decoded where there is
    room for it. What was decoded before it was killed is not decoded again.

    Raises:
        SourceError: an image is not what was scanned.
        StorageError: the cache folder can't be read.
    """
    decoding = Decoding(source, manifest, partial(shown.pixels, max_pixels=_MOST_PIXELS), workers)
    return _kept(decoding, rows, side=shown.size, named=f"{shown.geometry}-whole") if keep else decoding


def _kept(decoding: Decoding, rows: np.ndarray, *, side: int, named: str) -> Pixels:
    folder = cache_folder() / "pixels" / f"{side}-{digest(named, _METHOD)}"
    hashes = decoding.manifest.column("content_hash").take(pa.array(rows)).combine_chunks()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Two commands that want the same images, or room for other ones, wait for each other.
        with FileLock(folder.parent / "lock"):
            unknown = pc.index_in(hashes, value_set=_Pieces.of(folder, side).hashes).is_null().to_numpy(False)
            first = np.sort(np.unique(hashes.dictionary_encode().indices.to_numpy(), return_index=True)[1])
            missing = first[unknown[first]]
            if not _has_room(folder, len(missing) * side * side * 3, hashes):
                return decoding
            _decode(folder, decoding, rows[missing], side)
            return _opened(_Pieces.of(folder, side), decoding, rows, hashes, side)
    except StorageError as error:
        note(f"decoded images can't be kept ({error}): they are decoded each time")
        return decoding
    except OSError as error:
        raise storage_error(folder, error) from error


def _decode(folder: Path, decoding: Decoding, rows: np.ndarray, side: int) -> None:
    """Decode images, and keep each piece of them as it is whole."""
    size = max(1, min(_PIECE, _PIECE_BYTES // (side * side * 3)))
    hashes = decoding.manifest.column("content_hash").take(pa.array(rows)).to_pylist()
    images = load(decoding.source, decoding.manifest, rows, read=decoding.read, workers=decoding.workers)
    decoded = iter(track(images, len(rows), "images decoded"))
    for start in range(0, len(rows), size):
        some = hashes[start : start + size]
        pixels = np.stack([next(decoded) for _ in some])
        name = digest(some)
        write_bytes(folder / f"{name}.pixels", pixels.tobytes())
        sums = pa.array([crc32(image.data) for image in pixels], pa.int64())
        write_table(folder / f"{name}.parquet", pa.table({"content_hash": some, "sum": sums}))


@dataclass(frozen=True)
class _Pieces:
    """The pieces in a folder that are whole.

    Attributes:
        files: of pixels.
        starts: where each piece's images begin in `hashes` and `sums`, and the end of the last.
        hashes: of the images.
        sums: int64, their checksums.
    """

    files: list[Path]
    starts: np.ndarray
    hashes: pa.Array
    sums: np.ndarray

    @classmethod
    def of(cls, folder: Path, side: int) -> "_Pieces":
        """One that is not whole is removed."""
        files, tables = [], [pa.table({"content_hash": pa.array([], pa.string()), "sum": pa.array([], pa.int64())})]
        for listed in sorted(folder.glob("*.parquet")):
            table, file = read_table(listed), listed.with_suffix(".pixels")
            if file.exists() and file.stat().st_size == len(table) * side * side * 3:
                files.append(file)
                tables.append(table)
            else:
                _remove(listed)
        together = pa.concat_tables(tables).combine_chunks()
        starts = np.cumsum([len(table) for table in tables])
        return cls(files, starts, together.column("content_hash").combine_chunks(), array(together, "sum"))


def _remove(listed: Path) -> None:
    """A piece: first its table, without which its pixels are nothing."""
    listed.unlink(missing_ok=True)
    listed.with_suffix(".pixels").unlink(missing_ok=True)


def _opened(kept: _Pieces, decoding: Decoding, rows: np.ndarray, hashes: pa.Array, side: int) -> Decoded:
    at = pc.index_in(hashes, value_set=kept.hashes).to_numpy()
    number = np.searchsorted(kept.starts, at, "right") - 1
    used, back = np.unique(number, return_inverse=True)
    piece, place = (np.full(len(decoding.manifest), -1, np.int64) for _ in range(2))
    piece[rows], place[rows] = back, at - kept.starts[number]
    pieces, sums = [], []
    for each in used:
        file, count = kept.files[each], int(kept.starts[each + 1] - kept.starts[each])
        pieces.append(np.memmap(file, np.uint8, "r", shape=(count, side, side, 3)))
        sums.append(kept.sums[kept.starts[each] : kept.starts[each + 1]])
        os.utime(file.with_suffix(".parquet"))
    return Decoded(tuple(pieces), tuple(sums), piece, place, decoding)


def _has_room(folder: Path, size: int, wanted: pa.Array) -> bool:
    """Whether there is room for so many bytes more, if need be after what was not used for the longest is removed."""
    disk = shutil.disk_usage(folder)
    lacking = size + _SPARE * disk.total - disk.free
    if size == 0 or lacking <= 0:
        return True
    by_use = sorted(folder.parent.glob("*/*.parquet"), key=lambda listed: listed.stat().st_mtime)
    unused = [each for each in by_use if each.parent != folder or not _has_any(each, wanted)]
    sizes = [each.stat().st_size if each.exists() else 0 for each in (each.with_suffix(".pixels") for each in unused)]
    if sum(sizes) < lacking:
        note(f"no room to keep {size / 2**30:,.1f} GB of decoded images in {folder.parent}: they are decoded each time")
        return False
    for listed, freed in zip(unused, sizes, strict=True):
        if lacking > 0:
            _remove(listed)
            lacking -= freed
    return True


def _has_any(listed: Path, wanted: pa.Array) -> bool:
    return bool(pc.any(pc.is_in(read_table(listed).column("content_hash"), value_set=wanted)).as_py())
