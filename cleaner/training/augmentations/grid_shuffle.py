"""The image in pieces."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws, fitted, some


@dataclass(frozen=True)
class GridShuffle:
    """Cut into a grid of tiles that change places: what is left to learn from is details (Chen et al. 2019)."""

    share: Annotated[float, Field(ge=0, le=1, description="of images that are made so")] = 0.2
    grid: Annotated[int, Field(ge=2, le=16, description="tiles a side")] = 3

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        return some(batch, draws, self.share, lambda images: self._shuffled(images, draws))

    def _shuffled(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        n, channels, side, _ = images.shape
        grid, tile = self.grid, -(-side // self.grid)
        tiles = fitted(images, grid * tile).view(n, channels, grid, tile, grid, tile)
        tiles = tiles.permute(0, 2, 4, 1, 3, 5).reshape(n, grid * grid, channels, tile, tile)
        order = draws.order(n, grid * grid)
        mixed = torch.gather(tiles, 1, order.view(n, -1, 1, 1, 1).expand_as(tiles))
        mixed = mixed.view(n, grid, grid, channels, tile, tile).permute(0, 3, 1, 4, 2, 5)
        return fitted(mixed.reshape(n, channels, grid * tile, grid * tile), side)
