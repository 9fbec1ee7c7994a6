import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits

from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.evidence.crossfit import assign_folds, keys_of
from cleaner.evidence.features import Backbone, embed
from cleaner.methods.duplicates import Counts, counts, duplicates, settled, verdicts
from cleaner.methods.references import pictures
from cleaner.run.ledger import fold
from cleaner.tables import VERDICTS

LIMITS = {"max_pixels": 10**7, "workers": 2}
PIXELS = Backbone("pixels", 16, "")


def photo(seed: int) -> Image.Image:
    """A picture of blobs that no other seed resembles."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **settings) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **settings)
    return out.getvalue()


def described(folder: Path, files: dict[str, bytes]):
    """Manifest, duplicates and source of a folder of these files."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    source = open_source(folder)
    listing = source.listing()
    manifest = scan(listing, source=source, start=0, stop=len(listing), **LIMITS)
    features = embed(manifest, source=source, backbone=PIXELS, start=0, stop=len(manifest), **LIMITS)
    return manifest, duplicates(manifest, features, similarity=0.8, source=source, **LIMITS)


def by_path(manifest: pa.Table, table: pa.Table) -> dict[str, dict]:
    paths = manifest.column("path")
    return {paths[row["row"]].as_py(): row for row in table.to_pylist()}


@pytest.fixture(scope="module")
def strangers() -> dict[str, bytes]:
    return {f"{'ab'[n % 2]}/{n:02d}.png": encoded(photo(n)) for n in range(30)}


def test_copies_of_a_file_are_exact_duplicates_and_changed_pictures_near_ones(tmp_path, strangers):
    changed = {
        "a/z-smaller.png": encoded(photo(0).resize((48, 48))),
        "a/z-recompressed.jpg": encoded(photo(2), "JPEG", quality=50),
        "a/z-brighter.png": encoded(ImageEnhance.Brightness(photo(4)).enhance(1.15)),
        "a/z-copy.png": strangers["a/06.png"],
    }
    manifest, found = described(tmp_path, strangers | changed)
    rows = by_path(manifest, found)
    kinds = {path: row["kind"] for path, row in rows.items()}
    assert kinds == dict.fromkeys(["a/00.png", "a/02.png", "a/04.png", *list(changed)[:3]], "near") | {
        "a/06.png": "exact",
        "a/z-copy.png": "exact",
    }
    for path, original in zip(changed, ("a/00.png", "a/02.png", "a/04.png", "a/06.png"), strict=True):
        assert rows[path]["original"] == rows[original]["row"] and rows[path]["group"] == rows[original]["group"]
        assert rows[original]["similarity"] == 1 and rows[path]["similarity"] >= 0.8


def test_a_burst_is_one_group_though_its_ends_are_strangers_and_stays_in_one_fold(tmp_path, strangers):
    start, end = (np.asarray(photo(seed), float) for seed in (100, 101))
    frames = [Image.fromarray((start + (end - start) * step / 29).astype(np.uint8)) for step in range(30)]
    burst = {f"{'ab'[n % 2]}/burst{n:02d}.png": encoded(frame) for n, frame in enumerate(frames)}
    manifest, found = described(tmp_path, strangers | burst)
    rows = by_path(manifest, found)
    assert rows.keys() == burst.keys()
    assert {row["group"] for row in rows.values()} == {0}
    assert 5 < int(manifest.column("path")[rows["a/burst00.png"]["original"]].as_py()[-6:-4]) < 25
    labels = np.zeros(len(manifest), np.int32)
    folds = assign_folds(labels, pictures(len(manifest), found), keys_of(manifest, 0), folds=5)
    assert len({folds[row["row"]] for row in rows.values()}) == 1


def test_a_group_number_is_given_to_duplicates_only(tmp_path, strangers):
    manifest, found = described(tmp_path, strangers | {"b/z.png": strangers["a/00.png"]})
    numbers = pictures(len(manifest), found)
    assert (numbers >= 0).sum() == 2 and numbers[0] == numbers[-1] == 0


def test_an_unusable_file_is_nobodys_duplicate(tmp_path, strangers):
    broken = {"a/y.png": b"no image", "a/z.png": b"no image"}
    manifest, found = described(tmp_path, strangers | broken)
    assert len(found) == 0 and manifest.column("problem").null_count == len(strangers)


