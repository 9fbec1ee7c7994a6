"""Which images people are asked about, and what is promised of it."""

import numpy as np
import pyarrow as pa
import pytest

from cleaner.methods import label_noise
from cleaner.people.meaning import verdicts
from cleaner.people.selection import chosen, factors, gains, promise, strata
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, BATCH, GAINS, VERDICTS, Why, array

NO_CANDIDATES = pa.table({"row": pa.array([], pa.int32()), "asked_because": pa.array([], pa.string())})
WANTED = {"count": 30, "factors": {}}


def junk_of(judged, **likely):
    """How likely each judged image is junk, by its row: hardly, but for some."""
    rows = array(judged.evidence, "row")
    prob = np.full(len(rows), 0.001)
    for row, share in likely.items():
        prob[rows == int(row[1:])] = share
    return pa.table({"row": rows, "prob": prob, "marked": np.zeros(len(rows), bool)})


def found_of(judged, said=ANSWER_LOG.empty_table(), **likely):  # noqa: B008
    known = judged.manifest, judged.standing, judged.evidence, said
    fit = label_noise.fit(*known, policy="accv")
    people = verdicts(judged.manifest, said)
    standing = fold(judged.manifest, [part for part in (model_of(judged), people) if len(part)])
    tables = judged.manifest, standing, judged.evidence, said, fit, fit, junk_of(judged, **likely), people
    return gains(*tables, policy="accv")


def model_of(judged):
    names = [name for name in VERDICTS.names if name in judged.standing.column_names]
    rows = np.flatnonzero(judged.standing.column("score").is_valid().to_numpy())
    table = judged.standing.select(names).take(pa.array(rows)).append_column("row", pa.array(rows, pa.int32()))
    return table.select(VERDICTS.names).cast(VERDICTS)


def made(count, spoken=(), **columns):
    """GAINS of so many kept images, none of which anybody has spoken of but of some."""
    table = {"row": np.arange(count, dtype=np.int32), "why": ["kept"] * count, "gain": np.zeros(count)}
    table |= {"doubt": np.full(count, 0.1), "spoken": np.isin(np.arange(count), spoken)}
    return pa.table({**table, **columns}).cast(GAINS)


def named(judged, count):
    """A manifest of so many files with bytes of their own."""
    manifest = pa.Table.from_pylist([{}] * count, judged.manifest.schema)
    at = manifest.schema.get_field_index("content_hash")
    return manifest.set_column(at, "content_hash", pa.array([f"content-{row}" for row in range(count)]))


def test_what_an_answer_would_change_follows_from_what_stands(judged):
    found = {sample["row"]: sample for sample in found_of(judged, r3=0.6).to_pylist()}
    standing = judged.standing.to_pylist()
    assert set(found) == set(array(judged.evidence, "row").tolist())
    for row, sample in found.items():
        kept = standing[row]["action"] == "keep"
        expected = Why.MAYBE_JUNK if row == 3 else Why.KEPT if kept else Why.DOUBTED
        assert sample["why"] == expected and not sample["spoken"]
        wrong = sample["doubt"]
        likely = 0.6 if row == 3 else 0.001
        assert sample["gain"] == pytest.approx(1 - (1 - wrong) * (1 - likely) if kept else 1 - wrong, abs=1e-5)


@pytest.mark.parametrize("answer", ["right", "wrong", "junk", "unsure"])
def test_who_has_been_answered_is_not_asked_again(judged, answer):
    rows = [0, 1, 5, 9]
    samples = judged.manifest.take(pa.array(rows)).select(["content_hash", "label"]).to_pylist()
    said = pa.Table.from_pylist([{**s, "answer": answer, "by": "ana"} for s in samples], ANSWER_LOG)
    found = found_of(judged, said)
    assert {sample["row"] for sample in found.to_pylist() if sample["spoken"]} == set(rows)
    cut = strata(judged.manifest, found, NO_CANDIDATES, least=0.2, drawn=(), **WANTED)
    places, _ = chosen(found, cut, first=True, seed=0, **WANTED)
    assert not set(array(found, "row")[places].tolist()) & set(rows)


def test_a_first_batch_is_half_drawn_and_half_of_every_kind(judged):
    count, random = 600, np.random.default_rng(0)
    why = np.repeat([Why.KEPT.value, Why.DOUBTED.value, Why.JUNK.value], 200)
    found = made(count, why=why.tolist(), gain=random.uniform(0.1, 0.9, count))
    candidates = pa.table({"row": pa.array([500, 510, 520], pa.int32()), "asked_because": ["a", "b", "c"]})
    cut = strata(named(judged, count), found, candidates, least=0.2, drawn=(), **WANTED)
    places, drawn = chosen(found, cut, first=True, seed=0, **WANTED)
    assert len(places) == len(set(places)) == 30 and drawn.sum() == 15
    asked = set(places[~drawn].tolist())
    assert {500, 510, 520} <= asked
    of_kind = {kind: int(np.isin(np.flatnonzero(why == kind), list(asked)).sum()) for kind in set(why)}
    assert all(of_kind[kind] >= 5 for kind in (Why.KEPT, Why.DOUBTED))
    assert not asked & set(np.flatnonzero(array(cut, "stratum") >= 0).tolist())
    other, _ = chosen(found, cut, first=True, seed=1, **WANTED)
    assert set(other[~drawn]) == asked and set(other[drawn]) != set(places[drawn])


