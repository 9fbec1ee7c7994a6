"""Softmax heads on frozen features, many fitted in one computation.

A *model* here is one softmax head with its own training samples and its own penalty. The models' weights lie side by
side in one matrix, so that a pass over the samples is two large products whatever the number of models.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import torch

from cleaner.progress import track
from cleaner.threads import computed

_BLOCK_SIZES = {"cpu": 2**21, "cuda": 2**26}
_BIAS_CURVATURE = 0.5


@dataclass(frozen=True)
class Samples:
    """What heads learn from.

    Attributes:
        points: float16 or float32 n x m.
        labels: int64[n] class numbers.
        learns: float32 n x models: how much each model learns from each sample.
        classes: how many.
    """

    points: torch.Tensor
    labels: torch.Tensor
    learns: torch.Tensor
    classes: int

    @property
    def rows_at_once(self) -> int:
        """Rows of a block whose logits of all models fill 8 MiB, or on a GPU 256."""
        return max(16, _BLOCK_SIZES[self.points.device.type] // (self.classes * self.learns.shape[1]))


@dataclass
class Heads:
    """`weights` m x models x classes, `bias` models x classes."""

    weights: torch.Tensor
    bias: torch.Tensor

    def logits(self, points: torch.Tensor) -> torch.Tensor:
        """rows x models x classes."""
        flat = points.float() @ self.weights.flatten(1)
        return flat.view(len(points), *self.bias.shape).add_(self.bias)


def fit(samples: Samples, variances: torch.Tensor, penalties: torch.Tensor, *, passes: int, workers: int = 1) -> Heads:
    """Heads that minimise mean cross-entropy + penalty / 2 * |weights|^2, by `passes` accelerated full-batch steps.

    The step is scaled per direction by the upper bound on the curvature, half the direction's variance (Böhning 1992,
    section 2), and the momentum starts anew where it points uphill (O'Donoghue and Candès 2015, section 3.2).

    Args:
        samples: n samples.
        variances: float32[m] of the points.
        penalties: float32[models].
        passes: over all samples.
        workers: threads that compute.
    """
    counts = samples.learns.sum(0).clamp(min=1)
    heads = _start(samples, len(variances), counts)
    ahead, speed = Heads(heads.weights.clone(), heads.bias.clone()), 1.0
    step = 1 / (0.5 * variances[:, None] + penalties[None, :])[:, :, None]
    spans = list(blocks(len(samples.labels), samples.rows_at_once))
    # Few samples are one block: the thread that calls computes as alone as any, and none is started for each pass.
    workers = min(workers, len(spans))
    learning = track(chain.from_iterable([spans] * passes), passes * len(spans), "blocks learnt")
    for _ in range(passes):
        slope = _slope(samples, ahead, counts, islice(learning, len(spans)), workers)
        slope.weights += penalties[None, :, None] * ahead.weights
        weights = ahead.weights - step * slope.weights
        bias = ahead.bias - slope.bias / _BIAS_CURVATURE
        if (slope.weights * (weights - heads.weights)).sum() > 0:
            speed = 1.0
        faster = (1 + (1 + 4 * speed**2) ** 0.5) / 2
        pull = (speed - 1) / faster
        ahead = Heads(weights + pull * (weights - heads.weights), bias + pull * (bias - heads.bias))
        heads, speed = Heads(weights, bias), faster
    return heads


def _start(samples: Samples, width: int, counts: torch.Tensor) -> Heads:
    """Weights 0 and the smoothed class frequencies: the best that knows nothing of the features."""
    models, classes = samples.learns.shape[1], samples.classes
    seen = torch.zeros(classes, models, device=samples.points.device)
    seen.index_add_(0, samples.labels, samples.learns)
    bias = torch.log((seen.T + 1) / (counts[:, None] + classes))
    return Heads(torch.zeros(width, models, classes, device=bias.device), bias)


def _slope(samples: Samples, heads: Heads, counts: torch.Tensor, spans: Iterable[slice], workers: int) -> Heads:
    """The gradient of the mean cross-entropy; `spans` cover the samples."""

    def of(rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        points = samples.points[rows].float()
        error = torch.softmax(heads.logits(points), 2)
        error.scatter_add_(2, samples.labels[rows, None, None].expand(-1, error.shape[1], 1), -torch.ones_like(error))
        error *= samples.learns[rows, :, None]
        return points.T @ error.flatten(1), error.sum(0)

    weights, bias = torch.zeros_like(heads.weights), torch.zeros_like(heads.bias)
    for some_weights, some_bias in computed(of, spans, workers=workers):
        weights.flatten(1).add_(some_weights)
        bias += some_bias
    return Heads(weights / counts[None, :, None], bias / counts[:, None])


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices of `size` rows that cover `count` rows."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
