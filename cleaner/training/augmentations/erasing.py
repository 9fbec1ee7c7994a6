"""A part of the image that is not seen."""

from dataclasses import dataclass
from math import log
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws, some


@dataclass(frozen=True)
class Erasing:
    """A rectangle of noise somewhere in the image (Zhong et al. 2020). The label stays as it is."""

    share: Annotated[float, Field(ge=0, le=1, description="of images that are made so")] = 0.25
    smallest: Annotated[float, Field(gt=0, lt=1, description="share of the area that is erased, from")] = 0.02
    largest: Annotated[float, Field(gt=0, lt=1, description="share of the area that is erased, to")] = 0.25
    stretch: Annotated[float, Field(ge=1, le=4, description="ratio of the rectangle's sides at most")] = 3.0

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        return some(batch, draws, self.share, lambda images: self._erased(images, draws))

    def _erased(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        n, _, height, width = images.shape
        area = draws.uniform(self.smallest, max(self.smallest, self.largest), n)
        ratio = draws.uniform(-log(self.stretch), log(self.stretch), n).exp()
        wide, high = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        corner = draws.uniform(0, 1, 2, n)
        across = _inside(corner[0] * (1 - wide), wide, width)
        down = _inside(corner[1] * (1 - high), high, height)
        erased = (down.unsqueeze(2) & across.unsqueeze(1)).unsqueeze(1)
        noise = (0.5 + 0.25 * draws.noise(n, 3, height, width)).clamp(0, 1)
        return torch.where(erased, noise, images)


def _inside(start: torch.Tensor, length: torch.Tensor, side: int) -> torch.Tensor:
    """bool n x side: which pixels lie in [start, start + length) of a side of length one."""
    place = (torch.arange(side, device=start.device) + 0.5) / side
    return (place >= start.unsqueeze(1)) & (place < (start + length).unsqueeze(1))
