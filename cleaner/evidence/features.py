"""Frozen-backbone embeddings: computed once, shard by shard, and read memory-mapped."""

import importlib.util
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.images import resized
from cleaner.data.scan import load
from cleaner.data.sources import Source
from cleaner.errors import WeightsError
from cleaner.evidence.pixel_features import CELLS, pixel_features
from cleaner.evidence.weights import file_hash, packaged_file
from cleaner.progress import track
from cleaner.run.before import Before
from cleaner.run.files import digest
from cleaner.run.steps import makes, sayable
from cleaner.tables import array, is_usable

AUTO = "auto"
PIXELS = "pixels"
DEFAULT_NETWORK = "tf_efficientnet_lite0"

_TINY = 16
_SMALL = 128
_SMALL_SIZE = 160  # what pays on 32-pixel images: benchmarks/features.py
_SIZE = 224
UNPACED = 500
"""A data set of so few samples is one shard, whatever the pace."""
_PACED = 48
_SECONDS = 60
_SHARDS = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
_LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Backbone:
    """What turns an image into features; two that are equal give the same features.

    Attributes:
        name: `pixels`, or a network as timm calls it.
        image_size: side in pixels the images are resized to.
        weights_hash: which weights: `packaged`, `published:<repository>`, or a hash of the file; empty for `pixels`.
        weights: the safetensors file, if one was given.
    """

    version: ClassVar[int] = 1

    name: str
    image_size: int
    weights_hash: str
    weights: str | None = field(default=None, compare=False)


def check(name: str, *, weights: Path | None) -> None:
    """See whether a backbone can be had, as far as that can be seen without the network.

    Raises:
        WeightsError: an unknown name (the message has the nearest ones), or weights that are not there.
    """
    _weights_hash(DEFAULT_NETWORK if name == AUTO else name, weights)


def choose(name: str, *, weights: Path | None, image_size: int | None, manifest: pa.Table) -> Backbone:
    """The backbone of a data set.

    Args:
        name: a network as timm calls it, `pixels`, or `auto`: `pixels` where the usable images' shorter sides have a
            median under 16 pixels, else the packaged EfficientNet-Lite0.
        weights: a safetensors file for the network; None: the packaged, else the published weights.
        image_size: side in pixels; None: what suits the network and the images.
        manifest: of the whole data set.

    Raises:
        WeightsError: as `check`.
    """
    side = _median_side(manifest)
    if name == AUTO:
        name = PIXELS if side < _TINY and weights is None else DEFAULT_NETWORK
    digest = _weights_hash(name, weights)
    size = image_size or _suitable_size(name, side)
    return Backbone(name, size, digest, None if weights is None else str(weights))


def _median_side(manifest: pa.Table) -> float:
    usable = manifest.filter(manifest.column("problem").is_null())
    sides = np.minimum(array(usable, "width"), array(usable, "height"))
    return float(np.median(sides)) if len(sides) else 0.0


