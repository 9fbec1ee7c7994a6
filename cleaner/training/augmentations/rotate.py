"""Images turned by right angles."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws


@dataclass(frozen=True)
class Rotate:
    """By one to three quarter turns, each as likely."""

    share: Annotated[float, Field(ge=0, le=1, description="of images that are turned")] = 0.5

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        images = batch.images
        turns = draws.integers(1, 4, len(batch)).view(-1, 1, 1, 1) * draws.chance(self.share, len(batch))
        for turn in range(1, 4):
            images = torch.where(turns == turn, batch.images.rot90(turn, (2, 3)), images)
        return batch.showing(images)
