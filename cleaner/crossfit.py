"""Folds, and what a predictor is asked.

Evidence on a sample comes only from models that trained on no sample of its fold.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from cleaner.sources import Source


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
        train: bool, the rows a model may learn from (the positives).
        predict: bool, the rows evidence is wanted of.
        folds: int8 fold number of each row, in [0, fold count).
        classes: how many classes there are.
        round: 1, 2, ...: which of the predictor's schemes trains the models.
        seed: of all randomness.
        features: n x d.
        source, manifest: where the images are.
    """

    labels: np.ndarray
    train: np.ndarray
    predict: np.ndarray
    folds: np.ndarray
    classes: int
    round: int
    seed: int
    features: Features
    source: Source
    manifest: pa.Table


class Predictor(Protocol):
    """Gives out-of-sample evidence. A predictor is a frozen dataclass of settings."""

    folds_together: bool
    """Whether all folds are one computation; if not, each fold is a step of its own."""

    def evidence(self, task: Task, folds: tuple[int, ...]) -> pa.Table:
        """An EVIDENCE table of the rows with `task.predict` in these `folds`, by models that learnt from the rows with
        `task.train` of all other folds."""
        ...
