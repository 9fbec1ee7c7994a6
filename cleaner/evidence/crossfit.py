"""Folds, and what a predictor is asked.

Evidence on a sample comes only from models that trained on no sample of its fold.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.sources import Source
from cleaner.tables import EVIDENCE, lists

_CIRCLE = 2**32
_GOLDEN = 2654435769
"""`_CIRCLE` over the golden ratio: its multiples are spread evenly over the circle (Knuth, TAOCP 3, section 6.4)."""

SHOWN_CLASSES = 10
"""Classes at most that evidence names of each sample."""


class Features(Protocol):
    """An n x d matrix of float16 that need not fit in memory."""

    shape: tuple[int, int]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The rows as float16; an array of row numbers must be ascending."""
        ...


@dataclass(frozen=True)
class Task:
    """What a predictor is asked in one round. Arrays are of length n, one entry a manifest row.

    Attributes:
        labels: int32 class number to learn and to judge; -1 where there is none (unusable, junk).
        train: bool, the positives.
        weights: float32, how much is to be learnt from a row, 0 for nothing.
        predict: bool, the rows evidence is wanted of.
        folds: int8 fold number of each row, in [0, fold count).
        finer_folds: int16, of the same kind and within those: for what costs little for each fold.
        classes: how many classes there are.
        round: 1, 2, ...: which of the predictor's schemes trains the models.
        seed: of all randomness.
        features: n x d.
        source, manifest: where the images are.
    """

    labels: np.ndarray
    train: np.ndarray
    weights: np.ndarray
    predict: np.ndarray
    folds: np.ndarray
    finer_folds: np.ndarray
    classes: int
    round: int
    seed: int
    features: Features
    source: Source
    manifest: pa.Table


class Predictor(Protocol):
    """Gives out-of-sample evidence. A predictor is a frozen dataclass of settings."""

    version: int
    """Raised whenever the predictor gives other evidence for the same task and settings."""

    folds_together: bool
    """Whether all folds are one computation; if not, each fold is a step of its own."""

    def files(self) -> str:
        """A hash of what lies in the files that its settings name; empty where they name none.

        Raises:
            WeightsError: one can't be read.
        """
        ...

    def evidence(self, task: Task, folds: tuple[int, ...]) -> pa.Table:
        """An EVIDENCE table of the rows with `task.predict` in these `folds`, by models that learnt from the rows with
        `task.train` of all other folds."""
        ...


def keys_of(manifest: pa.Table, seed: int) -> np.ndarray:
    """uint64[n]: by what samples are put in an order at random, for `assign_folds`: a hash of the seed and of what lies
    in the file, so that an image keeps its place whatever comes or goes beside it."""
    import pandas as pd

    contents = pc.fill_null(manifest.column("content_hash"), "").to_numpy(zero_copy_only=False)
    return pd.util.hash_array(contents.astype(object), hash_key=f"{seed:016d}", categorize=False)


