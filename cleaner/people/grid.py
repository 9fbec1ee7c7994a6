"""Pages on which a person sees many samples of one class at once, and marks those that do not belong."""

from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa

from cleaner.evidence.features import ShardedFeatures
from cleaner.run.steps import makes
from cleaner.tables import array
from cleaner.threads import one_thread_each

_PASSES = 20


@makes("review batch in pages", version=1)
def pages(batch: pa.Table, *shards: np.ndarray, grid: int, overlap: float, seed: int) -> pa.Table:
    """The BATCH in pages of at most `grid` samples that were given one class and look alike: among its likes a stranger
    is seen at a glance.

    A page stands where its samples stood in the mean. Where a class has more samples than a page holds, k-means on the
    directions of their features (Dhillon and Modha 2001) says which look alike.

    Args:
        shards: the features of all samples.
        overlap: share of the pages that two people are asked about.
        seed: of the clusters, and of who is asked twice.
    """
    labels, rows = batch.column("label").combine_chunks().dictionary_encode().indices.to_numpy(), array(batch, "row")
    features = ShardedFeatures(shards)
    found = [
        page
        for label in range(labels.max(initial=-1) + 1)
        for page in _of_class(np.flatnonzero(labels == label), rows, features, grid, seed)
    ]
    found.sort(key=lambda page: (page.mean(), page[0]))
    twice = np.random.default_rng((seed, 2)).permutation(len(found))[: ceil(overlap * len(found))]
    people = np.ones(len(found), np.int32)
    people[twice] = 2
    sizes = [len(page) for page in found]
    arranged = batch.take(np.concatenate([np.zeros(0, np.int64), *found]))
    columns = {
        "people": np.repeat(people, sizes),
        "page": np.repeat(np.arange(1, len(found) + 1, dtype=np.int32), sizes),
    }
    for name, values in columns.items():
        arranged = arranged.set_column(arranged.column_names.index(name), batch.schema.field(name), pa.array(values))
    return arranged


def _of_class(
    places: np.ndarray, rows: np.ndarray, features: ShardedFeatures, grid: int, seed: int
) -> list[np.ndarray]:
    """The places in the batch of one class's samples, page by page."""
    count = ceil(len(places) / grid)
    if count > 1:
        ascending = np.argsort(rows[places])
        seen = features[rows[places][ascending]].astype(np.float32)
        cluster = np.empty(len(places), np.int64)
        cluster[ascending] = _clusters(seen, count, seed)
        places = places[np.argsort(cluster, kind="stable")]
    return np.array_split(places, count)


def _clusters(seen: np.ndarray, count: int, seed: int) -> np.ndarray:
    """int64: the cluster of each row of `seen`, numbered so that each is followed by the nearest that is left."""
    import faiss

    directions = seen - seen.mean(axis=0)
    faiss.normalize_L2(directions)
    # By itself faiss asks for 39 points a cluster, and leaves out all above 256.
    bounds = {"min_points_per_centroid": 1, "max_points_per_centroid": len(seen)}
    means = faiss.Kmeans(directions.shape[1], count, niter=_PASSES, seed=seed, spherical=True, **bounds)
    place = np.empty(count, np.int64)
    left, here = np.ones(count, bool), 0
    with one_thread_each():
        means.train(directions)
        _, nearest = means.index.search(directions, 1)
        centers: Any = means.centroids
        for number in range(count):
            place[here], left[here] = number, False
            here = int(np.argmax(np.where(left, centers @ centers[here], -np.inf)))
    return place[nearest[:, 0]]