def _suitable_size(name: str, side: float) -> int:
    if name == PIXELS:
        return int(min(_TINY, max(8, side // CELLS * CELLS)))
    return _network_size(name) or (_SMALL_SIZE if side < _SMALL else _SIZE)


def _network_size(name: str) -> int | None:
    if name == DEFAULT_NETWORK:
        return None
    from cleaner.evidence.networks import own_size

    return own_size(name)


def _weights_hash(name: str, weights: Path | None) -> str:
    if name == PIXELS:
        if weights is not None:
            raise WeightsError(f"features.weights = {weights}: the backbone pixels has no weights; leave it out")
        return ""
    if weights is None and packaged_file(name) is not None:
        return "packaged"
    from cleaner.evidence.networks import check_name, published_at

    check_name(name)
    return f"published:{published_at(name)}" if weights is None else file_hash(weights, "features.weights")


def engine() -> str:
    """What runs networks here, as far as features differ by it: `cuda`, `openvino` or `torch`, with its version."""
    # Without a GPU's device file there is no need to ask torch, whose import takes seconds.
    if sys.platform != "linux" or Path("/dev/nvidiactl").exists():
        import torch

        if torch.cuda.is_available():
            return f"cuda {torch.__version__}"
    name = "openvino" if importlib.util.find_spec("openvino") is not None else "torch"
    return f"{name} {version(name)}"


@makes("features", version=3)
def embed(
    manifest: pa.Table,
    *,
    source: Source,
    backbone: Backbone,
    start: int,
    stop: int,
    workers: int,
    max_pixels: int,
    before: Before | None = None,
) -> np.ndarray:
    """The features of the rows [start, stop): float16 (stop - start) x width, all zero for an unusable image, and not
    numbers where the network gives none. Those of an image that had them `before` are taken from there.

    An image's features depend on nothing but the image and the backbone.

    Raises:
        WeightsError: the network or its weights can't be had.
        SourceError: an image can't be read any more.
    """
    usable = manifest.column("problem").slice(start, stop - start).is_null().to_numpy()
    rows = start + np.flatnonzero(usable).astype(np.int32)
    known, taken = _known(manifest, rows, before)
    fresh = rows[known < 0]
    images = load(
        source, manifest, fresh, read=partial(resized, side=backbone.image_size, max_pixels=max_pixels), workers=workers
    )
    tracked = track(images, len(fresh), "images embedded")
    found = _embedded(tracked, len(fresh), backbone, workers) if len(fresh) or not len(taken) else taken[:0]
    features = np.zeros((stop - start, found.shape[1]), np.float16)
    features[fresh - start] = np.clip(found, -_LARGEST_HALF, _LARGEST_HALF)
    if len(taken):
        features[rows[known >= 0] - start] = taken
    return features


def _known(manifest: pa.Table, rows: np.ndarray, before: Before | None) -> tuple[np.ndarray, np.ndarray]:
    """Of each of the `rows` that of the same image in the manifest of before, -1 where there is none; and the features
    of those that have one."""
    if before is None:
        return np.full(len(rows), -1, np.int64), np.zeros((0, 0), np.float16)
    old = before.manifest
    usable = np.flatnonzero(is_usable(old))
    hashes = old.column("content_hash").take(pa.array(usable)).combine_chunks()
    place = pc.index_in(manifest.column("content_hash").take(pa.array(rows)), value_set=hashes)
    place = pc.fill_null(place, -1).to_numpy()
    known = np.where(place >= 0, usable[place], -1)
    there, where = np.unique(known[known >= 0], return_inverse=True)
    return known, ShardedFeatures(before.shards())[there][where]


@makes("pace of features", version=1)
def pace(
    manifest: pa.Table, *, source: Source, backbone: Backbone, workers: int, max_pixels: int, sample: int = _PACED
) -> pa.Table:
    """How fast this machine computes the features of this data set: `images_per_second`, one row.

    Timed are `sample` usable images, evenly spread, after as many that only warm the network up.
    """
    usable = np.flatnonzero(is_usable(manifest)).astype(np.int32)
    rows = usable[:: max(1, len(usable) // (2 * sample))][: 2 * sample]
    seconds = 0.0
    for some in (np.sort(rows[::2]), np.sort(rows[1::2])):
        images = load(
            source,
            manifest,
            some,
            read=partial(resized, side=backbone.image_size, max_pixels=max_pixels),
            workers=workers,
        )
        started = time.monotonic()
        _embedded(images, len(some), backbone, workers)
        seconds = time.monotonic() - started
    return pa.table({"images_per_second": [len(rows) // 2 / max(seconds, 1e-9)]})


def shard_size(images_per_second: float, most: int) -> int:
    """Samples in a shard: as many as a minute's work, in round numbers, and not more than `most`."""
    sizes = [size for size in _SHARDS if size <= min(images_per_second * _SECONDS, most)]
    return min(most, max(sizes, default=_SHARDS[0]))


@makes("manifest of what has features", version=1)
def sound(manifest: pa.Table, *shards: np.ndarray) -> pa.Table:
    """The manifest, with a problem for each image of whose features some are no finite numbers."""
    finite = np.concatenate([np.isfinite(shard).all(1) for shard in shards])
    problem = pc.if_else(pa.array(finite), manifest.column("problem"), "its features are no numbers")
    return manifest.set_column(manifest.schema.get_field_index("problem"), manifest.schema.field("problem"), problem)


def _embedded(images: Iterator[np.ndarray], n: int, backbone: Backbone, workers: int) -> np.ndarray:
    if backbone.name == PIXELS:
        side = backbone.image_size
        return pixel_features(np.array(list(images), np.uint8).reshape(n, side, side, 3))
    return _runner(backbone, workers)(images, n)


@lru_cache(maxsize=1)
def _runner(backbone: Backbone, workers: int):
    from cleaner.evidence.inference import runner

    def network():
        from cleaner.evidence.networks import embedder

        return embedder(backbone.name, weights=backbone.weights, image_size=backbone.image_size)

    return runner(network, side=backbone.image_size, threads=workers, name=_kept_as(backbone))


def _kept_as(backbone: Backbone) -> str | None:
    """What a converted network is kept as; None where its weights are known by a name only, under which they may
    change."""
    if backbone.weights_hash.startswith("published:"):
        return None
    libraries = {name: version(name) for name in ("torch", "timm")}
    file = packaged_file(backbone.name)
    packaged = [file.stat().st_size, file.stat().st_mtime_ns] if backbone.weights is None and file else []
    return f"{backbone.name}-{digest(sayable(backbone), libraries, packaged)}"


class ShardedFeatures:
    """The features of a whole data set, n x width float16, over shards that stay on disk.

    Args:
        shards: arrays of equally many rows each, but the last, which may have fewer; in the order of the rows.
    """

    def __init__(self, shards: Sequence[np.ndarray]) -> None:
        self.shards = tuple(shards)
        self.rows_each = max(1, len(self.shards[0]))
        self.shape = (sum(len(shard) for shard in self.shards), self.shards[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The rows in memory; an array of row numbers must be ascending."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        found = np.empty((len(rows), self.shape[1]), np.float16)
        for number in range(len(self.shards)):
            first, last = np.searchsorted(rows, [number * self.rows_each, (number + 1) * self.rows_each])
            found[first:last] = self.shards[number][rows[first:last] - number * self.rows_each]
        return found
