"""How like junk an image looks: along the direction from all others to what is taken for junk."""

from collections.abc import Callable, Iterable

import numpy as np

_SPREAD_PRIOR = 5.0
_KNOWN_FROM = 0.5
_MARK_RIDGE = 100.0
Points = Callable[[], Iterable[tuple[slice, np.ndarray]]]
"""The features of all images, in blocks."""


def appearance(points: Points, weights: np.ndarray, fold: np.ndarray, metric: np.ndarray | None = None) -> np.ndarray:
    """float64[n]: how like junk each image looks, along the direction from the mean of the others to that of junk, both
    of the folds that are not its own; no number where there is too little junk in these.

    Args:
        points: called, gives float32[m, d] of all n in turn, each with the slice that they are.
        weights: float64[n] in [0, 1], how much each is junk.
        fold: int[n], not negative.
        metric: float64[d, d], of the product with that direction; none: as it is.
    """
    found, folds = np.full(len(weights), np.nan), int(fold.max(initial=-1)) + 1
    sums: np.ndarray = np.zeros((2 * folds, 1))
    for part, block in points():
        shares = np.zeros((2 * folds, len(block)), np.float32)
        shares[fold[part], np.arange(len(block))] = weights[part]
        shares[folds + fold[part], np.arange(len(block))] = 1 - weights[part]
        sums = sums + (shares @ block).astype(np.float64)
    junk, others = (np.bincount(fold, w, folds) for w in (weights, 1 - weights))
    axes = np.full((folds, sums.shape[1]), np.nan)
    for number in range(folds):
        rest = np.arange(folds) != number
        of_junk, of_others = junk[rest].sum(), others[rest].sum()
        if of_junk >= _KNOWN_FROM and of_others > 0:
            axes[number] = sums[:folds][rest].sum(0) / of_junk - sums[folds:][rest].sum(0) / of_others
    if metric is not None:
        axes = axes @ metric
    for part, block in points():
        found[part] = np.einsum("nd,nd->n", block, axes[fold[part]].astype(np.float32))
    return found


def looks(along: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64[n]: the log ratio of two normal densities of `along`, as `appearance` gives it, of junk and of the
    others; 0 where it is no number. The less junk there is, the less it may say."""
    known = ~np.isnan(along)
    found: np.ndarray = np.zeros(len(along))
    junk = weights[known]
    total = junk.sum()
    if total < _KNOWN_FROM or (1 - junk).sum() < 2:
        return found
    h = along[known]
    means = [float(np.average(h, weights=w)) for w in (1 - junk, junk)]
    wide = max(float(np.average((h - means[0]) ** 2, weights=1 - junk)), 1e-12)
    of_junk = (junk @ (h - means[1]) ** 2 + _SPREAD_PRIOR * wide) / (total + _SPREAD_PRIOR) * (1 + 1 / total)
    ratio = -0.5 * (h - means[1]) ** 2 / of_junk - 0.5 * np.log(of_junk)
    ratio += 0.5 * (h - means[0]) ** 2 / wide + 0.5 * np.log(wide)
    most = 0.5 * np.log(1 + total / 4)
    found[known] = np.clip(ratio, -most, most)
    return found


def whitening(sample: np.ndarray, marks: int) -> np.ndarray:
    """float64[d, d]: the metric in which all directions have the same spread, as far as so many marks of junk can tell:
    the fewer, the more the directions stay as they are. `sample`: float32[m, d]."""
    spreads = np.atleast_2d(np.cov(sample.T.astype(np.float64), ddof=0))
    ridge = max(_MARK_RIDGE / marks * np.trace(spreads) / len(spreads), 1e-12)
    found: np.ndarray = np.linalg.inv(spreads + ridge * np.eye(len(spreads)))
    return found
