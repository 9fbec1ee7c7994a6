import numpy as np
import pyarrow as pa
import pytest

from cleaner.evidence.crossfit import evidence_table
from cleaner.methods.image_noise import candidates, judged, marks, seed_verdicts, verdicts
from cleaner.run.ledger import fold
from cleaner.tables import MANIFEST, VERDICTS, array

FINE, JUNK, WIDTH, CLASSES = 600, 40, 48, 8
N = FINE + JUNK
COPIES = (4, 5, 8, 9)
"""Rows of which each two are one file."""
PLACES = np.random.default_rng(0).integers(0, CLASSES, N)
"""The class that a fine image shows."""
GIVEN = np.where(np.arange(N) < FINE, PLACES, np.random.default_rng(1).integers(0, CLASSES, N)).astype(np.int32)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Fine images lie around eight places of a low-dimensional space, junk is all over the place; junk comes last."""
    rng = np.random.default_rng(0)
    places = np.zeros((CLASSES, WIDTH))
    places[:, :8] = 3 * rng.standard_normal((CLASSES, 8))
    fine = places[PLACES[:FINE]] + 0.5 * rng.standard_normal((FINE, WIDTH))
    elsewhere = np.zeros(WIDTH)
    elsewhere[20:] = 1.2
    return np.concatenate([fine, elsewhere + rng.standard_normal((JUNK, WIDTH))]).astype(np.float16)


def manifest(modes: list[str] | None = None, unusable: tuple[int, ...] = (), given: np.ndarray = GIVEN) -> pa.Table:
    known = {
        "sample_id": [f"{row:016x}" for row in range(N)],
        "path": [f"{row}.png" for row in range(N)],
        "content_hash": [f"{row // 2 * 2 if row in COPIES else row:x}" for row in range(N)],
        "label": [f"class {label}" for label in given],
        "mode": modes or ["RGB"] * N,
        "problem": [None if row not in unusable else "no image" for row in range(N)],
    }
    return pa.table([known.get(part.name) or pa.nulls(N, part.type) for part in MANIFEST], MANIFEST)


def marked(junk, fine) -> dict[str, bool]:
    return {f"{row}.png": True for row in junk} | {f"{row}.png": False for row in fine}


SURE = np.where(np.arange(N) < FINE, 0.97, 0.6)


def found(
    features, seeds=None, *, sure=SURE, given=GIVEN, shown=PLACES, parts=(), **other
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The manifest, how likely junk all are, and the verdicts; models are as `sure` of the class `shown` by each."""
    images = manifest(given=given, **other)
    probs = np.repeat((1 - sure)[:, None] / (CLASSES - 1), CLASSES, 1)
    probs[np.arange(N), shown] = sure
    rows = np.flatnonzero(images.column("problem").is_null().to_numpy()).astype(np.int32)
    evidence = evidence_table(rows, (rows % 5).astype(np.int8), probs[rows].astype(np.float32), given[rows])
    people = seed_verdicts(images, seeds=seeds or {})
    standing = fold(images, [people, *parts])
    known = marks(images, people, *parts)
    likely = judged(images, standing, evidence, known, features[:400], features[400:], seed=0)
    return images, likely, verdicts(images, standing, evidence, likely, threshold=0.9)


def test_what_is_as_likely_junk_as_not_is_asked_first_of_a_group_one_then_what_is_far():
    prob, group = np.zeros(N), np.full(N, -1)
    prob[[5, 9, 20, 21, 22, 30, 31]] = 0.7, 0.9, 0.45, 0.45, 0.45, 0.97, 1.0
    group[20:23] = 0
    likely = {"row": np.arange(N, dtype=np.int32), "prob": prob, "far": np.arange(N) / N}
    likely["group"] = pa.array(group, pa.int32(), mask=group < 0)
    likely["marked"] = np.arange(N) == N - 1
    asked = candidates(manifest(), pa.table(likely), limit=8)
    assert array(asked, "row").tolist() == [20, 5, 9, N - 2, N - 3, N - 4, N - 5, N - 6]
    assert asked.column("asked_because").to_pylist()[:4] == [
        *(f"may be junk, with probability {p}" for p in ("0.45", "0.70", "0.90")),
        "unlike all other images",
    ]


def test_a_rare_mode_makes_half_of_what_is_far(features):
    images, likely, _ = found(features, given=PLACES.astype(np.int32), modes=["L"] * 50 + ["RGB"] * (N - 50))
    asked = candidates(images, likely, limit=40)
    because = np.array(asked.column("asked_because").to_pylist())
    assert (because == "grey, as few images here are").sum() == 20
    assert (array(asked, "row")[:20] < 50).all() and len(set(array(asked, "row"))) == len(asked)


