"""Nearest neighbours in feature space, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cleaner.evidence.crossfit import Features
from cleaner.progress import track
from cleaner.threads import computed, one_thread_each

_BLOCK = 4_096
_WIDTH = 256
_FLAT_UNTIL = 50_000
_PROBES = 16
_TRAINED_ON = 40
_TRAINING_PASSES = 4
_SLACK = 3.0
_NEIGHBOURS = 10
_LEAST_GROUP = 8
_ROUNDING = 1e-5
_EXACT_UNTIL = 20_000
_ASKED = 1_000
_PROJECTED = 64
_CELL = 2_000
_COMPARED = 1_024
_CELLS = 2**24


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows, ascending, `first` < `second`: int32 arrays of one length, and their `cosine`, float32."""

    first: np.ndarray
    second: np.ndarray
    cosine: np.ndarray


def near_pairs(features: Features, rows: np.ndarray, *, similarity: float, neighbours: int = 16) -> Pairs:
    """The pairs among the ascending `rows` whose features, less their mean, have a cosine of at least `similarity`.

    Candidates come from a random projection to 256 dimensions, which errs by about (1 - cosine²) / 16, and from 50,000
    rows on from an inverted file of which each row looks into 16 cells; the cosine given is the whole features'.

    Args:
        features: n x width.
        rows: int32[m].
        similarity: in (0, 1].
        neighbours: partners that each row looks for, the nearest; a picture with more of them may miss some pairs.
    """
    import faiss  # noqa: F401  # Loaded before its threads are held.

    middle = mean_of(features, rows)
    keys = [np.zeros(0, np.int64)]
    if len(rows) > 1:
        enough = similarity - _SLACK * (1 - similarity**2) / _WIDTH**0.5
        spans = list(_spans(len(rows)))
        with one_thread_each() as workers:
            small = _projected(features, rows, middle)
            index = _index(small)

            def near(span: tuple[int, int]) -> np.ndarray:
                likeness, found = index.search(small[slice(*span)], min(neighbours + 1, len(rows)))
                query, place = np.nonzero((likeness >= enough) & (found >= 0))
                return _keys(query + span[0], found[query, place], len(rows))

            keys += track(computed(near, spans, workers=workers), len(spans), "blocks compared")
    first, second = np.divmod(np.unique(np.concatenate(keys)), max(1, len(rows)))
    cosine = cosines(features, middle, rows[first], rows[second])
    enough_alike = cosine >= similarity
    return Pairs(rows[first[enough_alike]], rows[second[enough_alike]], cosine[enough_alike])


