"""Wrong labels made on purpose: each function gives new int32 labels, of which about `share` are wrong."""

import numpy as np

_NEIGHBORS = 40
_BLOCK = 1000


def symmetric(labels: np.ndarray, classes: int, share: float, seed: int) -> np.ndarray:
    """Every other class is as likely."""
    random = np.random.default_rng(seed)
    wrong = random.random(len(labels)) < share
    return np.where(wrong, (labels + random.integers(1, classes, len(labels))) % classes, labels).astype(np.int32)


def pair(labels: np.ndarray, classes: int, share: float, seed: int) -> np.ndarray:
    """A class is mistaken for the next one."""
    wrong = np.random.default_rng(seed).random(len(labels)) < share
    return np.where(wrong, (labels + 1) % classes, labels).astype(np.int32)


def within_groups(labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A class is mistaken for another of its group (`groups`, one a sample); one alone there keeps its labels."""
    random = np.random.default_rng(seed)
    found = labels.astype(np.int32)
    for row in np.flatnonzero(random.random(len(labels)) < share):
        others = np.setdiff1d(labels[groups == groups[row]], labels[row])
        if len(others):
            found[row] = random.choice(others)
    return found


def by_neighbors(labels: np.ndarray, features: np.ndarray, share: float, seed: int) -> np.ndarray:
    """An image is mistaken the more often, the more of its 40 nearest are of other classes, and for one of those."""
    random = np.random.default_rng(seed)
    other = _other_neighbors(labels, features.astype(np.float32))
    doubt = (other >= 0).mean(1)
    wrong = np.flatnonzero(random.random(len(labels)) < np.minimum(doubt * share / max(doubt.mean(), 1e-9), 0.9))
    found = labels.astype(np.int32)
    for row in wrong:
        found[row] = random.choice(other[row][other[row] >= 0])
    return found


def _other_neighbors(labels: np.ndarray, features: np.ndarray) -> np.ndarray:
    """n x 40: the classes of each sample's nearest by cosine, -1 where it is the sample's own."""
    centred = features - features.mean(0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    found = np.empty((len(labels), _NEIGHBORS), np.int64)
    for start in range(0, len(labels), _BLOCK):
        near = np.argpartition(centred[start : start + _BLOCK] @ -centred.T, _NEIGHBORS, axis=1)[:, :_NEIGHBORS]
        found[start : start + _BLOCK] = labels[near]
    return np.where(found == labels[:, None], -1, found)
