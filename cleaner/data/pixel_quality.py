"""How good the pixels of an image are: dark, light, blurry, or nearly empty.

The measures, and what they are called, are those of cleanvision (https://github.com/cleanlab/cleanvision, 0.3.7); each
is in [0, 1], the lower the worse.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter, ImageStat

SIDE = 64
"""The shorter side from which an image can be judged: blur is judged at this longer side, whatever the image's size."""
_REDUCED = 2 * SIDE
_BRIGHTNESS = np.array([0.241, 0.691, 0.068], np.float32)
_FALLOFF = 0.01
_FLAT = 0.18


@dataclass(frozen=True)
class PixelQuality:
    """Attributes:
    dark: how bright the brightest pixels are, but for one in a hundred.
    light: how dark the darkest are, but for one in twenty.
    blurry: how far pixels differ from those around them (the variance of a Laplacian) at 64 pixels, or how uneven the
        grey levels are: before an empty background few pixels differ, and nothing is blurred.
    low_information: the entropy of the pixels' values, of ten bits.
    """

    dark: float
    light: float
    blurry: float
    low_information: float


def pixel_quality(pixels: np.ndarray) -> PixelQuality:
    """How good they are: uint8, height x width x 3, RGB; of an image that is decoded at a smaller scale nearly the
    same, as long as its shorter side keeps `SIDE` pixels."""
    image = Image.fromarray(pixels)
    if (factor := max(image.size) // _REDUCED) > 1:
        image = image.reduce(factor)
    bright = np.sqrt(np.asarray(image).astype(np.float32) ** 2 @ _BRIGHTNESS) / 255
    light, dark = np.percentile(bright, [5, 99])
    return PixelQuality(float(dark), float(1 - light), _blurry(image), min(1.0, image.entropy() / 10))


def _blurry(image: Image.Image) -> float:
    if (ratio := max(image.size) / SIDE) > 1:
        image = image.resize((max(1, int(image.width // ratio)), max(1, int(image.height // ratio))))
    grey = image.convert("L")
    edges = math.sqrt(ImageStat.Stat(grey.filter(ImageFilter.FIND_EDGES)).var[0])
    uneven = 1 - math.exp(-_FALLOFF * float(np.std(grey.histogram())))
    return min(1.0, 1 - math.exp(-_FALLOFF * edges) + (uneven if uneven > _FLAT else 0.0))
