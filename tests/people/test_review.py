from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from cleaner.people.review import (
    CALIBRATES,
    DOUBTFUL,
    NEAR,
    RANDOM,
    calibration_batch,
    candidate_batch,
    strata,
    verdicts,
)
from cleaner.run.ledger import fold
from cleaner.tables import BATCH, SAID, STRATA, VERDICTS, array

SHARES = {"share": 0.5, "random_share": 0.25, "doubtful_share": 0.1, "max_samples": 100}


NOBODY = VERDICTS.empty_table()


def of(judged, said=SAID.empty_table(), **settings):  # noqa: B008
    return judged.batch(said, **{**SHARES, **settings})


def margins(judged, asked, because):
    margin = dict(zip(array(judged.evidence, "row"), array(judged.evidence, "margin"), strict=True))
    return [margin[sample["row"]] for sample in asked.to_pylist() if sample["asked_because"] == because]


def said(judged, rows, answer, new_label=None):
    """SAID as a person might have answered on these rows."""
    samples = judged.manifest.take(pa.array(rows)).select(["content_hash", "label"]).to_pylist()
    return pa.Table.from_pylist([{**s, "answer": answer, "new_label": new_label, "by": "ana"} for s in samples], SAID)


def test_a_batch_holds_its_shares_of_negatives_and_positives(judged):
    asked = of(judged)
    assert asked.schema == BATCH
    counts = {because: asked.column("asked_because").to_pylist().count(because) for because in (NEAR, RANDOM, DOUBTFUL)}
    assert counts == {NEAR: 8, RANDOM: 4, DOUBTFUL: 7}  # of 16 negatives and 64 positives


def test_negatives_come_in_order_of_the_smallest_margin(judged):
    near = margins(judged, of(judged, random_share=0), NEAR)
    every = np.sort(array(judged.evidence, "margin"))
    assert near == sorted(every[every < 0], reverse=True)[: len(near)]


def test_the_most_doubtful_positives_are_asked(judged):
    doubtful = margins(judged, of(judged), DOUBTFUL)
    every = np.sort(array(judged.evidence, "margin"))
    assert doubtful == list(every[every > 0][: len(doubtful)])


def test_the_same_seed_draws_the_same_batch_and_another_seed_another(judged):
    assert of(judged).equals(of(judged))
    assert not of(judged).equals(of(judged, seed=1))


def test_no_sample_is_asked_twice(judged):
    rows = array(of(judged, share=1, random_share=1, doubtful_share=1, max_samples=1000), "row")
    assert len(np.unique(rows)) == len(rows) == 80


@pytest.mark.parametrize("most", [1, 5, 11])
def test_a_batch_is_as_large_as_allowed_and_gives_way_in_proportion(judged, most):
    asked = of(judged, max_samples=most)
    assert len(asked) == most
    if most == 11:
        assert set(asked.column("asked_because").to_pylist()) == {NEAR, RANDOM, DOUBTFUL}


@pytest.mark.parametrize("answer", ["right", "wrong", "junk", "unsure"])
def test_who_has_been_answered_is_not_asked_again(judged, answer):
    first = of(judged)
    again = of(judged, said(judged, array(first, "row"), answer))
    assert not set(array(first, "row")) & set(array(again, "row"))


