"""Several small changes, blended."""

from dataclasses import dataclass
from math import pi
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws, some, warped

_MOVES, _TONES = 4, 3
"""How many operations there are on places (turn, shear, move across, move down), and on tones."""


@dataclass(frozen=True)
class Augmix:
    """AugMix (Hendrycks et al. 2020): chains of operations, mixed by Dirichlet weights, mixed with the image itself.

    The operations: turning, shearing and moving; autocontrast, posterising and solarising.
    """

    share: Annotated[float, Field(ge=0, le=1, description="of images that are made so")] = 0.3
    severity: Annotated[float, Field(ge=0, le=1, description="of each operation")] = 0.3
    width: Annotated[int, Field(ge=1, le=8, description="chains")] = 3
    depth: Annotated[int, Field(ge=1, le=8, description="operations in a chain at most")] = 3
    alpha: Annotated[float, Field(gt=0, le=10, description="of the Dirichlet and the Beta distribution")] = 1.0

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        return some(batch, draws, self.share, lambda images: self._mixed(images, draws))

    def _mixed(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        n = len(images)
        shares, left = draws.dirichlet(self.alpha, self.width, n), draws.beta(self.alpha, n).view(n, 1, 1, 1)
        mixed = torch.zeros_like(images)
        for chain in range(self.width):
            changed, depth = images, draws.integers(1, self.depth + 1, n)
            for step in range(self.depth):
                operation = torch.where(step < depth, draws.integers(0, _MOVES + _TONES, n), -1)
                changed = self._changed(changed, operation, draws.uniform(-self.severity, self.severity, n))
            mixed = mixed + shares[:, chain].view(n, 1, 1, 1) * changed
        return torch.lerp(mixed, images, left)

    def _changed(self, images: torch.Tensor, operation: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        """Each image after its operation; -1 is none."""
        amount = [torch.where(operation == number, strength, 0) for number in range(_MOVES)]
        angle, one = amount[0] * pi / 2, torch.ones_like(strength)
        across = torch.stack([angle.cos(), amount[1] - angle.sin(), amount[2]], 1)
        down = torch.stack([angle.sin(), angle.cos() * one, amount[3]], 1)
        images = warped(images, torch.stack([across, down], 1), images.shape[-1])
        tone = (operation - _MOVES).view(-1, 1, 1, 1)
        low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        images = torch.where(tone == 0, (images - low) / (high - low).clamp(min=1e-3), images)
        levels = (8 * (1 - strength.abs()) + 2).view(-1, 1, 1, 1).round()
        images = torch.where(tone == 1, (images * levels).floor().clamp(max=levels - 1) / (levels - 1), images)
        return torch.where((tone == 2) & (images > 1 - strength.abs().view(-1, 1, 1, 1)), 1 - images, images)
