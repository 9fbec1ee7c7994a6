"""Images that were saved too small."""

from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Annotated

import torch
from pydantic import Field
from torch.nn.functional import avg_pool2d, interpolate, pad

from cleaner.training.batch import Batch, Draws, constant, inverse, some

_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    99, 99, 99,
) + (99,) * 32  # fmt: skip
"""The tables of the standard (ITU-T T.81, annex K), which encoders scale by the quality."""
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_FROM_YCC = inverse(_TO_YCC)
_COSINES = tuple(
    tuple((sqrt(1 / 8) if u == 0 else 0.5) * cos((2 * x + 1) * u * pi / 16) for x in range(8)) for u in range(8)
)


@dataclass(frozen=True)
class Jpeg:
    """What JPEG leaves of an image at a low quality: all of the codec that loses anything, on the device.

    Colours are halved in either direction, blocks of 8 x 8 are transformed and rounded by the standard's tables. What
    JPEG does besides is lossless.
    """

    share: Annotated[float, Field(ge=0, le=1, description="of images that are made so")] = 0.3
    lowest: Annotated[int, Field(ge=1, le=100, description="quality, from")] = 10
    highest: Annotated[int, Field(ge=1, le=100, description="quality, to")] = 50

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        def change(images: torch.Tensor) -> torch.Tensor:
            return compressed(images, draws.uniform(self.lowest, max(self.lowest, self.highest), len(images)))

        return some(batch, draws, self.share, change)


def compressed(images: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """The images, float32 n x 3 x h x w in [0, 1], after JPEG at each one's `quality`, n in [1, 100]."""
    height, width = images.shape[2:]
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    padded = pad(images, (0, -width % 16, 0, -height % 16), mode="replicate") * 255
    ycc = torch.einsum("ij,njhw->nihw", constant(_TO_YCC, images.device), padded)
    light = _rounded(ycc[:, :1] - 128, _LUMINANCE, scale) + 128
    colour = interpolate(_rounded(avg_pool2d(ycc[:, 1:], 2), _CHROMINANCE, scale), scale_factor=2.0, mode="bilinear")
    rgb = torch.einsum("ij,njhw->nihw", constant(_FROM_YCC, images.device), torch.cat([light, colour], 1))
    return (rgb / 255).clamp(0, 1)[:, :, :height, :width]


def _rounded(planes: torch.Tensor, table: tuple[int, ...], scale: torch.Tensor) -> torch.Tensor:
    """Planes after rounding of what their blocks are made of."""
    n, channels, height, width = planes.shape
    cosines, steps = constant(_COSINES, planes.device), constant(table, planes.device).view(8, 8)
    steps = (steps * scale.view(n, 1, 1)).round().clamp(1, 255).view(n, 1, 1, 1, 8, 8)
    blocks = planes.view(n, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    rounded = (cosines @ blocks @ cosines.T / steps).round() * steps
    return (cosines.T @ rounded @ cosines).transpose(3, 4).reshape(n, channels, height, width)
