"""A Gaussian discriminant with one covariance for all classes, for many folds from one pass over the samples.

Each class is a Gaussian around its mean (Friedman 1989, with shrinkage towards a sphere); under wrong labels its means
stay nearer to the truth than what minimises cross-entropy (Lee et al. 2019).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from cleaner.evidence.heads import blocks
from cleaner.progress import track
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
        means: float32 classes x m, along `axes`, the columns of a float32 m x m.
        variances: float32[m], along them.
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
        means = ((known.sums + middle) / (known.counts[:, None] + 1)).float()
        # Half of what lies between the classes, which its mirror image makes whole.
        between = means.double().T @ (known.sums - 0.5 * known.counts[:, None] * means.double())
        variances, axes = torch.linalg.eigh((known.products - between - between.T) / total)
        prior = torch.log((known.counts + 1) / (total + len(known.counts)))
        axes = axes.float()
        return cls(means @ axes, variances.clamp(min=0).float(), axes, prior.float())

    def linear(self, shrinkage: float, scale: float = 1.0) -> "Linear":
        """By the covariance moved by `shrinkage`, in (0, 1], towards its mean variance; logits times `scale`."""
        along = self._along(shrinkage)
        return Linear(scale * (along.weights @ self.axes.T), scale * along.bias)

    def tried(self, points: torch.Tensor, shrinkages: Sequence[float]) -> Iterator[torch.Tensor]:
        """The logits of a few points by each of `shrinkages`."""
        turned = points.float() @ self.axes
        return (self._along(shrinkage).logits(turned) for shrinkage in shrinkages)

    def _along(self, shrinkage: float) -> "Linear":
        """In points along `axes`."""
        spread = (1 - shrinkage) * self.variances + shrinkage * self.variances.mean()
        weights = self.means / spread.clamp(min=1e-12)
        return Linear(weights, self.prior - 0.5 * (weights * self.means).sum(1))


@dataclass(frozen=True)
class Linear:
    """What a discriminant makes of points, linear in them: `weights` float32 classes x m, `bias` float32[classes]."""

    weights: torch.Tensor
    bias: torch.Tensor

    def logits(self, points: torch.Tensor) -> torch.Tensor:
        """rows x classes."""
        return torch.addmm(self.bias, points.float(), self.weights.T)


@dataclass(frozen=True)
class OutOfFold:
    """The discriminants of all samples but one fold's, each made when it is asked for: of many classes, the means of
    all folds together would be most of what is in memory.

    Attributes:
        parts: of each fold the positions of its samples, ascending.
        own: of each fold what it sums up to; `total`, of all.
    """

    parts: list[np.ndarray]
    own: list[Sums]
    total: Sums

    @classmethod
    def of(
        cls,
        points: torch.Tensor,
        labels: np.ndarray,
        weights: np.ndarray,
        folds: np.ndarray,
        classes: int,
        *,
        workers: int = 1,
    ) -> "OutOfFold":
        """Of one fold at least.

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
        found = computed(lambda part: _of(points, labels, weights, part, classes), parts, workers=workers)
        own = list(track(found, len(parts), "folds learnt"))
        total = own[0]
        for some in own[1:]:
            total = Sums(total.counts + some.counts, total.sums + some.sums, total.products + some.products)
        return cls(parts, own, total)

    def without(self, fold: int) -> Discriminant:
        """Of all samples but those of this one of `parts`."""
        return Discriminant.of(self.total.without(self.own[fold]))


def _of(points: torch.Tensor, labels: np.ndarray, weights: np.ndarray, part: np.ndarray, classes: int) -> Sums:
    learnt = part[weights[part] > 0]
    device = points.device
    targets = torch.from_numpy(labels[learnt]).to(device), torch.from_numpy(weights[learnt]).to(device)
    return Sums.of(points[torch.from_numpy(learnt).to(device)], *targets, classes)
