"""Images of poor quality, by what was measured of them."""

import numpy as np
import pyarrow as pa

from cleaner.methods.quality import quality, verdicts
from cleaner.run.ledger import fold
from cleaner.tables import MANIFEST, PIXEL_QUALITY

THRESHOLDS = {"dark": 0.32, "light": 0.05, "blurry": 0.29, "low_information": 0.3}
THRESHOLDS |= {"odd_aspect_ratio": 0.35, "odd_size": 0.5}


def measured(sizes, **pixel_quality):
    """The manifest of images of these sizes, None where one can't be used, and PIXEL_QUALITY, good but for this."""
    names = [f"{place:03}" for place in range(len(sizes))]
    known = {"sample_id": names, "path": names, "label": ["a"] * len(sizes)}
    known |= {name: [size and size[side] for size in sizes] for side, name in enumerate(("width", "height"))}
    known["problem"] = [None if size else "truncated" for size in sizes]
    manifest = pa.table([known.get(part.name) or pa.nulls(len(sizes), part.type) for part in MANIFEST], MANIFEST)
    seen = {name: pixel_quality.get(name, [0.9 if size else None for size in sizes]) for name in PIXEL_QUALITY.names}
    return manifest, pa.table(seen, PIXEL_QUALITY)


def reasons(manifest, pixel_quality, *, drop=(), spread=3.0):
    found = quality(manifest, pixel_quality, spread=spread)
    return found, verdicts(manifest, found, thresholds=THRESHOLDS, drop=drop)


def test_what_is_poor_is_said_with_its_score_and_nothing_is_dropped_unasked():
    manifest, pixel_quality = measured([(100, 80)] * 4, blurry=[0.9, 0.2, 0.29, 0.1], dark=[0.9, 0.1, 0.9, 0.5])
    found, said = reasons(manifest, pixel_quality)
    assert said.column("row").to_pylist() == [1, 3]
    assert said.column("reason").to_pylist() == ["dark (0.10), blurry (0.20)", "blurry (0.10)"]
    assert said.column("action").null_count == 2 and fold(manifest, [said]) == fold(manifest, [])
    assert np.allclose(found.column("blurry").to_numpy(), [0.9, 0.2, 0.29, 0.1])


def test_what_is_asked_for_is_dropped_and_nothing_else():
    manifest, pixel_quality = measured([(100, 80)] * 4, blurry=[0.9, 0.2, 0.9, 0.1], dark=[0.9, 0.9, 0.1, 0.9])
    _, said = reasons(manifest, pixel_quality, drop=("blurry",))
    assert said.column("action").to_pylist() == ["drop", None, "drop"]
    assert fold(manifest, [said]).column("action").to_pylist() == ["keep", "drop", "keep", "drop"]


def test_odd_shapes_and_sizes_are_those_far_from_the_others():
    sizes = [(100 + place, 80) for place in range(20)] + [(400, 80), (80, 400), (3, 3), (4000, 3000)]
    manifest, pixel_quality = measured(sizes)
    found, said = reasons(manifest, pixel_quality)
    why = dict(zip(said.column("row").to_pylist(), said.column("reason").to_pylist(), strict=True))
    assert why.keys() == {20, 21, 22, 23}
    assert all("odd aspect ratio (0.20)" in why[row] for row in (20, 21))
    assert why[22].startswith("odd size") and why[23].startswith("odd size")
    assert found.column("odd_size").to_numpy()[:20].min() > 0.5


def test_where_all_have_one_size_another_is_odd_and_none_is_where_there_is_one_only():
    manifest, pixel_quality = measured([(32, 32)] * 9 + [(33, 32)])
    assert reasons(manifest, pixel_quality)[1].column("row").to_pylist() == [9]
    assert len(reasons(*measured([(32, 32)]))[1]) == 0
    assert len(reasons(*measured([]))[1]) == 0


def test_what_can_not_be_used_has_no_score_and_is_no_poor_image():
    manifest, pixel_quality = measured([(100, 80), None, (90, 80)])
    found, said = reasons(manifest, pixel_quality)
    assert len(said) == 0 and [found.column(name)[1].as_py() for name in THRESHOLDS] == [None] * 6
