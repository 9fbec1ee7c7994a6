"""A picture of what augmentations do, for people to look at before they train."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from cleaner.training.batch import Augmentation, Batch, Draws, Stream, augmented

_TILE, _TEXT, _GAP, _TITLE = 128, 34, 6, 30
_SHOWN = 0.005
"""Share of a label from which it is named."""
_SEEN, _ATTEMPTS = 0.02, 20
"""Mean change of an image's values, in [0, 1], from which one sees it; how often is drawn for it."""


def contact_sheet(
    pixels: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    augmentations: Sequence[tuple[str, Augmentation]],
    *,
    size: int,
    seed: int,
) -> Image.Image:
    """A row for the images as they are, one for each augmentation alone, of all images, and the last for all
    augmentations in the recipe's mix; under each image its labels with their shares.

    Args:
        pixels: uint8 n x side x side x 3.
        labels: class numbers, n.
        classes: their names.
        augmentations: each with its name.
        size: side of what the network sees.
        seed: of what is drawn.
    """
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels.astype(np.int64)), len(classes)).float()
    batch = Batch(images, targets, torch.ones(len(images)), size)
    each = [_alone(name, augmentation) for name, augmentation in augmentations]
    rows = [("as it is", []), *each, ("all of it", [augmentation for _, augmentation in augmentations])]
    sheet = Image.new("RGB", (len(images) * (_TILE + _GAP) + _GAP, len(rows) * (_TITLE + _TILE + _TEXT)), "white")
    for number, (name, chosen) in enumerate(rows):
        _draw_row(sheet, number * (_TITLE + _TILE + _TEXT), name, _shown(batch, chosen, (seed, number)), classes)
    return sheet


def _shown(batch: Batch, chosen: list[Augmentation], key: tuple[int, int]) -> Batch:
    """The batch after the augmentations; where of so few images none is changed so that one sees it, drawn again."""
    plain = augmented(batch, [], Draws(Stream.AUGMENTATIONS.rng(*key), torch.device("cpu")))
    after = plain
    for attempt in range(_ATTEMPTS if chosen else 0):
        after = augmented(batch, chosen, Draws(Stream.AUGMENTATIONS.rng(*key, attempt), torch.device("cpu")))
        if (after.images - plain.images).abs().flatten(1).mean(1).amax() > _SEEN:
            break
    return after


def _alone(name: str, augmentation: Augmentation) -> tuple[str, list[Augmentation]]:
    """What an augmentation of a share of the images does to all of them."""
    share = getattr(augmentation, "share", None)
    if share is None:
        return name, [augmentation]
    return f"{name}, of {100 * share:.0f} %", [replace(augmentation, share=1.0)]  # type: ignore[type-var]


def _draw_row(sheet: Image.Image, top: int, name: str, batch: Batch, classes: tuple[str, ...]) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, top + 6), name.replace("_", " "), fill="black", font=ImageFont.load_default(17))
    shown = (batch.images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for place, (image, target) in enumerate(zip(shown, batch.targets, strict=True)):
        left = _GAP + place * (_TILE + _GAP)
        sheet.paste(Image.fromarray(image).resize((_TILE, _TILE), Image.Resampling.NEAREST), (left, top + _TITLE))
        for line, text in enumerate(_labels(target, classes)):
            pen.text(
                (left, top + _TITLE + _TILE + 2 + 14 * line), text, fill="#444444", font=ImageFont.load_default(12)
            )


def _labels(target: torch.Tensor, classes: tuple[str, ...]) -> list[str]:
    shares, numbers = target.topk(min(2, len(target)))
    found = [(float(share), classes[int(number)]) for share, number in zip(shares, numbers, strict=True)]
    return [
        name[:18] if share > 1 - _SHOWN else f"{100 * share:.0f} % {name[:13]}"
        for share, name in found
        if share > _SHOWN
    ]