def test_an_extra_copy_under_the_same_label_is_dropped_and_one_under_another_is_not(tmp_path, strangers):
    copies = dict.fromkeys(("a/y.png", "a/z.png", "b/z.png"), strangers["a/00.png"])
    manifest, found = described(tmp_path, strangers | copies)
    said = by_path(manifest, verdicts(manifest, found))
    assert {path: row["reason"] for path, row in said.items()} == {
        "a/y.png": "same file as a/00.png",
        "a/z.png": "same file as a/00.png",
    }
    assert {row["action"] for row in said.values()} == {"drop"}


def judged(manifest: pa.Table, scores: dict[str, float]) -> pa.Table:
    """What stands when these samples were kept with these scores."""
    ids = dict(zip(manifest.column("path").to_pylist(), range(len(manifest)), strict=True))
    rows = [
        {
            "row": ids[path],
            "sample_id": manifest.column("sample_id")[ids[path]].as_py(),
            "stage": "fine",
            "round": 1,
            "action": "keep",
            "score": score,
            "by": "model:probe",
            "reason": "",
        }
        for path, score in scores.items()
    ]
    return fold(manifest, [pa.Table.from_pylist(rows, VERDICTS)])


def test_of_equal_files_kept_under_two_labels_the_likelier_label_stays(tmp_path, strangers):
    manifest, found = described(tmp_path, strangers | {"b/z.png": strangers["a/00.png"]})
    said = settled(manifest, found, judged(manifest, {"a/00.png": 0.3, "b/z.png": 0.6}))
    rows = by_path(manifest, said)
    assert list(rows) == ["a/00.png"] and rows["a/00.png"]["round"] == 2
    assert rows["a/00.png"]["reason"] == "same file as b/z.png, whose label b is the likelier one"


def standing_of(manifest, **said):
    """What stands when each of the files `a/00.png` and so on was given an action, a new label, a score and a judge."""
    ids = {path: row for row, path in enumerate(manifest.column("path").to_pylist())}
    rows = [
        {"row": ids[path], "sample_id": "", "stage": "fine", "round": 1, "reason": ""}
        | dict(zip(("action", "new_label", "score", "by"), what, strict=True))
        for path, what in said.items()
    ]
    return fold(manifest, [pa.Table.from_pylist(rows, VERDICTS)])


@pytest.mark.parametrize(
    ("one", "other", "gone", "reason"),
    [
        (("relabel", "b", 0.1, "model:x"), ("keep", None, 0.8, "model:x"), "a/00.png", "same file as b/z.png"),
        (
            ("relabel", "c", 0.4, "model:x"),
            ("keep", None, 0.8, "model:x"),
            "a/00.png",
            "whose label b is the likelier one",
        ),
        (
            ("relabel", "c", 0.0, "model:x"),
            ("relabel", "a", 0.3, "model:x"),
            "b/z.png",
            "whose label c is the",
        ),
        (("keep", None, 1.0, "person:ana"), ("drop", None, 0.0, "person:ana"), None, ""),
        (("drop", None, 0.0, "model:x"), ("keep", None, 0.9, "model:x"), None, ""),
    ],
)
def test_of_equal_files_one_stays_under_one_label(tmp_path, strangers, one, other, gone, reason):
    manifest, found = described(tmp_path, strangers | {"b/z.png": strangers["a/00.png"]})
    said = by_path(manifest, settled(manifest, found, standing_of(manifest, **{"a/00.png": one, "b/z.png": other})))
    assert list(said) == ([gone] if gone else [])
    if gone:
        assert reason in said[gone]["reason"]


def test_an_extra_copy_is_believed_as_much_as_the_file_it_copies(tmp_path, strangers):
    manifest, found = described(tmp_path, strangers | {"a/z.png": strangers["a/00.png"]})
    standing = fold(manifest, [verdicts(manifest, found)])
    scores = [0.25 if path == "a/00.png" else None for path in standing.column("path").to_pylist()]
    at = standing.schema.names.index("score")
    standing = standing.set_column(at, "score", pa.array(scores, pa.float32()))
    said = by_path(manifest, settled(manifest, found, standing))
    assert said["a/z.png"]["score"] == 0.25
    assert said["a/z.png"]["reason"] == "same file as a/00.png"


@pytest.fixture(scope="module")
def nearly(tmp_path_factory, strangers):
    """Pictures that are nearly the same in twos and threes, in splits; the manifest and its duplicates."""
    files = {
        "a/z-small.png": encoded(photo(0).resize((48, 48))),
        "b/z-bright.png": encoded(ImageEnhance.Brightness(photo(0)).enhance(1.05)),
        "a/z-again.jpg": encoded(photo(2), "JPEG", quality=60),
    }
    manifest, found = described(tmp_path_factory.mktemp("nearly"), strangers | files)
    split = {"a/z-small.png": "test", "a/z-again.jpg": "Validation"}
    column = pa.array([split.get(path, "train") for path in manifest.column("path").to_pylist()])
    return manifest.append_column("split", column), found


