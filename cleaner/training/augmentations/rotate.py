"""Images turned by right angles."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws, some


@dataclass(frozen=True)
class Rotate:
    """By one to three quarter turns, each as likely."""

    share: Annotated[float, Field(ge=0, le=1, description="of images that are turned")] = 0.5

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        def change(images: torch.Tensor) -> torch.Tensor:
            turns, turned = draws.integers(1, 4, len(images)).view(-1, 1, 1, 1), images
            for turn in range(1, 4):
                turned = torch.where(turns == turn, images.rot90(turn, (2, 3)), turned)
            return turned

        return some(batch, draws, self.share, change)
