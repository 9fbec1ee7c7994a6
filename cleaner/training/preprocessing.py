"""From an image file to what a network is shown when it is not learning."""

from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from PIL import Image

from cleaner.data.images import decode

_LONGEST = 16
"""Times the shorter side that the longer one may have for the whole image to be resized."""


@dataclass(frozen=True)
class Preprocessing:
    """What is done with every image that a network is measured on or asked about: in the looks after an epoch, in the
    test, by `cleaner predict`, and by whoever loads the model by timm, which finds it in `config.json`.

    The shorter side is resized, by PIL's antialiased filter, to the network's size divided by `crop_pct`; the centre of
    it is seen, its values in [0, 1] less `mean`, divided by `std`.

    Attributes:
        size: of the network's input, in pixels.
        mean, std: of red, green, blue.
        interpolation: the filter's name, as timm calls it.
        crop_pct: share of the resized side that is seen.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    crop_pct: float = 1.0

    @classmethod
    def told(cls, config: dict[str, Any]) -> "Preprocessing":
        """As `config` has written it, or timm.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        interpolation = str(config.get("interpolation", "bicubic"))
        _filter(interpolation)
        mean, std = tuple(map(float, config["mean"])), tuple(map(float, config["std"]))
        return cls(int(config["input_size"][-1]), mean, std, interpolation, float(config.get("crop_pct", 1.0)))

    def config(self) -> dict[str, Any]:
        """As timm's `pretrained_cfg` has it."""
        return {
            "input_size": [3, self.size, self.size],
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
            "crop_mode": "center",
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @property
    def geometry(self) -> str:
        """What `pixels` depends on."""
        return f"{self.size}-{self.interpolation}-{self.crop_pct}"

    def pixels(self, data: bytes, *, max_pixels: int) -> np.ndarray:
        """uint8 size x size x 3, RGB, of an encoded image.

        Raises:
            ImageProblem: it can't be decoded.
        """
        image = Image.fromarray(decode(data, max_pixels=max_pixels))
        short, sides = floor(self.size / self.crop_pct), image.size
        # As torchvision's Resize and CenterCrop round.
        wide, high = (int(short * side / min(sides)) for side in sides)
        left, top = (round((side - self.size) / 2) for side in (wide, high))
        right, bottom, resample = left + self.size, top + self.size, _filter(self.interpolation)
        if max(wide, high) <= _LONGEST * short:
            whole = image.resize((wide, high), resample)
            return np.asarray(whole.crop((left, top, right, bottom)))
        # The whole of a strip could be too large. This differs by a level here and there, since PIL rounds between its
        # two passes, and takes the other one first where it has less to do.
        across, down = image.width / wide, image.height / high
        box = (left * across, top * down, right * across, bottom * down)
        return np.asarray(image.resize((self.size, self.size), resample, box=box))


def _filter(name: str) -> Image.Resampling:
    """Raises ValueError: PIL has no such filter."""
    try:
        return Image.Resampling[name.upper()]
    except KeyError as error:
        raise ValueError(f"no filter {name}") from error
