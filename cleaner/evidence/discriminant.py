"""A Gaussian discriminant with one covariance for all classes, for many folds from one pass over the samples.

Each class is a Gaussian around its mean (Friedman 1989, with shrinkage towards a sphere); under wrong labels its means
stay nearer to the truth than what minimises cross-entropy (Lee et al. 2019).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from cleaner.evidence.heads import blocks
from cleaner.threads import computed

_ROWS = 16_384


@dataclass(frozen=True)
class Sums:
    """What a discriminant knows of its samples.

    Attributes:
        counts: float64[classes], the samples' weights together.
        sums: float32 classes x m, of their points.
        products: float64 m x m, of the points with themselves.
    """

    counts: torch.Tensor
    sums: torch.Tensor
    products: torch.Tensor

    @classmethod
    def of(cls, points: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, classes: int) -> "Sums":
        """Of the points, n x m, with `labels` int64[n] and `weights` float32[n]."""
        width, device = points.shape[1], points.device
        counts = torch.zeros(classes, dtype=torch.float64, device=device)
        counts.index_add_(0, labels, weights.double())
        sums = torch.zeros(classes, width, device=device)
        products = torch.zeros(width, width, dtype=torch.float64, device=device)
        for rows in blocks(len(labels), _ROWS):
            some = points[rows].float()
            weighted = some * weights[rows, None]
            sums.index_add_(0, labels[rows], weighted)
            products += (some.T @ weighted).double()
        return cls(counts, sums, products)

    def without(self, other: "Sums") -> "Sums":
        return Sums((self.counts - other.counts).clamp(min=0), self.sums - other.sums, self.products - other.products)


@dataclass(frozen=True)
class Discriminant:
    """Means, the covariance's axes, and the classes' frequencies.

    Attributes:
        means: float32 classes x m.
        variances: float32[m], along `axes`, the columns of a float32 m x m.
        prior: float32[classes], log frequencies.
    """

    means: torch.Tensor
    variances: torch.Tensor
    axes: torch.Tensor
    prior: torch.Tensor

    @classmethod
    def of(cls, known: Sums) -> "Discriminant":
        """Each class's mean is that of its samples and of one more at the mean of all."""
        total = known.counts.sum().clamp(min=1e-9)
        middle = known.sums.sum(0) / total
        means = (known.sums + middle) / (known.counts[:, None] + 1)
        means, crossed = means.float(), means.double().T @ known.sums.double()
        within = known.products - crossed - crossed.T
        within += (means.double() * known.counts[:, None]).T @ means.double()
        variances, axes = torch.linalg.eigh(within / total)
        prior = torch.log((known.counts + 1) / (total + len(known.counts)))
        return cls(means, variances.clamp(min=0).float(), axes.float(), prior.float())

    def linear(self, shrinkage: float) -> "Linear":
        """By the covariance moved by `shrinkage`, in (0, 1], towards its mean variance."""
        spread = (1 - shrinkage) * self.variances + shrinkage * self.variances.mean()
        turned = self.means @ self.axes
        weights = (turned / spread.clamp(min=1e-12)) @ self.axes.T
        return Linear(weights, self.prior - 0.5 * (weights * self.means).sum(1))


@dataclass(frozen=True)
class Linear:
    """What a discriminant makes of points, linear in them: `weights` float32 classes x m, `bias` float32[classes]."""

    weights: torch.Tensor
    bias: torch.Tensor

    def logits(self, points: torch.Tensor) -> torch.Tensor:
        """rows x classes."""
        return points.float() @ self.weights.T + self.bias


def out_of_fold(
    points: torch.Tensor, labels: np.ndarray, weights: np.ndarray, folds: np.ndarray, classes: int, *, workers: int = 1
) -> Iterator[tuple[np.ndarray, Discriminant]]:
    """For each fold the positions of its samples, ascending, and the discriminant of all others.

    Args:
        points: n x m.
        labels: int64[n].
        weights: float32[n]; of 0 where a sample is not learnt from.
        folds: int[n].
        classes: how many.
        workers: threads that compute.
    """
    order = np.argsort(folds, kind="stable")
    ends = np.flatnonzero(np.diff(folds[order], prepend=-1, append=-1))
    parts = [order[start:end] for start, end in pairwise(ends)]
    sums = list(computed(lambda part: _of(points, labels, weights, part, classes), parts, workers=workers))
    total = sums[0]
    for some in sums[1:]:
        total = Sums(total.counts + some.counts, total.sums + some.sums, total.products + some.products)
    yield from zip(parts, computed(lambda own: Discriminant.of(total.without(own)), sums, workers=workers), strict=True)


def _of(points: torch.Tensor, labels: np.ndarray, weights: np.ndarray, part: np.ndarray, classes: int) -> Sums:
    learnt = part[weights[part] > 0]
    device = points.device
    said = torch.from_numpy(labels[learnt]).to(device), torch.from_numpy(weights[learnt]).to(device)
    return Sums.of(points[torch.from_numpy(learnt).to(device)], *said, classes)
