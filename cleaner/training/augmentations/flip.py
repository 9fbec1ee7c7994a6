"""Mirrored images."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from cleaner.training.batch import Batch, Draws, some


@dataclass(frozen=True)
class Flip:
    """Left for right, and top for bottom."""

    across: Annotated[float, Field(ge=0, le=1, description="share of images in which left is right")] = 0.5
    down: Annotated[float, Field(ge=0, le=1, description="share of images in which top is bottom")] = 0.0

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        batch = some(batch, draws, self.across, lambda images: images.flip(3))
        return some(batch, draws, self.down, lambda images: images.flip(2))
