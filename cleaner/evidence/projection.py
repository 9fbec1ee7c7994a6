"""Features brought into the few dimensions in which heads are fitted."""

from dataclasses import dataclass

import numpy as np

from cleaner.evidence.crossfit import Features
from cleaner.threads import computed

_BLOCK = 4096
_SEEN = 20_000
_SMALLEST = 1e-6
_ROUNDED = 3e-6
"""Variance, of rows of length 1, that sums in float32 leave of features that are all the same: up to half of it was
seen, and how much hangs on the processor."""


@dataclass(frozen=True)
class Projection:
    """Signed power and length 1 (Perronnin et al. 2010, section 3), then the principal directions.

    Attributes:
        power: of each feature; 1 leaves it as it is.
        mean: float32[d] of the features so normalised.
        directions: float32 d x m, scaled so that the projected features' variances sum to 1.
        variances: float32[m], of the projected features, the largest first.
    """

    power: float
    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray

    def __call__(self, features: Features, rows: np.ndarray, *, workers: int = 1) -> np.ndarray:
        """float32 len(rows) x m; `rows` ascending."""
        found, middle = np.empty((len(rows), len(self.variances)), np.float32), self.mean @ self.directions

        def project(start: int) -> None:
            block = _block(features, rows, start, self.power)
            some = np.matmul(block, self.directions, out=found[start : start + len(block)])
            some -= middle

        for _ in computed(project, _starts(rows), workers=workers):
            """Each block goes to its place."""
        return found


def principal(
    features: Features, rows: np.ndarray, *, power: float, dimensions: int, seed: int, workers: int = 1
) -> Projection:
    """The projection on the directions in which the features of `rows` (ascending; a sample of 20,000) vary most."""
    if len(rows) > _SEEN:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _SEEN, replace=False))
    mean, variances, directions = _axes(features, rows, power, workers)
    kept = np.argsort(-variances)[:dimensions]
    kept = kept[variances[kept] > _SMALLEST * variances.max()] if variances.max() > _ROUNDED else kept[:0]
    sum_kept = variances[kept].sum() or 1.0
    scaled = directions[:, kept] / np.sqrt(sum_kept)
    return Projection(
        power, mean.astype(np.float32), scaled.astype(np.float32), (variances[kept] / sum_kept).astype(np.float32)
    )


def _axes(
    features: Features, rows: np.ndarray, power: float, workers: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean, the variance along each principal axis, and the axes as columns; float64."""
    width = features.shape[1]
    if len(rows) < width // 4:
        # Of few samples the axes are had from the samples themselves, many times faster.
        values = np.concatenate([np.zeros((0, width)), *(_block(features, rows, at, power) for at in _starts(rows))])
        mean = values.sum(0) / max(1, len(rows))
        _, lengths, axes = np.linalg.svd(values - mean, full_matrices=False)
        return mean, lengths**2 / max(1, len(rows)), axes.T

    def sums(start: int) -> tuple[np.ndarray, np.ndarray]:
        block = _block(features, rows, start, power)
        return block.sum(0, dtype=np.float64), block.T @ block

    total, products = np.zeros(width, np.float64), np.zeros((width, width), np.float64)
    for some, some_products in computed(sums, _starts(rows), workers=workers):
        total += some
        products += some_products
    mean = total / len(rows)
    variances, axes = np.linalg.eigh(products / len(rows) - np.outer(mean, mean))
    return mean, variances, axes


def _starts(rows: np.ndarray) -> range:
    return range(0, len(rows), _BLOCK)


def _block(features: Features, rows: np.ndarray, start: int, power: float) -> np.ndarray:
    """float32, each row of length 1."""
    block = features[rows[start : start + _BLOCK]].astype(np.float32)
    block = np.sign(block) * np.abs(block) ** np.float32(power) if power != 1 else block
    length = np.sqrt(np.einsum("nd,nd->n", block, block))[:, None]
    return block / np.maximum(length, np.finfo(np.float32).tiny)
