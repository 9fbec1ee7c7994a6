"""One way from a file to what a network is shown: ours, beside timm's own."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cleaner.evidence.networks import timm
from cleaner.training.preprocessing import Preprocessing


def photo(rng, *, most=300):
    """A JPEG of any shape, smooth and with fine detail."""
    width, height = (int(side) for side in rng.integers(30, most, 2))
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((width, height))
    pixels = np.asarray(coarse).astype(int) + rng.integers(-20, 20, (height, width, 3))
    data = BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(data, "JPEG", quality=int(rng.integers(50, 99)))
    return data.getvalue()


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("crop_pct", [1.0, 0.95, 0.875])
def test_images_are_shown_as_timm_shows_them(interpolation, crop_pct):
    rng = np.random.default_rng(0)
    for size in (16, 32, 57, 128, 224):
        ours = Preprocessing(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation, crop_pct)
        theirs = timm.data.create_transform(**ours.config() | {"input_size": (3, size, size)}, is_training=False)
        for _ in range(12):
            data = photo(rng)
            wanted = (theirs(Image.open(BytesIO(data)).convert("RGB")) * 255).round().permute(1, 2, 0).numpy()
            apart = np.abs(ours.pixels(data, max_pixels=10**6).astype(int) - wanted)
            assert apart.max() == 0


def test_what_is_written_is_read_again():
    shown = Preprocessing(48, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5), "bilinear", 0.9)
    assert Preprocessing.told(shown.config()) == shown
    with pytest.raises(ValueError, match="no filter random"):
        Preprocessing.told(shown.config() | {"interpolation": "random"})


def test_a_long_strip_takes_no_more_than_its_centre():
    data = BytesIO()
    Image.new("RGB", (20_000, 2), "red").save(data, "PNG")
    seen = Preprocessing(224, (0.0,) * 3, (1.0,) * 3).pixels(data.getvalue(), max_pixels=10**6)
    assert seen.shape == (224, 224, 3) and (seen == (255, 0, 0)).all()
