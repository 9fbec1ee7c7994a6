"""Two images in one, and their labels with them."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws


@dataclass(frozen=True)
class Mixcut:
    """Mixup (Zhang et al. 2018) for some images and CutMix (Yun et al. 2019) for others, with a partner of the batch.

    Each image has its part in the target by the share of it that is seen times its weight: a label that nobody believes
    has none.
    """

    mixup: Annotated[float, Field(ge=0, le=1, description="share of images that are blended with another")] = 0.25
    cutmix: Annotated[float, Field(ge=0, le=1, description="share of images into which a part of another is cut")] = (
        0.25
    )
    mixup_alpha: Annotated[float, Field(gt=0, le=10, description="Beta(alpha, alpha) of the blend")] = 0.2
    cutmix_alpha: Annotated[float, Field(gt=0, le=10, description="Beta(alpha, alpha) of the area left")] = 1.0

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        n, _, height, width = batch.images.shape
        which = draws.uniform(0, 1, n)
        blended = which < self.mixup
        cut = ~blended & (which < self.mixup + self.cutmix)
        partner = draws.order(n)
        share = torch.where(blended, draws.beta(self.mixup_alpha, n), torch.ones_like(which))
        box = _boxes(draws.beta(self.cutmix_alpha, n), draws.uniform(0, 1, 2, n), height, width) & cut.view(n, 1, 1)
        seen = share * (1 - box.float().mean((1, 2)))
        others = batch.images[partner]
        images = torch.lerp(others, batch.images, share.view(n, 1, 1, 1))
        images = torch.where(box.unsqueeze(1), others, images)
        own, other = seen * batch.weights, (1 - seen) * batch.weights[partner]
        weights = own + other
        part = torch.where(weights > 0, own / weights.clamp(min=torch.finfo(weights.dtype).tiny), seen)
        targets = torch.lerp(batch.targets[partner], batch.targets, part.unsqueeze(1))
        return replace(batch, images=images, targets=targets, weights=weights)


def _boxes(left: torch.Tensor, centre: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """bool n x height x width: a rectangle of the image's shape about each centre, of 1 - `left` of its area before it
    is cut off at the edges."""
    half = torch.sqrt(1 - left).view(-1, 1) / 2
    across = (torch.arange(width, device=left.device) + 0.5) / width
    down = (torch.arange(height, device=left.device) + 0.5) / height
    inside_across = (across - centre[0].view(-1, 1)).abs() < half
    inside_down = (down - centre[1].view(-1, 1)).abs() < half
    return inside_down.unsqueeze(2) & inside_across.unsqueeze(1)
