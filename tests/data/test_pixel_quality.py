"""How good pixels are."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image

from cleaner.data.images import facts
from cleaner.data.pixel_quality import pixel_quality

THRESHOLDS = {"dark": 0.32, "light": 0.05, "blurry": 0.29, "low_information": 0.3}


def scene():
    """A photo of a flower."""
    return Image.fromarray(load_sample_image("flower.jpg"))


def poor(image):
    seen = vars(pixel_quality(np.asarray(image.convert("RGB"))))
    return {name for name, least in THRESHOLDS.items() if seen[name] < least}


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda image: image, set()),
        (lambda image: image.convert("L"), set()),
        (lambda image: image.filter(ImageFilter.GaussianBlur(12)), {"blurry"}),
        (lambda image: image.point(lambda value: value // 8), {"dark"}),
        (lambda image: image.point(lambda value: 251 + value // 64), {"light"}),
        (lambda image: Image.new("RGB", image.size, "grey"), {"low_information"}),
        (lambda image: Image.new("RGB", image.size, "black"), {"dark", "low_information"}),
        (lambda image: Image.new("RGB", (1, 1), "white"), {"light", "blurry", "low_information"}),
    ],
)
def test_each_fault_is_seen_and_no_other(spoilt, said):
    found = poor(spoilt(scene()))
    assert said <= found <= said | {"low_information"}


def test_a_picture_before_an_empty_background_is_not_blurry():
    image = Image.new("RGB", (320, 240), "white")
    image.paste(scene().resize((40, 40)), (140, 100))
    assert "blurry" not in poor(image)


@pytest.mark.parametrize("size", [(64, 48), (640, 480), (2560, 1920)])
def test_what_is_seen_does_not_hang_on_the_size(size):
    seen, reference = vars(pixel_quality(np.asarray(scene().resize(size)))), vars(pixel_quality(np.asarray(scene())))
    for name, value in seen.items():
        assert value == pytest.approx(reference[name], abs=0.08), name


def test_a_photo_that_is_decoded_at_a_smaller_scale_is_seen_as_it_is():
    image = scene().resize((1280, 960))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=92)
    seen, whole = vars(facts(encoded.getvalue(), max_pixels=10**8).quality), vars(pixel_quality(np.asarray(image)))
    for name, value in seen.items():
        assert value == pytest.approx(whole[name], abs=0.08), name


def test_what_can_not_be_decoded_is_not_seen():
    encoded = io.BytesIO()
    scene().save(encoded, "PNG")
    assert facts(encoded.getvalue()[:-2000], max_pixels=10**8).quality is None
