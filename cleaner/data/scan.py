"""Reading images: facts of every sample for the manifest, pixels of some samples for a model.

A source gives encoded images one after the other; threads decode them (the decoders leave Python's lock).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from cleaner.data.images import FORMATS, facts, unchanged
from cleaner.data.sources import Source
from cleaner.errors import ImageProblem, SourceError
from cleaner.progress import track
from cleaner.run.before import Before
from cleaner.run.steps import makes
from cleaner.tables import CLEAN, MANIFEST, PIXEL_QUALITY, check
from cleaner.threads import threaded

_FACTS = pa.schema([field for field in MANIFEST if field.name not in ("sample_id", "path", "label")])
QUALITY_COLUMN = "quality of its pixels"
"""The column of a manifest part that has a row of PIXEL_QUALITY; no manifest has it."""

_UNLABELLED = OSError("it lies above the class folders, so it has no label")


@makes("manifest part", version=3)
def scan(
    listing: pa.Table,
    *,
    source: Source,
    start: int,
    stop: int,
    max_pixels: int,
    workers: int,
    formats: Sequence[str] = FORMATS,
    before: Before | None = None,
) -> pa.Table:
    """The manifest's rows [start, stop): MANIFEST and the listing's other columns, and QUALITY_COLUMN, a struct;
    `formats` are those to decode. What could be used `before`, and has not changed, is not read again.

    A column of the listing that has the name of one of the manifest's or of the clean set's gets `source_` before it.
    """
    part = listing.slice(start, stop - start)
    paths = part.column("path").to_pylist()
    facts = _known(source, before, start, len(part))
    fresh = np.array([row for row, known in enumerate(facts) if known is None], np.int32)
    labels = part.column("label").take(pa.array(fresh)).to_pylist()
    read = source.read(start + fresh, [paths[row] for row in fresh])
    images = (data if label else _UNLABELLED for data, label in zip(read, labels, strict=True))
    described = threaded(partial(_described, max_pixels=max_pixels, formats=formats), images, workers=workers)
    for row, found_now in zip(fresh, track(described, len(fresh), "images scanned"), strict=True):
        facts[row] = found_now
    found = pa.Table.from_pylist(facts, _FACTS.append(pa.field(QUALITY_COLUMN, pa.struct(list(PIXEL_QUALITY)))))
    table = pa.table(
        {"sample_id": [sample_id(path) for path in paths], "path": part.column("path"), "label": part.column("label")}
        | {name: found.column(name) for name in _FACTS.names}
        | _other_columns(part)
        | {QUALITY_COLUMN: found.column(QUALITY_COLUMN)}
    )
    return check(table, MANIFEST, "manifest")


def _known(source: Source, before: Before | None, start: int, count: int) -> list[dict[str, Any] | None]:
    """Of each of `count` files from the row `start` on what was found out before, None where it has to be read."""
    stamps = source.stamps() if before is not None else None
    if before is None or stamps is None:
        return [None] * count
    rows = before.unchanged(stamps.slice(start, count))
    there = pa.array(rows[rows >= 0])
    facts, pixel_quality = (
        before.manifest.select(_FACTS.names).take(there),
        before.pixel_quality.take(there).to_pylist(),
    )
    both = iter([known | {QUALITY_COLUMN: row} for known, row in zip(facts.to_pylist(), pixel_quality, strict=True)])
    found = [next(both) if row >= 0 else None for row in rows]
    return [None if known is None or known["problem"] else known for known in found]


def sample_id(path: str) -> str:
    """The BLAKE2b of the path in the data set, 16 hex digits."""
    return hashlib.blake2b(path.encode(), digest_size=8).hexdigest()


def load(
    source: Source, manifest: pa.Table, rows: np.ndarray, *, read: Callable[[bytes], np.ndarray], workers: int
) -> Iterator[np.ndarray]:
    """What a model sees of the ascending `rows`, in order.

    Args:
        source: where the images are.
        manifest: of the whole data set.
        rows: row numbers of usable samples.
        read: from an encoded image to an array, as `cleaner.data.images.resized`; it may raise ImageProblem.
        workers: threads that decode.

    Raises:
        SourceError: an image is not what it was when the data set was scanned.
    """
    paths, hashes = (manifest.column(name).take(pa.array(rows)).to_pylist() for name in ("path", "content_hash"))
    images = zip(paths, unchanged(source.read(rows, paths), hashes), strict=True)
    return threaded(partial(_shown, read=read), images, workers=workers)


def _described(data: bytes | OSError, *, max_pixels: int, formats: Sequence[str]) -> dict[str, Any]:
    if isinstance(data, OSError):
        return {"problem": f"can't be read: {data.strerror or data}"}
    found = asdict(facts(data, max_pixels=max_pixels, formats=formats))
    return found | {QUALITY_COLUMN: found.pop("quality")}


def _other_columns(listing: pa.Table) -> dict[str, pa.ChunkedArray]:
    reserved = {*MANIFEST.names, *CLEAN.names, QUALITY_COLUMN}
    taken = {*reserved, *listing.column_names}
    columns = {}
    for name in listing.column_names:
        if name in ("path", "label"):
            continue
        free = name
        while free in reserved or (free != name and free in taken):
            free = f"source_{free}"
        columns[free] = listing.column(name)
    return columns


def _shown(image: tuple[str, bytes | OSError], *, read: Callable[[bytes], np.ndarray]) -> np.ndarray:
    path, data = image
    try:
        if isinstance(data, OSError):
            raise data
        return read(data)
    except (OSError, ImageProblem) as error:
        message = f"{path}: could be read when the data set was scanned, and can't be any more ({error})"
        raise SourceError(f"{message}; put the image back, or start a new run") from error
