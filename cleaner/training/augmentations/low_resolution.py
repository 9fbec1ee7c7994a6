"""Images that were small once."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws, fitted, some

_GROUPS = 4


@dataclass(frozen=True)
class LowResolution:
    """Made small and large again, to one of four sizes that are drawn anew for each batch. The recipe's 150 to 190 px
    of 380 are shares of 0.4 to 0.5."""

    share: Annotated[float, Field(ge=0, le=1, description="of images that are made so")] = 0.3
    smallest: Annotated[float, Field(gt=0, le=1, description="of the side, the smallest it is made")] = 0.4
    largest: Annotated[float, Field(gt=0, le=1, description="of the side, the largest it is made")] = 0.5

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        side = batch.images.shape[-1]

        def change(images: torch.Tensor) -> torch.Tensor:
            group, lower = draws.integers(0, _GROUPS, len(images)).view(-1, 1, 1, 1), images
            for number in range(_GROUPS):
                small = max(1, round(side * draws.rng.uniform(self.smallest, max(self.smallest, self.largest))))
                lower = torch.where(group == number, fitted(fitted(images, small), side), lower)
            return lower

        return some(batch, draws, self.share, change)
