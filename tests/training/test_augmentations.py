"""Augmentations, on images of which the answer is known."""

import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import simplejpeg
import torch

from cleaner import parts
from cleaner.training.batch import Batch, Draws, Stream, augmented

SIDE = 48
CPU = torch.device("cpu")


def draws(*key):
    return Draws(Stream.AUGMENTATIONS.rng(*(key or (0,))), CPU)


def batch(images, targets=None, size=SIDE):
    images = torch.as_tensor(images, dtype=torch.float32)
    n = len(images)
    targets = torch.eye(n) if targets is None else torch.as_tensor(targets, dtype=torch.float32)
    return Batch(images, targets, torch.ones(n), size)


def photos(n=16, side=SIDE):
    """Smooth pictures, each other than the rest."""
    rng = np.random.default_rng(1)
    small = torch.from_numpy(rng.random((n, 3, 6, 6)).astype(np.float32))
    return torch.nn.functional.interpolate(small, (side, side), mode="bicubic").clamp(0, 1)


def plain(*shades):
    return torch.tensor(shades).view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE).float()


def made(name, **settings):
    return parts.make("augmentations", name, settings)


NAMES = parts.names("augmentations")
SHARED = [name for name in NAMES if "share" in {field.name for field in fields(parts.find("augmentations", name))}]
"""Those that change a share of the images."""


@pytest.mark.parametrize("name", NAMES)
def test_each_alone(name):
    some = {"share": 0.5} if name in SHARED else {}
    before = batch(photos())
    kept = before.images.clone()
    after, again, other = (made(name, **some)(before, draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(before.images, kept)
    assert after.images.shape == before.images.shape
    assert torch.equal(after.images, again.images) and torch.equal(after.targets, again.targets)
    assert not torch.equal(after.images, other.images)
    assert after.images.min() >= -1e-5 and after.images.max() <= 1 + 1e-5
    assert torch.allclose(after.targets.sum(1), torch.ones(16))
    changed = (after.images != before.images).flatten(1).any(1)
    assert changed.float().mean() > 0.3
    if name != "mixcut":
        assert torch.equal(after.targets, before.targets)


@pytest.mark.parametrize("name", SHARED)
def test_a_share_of_images_is_changed_and_nothing_is_computed_of_the_others(name, monkeypatch):
    before, computed = batch(photos(64)), []
    augmentation = made(name, share=0.25)
    some = sys.modules[type(augmentation).__module__].some

    def counted(batch, draws, share, change):
        return some(batch, draws, share, lambda images: computed.append(len(images)) or change(images))

    monkeypatch.setattr(sys.modules[type(augmentation).__module__], "some", counted)
    after = augmentation(before, draws(3))
    changed = (after.images != before.images).flatten(1).any(1).sum()
    assert 8 <= changed <= sum(computed) <= 24


@pytest.mark.parametrize("name", SHARED)
def test_a_share_of_nothing_changes_nothing(name):
    before = batch(photos())
    assert torch.equal(made(name, share=0.0)(before, draws()).images, before.images)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 1.0), (0.25, 1.5), (0.0, 0.0)])
def test_labels_count_as_far_as_they_are_seen_and_believed(kind, weights):
    """Black images of one class and white ones of another: the mean shade is the share of the second that is seen."""
    white = torch.arange(32) % 2
    before = batch(plain(*white.tolist()), torch.nn.functional.one_hot(white, 2))
    before = replace(before, weights=torch.tensor(weights)[white])
    settings = {"mixup": 0.0, "cutmix": 0.0, "mixup_alpha": 1.0} | {kind: 1.0}
    after = made("mixcut", **settings)(before, draws())
    seen = after.images.mean((1, 2, 3))
    counts = torch.stack([weights[0] * (1 - seen), weights[1] * seen], 1)
    assert torch.allclose(after.weights.unsqueeze(1) * after.targets, counts, atol=1e-5)
    assert torch.allclose(after.targets.sum(1), torch.ones(32), atol=1e-5)
    assert ((seen > 0.05) & (seen < 0.95)).any()
    shades = after.images.unique()
    assert (len(shades) == 2) == (kind == "cutmix")


def test_mirrors():
    before = batch(photos())
    across, down = (made("flip", across=a, down=d)(before, draws()).images for a, d in ((1.0, 0.0), (0.0, 1.0)))
    assert torch.equal(across, before.images.flip(3)) and torch.equal(down, before.images.flip(2))


def test_quarter_turns():
    before = batch(photos())
    after = made("rotate", share=1.0)(before, draws()).images
    turned = torch.stack([before.images.rot90(turns, (2, 3)) for turns in (1, 2, 3)])
    found = (turned == after).flatten(2).all(2)
    assert found.any(0).all() and found.any(1).all()


def test_jpeg_is_what_an_encoder_makes():
    """Beside libjpeg-turbo on the same pictures, colours at half the resolution."""
    pixels = (photos(8, 64) * 255).round().to(torch.uint8)
    for quality in (10, 30, 75):
        settings = {"share": 1.0, "lowest": quality, "highest": quality}
        ours = made("jpeg", **settings)(batch(pixels / 255, size=64), draws()).images * 255
        for image, mine in zip(pixels, ours, strict=True):
            data = simplejpeg.encode_jpeg(
                image.permute(1, 2, 0).contiguous().numpy(), quality=quality, colorsubsampling="420", fastdct=False
            )
            theirs = torch.from_numpy(simplejpeg.decode_jpeg(data, fastdct=False)).permute(2, 0, 1).float()
            lost = (theirs - image.float()).abs().mean()
            assert (mine - theirs).abs().mean() < 0.35 * lost + 0.5


