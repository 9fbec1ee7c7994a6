from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cleaner.people.batch import compose
from cleaner.people.meaning import verdicts
from cleaner.people.selection import DRAWN
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, BATCH, array


def said(judged, rows, answer, new_label=None):
    """ANSWER_LOG as a person might have answered on these rows."""
    samples = judged.manifest.take(pa.array(rows)).select(["content_hash", "label"]).to_pylist()
    return pa.Table.from_pylist(
        [{**s, "answer": answer, "new_label": new_label, "by": "ana"} for s in samples], ANSWER_LOG
    )


def test_a_batch_holds_what_it_is_to_ask_about_and_what_was_drawn_stands_anywhere(judged):
    asked = judged.batch(count=40)
    assert asked.schema == BATCH and len(set(array(asked, "row"))) == 40
    drawn = array(asked, "drawn")
    assert drawn.sum() == 2 and (asked.column("asked_because").to_pylist().count(DRAWN)) == 2
    places = [tuple(np.flatnonzero(array(judged.batch(count=40, seed=seed), "drawn"))) for seed in range(5)]
    assert len(set(places)) > 1
    assert judged.batch(count=40).equals(asked)


def test_images_on_which_people_have_decided_stand_among_the_others_as_if_nobody_had(judged):
    first = judged.batch()
    rows = array(first, "row")
    told = pa.concat_tables([said(judged, rows[:6], "another", "=cmd()"), said(judged, rows[6:7], "unsure")])
    again = judged.batch(told, known_share=0.2)
    known = {sample["row"]: sample for sample in again.to_pylist() if sample["known"]}
    assert len(known) == -(-0.2 * (len(again) - len(known)) // 1) and set(known) <= set(rows[:6].tolist())
    assert {sample["known"] for sample in known.values()} == {"=cmd()"}
    assert {sample["asked_because"] for sample in known.values()} <= set(array(first, "asked_because"))
    places = [place for place, sample in enumerate(again.to_pylist()) if sample["known"]]
    assert places != list(range(len(again) - len(known), len(again)))
    assert all(sample["people"] == 1 for sample in again.to_pylist())


def test_a_share_is_asked_of_two_people_and_known_images_of_one(judged):
    told = said(judged, array(judged.batch(), "row")[:6], "right")
    asked = judged.batch(told, known_share=0.2, overlap=0.5).to_pylist()
    twice = [sample for sample in asked if sample["people"] == 2]
    assert len(twice) == -(-len([sample for sample in asked if not sample["known"]]) // 2)
    assert not any(sample["known"] for sample in twice)


def test_guesses_are_never_the_given_label(judged):
    for sample in judged.batch().to_pylist():
        assert sample["label"] not in sample["guesses"]
        assert len(sample["guesses"]) == len(sample["guess_probs"]) == 3


def test_references_are_other_kept_pictures_of_the_class_with_the_best_scores(judged):
    label, action = array(judged.standing, "label"), array(judged.standing, "action")
    score = array(judged.standing, "score")
    for sample in judged.batch(count=80).to_pylist():
        for rows, name in (
            (sample["given_references"], sample["label"]),
            (sample["guess_references"], sample["guesses"][0]),
        ):
            assert len(set(rows)) == 3 and sample["row"] not in rows
            assert {label[row] for row in rows} == {name} and {action[row] for row in rows} == {"keep"}
            assert list(score[rows]) == sorted(score[rows], reverse=True)


def test_a_duplicate_is_no_reference_for_its_twin(judged):
    twins = {5: 50, 50: 5}
    asked = judged.batch(count=80).to_pylist()
    assert all(twins.get(s["row"]) not in s["given_references"] + s["guess_references"] for s in asked)


def test_of_what_no_model_has_judged_there_are_no_guesses(judged):
    some = replace(judged, evidence=judged.evidence.filter(pc.not_equal(judged.evidence.column("row"), 3)))
    rows, facts = np.array([3, 7]), {"why": ["junk", "kept"], "gain": pa.array([0.5, 0.5], pa.float32())}
    tables = some.manifest, some.standing, some.evidence, some.duplicates, ANSWER_LOG.empty_table()
    settings = {"known_share": 0, "overlap": 0, "seed": 0}
    asked = compose(*tables, rows, ["junk?", "right?"], facts | {"drawn": [False, False]}, **settings).to_pylist()
    assert [len(sample["guesses"]) for sample in asked] == [0, 3]
    assert asked[0]["given_prob"] is None and len(asked[0]["given_references"]) == 3


def stands(judged, words):
    """What stands after people's words alone."""
    return fold(judged.manifest, [verdicts(judged.manifest, words)])


def test_answers_become_verdicts_that_outrank_a_models(judged):
    rows = array(judged.batch(), "row")
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


def test_of_copies_in_several_splits_the_one_that_is_measured_on_is_the_one_that_people_keep(judged):
    manifest = judged.manifest.slice(0, 2)
    at = manifest.schema.names.index("content_hash")
    manifest = manifest.set_column(at, "content_hash", pa.array([manifest["content_hash"][0].as_py()] * 2))
    manifest = manifest.append_column("split", pa.array(["train", "test"]))
    words = said(replace(judged, manifest=manifest), [0], "right")
    kept = {
        near: [row["action"] for row in verdicts(manifest, words, near=near).to_pylist()]
        for near in ("keep", "by_split")
    }
    assert kept == {"keep": ["keep", "drop"], "by_split": ["drop", "keep"]}
