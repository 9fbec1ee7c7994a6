"""Images of poor quality: how good each is by its pixels and its shape, and which are below a threshold."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.run import ledger
from cleaner.run.steps import makes
from cleaner.tables import PIXEL_QUALITY, QUALITY, Action, array, check, is_usable

STAGE = "quality"
BY = "rule:quality"
SIZE = "odd_size"
_DIGITS = 3


@makes("quality", version=1)
def quality(manifest: pa.Table, pixel_quality: pa.Table, *, spread: float) -> pa.Table:
    """The QUALITY of all images.

    Args:
        pixel_quality: PIXEL_QUALITY, row by row with the manifest.
        spread: an image has an odd size where the square root of its area lies farther than so many interquartile
            ranges below the first quartile or above the third.
    """
    width, height = (array(manifest, name).astype(np.float64) for name in ("width", "height"))
    usable = is_usable(manifest)
    with np.errstate(invalid="ignore", divide="ignore"):
        shape = np.minimum(width / height, height / width)
        size = np.sqrt(width) * np.sqrt(height)
    scores = {name: array(pixel_quality, name).astype(np.float64) for name in PIXEL_QUALITY.names}
    scores |= {"odd_aspect_ratio": shape, SIZE: _sizes(size, usable, spread)}
    columns = {name: manifest.column(name) for name in ("sample_id", "path", "label")}
    for name, values in scores.items():
        known = usable & np.isfinite(values)
        columns[name] = pa.array(np.round(values, _DIGITS), pa.float32(), mask=~known)
    return check(pa.table(columns), QUALITY, STAGE)


def _sizes(size: np.ndarray, usable: np.ndarray, spread: float) -> np.ndarray:
    """In [0, 1], half where an image is as small or as large as may be; where all have about one size, any other is
    odd."""
    if not usable.any():
        return np.full(len(size), np.nan)
    low, high = np.percentile(size[usable], [25, 75])
    middle, gap = (low + high) / 2, (1 + 2 * spread) * (high - low)
    if gap == 0:
        return np.where(size == middle, 1.0, 0.0)
    return 1 - np.clip(np.abs(size - middle) / gap, 0, 1)


@makes("verdicts on quality", version=1)
def verdicts(manifest: pa.Table, found: pa.Table, *, thresholds: Mapping[str, float], drop: Sequence[str]) -> pa.Table:
    """VERDICTS on the images of which a score is below its threshold, rows ascending: they drop those that are to be
    dropped for it, and of the others say so alone.

    Args:
        found: QUALITY.
        thresholds: by the names of the scores.
        drop: for which of them an image is dropped.
    """
    least = {name: pa.scalar(each, pa.float32()) for name, each in thresholds.items()}
    below = {name: pc.less(found.column(name), each) for name, each in least.items()}
    poor = {name: pc.fill_null(each, False).to_numpy() for name, each in below.items()}
    rows = np.flatnonzero(np.any(list(poor.values()), axis=0)).astype(np.int32)
    dropped = np.any([poor[name] for name in drop], axis=0) if drop else np.zeros(len(found), bool)
    scores = {name: array(found, name) for name in thresholds}
    reasons = [
        ", ".join(f"{words(name)} ({scores[name][row]:.2f})" for name in thresholds if poor[name][row]) for row in rows
    ]
    action = pa.array(np.full(len(rows), Action.DROP.value), pa.string(), mask=~dropped[rows])
    return ledger.verdicts(manifest, rows, reasons, stage=STAGE, by=BY, action=action)


def words(score: str) -> str:
    """`odd aspect ratio`, of a score's name."""
    return score.replace("_", " ")
