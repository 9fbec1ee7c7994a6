"""Whether two images are one picture: saved again, made smaller, cropped, or taken in one burst."""

from collections.abc import Iterable

import numpy as np

SIDE = 16
_TINY = 16
_SAME_PIXELS = 0.985
_SAME_TINY_PIXELS = 0.995
_LIKE_PIXELS = 0.9
_SAME_FEATURES = 0.9


def small_greys(images: Iterable[np.ndarray], n: int) -> np.ndarray:
    """float16 n x 256: the grey pixels of each image, given as SIDE x SIDE x 3, of mean 0 and length 1; all 0 for an
    image of one grey."""
    small = np.zeros((n, SIDE * SIDE), np.float16)
    for row, image in enumerate(images):
        grey = image.mean(2, dtype=np.float32).reshape(-1)
        grey -= grey.mean()
        small[row] = grey / max(float(np.linalg.norm(grey)), 1.0)
    return small


def same_picture(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], cosine: np.ndarray, side: np.ndarray
) -> np.ndarray:
    """bool[m], of pairs of images whose features are alike.

    Features alone can't tell a second photograph of a thing from a second copy of a photograph, so they are looked at
    again: their correlation as 16 x 16 grey pixels must be 0.985, or 0.9 where the cosine of the features is 0.9 too (a
    crop). Under 16 pixels, where all pictures are alike, it must be 0.995.

    Args:
        one, other: float16 images x 256, as `small_greys` makes them, and int[m], which of them is in each pair.
        cosine: float32[m], of their features.
        side: int[m], the shorter side of the first, in pixels.
    """
    (first, at), (second, there) = one, other
    alike = np.empty(len(cosine), np.float32)
    for start in range(0, len(alike), 100_000):
        part = slice(start, start + 100_000)
        alike[part] = (first[at[part]].astype(np.float32) * second[there[part]]).sum(1)
    same = (alike >= _SAME_PIXELS) | ((alike >= _LIKE_PIXELS) & (cosine >= _SAME_FEATURES))
    return np.where(side < _TINY, alike >= _SAME_TINY_PIXELS, same)
