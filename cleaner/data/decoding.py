"""From an image that Pillow has opened to RGB that stands upright."""

import struct
from collections.abc import Callable

import numpy as np
from PIL import Image

_DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_STRIPE = 2**20


def rgb(image: Image.Image) -> np.ndarray:
    """uint8 height x width x 3, converted a stripe at a time: whole, a conversion's copies are many times the image."""
    image.load()
    convert = _grey_to_rgb(image) if image.mode in _DEEP_GREY else _to_rgb
    found = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _STRIPE // image.width)
    for top in range(0, image.height, rows):
        stripe = image.crop((0, top, image.width, min(top + rows, image.height)))
        stripe.info = image.info
        found[top : top + rows] = convert(stripe)
    return found


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
    return np.asarray(image.convert("RGB"))


def _grey_to_rgb(image: Image.Image) -> Callable[[Image.Image], np.ndarray]:
    """From a stripe of a deep grey image to its pixels, by the black and the white of the whole image.

    Whole numbers are values of as many bits as hold the largest, of 8 to 16: cameras and scanners write 10, 12 or
    14 bits into files of 16. Fractions in [0, 1] or [0, 255] run from black to white there. Any other range has no
    agreed black and white, and is stretched from its smallest to its largest value.
    """
    deep = np.asarray(image)
    sound = deep if deep.dtype.kind in "iu" else np.nan_to_num(deep, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(sound.min()), float(sound.max())
    whites = [2**bits - 1 for bits in (8, 10, 12, 14, 16)] if deep.dtype.kind in "iu" else [1, 255]
    white = next((white for white in whites if low >= 0 and high <= white), None)
    black, width = (0.0, white) if white is not None else (low, (high - low) or 1)
    clear = image.info.get("transparency")

    def convert(stripe: Image.Image) -> np.ndarray:
        values = np.asarray(stripe)
        sound = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        grey = np.where(values == clear, 255, np.rint((sound - black) * (255 / width))).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)

    return convert


def orientation_of(image: Image.Image) -> int:
    """How the pixels lie, 1 to 8 (EXIF 2.3, section 4.6.4): 1 is upright. A TIFF's pixels Pillow has turned already."""
    if image.format == "TIFF":
        return 1
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, OSError, struct.error):
        return 1  # broken EXIF; the pixels are fine


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in _SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