def test_what_was_small_has_no_detail_and_the_same_shade():
    board = (torch.arange(SIDE).view(-1, 1) + torch.arange(SIDE)) % 2
    after = made("low_resolution", share=1.0)(batch(board.float().expand(8, 3, -1, -1)), draws()).images
    assert after.std((2, 3)).max() < 0.15
    assert torch.allclose(after.mean((1, 2, 3)), torch.full((8,), 0.5), atol=0.02)


def test_a_crop_of_everything_is_the_image_and_other_crops_are_parts_of_it():
    before = batch(photos())
    whole = made("crop", smallest=1.0, stretch=1.0)(before, draws()).images
    assert torch.allclose(whole, before.images, atol=1e-4)
    ramp = torch.linspace(0, 1, 64).expand(16, 3, 64, 64)
    part = made("crop", smallest=0.25, stretch=1.0)(batch(ramp), draws()).images
    assert part.shape == (16, 3, SIDE, SIDE)
    seen = part.amax((1, 2, 3)) - part.amin((1, 2, 3))
    assert seen.min() > 0.45 and seen.min() < 0.7 and seen.max() < 1.01


def test_tiles_change_places_and_nothing_is_lost():
    before = batch(photos())
    after = made("grid_shuffle", share=1.0, grid=3)(before, draws()).images
    for image, shuffled in zip(before.images, after, strict=True):
        assert not torch.equal(image, shuffled)
        assert torch.equal(image.flatten(1).sort(1).values, shuffled.flatten(1).sort(1).values)
        tile = shuffled[:, :16, :16]
        places = [image[:, y : y + 16, x : x + 16] for y in (0, 16, 32) for x in (0, 16, 32)]
        assert any(torch.equal(tile, place) for place in places)


def test_what_is_pasted_is_whole_and_on_a_canvas_of_its_own_colour():
    spot = torch.zeros(16, 3, SIDE, SIDE)
    spot[:, :, 12:36, 12:36] = 1
    after = made("scale_paste", share=1.0, smallest=0.5)(batch(spot), draws()).images
    assert torch.allclose(after.mean((1, 2, 3)), spot.mean((1, 2, 3)), atol=0.02)
    sizes = (after[:, 0] > 0.75).float().sum((1, 2)).sqrt()
    assert 11 <= sizes.min() < 15 and 20 < sizes.max() <= 24
    centres = (after[:, 0] > 0.75).float().mean(1).argmax(1)
    assert len(centres.unique()) > 5


def test_what_is_erased_is_as_large_as_it_may_be():
    settings = {"share": 1.0, "smallest": 0.1, "largest": 0.3, "stretch": 1.5}
    before = batch(plain(*[0.5] * 32))
    after = made("erasing", **settings)(before, draws()).images
    share = (after != before.images).any(1).float().mean((1, 2))
    assert share.min() > 0.07 and share.max() < 0.34 and share.max() - share.min() > 0.1


def test_colours_turn_and_grey_stays_grey():
    settings = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.5}
    grey = batch(plain(0.2, 0.5, 0.8))
    assert torch.allclose(made("jitter", **settings)(grey, draws()).images, grey.images, atol=1e-3)
    red = torch.tensor([0.6, 0.3, 0.3]).view(1, 3, 1, 1).expand(32, 3, 8, 8)
    after = made("jitter", **settings)(batch(red), draws()).images
    light = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert torch.allclose((after * light).sum(1), (red * light).sum(1), atol=1e-3)
    assert len(after[:, :, 0, 0].argmax(1).unique()) == 3
    darker = made("jitter", brightness=0.5, contrast=0.0, saturation=0.0, hue=0.0)(grey, draws()).images
    factors = darker.mean((1, 2, 3)) / grey.images.mean((1, 2, 3))
    assert factors.min() >= 0.5 and factors.max() <= 1.5 and len(factors.unique()) == 3


def test_augmix_of_no_severity_keeps_what_is_where():
    """Only tones are left that change."""
    half = torch.zeros(32, 3, SIDE, SIDE)
    half[..., : SIDE // 2] = 1
    after = made("augmix", share=1.0, severity=0.0)(batch(half), draws()).images
    assert torch.allclose(after, half, atol=1e-4)
    moved = made("augmix", share=1.0, severity=0.5)(batch(half), draws()).images
    assert not torch.allclose(moved, half, atol=0.1)


def test_one_after_the_other_ends_at_the_networks_size():
    chosen = [made(name) for name in NAMES]
    after = augmented(batch(photos(8, 56), size=SIDE), chosen, draws())
    assert after.images.shape == (8, 3, SIDE, SIDE)
    assert augmented(batch(photos(8, 56), size=SIDE), [], draws()).images.shape == (8, 3, SIDE, SIDE)