@pytest.mark.parametrize("modes", [["L"] * N, ["RGB", "L"] * (N // 2)])
def test_a_mode_that_many_images_have_is_no_sign(features, modes):
    images, likely, _ = found(features, given=PLACES.astype(np.int32), modes=modes)
    assert set(candidates(images, likely, limit=40).column("asked_because").to_pylist()) == {"unlike all other images"}


def test_an_unusable_image_is_no_candidate_and_no_junk(features):
    broken = tuple(range(FINE, FINE + 10))
    images, likely, said = found(features, marked(range(N - 12, N), range(12)), unusable=broken)
    assert not set(array(candidates(images, likely, limit=60), "row")) & set(broken)
    assert len(said) and not set(array(said, "row")) & set(broken)


@pytest.mark.parametrize(
    "seeds", [{}, marked(range(FINE, FINE + 1), range(5)), marked(range(FINE, FINE + 12), range(12))]
)
def test_most_junk_is_found_with_and_without_marks_and_little_else(features, seeds):
    _, _, said = found(features, seeds)
    rows, left = array(said, "row"), JUNK - sum(seeds.values())
    assert (rows >= FINE).sum() > 0.9 * left
    assert (rows < FINE).sum() <= 1
    assert set(said.column("action").to_pylist()) == {"drop"}
    assert (array(said, "score") < 0.1).all()
    assert all(reason.startswith("junk with probability 0.9") or "1.00" in reason for reason in array(said, "reason"))


def test_what_people_have_marked_is_not_judged_again(features):
    _, _, said = found(features, marked(range(FINE, N, 2), range(12)))
    assert not set(array(said, "row")) & {*range(FINE, N, 2), *range(12)}


def test_a_rare_class_of_its_own_kind_is_claimed(features):
    sure = np.where(np.arange(N) < FINE + 20, 0.97, 0.6)
    _, _, said = found(features, sure=sure)
    assert set(array(said, "row")) <= set(range(FINE + 20, N))


def test_where_there_is_no_junk_none_is_found(features):
    fine = np.concatenate([features[:FINE], features[:JUNK]])
    assert len(found(fine, sure=np.random.default_rng(1).uniform(0.5, 1, N), given=PLACES.astype(np.int32))[2]) == 0


def test_one_image_under_many_classes_is_junk_and_many_of_one_are_not(features):
    placeholders = features.copy()
    placeholders[:24] = features[3] + 0.01 * np.random.default_rng(2).standard_normal((24, WIDTH))
    given = GIVEN.copy()
    given[:24] = np.arange(24) % CLASSES
    _, _, said = found(placeholders, given=given)
    assert set(range(24)) <= set(array(said, "row"))
    reason = array(said, "reason")[0]
    assert reason.endswith("one of 24 images that are nearly equal, under labels as if drawn at random")
    given[:24] = 2
    shown = np.where(np.arange(N) < 24, 2, PLACES)
    assert not set(array(found(placeholders, given=given, shown=shown)[2], "row")) & set(range(24))


def test_a_mark_on_a_file_holds_for_its_copies():
    said = seed_verdicts(manifest(), seeds={"4.png": True, "9.png": False, "7.png": True}).to_pylist()
    assert [(verdict["row"], verdict["action"]) for verdict in said] == [
        *((4, "drop"), (5, "drop"), (7, "drop")),
        *((8, None), (9, None)),
    ]


def test_who_can_not_tell_has_not_said_that_it_is_no_junk():
    unsure = {"row": 5, "sample_id": "", "stage": "image_noise", "round": 0, "by": "person:ana", "reason": ""}
    assert len(marks(manifest(), pa.Table.from_pylist([unsure], VERDICTS))) == 0


def test_of_a_small_group_of_placeholders_one_is_asked_and_a_mark_drops_the_others(features):
    placeholders, given = features.copy(), GIVEN.copy()
    placeholders[:12] = features[3] + 0.01 * np.random.default_rng(2).standard_normal((12, WIDTH))
    given[:12] = np.arange(12) % 6
    images, likely, said = found(placeholders, given=given)
    assert not set(array(said, "row")) & set(range(12))
    asked = set(array(candidates(images, likely, limit=40), "row").tolist()) & set(range(12))
    assert asked == {0}
    _, _, said = found(placeholders, marked([0], []), given=given)
    assert set(range(1, 12)) <= set(array(said, "row").tolist())


def test_what_was_marked_beforehand_is_no_candidate(features):
    images, likely, _ = found(features, marked(range(FINE, FINE + 5), range(FINE + 5, FINE + 10)))
    assert not set(array(candidates(images, likely, limit=60), "row")) & {*range(FINE, FINE + 10)}


def test_marks_that_mean_nothing_drop_nothing(features):
    drawn = np.random.default_rng(3).permutation(FINE)[:24]
    seeds = {f"{row}.png": place % 2 == 0 for place, row in enumerate(drawn)}
    _, _, said = found(np.concatenate([features[:FINE], features[:JUNK]]), seeds, given=PLACES.astype(np.int32))
    assert len(said) == 0


def test_only_what_people_say_marks_and_the_last_word_holds():
    images = manifest()
    model, person = [
        {"row": row, "sample_id": "", "stage": "image_noise", "round": 1, "action": action, "by": by, "reason": ""}
        for row, action, by in ((5, "drop", "rule:image_noise"), (6, "keep", "person:ana"))
    ]
    other = model | {"row": 7, "stage": "fine"}
    said = person | {"row": 8, "stage": "people", "action": "drop"}
    copy = said | {"row": 9, "stage": "duplicates"}
    wrong = said | {"row": 10, "stage": "fine"}
    known = marks(images, pa.Table.from_pylist([model, person, other, said, copy, wrong], VERDICTS))
    assert dict(zip(*known.to_pydict().values(), strict=True)) == {6: False, 8: True, 9: False}
    overruled = pa.Table.from_pylist([person | {"row": 8}], VERDICTS)
    known = marks(images, pa.Table.from_pylist([said], VERDICTS), overruled)
    assert known.to_pylist() == [{"row": 8, "junk": False}]


def test_people_are_believed_about_what_is_far(features):
    assert len(found(features, marked((), range(FINE, FINE + 20)))[2]) == 0
    word = {"row": FINE + 1, "sample_id": "", "stage": "people", "round": 0, "action": "keep", "by": "person:ana"}
    said = found(features, parts=[pa.Table.from_pylist([word | {"reason": ""}], VERDICTS)])[2]
    assert len(said) and FINE + 1 not in array(said, "row")