def test_images_on_which_people_have_decided_stand_among_the_others_as_if_nobody_had(judged):
    first = of(judged)
    rows = array(first, "row")
    told = pa.concat_tables([said(judged, rows[:6], "another", "=cmd()"), said(judged, rows[6:7], "unsure")])
    again = of(judged, told, known_share=0.2)
    known = {sample["row"]: sample for sample in again.to_pylist() if sample["known"]}
    assert len(known) == -(-0.2 * (len(again) - len(known)) // 1) and set(known) <= set(rows[:6].tolist())
    assert {sample["known"] for sample in known.values()} == {"=cmd()"}
    assert {sample["asked_because"] for sample in known.values()} <= {NEAR, RANDOM, DOUBTFUL}
    places = [place for place, sample in enumerate(again.to_pylist()) if sample["known"]]
    assert places != list(range(len(again) - len(known), len(again)))
    assert all(sample["people"] == 1 for sample in again.to_pylist())


def test_a_share_is_asked_of_two_people_and_known_images_of_one(judged):
    told = said(judged, array(of(judged), "row")[:6], "right")
    asked = of(judged, told, known_share=0.2, overlap=0.5).to_pylist()
    twice = [sample for sample in asked if sample["people"] == 2]
    assert len(twice) == -(-len([sample for sample in asked if not sample["known"]]) // 2)
    assert not any(sample["known"] for sample in twice)


def test_guesses_are_never_the_given_label(judged):
    for sample in of(judged).to_pylist():
        assert sample["label"] not in sample["guesses"]
        assert len(sample["guesses"]) == len(sample["guess_probs"]) == 3


def test_references_are_other_kept_pictures_of_the_class_with_the_best_scores(judged):
    label, action = array(judged.standing, "label"), array(judged.standing, "action")
    score = array(judged.standing, "score")
    for sample in of(judged, doubtful_share=1.0, max_samples=1000).to_pylist():
        for rows, name in (
            (sample["given_references"], sample["label"]),
            (sample["guess_references"], sample["guesses"][0]),
        ):
            assert len(set(rows)) == 3 and sample["row"] not in rows
            assert {label[row] for row in rows} == {name} and {action[row] for row in rows} == {"keep"}
            assert list(score[rows]) == sorted(score[rows], reverse=True)


def test_a_duplicate_is_no_reference_for_its_twin(judged):
    twins = {5: 50, 50: 5}
    asked = of(judged, share=1, doubtful_share=1.0, max_samples=1000).to_pylist()
    assert all(twins.get(s["row"]) not in s["given_references"] + s["guess_references"] for s in asked)


def test_candidates_are_asked_in_their_order_without_guesses(judged):
    candidates = pa.table({"row": [7, 3, 30], "asked_because": ["mode CMYK", "far outlier", "mode P"]})
    features = np.zeros((len(judged.manifest), 8), np.float16)
    features[np.arange(80), np.repeat(np.arange(4), 20)] = 1
    features[20:30] = features[10]  # half of the second class looks like the first
    tables = judged.manifest, judged.standing, candidates, judged.duplicates, NOBODY
    asked = candidate_batch(*tables, features[:50], features[50:], overlap=0, seed=0)
    assert array(asked, "row").tolist() == [7, 3, 30]
    assert asked.column("guesses").to_pylist() == [[], [], []]
    assert asked.column("given_prob").null_count == 3
    for sample in asked.to_pylist():
        assert len(sample["given_references"]) == 3 and not set(sample["given_references"]) & {7, 3, 30, *range(20, 30)}
    shuffled = np.random.default_rng(0).normal(size=features.shape).astype(np.float16)
    blind = candidate_batch(*tables, shuffled[:50], shuffled[50:], overlap=0, seed=0)
    assert all(len(sample["given_references"]) < 3 for sample in blind.to_pylist())


def stands(judged, words):
    """What stands after people's words alone."""
    return fold(judged.manifest, [verdicts(judged.manifest, words)])


def test_answers_become_verdicts_that_outrank_a_models(judged):
    rows = array(of(judged), "row")
    right = stands(judged, said(judged, rows, "right")).take(rows)
    assert set(right.column("by").to_pylist()) == {"person:ana"}
    assert set(right.column("action").to_pylist()) == {"keep"}
    another = stands(judged, said(judged, rows, "another", "with space")).take(rows)
    assert {(s["action"], s["new_label"]) for s in another.to_pylist() if s["label"] != "with space"} == {
        ("relabel", "with space")
    }
    assert {s["action"] for s in another.to_pylist() if s["label"] == "with space"} == {"keep"}


def test_who_can_not_tell_changes_nothing(judged):
    unsure = verdicts(judged.manifest, said(judged, [1, 2, 3], "unsure"))
    assert unsure.column("action").null_count == unsure.column("score").null_count == len(unsure) == 3
    assert fold(judged.manifest, [unsure]).equals(fold(judged.manifest, []))


def copied(judged, *rows):
    """The data set as if the files of these rows were one file."""
    content = judged.manifest.column("content_hash").to_pylist()
    for row in rows:
        content[row] = content[rows[0]]
    at = judged.manifest.schema.names.index("content_hash")
    return judged.manifest.set_column(at, "content_hash", pa.array(content))


@pytest.mark.parametrize(
    ("answer", "new_label", "expected"),
    [
        ("right", None, {0: "keep", 1: "drop", 30: "drop"}),
        ("another", "=cmd()", {0: "drop", 1: "drop", 30: "keep"}),
        ("another", "with space", {0: "relabel", 1: "drop", 30: "drop"}),
        ("another", "a class of before", {0: None, 1: None, 30: None}),
        ("wrong", None, {0: "drop", 1: "drop", 30: None}),
        ("junk", None, {0: "drop", 1: "drop", 30: "drop"}),
        ("unsure", None, {0: None, 1: None, 30: None}),
    ],
)
def test_what_people_say_of_a_file_holds_for_all_its_copies(judged, answer, new_label, expected):
    manifest = copied(judged, 0, 1, 30)
    found = verdicts(manifest, said(judged, [0], answer, new_label)).to_pylist()
    actions = dict.fromkeys(expected) | {verdict["row"]: verdict["action"] for verdict in found}
    assert actions == expected
    assert {verdict["by"] for verdict in found} <= {"person:ana"}


def test_of_copies_one_is_asked_about(judged):
    manifest = copied(judged, *range(0, 80, 5))
    asked = of(replace(judged, manifest=manifest), share=1, random_share=1, doubtful_share=1, max_samples=1000)
    content = asked.column("row").to_pylist()
    assert len(set(content) & set(range(0, 80, 5))) == 1


def test_a_data_set_without_negatives_asks_about_positives_only(judged):
    clean = fold(judged.manifest, [])
    assert len(of(replace(judged, standing=clean))) == 0, "without a score nothing is doubtful"
    scored = clean.set_column(
        clean.schema.get_field_index("score"), "score", pa.array(np.full(len(clean), 0.9), pa.float32())
    )
    asked = of(replace(judged, standing=scored))
    assert set(asked.column("asked_because").to_pylist()) == {DOUBTFUL}


def drawn(judged, people=NOBODY, seed=0):
    """A calibration batch, and the strata it is drawn from."""
    found = strata(judged.manifest, judged.standing, judged.evidence, people, count=100)
    tables = judged.manifest, judged.standing, judged.evidence, judged.duplicates, found
    return calibration_batch(*tables, count=100, overlap=0, seed=seed), found


def test_a_calibration_batch_is_a_tenth_of_all_at_most_and_drawn_from_all_strata(judged):
    asked, cut = drawn(judged)
    assert asked.schema == BATCH and len(asked) == 8 and set(asked.column("asked_because").to_pylist()) == {CALIBRATES}
    assert asked.equals(drawn(judged)[0]) and not asked.equals(drawn(judged, seed=1)[0])
    assert cut.schema == STRATA and len(cut) == len(judged.evidence)
    of = dict(zip(cut.column("row").to_pylist(), cut.column("stratum").to_pylist(), strict=True))
    assert {of[row] for row in asked.column("row").to_pylist()} == {*of.values()} and len({*of.values()}) > 1
    answered = said(judged, array(asked, "row"), "right")
    again, rest = drawn(judged, verdicts(judged.manifest, answered))
    assert not set(array(again, "row")) & set(array(asked, "row"))
    assert len(rest) == len(cut) - len(asked)