def test_a_candidate_that_is_a_copy_stands_for_the_first_of_its_files(judged):
    manifest, found = named(judged, 100), made(99)
    content = manifest.column("content_hash").to_pylist()
    content[99] = content[7]
    copied = manifest.set_column(manifest.schema.get_field_index("content_hash"), "content_hash", pa.array(content))
    candidates = pa.table({"row": pa.array([99], pa.int32()), "asked_because": ["black and white"]})
    cut = strata(copied, found, candidates, least=0.2, drawn=(), **WANTED)
    assert array(cut, "row")[array(cut, "stratum") < 0].tolist() == [7]


def test_a_first_batch_is_a_tenth_of_all_at_most(judged):
    found = made(80, gain=np.full(80, 0.5))
    cut = strata(named(judged, 80), found, NO_CANDIDATES, least=0.2, drawn=(), count=100, factors={})
    _, drawn = chosen(found, cut, first=True, seed=0, count=100, factors={})
    assert (~drawn).sum() == 4 and 4 <= drawn.sum() <= 8


def later(judged, found, first, spoken=(), **settings):
    """The strata after a first batch, and what is chosen: of GAINS as the first, and as they are now."""
    manifest = named(judged, len(found))
    settings = {**WANTED, "least": 0.3, "drawn": (), **settings}
    before = manifest, strata(manifest, first, NO_CANDIDATES, **{**settings, "drawn": ()})
    cut = strata(manifest, found, NO_CANDIDATES, *before, **settings)
    known = {name: settings[name] for name in ("count", "factors")}
    return cut, *chosen(found, cut, first=False, seed=0, **known)


def test_a_later_batch_asks_where_an_answer_is_expected_to_change_something(judged):
    gain = np.zeros(400)
    gain[:50] = np.linspace(0.9, 0.1, 50)
    _, places, drawn = later(judged, made(400, gain=gain), made(400))
    assert places[~drawn].tolist() == [row for row in range(50) if gain[row] >= 0.3][:30] and drawn.sum() == 3
    _, places, _ = later(judged, made(400, gain=gain / 9), made(400))
    assert len(places) == 0, "nothing pays any more"
    _, places, _ = later(judged, made(400, gain=gain), made(400), factors={"kept": 0.5})
    assert set(places.tolist()) & set(range(50)) == {row for row in range(50) if gain[row] >= 0.6}


def test_where_all_is_picked_nothing_is_left_to_draw_from(judged):
    gain = np.full(40, 0.5)
    cut, places, drawn = later(judged, made(40, gain=gain), made(40, gain=gain), count=100)
    assert (array(cut, "stratum") < 0).all() and not drawn.any()
    assert len(set(places.tolist())) == len(places) == 40 - 2


def test_one_drawn_before_that_would_be_asked_about_now_stands_for_itself(judged):
    gain = np.zeros(400)
    gain[[10, 20, 30]] = 0.9, 0.7, 0.35
    gain[40:50] = 0.5
    found = made(400, gain=gain, spoken=(10, 20, 30))
    cut, places, _ = later(judged, found, made(400), drawn=("content-10", "content-30"))
    stratum = dict(zip(array(cut, "row").tolist(), array(cut, "stratum").tolist(), strict=True))
    assert stratum[10] < 0 and all(stratum[row] < 0 for row in range(40, 50))
    assert stratum[30] >= 0, "nothing of so little gain is asked about"
    assert stratum[20] >= 0, "people spoke of it by themselves"
    assert not {10, 20, 30} & set(places.tolist())


def test_images_that_came_since_are_a_stratum_of_their_own(judged):
    first = made(300)
    before = named(judged, 300), strata(named(judged, 300), first, NO_CANDIDATES, least=0.3, drawn=(), **WANTED)
    cut = strata(named(judged, 400), made(400), NO_CANDIDATES, *before, least=0.3, drawn=(), **WANTED)
    new = array(cut, "stratum")[array(cut, "row") >= 300]
    assert set(new.tolist()) == {array(before[1], "stratum").max() + 1} and len(new) == 100


def test_what_answers_have_changed_so_far_corrects_what_is_expected():
    worths = [{"kept": (1, 10.0), "junk": (0, 0.0)}, {"kept": (2, 10.0), "doubted": (30, 20.0)}]
    assert factors(worths) == {"doubted": round(33 / 23, 6), "kept": round(6 / 23, 6)}
    assert factors([]) == {}


def test_a_promise_says_what_answers_change_and_what_is_wrong_before_and_after():
    found = made(100, gain=np.where(np.arange(100) < 20, 0.5, 0.0), why=["kept"] * 90 + ["doubted"] * 10)
    asked = pa.Table.from_pylist([{"row": row} for row in range(12)], BATCH)
    (said,) = promise(found, asked, factors={"kept": 0.8}).to_pylist()
    expected = {"answers": 12, "changes": 12 * 0.4, "before": 20 * 0.4 / 90, "after": 8 * 0.4 / 90}
    assert said == pytest.approx(expected, rel=1e-5)