def near_others(
    features: Features, rows: np.ndarray, others: np.ndarray, *, similarity: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of one of the ascending `rows` and one of `others` whose features, less the mean of the rows', have a
    cosine of at least `similarity`; every pair is looked at, in 256 dimensions as in `near_pairs`.

    Args:
        features: n x width.
        rows: int32[m].
        others: float16[k x width], features of images of another data set.
        similarity: in (0, 1].

    Returns:
        int32 rows, int64 places in `others`, float32 cosines, of one length.
    """
    middle, width = mean_of(features, rows), features.shape[1]
    values = others.astype(np.float32) - middle
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    enough = similarity - _SLACK * (1 - similarity**2) / _WIDTH**0.5
    with one_thread_each() as workers:
        small, small_others = _projected(features, rows, middle), _narrowed(values, width)
        size = max(1, _CELLS // max(1, len(others)))

        def near(start: int) -> tuple[np.ndarray, np.ndarray]:
            place, other = np.nonzero(small[start : start + size] @ small_others.T >= enough)
            return place + start, other

        starts = range(0, len(rows), size)
        found = list(track(computed(near, starts, workers=workers), len(starts), "blocks compared"))
    place, other = (np.concatenate([np.zeros(0, np.int64), *part]) for part in zip(*found, strict=True))
    cosine = np.empty(len(place), np.float32)
    for start, stop in _spans(len(place)):
        own, back = np.unique(rows[place[start:stop]], return_inverse=True)
        cosine[start:stop] = (directions(features, own, middle)[back] * values[other[start:stop]]).sum(1)
    alike = cosine >= similarity
    return rows[place[alike]], other[alike], cosine[alike]


def _spans(n: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def mean_of(features: Features, rows: np.ndarray) -> np.ndarray:
    """float32[width]: the mean of the features of the ascending `rows`."""
    total = np.zeros(features.shape[1])
    for start, stop in _spans(len(rows)):
        total += features[rows[start:stop]].sum(0, dtype=np.float64)
    return (total / max(1, len(rows))).astype(np.float32)


def directions(features: Features, rows: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """float32 len(rows) x width, each of length 1: where the ascending `rows` lie as seen from `middle`."""
    values = features[rows].astype(np.float32) - middle
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def _projected(features: Features, rows: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """float32 len(rows) x at most 256, rows of length 1."""
    width = features.shape[1]
    small = np.empty((len(rows), min(width, _WIDTH)), np.float32)
    for start, stop in _spans(len(rows)):
        small[start:stop] = _narrowed(directions(features, rows[start:stop], middle), width)
    return small


def _narrowed(values: np.ndarray, width: int) -> np.ndarray:
    """float32 n x at most 256, rows of length 1: the same random projection of everything of a width."""
    axes = np.random.default_rng(0).standard_normal((width, min(width, _WIDTH))).astype(np.float32)
    small = values @ axes
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-12)  # type: ignore[no-any-return]


def _index(vectors: np.ndarray) -> Any:
    """A faiss index by inner product: exact for few vectors, an inverted file for many."""
    import faiss

    n, width = vectors.shape
    index: Any = faiss.IndexFlatIP(width)
    if n >= _FLAT_UNTIL:
        cells = int(4 * n**0.5)
        index = faiss.IndexIVFFlat(index, width, cells, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = _PROBES
        index.cp.spherical = True
        # 40 vectors a cell and 4 passes in place of 64 and 10: a seventh of the time, and on CIFAR-10's pixels 98.5 %
        # of the pairs found in place of 98.7.
        index.cp.niter = _TRAINING_PASSES
        index.train(vectors[:: max(1, n // (_TRAINED_ON * cells))])
    index.add(vectors)
    return index


def _keys(one: np.ndarray, other: np.ndarray, n: int) -> np.ndarray:
    """An int64 for each pair of positions in [0, n), the lower one first; a row with itself is no pair."""
    apart = one != other
    low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
    return low.astype(np.int64) * n + high


def cosines(features: Features, middle: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float32: of the features of each pair of rows, as seen from `middle`."""
    found = np.empty(len(first), np.float32)
    for start, stop in _spans(len(first)):
        rows, place = np.unique(np.concatenate([first[start:stop], second[start:stop]]), return_inverse=True)
        values = directions(features, rows, middle)
        one, other = np.split(values[place], 2)
        found[start:stop] = (one * other).sum(1)
    return found


def groups(features: Features, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """int32[m]: of each of `rows` the number of its group of images that are nearly equal, -1 for none.

    Nearly equal are those whose squared distance is less than half of what is usual between nearest ones. The image
    with most of these takes them, then the next of those that are left, while they are at least 8. Beyond 20,000 images
    it is looked for within cells of about 2,000, what is nearest to one of some images drawn at random, and of a large
    cell within 20,000 at once.

    Args:
        features: n x width.
        rows: int[m].
        seed: of what is drawn.
    """
    found = np.full(len(rows), -1, np.int32)
    if len(rows) < _LEAST_GROUP:
        return found
    random = np.random.default_rng(seed)
    middle = mean_of(features, rows)
    number = 0
    with one_thread_each():
        near = _usual_distance(features, rows, middle, random) / 2
        for cell in _cells(features, rows, middle, random):
            points = features[rows[cell]].astype(np.float32) - middle
            for members in _alike(points, near):
                found[cell[members]] = number
                number += 1
    return found


def _usual_distance(features: Features, rows: np.ndarray, middle: np.ndarray, random: np.random.Generator) -> float:
    """The median squared distance of 1,000 images to the nearest of 20,000; where most have one like them, next to
    nothing."""
    among = np.sort(random.permutation(len(rows))[:_EXACT_UNTIL])
    points = features[rows[among]].astype(np.float32) - middle
    asked = np.sort(random.permutation(len(among))[:_ASKED])
    squares = (points**2).sum(1)
    distances = squares[asked, None] + squares - 2 * points[asked] @ points.T
    distances[np.arange(len(asked)), asked] = np.inf
    return max(float(np.median(np.maximum(distances.min(1), 0))), _ROUNDING * float(squares.mean()))


def _cells(
    features: Features, rows: np.ndarray, middle: np.ndarray, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Places of rows that lie near each other, ascending."""
    if len(rows) <= _EXACT_UNTIL:
        yield np.arange(len(rows))
        return
    projection = random.standard_normal((len(middle), _PROJECTED)).astype(np.float32)
    small = np.empty((len(rows), _PROJECTED), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = features[rows[start : start + _BLOCK]].astype(np.float32) - middle
        small[start : start + len(block)] = block @ projection
    centres = small[random.permutation(len(rows))[: len(rows) // _CELL]]
    length = (centres**2).sum(1) / 2
    cell = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), _BLOCK):
        cell[start : start + _BLOCK] = (small[start : start + _BLOCK] @ centres.T - length).argmax(1)
    order = np.argsort(cell, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        yield from (own[start : start + _EXACT_UNTIL] for start in range(0, len(own), _EXACT_UNTIL))


def _alike(points: np.ndarray, near: float) -> Iterator[np.ndarray]:
    """The members of each group among `points`."""
    squares, count = (points**2).sum(1), np.empty(len(points), np.int64)

    def close(asked: np.ndarray) -> np.ndarray:
        found: np.ndarray = squares[asked, None] + squares - 2 * points[asked] @ points.T < near
        return found

    for start in range(0, len(points), _COMPARED):
        count[start : start + _COMPARED] = close(np.arange(start, min(start + _COMPARED, len(points)))).sum(1)
    free = np.ones(len(points), bool)
    for row in np.argsort(-count, kind="stable"):
        if count[row] < _LEAST_GROUP:
            return
        if free[row]:
            members = np.flatnonzero(close(np.array([row]))[0] & free)
            if len(members) >= _LEAST_GROUP:
                free[members] = False
                yield members
