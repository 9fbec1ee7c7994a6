"""The image, small, somewhere on an empty one."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws, some, warped


@dataclass(frozen=True)
class ScalePaste:
    """Made smaller and pasted at a random place of a canvas that has the image's mean colour: things are not always
    large, nor in the middle."""

    share: Annotated[float, Field(ge=0, le=1, description="of images that are made so")] = 0.2
    smallest: Annotated[float, Field(gt=0, le=1, description="the side, as a share of the canvas, from")] = 0.5

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        def change(images: torch.Tensor) -> torch.Tensor:
            factor = 1 / draws.uniform(self.smallest, 1, len(images))
            place, zero = draws.uniform(-1, 1, 2, len(images)) * (factor - 1), torch.zeros_like(factor)
            across, down = torch.stack([factor, zero, place[0]], 1), torch.stack([zero, factor, place[1]], 1)
            canvas = images.mean((2, 3), keepdim=True)
            # Outside of the image grid_sample gives zeros: how far an image is from its canvas is zero there.
            return canvas + warped(images - canvas, torch.stack([across, down], 1), images.shape[-1], padding="zeros")

        return some(batch, draws, self.share, change)
