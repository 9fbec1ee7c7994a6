"""Samples that show what a class looks like."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.tables import Action, array


def fitness(standing: pa.Table) -> np.ndarray:
    """float32 n: how well a sample shows its given class, its score; not a number where it does not stand for it."""
    score = pc.fill_null(standing.column("score"), 0.0).to_numpy()
    return np.where(array(standing, "action") == Action.KEEP, score, np.nan).astype(np.float32)


def pictures(n: int, duplicates: pa.Table) -> np.ndarray:
    """int64 n: equal for samples that are one picture, by DUPLICATES."""
    groups = -1 - np.arange(n)
    groups[array(duplicates, "row")] = array(duplicates, "group")
    return groups


def fittest(numbers: np.ndarray, fit: np.ndarray, picture: np.ndarray, *, classes: int, most: int) -> list[np.ndarray]:
    """For each class the rows of at most `most` different pictures, the fittest first, then the lowest row.

    Args:
        numbers: int n, class numbers in [0, classes); samples outside are left out.
        fit: float n; samples that are not a number are left out.
        picture: int n, equal for samples that are one picture.
    """
    rows = np.flatnonzero((numbers >= 0) & (numbers < classes) & ~np.isnan(fit))
    rows = rows[np.lexsort((-fit[rows], numbers[rows]))]
    _, which = np.unique(picture[rows], return_inverse=True)
    _, first = np.unique(numbers[rows].astype(np.int64) * len(rows) + which, return_index=True)
    rows = rows[np.sort(first)]
    starts = np.searchsorted(numbers[rows], np.arange(classes + 1))
    return [rows[start:end][:most] for start, end in pairwise(starts)]
