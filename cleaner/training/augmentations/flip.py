"""Mirrored images."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws


@dataclass(frozen=True)
class Flip:
    """Left for right, and top for bottom."""

    across: Annotated[float, Field(ge=0, le=1, description="share of images in which left is right")] = 0.5
    down: Annotated[float, Field(ge=0, le=1, description="share of images in which top is bottom")] = 0.0

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        images = torch.where(draws.chance(self.across, len(batch)), batch.images.flip(3), batch.images)
        return batch.showing(torch.where(draws.chance(self.down, len(batch)), images.flip(2), images))
