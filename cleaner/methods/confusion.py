"""Which classes are taken for which others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, depth_first_order, minimum_spanning_tree


@dataclass(frozen=True)
class Confusion:
    """How often images of each given class look like each class.

    Attributes:
        names: of the classes, neighbours alike.
        counts: classes x classes, the given class first.
    """

    names: list[str]
    counts: csr_array

    @classmethod
    def of(cls, names: Sequence[str], given: np.ndarray, like: np.ndarray, images: np.ndarray) -> "Confusion":
        """Of how many `images` each pair of class numbers, `given` and what they look `like`, has; a pair with a number
        below 0 counts for nothing. Classes that are taken for each other become neighbours: along the strongest tree of
        likeness."""
        known = (given >= 0) & (like >= 0)
        counts = coo_array((images[known], (given[known], like[known])), (len(names), len(names))).tocsr()
        order = _by_likeness(counts)
        return cls(np.array(names, object)[order].tolist(), counts[order][:, order])

    def top(self, count: int) -> pd.DataFrame:
        """The pairs of different classes with the most images."""
        found = self.counts.tocoo()
        other = found.row != found.col
        row, column, images = found.row[other], found.col[other], found.data[other]
        order = np.lexsort((column, row, -images))[:count]
        of_given = np.maximum(np.asarray(self.counts.sum(1)).ravel()[row[order]], 1)
        names = np.array(self.names, object)
        table = {"images": images[order], "of the given": images[order] / of_given}
        return pd.DataFrame(table | {"given": names[row[order]], "looks like": names[column[order]]})

    def blocks(self, rows: tuple[int, int], columns: tuple[int, int], most: int) -> pd.DataFrame:
        """The part of the matrix from one class to before another, summed to at most `most` x `most` cells that are not
        empty: `given`, `like`, the first classes of each cell, `given_to`, `like_to`, those after its last, `images`,
        and `share` of the images of its given classes."""
        part = self.counts[rows[0] : rows[1], columns[0] : columns[1]].tocoo()
        step, across = (-(-(stop - start) // most) for start, stop in (rows, columns))
        down, right = part.row // step, part.col // across
        summed = coo_array((part.data, (down, right))).tocsr().tocoo()
        totals = np.asarray(self.counts[rows[0] : rows[1]].sum(1)).ravel()
        of_block = np.add.reduceat(totals, np.arange(0, len(totals), step))
        given, like = rows[0] + summed.row * step, columns[0] + summed.col * across
        ends = {"given_to": np.minimum(given + step, rows[1]), "like_to": np.minimum(like + across, columns[1])}
        share = summed.data / np.maximum(of_block[summed.row], 1)
        return pd.DataFrame({"given": given, "like": like, **ends, "images": summed.data, "share": share})


def _by_likeness(counts: csr_array) -> np.ndarray:
    totals = np.maximum(np.asarray(counts.sum(1)).ravel(), 1)
    shares = (counts / totals[:, None]).tocoo()
    other = shares.row != shares.col
    alike = coo_array((shares.data[other], (shares.row[other], shares.col[other])), counts.shape).tocsr()
    alike = (alike + alike.T).tocsr()
    # The shortest way between all is along the pairs that are alike the most.
    distances = alike.copy()
    distances.data = 1 / distances.data
    tree = minimum_spanning_tree(distances)
    _, component = connected_components(tree, directed=False)
    _, first = np.unique(component, return_index=True)
    walks = [depth_first_order(tree, start, directed=False, return_predecessors=False) for start in np.sort(first)]
    return np.concatenate(walks)
