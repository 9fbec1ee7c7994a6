"""Features in two dimensions, to look at: PaCMAP (Wang et al., JMLR 2021), which keeps what is near and what is far."""

import warnings

import numpy as np
import pyarrow as pa

from cleaner.evidence.features import ShardedFeatures
from cleaner.run.steps import Step, makes
from cleaner.tables import MAP, check, is_usable

MOST = 50_000
_LEAST = 20
"""Of fewer images a map would tell nothing."""


def map_step(manifest: str, shards: list[str], *, seed: int) -> Step:
    """The step that draws the map of the data set with these outputs."""
    return Step("map", drawn, (manifest, *shards), {"most": MOST, "seed": seed})


@makes("map", version=1)
def drawn(manifest: pa.Table, *shards: np.ndarray, most: int, seed: int) -> pa.Table:
    """MAP of the usable samples, or of `most` of them, drawn at random."""
    # Its compiler and its index take long to import, and only here somebody waits for them.
    import pacmap

    rows = np.flatnonzero(is_usable(manifest))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    if len(rows) < _LEAST:
        return MAP.empty_table()
    points = ShardedFeatures(shards)[rows].astype(np.float32)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        places = pacmap.PaCMAP(random_state=seed).fit_transform(points)
    return check(pa.table({"row": rows, "x": places[:, 0], "y": places[:, 1]}), MAP, "map")
