"""What a network is trained to make small: each loss gives one number an image.

All take logits, float32 n x classes, and targets, float32 n x classes, of which each row sums to one.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy, log_softmax

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_LEAST = 1e-12
_LOG_OF_ZERO = -4.0
"""What symmetric cross-entropy takes for the logarithm of a target of zero (Wang et al. 2019, section 3.2)."""


def smoothed(inner: Loss, share: float) -> Loss:
    """The loss of targets of which a `share` is divided among all classes (Szegedy et al. 2016)."""

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return inner(logits, targets * (1 - share) + share / targets.shape[1])

    return loss


def plain(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy."""
    return cross_entropy(logits, targets, reduction="none")


def focal(gamma: float) -> Loss:
    """Cross-entropy in which what is known well counts little (Lin et al. 2017), over softmax."""

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        log_probs = log_softmax(logits, 1)
        # Of what is certain to the last digit the power has no slope that is a number.
        wrongness = (-torch.expm1(log_probs)).clamp(min=_LEAST)
        return -(targets * wrongness**gamma * log_probs).sum(1)

    return loss


def focal_and_plain(gamma: float) -> Loss:
    """Both, half each."""
    first = focal(gamma)

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (first(logits, targets) + plain(logits, targets)) / 2

    return loss


def generalised(q: float) -> Loss:
    """Generalised cross-entropy (Zhang and Sabuncu 2018): between cross-entropy, q near 0, and the mean absolute error,
    q = 1, which wrong labels move little."""

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        # The power within the exponential: of a probability of nought it has no slope that is a number.
        return -(targets * torch.expm1(q * log_softmax(logits, 1)) / q).sum(1)

    return loss


def symmetric(alpha: float, beta: float) -> Loss:
    """`alpha` times cross-entropy and `beta` times the reverse one (Wang et al. 2019), in which targets and predictions
    have changed places."""

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        reverse = -(logits.softmax(1) * targets.log().clamp(min=_LOG_OF_ZERO)).sum(1)
        return alpha * cross_entropy(logits, targets, reduction="none") + beta * reverse

    return loss