def assign_folds(labels: np.ndarray, groups: np.ndarray, keys: np.ndarray, *, folds: int, finer: int = 1) -> np.ndarray:
    """Fold numbers, int16[n], that spread every class over the folds and never separate a group.

    A class of c pictures has between floor(c / folds) and ceil(c / folds) of them in a fold, and so has it in finer
    ones. Its pictures stand in the order of their keys, and the folds are stretches of that order: one picture more
    moves about one at each of their ends. Each class begins at another place, so that what is left over of classes is
    spread over the folds too.

    Args:
        labels: int32[n] class numbers, -1 for none.
        groups: int32[n], equal for samples that are one picture; negative for a sample in no group.
        keys: uint64[n], as `keys_of` gives them.
        folds: how many, in [2, 1000].
        finer: into how many parts each fold is cut. The number of a part modulo `folds` is that of its fold.
    """
    n = len(labels)
    alone = np.arange(n, dtype=np.int64)
    units = np.where(groups < 0, alone, groups.astype(np.int64) + n)
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    least = np.full(len(first), np.iinfo(np.uint64).max)
    np.minimum.at(least, unit, keys)
    order = np.lexsort((least, labels[first]))
    label, start, size = np.unique(labels[first][order], return_index=True, return_counts=True)
    of = np.repeat(np.arange(len(label)), size)
    rank = np.arange(len(first)) - start[of]
    # Places on a circle of _CIRCLE points, in whole numbers: the same everywhere.
    turn = (label.astype(np.int64) + 1) * _GOLDEN % _CIRCLE
    place = ((2 * rank + 1) * (_CIRCLE // 2) // size[of] + turn[of]) % _CIRCLE * folds
    part = place % _CIRCLE * finer // _CIRCLE
    fold = np.empty(len(first), np.int16)
    fold[order] = place // _CIRCLE + folds * part
    return fold[unit]


def evidence_table(
    rows: np.ndarray, folds: np.ndarray, probs: np.ndarray | Iterable[np.ndarray], labels: np.ndarray
) -> pa.Table:
    """The EVIDENCE of `rows`, at most 10 classes each; of equally probable classes the lower number comes first.

    Args:
        rows: int32[m] ascending row numbers.
        folds: int8[m] fold of each of them.
        probs: float32 m x classes, or its row blocks one after the other, so that it never need be held whole.
        labels: int32[m] given class numbers; without one (-1) a sample's `given_prob` is 0 and its rank the last.
    """
    blocks = [probs] if isinstance(probs, np.ndarray) else probs
    parts, start = [EVIDENCE.empty_table()], 0
    for block in blocks:
        part = slice(start, start + len(block))
        parts.append(_evidence_block(rows[part], folds[part], block, labels[part]))
        start = part.stop
    return pa.concat_tables(parts).combine_chunks()


def _evidence_block(rows: np.ndarray, folds: np.ndarray, probs: np.ndarray, labels: np.ndarray) -> pa.Table:
    classes = probs.shape[1]
    probs = np.ascontiguousarray(probs, np.float32)
    top = _largest(probs, min(SHOWN_CLASSES, classes))
    top_probs = np.take_along_axis(probs, top, 1)
    known = labels >= 0
    at = np.where(known, labels, 0)[:, None]
    given = np.take_along_axis(probs, at, 1)
    rank = np.where(known, _above(probs, at, given), classes - 1)
    given = np.where(known, given[:, 0], 0)
    rival = top_probs[:, min(1, classes - 1)]
    other = np.where(top[:, 0] == labels, rival if classes > 1 else 0, top_probs[:, 0])
    columns = [rows, folds, lists(top, pa.int32()), lists(top_probs, pa.float32()), given, rank, given - other]
    return pa.table([_column(values, field.type) for values, field in zip(columns, EVIDENCE, strict=True)], EVIDENCE)


def _above(probs: np.ndarray, at: np.ndarray, given: np.ndarray) -> np.ndarray:
    """int64[m]: how many classes come before class `at` of each row, which has the probability `given`."""
    found: np.ndarray = (probs > given).sum(1)
    tied = np.flatnonzero((probs >= given).sum(1) > found + 1)
    before = np.arange(probs.shape[1]) < at[tied]
    found[tied] += ((probs[tied] == given[tied]) & before).sum(1)
    return found


def _column(values: np.ndarray | pa.Array, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values).cast(kind, safe=False)


def _keys(probs: np.ndarray, places: np.ndarray) -> np.ndarray:
    """int64 keys in the order of the probabilities, of equal ones the first place highest: the bits of floats from 0 up
    are ordered."""
    bits = np.ascontiguousarray(probs).view(np.int32).astype(np.int64)
    return (bits << 32) - places


def _largest(probs: np.ndarray, count: int) -> np.ndarray:
    """int64 m x count: the places of each row's largest, the largest first; of equal ones the first."""
    import torch

    values, places = (each.numpy() for each in torch.topk(torch.from_numpy(probs), count))
    order = np.argsort(-_keys(values, places), 1)
    found = np.take_along_axis(places, order, 1)
    # Which of those that equal the least of them were taken is not said.
    tied = np.flatnonzero((probs >= values[:, -1:]).sum(1) > count)
    if len(tied):
        keys = _keys(probs[tied], np.arange(probs.shape[1]))
        some = np.argpartition(-keys, count - 1, axis=1)[:, :count]
        found[tied] = np.take_along_axis(some, np.argsort(-np.take_along_axis(keys, some, 1), 1), 1)
    return found
