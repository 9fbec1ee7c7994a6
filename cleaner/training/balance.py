"""How often the images of each class are seen."""

import numpy as np


def wanted(counts: np.ndarray, how: str) -> np.ndarray:
    """How many images of each class an epoch has, int64, for classes of so many (0 for a class of none).

    Args:
        counts: images a class.
        how: `none`, `third`, `square_root` or `class_balanced` (`recipe.Samples.balance`).
    """
    there = counts > 0
    if how == "third":
        return np.where(there, np.maximum(counts, -(-counts.max() // 3)), 0)
    if how == "none":
        return counts.astype(np.int64)
    shares = np.where(there, np.sqrt(counts) if how == "square_root" else 1.0, 0.0)
    return np.where(there, np.maximum(1, np.rint(counts.sum() * shares / shares.sum())), 0).astype(np.int64)


def epoch_order(labels: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    """The places of an epoch's images in `labels`, int64, in random order.

    Of a class of which more are wanted than there are, each image is seen as often as the others, or once more.
    """
    counts = np.bincount(labels)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    chosen = []
    for places, count, number in zip(by_class, counts, wanted(counts, how), strict=True):
        if count:
            rest = rng.permutation(places)[: number % count]
            chosen += [np.tile(places, number // count), rest]
    return rng.permutation(np.concatenate(chosen))
