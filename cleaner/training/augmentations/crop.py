"""A part of the image, at the network's size."""

from dataclasses import dataclass
from math import log
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws, warped


@dataclass(frozen=True)
class Crop:
    """A rectangle somewhere in the image (Szegedy et al. 2015), enlarged or made small to the network's size."""

    smallest: Annotated[float, Field(gt=0, le=1, description="share of the area that is seen, from; to all of it")] = (
        0.5
    )
    stretch: Annotated[float, Field(ge=1, le=4, description="ratio of the rectangle's sides at most")] = 1.33

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        n = len(batch)
        area, ratio = draws.uniform(self.smallest, 1, n), draws.uniform(-log(self.stretch), log(self.stretch), n).exp()
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        place, zero = draws.uniform(-1, 1, 2, n), torch.zeros_like(area)
        across = torch.stack([width, zero, (1 - width) * place[0]], 1)
        down = torch.stack([zero, height, (1 - height) * place[1]], 1)
        return batch.showing(warped(batch.images, torch.stack([across, down], 1), batch.size))