@pytest.mark.parametrize(
    ("near", "gone"),
    [
        ("keep", {}),
        (
            "one_a_group",
            {
                "a/z-small.png": "nearly the same as a/00.png",
                "b/z-bright.png": "nearly the same as a/00.png, whose label a is the likelier one",
                "a/02.png": "nearly the same as a/z-again.jpg",
            },
        ),
        (
            "by_split",
            {
                "a/00.png": "nearly the same as a/z-small.png, which is measured on",
                "b/z-bright.png": "nearly the same as a/z-small.png, which is measured on",
                "a/02.png": "nearly the same as a/z-again.jpg, which is measured on",
            },
        ),
    ],
)
def test_of_images_that_are_nearly_the_same_stays_what_the_setting_says(nearly, near, gone):
    manifest, found = nearly
    scores = {"a/00.png": 0.9, "a/z-small.png": 0.8, "b/z-bright.png": 0.2, "a/02.png": 0.5, "a/z-again.jpg": 0.6}
    said = by_path(manifest, settled(manifest, found, judged(manifest, scores), near=near))
    assert {path: row["reason"] for path, row in said.items()} == gone
    assert all(row["score"] == np.float32(scores[path]) for path, row in said.items())


def test_what_people_keep_is_never_left_out_for_an_image_that_is_nearly_the_same(nearly):
    manifest, found = nearly
    paths = ("a/00.png", "a/z-small.png", "b/z-bright.png", "a/02.png", "a/z-again.jpg")
    standing = standing_of(manifest, **dict.fromkeys(paths, ("keep", None, 1.0, "person:ana")))
    for near in ("one_a_group", "by_split"):
        assert len(settled(manifest, found, standing, near=near)) == 0


def test_what_is_measured_on_though_it_was_dropped_is_not_learnt_from(nearly):
    manifest, found = nearly
    standing = standing_of(manifest, **{"a/z-small.png": ("drop", None, 0.1, "model:x")})
    said = by_path(manifest, settled(manifest, found, standing, near="by_split"))
    assert sorted(said) == ["a/00.png", "a/02.png", "b/z-bright.png"]


def test_beside_an_image_of_which_people_have_spoken_no_other_stays_in_a_group(nearly):
    manifest, found = nearly
    scores = {"a/00.png": 0.99, "a/z-small.png": 0.98}
    spoken = {"b/z-bright.png": ("keep", None, 1.0, "person:ana")}
    given = {path: ("keep", None, score, "model:x") for path, score in scores.items()} | spoken
    said = by_path(manifest, settled(manifest, found, standing_of(manifest, **given), near="one_a_group"))
    assert {"a/00.png", "a/z-small.png"} <= set(said) and "b/z-bright.png" not in said


def test_of_equal_files_in_several_splits_the_one_that_is_measured_on_stays(tmp_path, strangers):
    manifest, found = described(tmp_path, strangers | {"a/z.png": strangers["a/00.png"]})
    split = ["test" if path == "a/z.png" else None for path in manifest.column("path").to_pylist()]
    manifest = manifest.append_column("split", pa.array(split, pa.string()))
    assert list(by_path(manifest, verdicts(manifest, found))) == ["a/z.png"]
    assert list(by_path(manifest, verdicts(manifest, found, near="by_split"))) == ["a/00.png"]
    assert list(by_path(manifest, settled(manifest, found, fold(manifest, []), near="by_split"))) == ["a/00.png"]


def test_what_is_there_more_than_once_is_counted(tmp_path, nearly, strangers):
    assert counts(*nearly) == Counts(copies=0, elsewhere=0, near=3, groups=2)
    copies = {"a/y.png": strangers["a/00.png"], "b/z.png": strangers["a/00.png"]}
    assert counts(*described(tmp_path, strangers | copies)) == Counts(copies=1, elsewhere=1, near=0, groups=0)


def test_handwritten_digits_are_not_taken_for_copies_of_each_other(tmp_path):
    digits = (load_digits().images[:900] * 255 / 16).astype(np.uint8)
    files = {f"{'ab'[n % 2]}/{n:03d}.png": encoded(Image.fromarray(pixels)) for n, pixels in enumerate(digits)}
    _, found = described(tmp_path, files)
    assert len(found) <= 4
