import numpy as np
import pyarrow as pa
import pytest

from cleaner.evidence.crossfit import evidence_table
from cleaner.stages.image_noise import candidates, marks, seed_verdicts, unclaimed, verdicts
from cleaner.tables import DUPLICATES, VERDICTS, array

FINE, JUNK, WIDTH = 600, 40, 48
N = FINE + JUNK
ALONE = DUPLICATES.empty_table()
COPIES = (4, 5, 8, 9)
"""Rows of which each two are one file."""
SETTINGS = {"round": 1, "threshold": 0.9, "folds": 5, "seed": 0}


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Fine images lie around eight places of a low-dimensional space, junk is all over the place; junk comes last."""
    rng = np.random.default_rng(0)
    places = np.zeros((8, WIDTH))
    places[:, :8] = 3 * rng.standard_normal((8, 8))
    fine = places[rng.integers(0, 8, FINE)] + 0.5 * rng.standard_normal((FINE, WIDTH))
    elsewhere = np.zeros(WIDTH)
    elsewhere[20:] = 1.2
    return np.concatenate([fine, elsewhere + rng.standard_normal((JUNK, WIDTH))]).astype(np.float16)


def manifest(modes: list[str] | None = None, unusable: tuple[int, ...] = ()) -> pa.Table:
    problem = [None if row not in unusable else "no image" for row in range(N)]
    columns = {"sample_id": [f"{row:016x}" for row in range(N)], "path": [f"{row}.png" for row in range(N)]}
    columns["content_hash"] = [f"{row // 2 * 2 if row in COPIES else row:x}" for row in range(N)]
    return pa.table({**columns, "mode": modes or ["RGB"] * N, "problem": pa.array(problem, pa.string())})


def marked(junk: range, fine: range) -> dict[str, bool]:
    return {f"{row}.png": True for row in junk} | {f"{row}.png": False for row in fine}


def one_round(features, seeds, **other) -> pa.Table:
    images = manifest(**other)
    known = marks(images, seed_verdicts(images, seeds=seeds))
    return verdicts(images, known, ALONE, features[:400], features[400:], **SETTINGS)


def test_far_images_are_candidates_and_they_come_the_farthest_first(features):
    found = candidates(manifest(), features[:400], features[400:], limit=30, seed=0)
    assert (array(found, "row") >= FINE).mean() > 0.9
    assert set(found.column("asked_because").to_pylist()) == {"unlike all other images"}


def test_a_rare_mode_makes_half_of_the_candidates(features):
    found = candidates(manifest(["L"] * 50 + ["RGB"] * (N - 50)), features, limit=40, seed=0)
    because = np.array(found.column("asked_because").to_pylist())
    assert (because == "grey, as few images here are").sum() == 20
    assert (array(found, "row")[:20] < 50).all() and len(set(array(found, "row"))) == len(found)


@pytest.mark.parametrize("modes", [["L"] * N, ["RGB", "L"] * (N // 2)])
def test_a_mode_that_many_images_have_is_no_sign(features, modes):
    found = candidates(manifest(modes), features, limit=40, seed=0)
    assert set(found.column("asked_because").to_pylist()) == {"unlike all other images"}


def test_an_unusable_image_is_no_candidate_and_no_junk(features):
    broken = tuple(range(FINE, FINE + 10))
    found = candidates(manifest(unusable=broken), features, limit=60, seed=0)
    assert not set(array(found, "row")) & set(broken)
    said = one_round(features, marked(range(N - 12, N), range(12)), unusable=broken)
    assert len(said) and not set(array(said, "row")) & set(broken)


def test_most_junk_is_found_from_a_dozen_marks_and_little_else(features):
    said = one_round(features, marked(range(FINE, FINE + 12), range(12)))
    rows = array(said, "row")
    assert (rows >= FINE + 12).mean() > 0.9
    assert (rows >= FINE + 12).sum() > 0.8 * (JUNK - 12)
    assert set(said.column("action").to_pylist()) == {"drop"}
    assert (array(said, "score") < 0.1).all()


def test_what_people_have_marked_is_not_judged_again(features):
    said = one_round(features, marked(range(FINE, N, 2), range(12)))
    assert not set(array(said, "row")) & {*range(FINE, N, 2), *range(12)}


@pytest.mark.parametrize("seeds", [{}, marked(range(0), range(20))], ids=["no marks", "no junk among the marks"])
def test_without_marked_junk_nothing_is_dropped(features, seeds):
    assert len(one_round(features, seeds)) == 0


@pytest.mark.parametrize("fine", [0, 5, 60])
def test_one_mark_alone_does_not_condemn_its_fold(features, fine):
    assert len(one_round(features, marked(range(FINE, FINE + 1), range(fine)))) == 0


def test_a_mark_on_a_file_holds_for_its_copies():
    said = seed_verdicts(manifest(), seeds={"4.png": True, "9.png": False, "7.png": True}).to_pylist()
    assert [(verdict["row"], verdict["action"]) for verdict in said] == [
        *((4, "drop"), (5, "drop"), (7, "drop")),
        *((8, None), (9, None)),
    ]


def test_who_can_not_tell_has_not_said_that_it_is_no_junk():
    unsure = {"row": 5, "sample_id": "", "stage": "image_noise", "round": 0, "by": "person:ana", "reason": ""}
    assert len(marks(manifest(), pa.Table.from_pylist([unsure], VERDICTS))) == 0


def test_marks_that_mean_nothing_drop_nothing(features):
    drawn = np.random.default_rng(3).permutation(FINE)[:24]
    seeds = {f"{row}.png": place % 2 == 0 for place, row in enumerate(drawn)}
    assert len(one_round(features, seeds)) <= 5


def test_what_one_round_drops_is_junk_to_the_next_and_a_person_outranks_it():
    images = manifest()
    model, person = [
        {"row": row, "sample_id": "", "stage": "image_noise", "round": 1, "action": action, "by": by, "reason": ""}
        for row, action, by in ((5, "drop", "model:logistic_regression"), (6, "keep", "person:ana"))
    ]
    other = model | {"row": 7, "stage": "fine"}
    said = person | {"row": 8, "stage": "people", "action": "drop"}
    copy = said | {"row": 9, "stage": "duplicates"}
    wrong = said | {"row": 10, "stage": "fine"}
    known = marks(images, pa.Table.from_pylist([model, person, other, said, copy, wrong], VERDICTS))
    assert dict(zip(*known.to_pydict().values(), strict=True)) == {5: True, 6: False, 8: True, 9: False}
    overruled = pa.Table.from_pylist([person | {"row": 5}], VERDICTS)
    known = marks(images, pa.Table.from_pylist([model], VERDICTS), overruled)
    assert known.to_pylist() == [{"row": 5, "junk": False}]


def unmarked(features, sure, seeds=None, people=()) -> np.ndarray:
    """The rows found without marks of junk, where models are as `sure` of a class as this of each image."""
    images = manifest().append_column("label", pa.array(["a", "b"] * (N // 2)))
    given = np.tile([0, 1], N // 2).astype(np.int32)
    probs = np.stack([sure, 1 - sure], 1).astype(np.float32)
    rows = np.arange(N, dtype=np.int32)
    evidence = evidence_table(rows, np.zeros(N, np.int8), probs, given)
    standing = pa.table({"action": ["keep"] * N, "by": ["person:ana" if row in people else "" for row in range(N)]})
    known = marks(images, seed_verdicts(images, seeds=seeds or {}))
    found = unclaimed(images, standing, evidence, known, features[:400], features[400:], threshold=0.9, seed=0)
    assert set(found.column("stage").to_pylist()) <= {"image_noise"}
    return array(found, "row")


def test_junk_that_nobody_marked_is_what_is_far_and_no_class_claims(features):
    sure = np.where(np.arange(N) < FINE, 0.97, 0.6)
    found = unmarked(features, sure)
    assert (found >= FINE).all() and len(found) >= 0.8 * JUNK
    # A rare class of its own kind is as far out, but claimed.
    sure[FINE : FINE + 20] = 0.97
    assert set(unmarked(features, sure)) <= set(range(FINE + 20, N))


def test_where_there_is_no_junk_none_is_found(features):
    rng = np.random.default_rng(1)
    fine = np.concatenate([features[:FINE], features[:JUNK]])
    assert len(unmarked(fine, rng.uniform(0.5, 1, N))) == 0


def test_people_are_believed_about_what_is_far(features):
    sure = np.where(np.arange(N) < FINE, 0.97, 0.6)
    assert len(unmarked(features, sure, seeds={f"{row}.png": False for row in range(FINE, N)})) == 0
    assert len(unmarked(features, sure, seeds={f"{FINE}.png": True})) == 0, "the classifier goes on from marks"
    assert FINE + 1 not in unmarked(features, sure, people=[FINE + 1])
