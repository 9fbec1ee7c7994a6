"""Light and colours that differ from photo to photo."""

from dataclasses import dataclass
from math import pi
from typing import Annotated

import torch
from pydantic import Field

from cleaner.training.batch import Batch, Draws, constant, inverse

_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
"""From RGB to brightness and two axes of colour (NTSC)."""
_FROM_YIQ = inverse(_TO_YIQ)


@dataclass(frozen=True)
class Jitter:
    """Brightness, contrast, saturation and hue, in that order; hue is turned in YIQ."""

    brightness: Annotated[float, Field(ge=0, le=1, description="factors from 1 - this to 1 + this")] = 0.3
    contrast: Annotated[float, Field(ge=0, le=1, description="factors from 1 - this to 1 + this")] = 0.3
    saturation: Annotated[float, Field(ge=0, le=1, description="factors from 1 - this to 1 + this")] = 0.3
    hue: Annotated[float, Field(ge=0, le=0.5, description="turns of the colour circle, to either side")] = 0.05

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        n, images = len(batch), batch.images
        spread = draws.uniform(-1, 1, 4, n, 1, 1)
        images = images * (1 + self.brightness * spread[0].unsqueeze(1))
        mean = images.mean((1, 2, 3), keepdim=True)
        images = mean + (images - mean) * (1 + self.contrast * spread[1].unsqueeze(1))
        images = torch.einsum("nij,njhw->nihw", self._colours(spread[2], spread[3]), images)
        return batch.showing(images.clamp(0, 1))

    def _colours(self, saturation: torch.Tensor, hue: torch.Tensor) -> torch.Tensor:
        """n x 3 x 3, by which RGB values are multiplied."""
        to_yiq, from_yiq = constant(_TO_YIQ, hue.device), constant(_FROM_YIQ, hue.device)
        angle, strength = (2 * pi * self.hue * hue).flatten(), (1 + self.saturation * saturation).flatten()
        one, zero = torch.ones_like(angle), torch.zeros_like(angle)
        cos, sin = strength * angle.cos(), strength * angle.sin()
        turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1).view(-1, 3, 3)
        return from_yiq @ turn @ to_yiq
