import numpy as np
import pyarrow as pa
import pytest

from cleaner.people.review import DOUBTFUL, NEAR, RANDOM, answers_to_verdicts, batch, candidate_batch
from cleaner.run.ledger import fold
from cleaner.tables import ANSWERS, BATCH, array

SHARES = {"share": 0.5, "random_share": 0.25, "doubtful_share": 0.1, "max_samples": 100}


def of(judged, *answered, **settings):
    tables = judged.manifest, judged.standing, judged.evidence, judged.duplicates
    return batch(*tables, *answered, **{"stage": "fine", "seed": 0, **SHARES, **settings})


def margins(judged, asked, because):
    margin = dict(zip(array(judged.evidence, "row"), array(judged.evidence, "margin"), strict=True))
    return [margin[sample["row"]] for sample in asked.to_pylist() if sample["asked_because"] == because]


def answers(asked, said, new_label=None):
    count = len(asked)
    columns = {
        "sample_id": asked.column("sample_id"),
        "answer": pa.repeat(said, count),
        "new_label": pa.array([new_label] * count, pa.string()),
        "by": pa.repeat("ana", count),
    }
    return pa.table(columns, ANSWERS)


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


@pytest.mark.parametrize("said", ["right", "junk", "unsure"])
def test_who_has_been_answered_is_not_asked_again(judged, said):
    first = of(judged)
    people = answers_to_verdicts(answers(first, said), judged.manifest, stage="fine", round=1)
    again = of(judged, people)
    assert not set(array(first, "row")) & set(array(again, "row"))


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
    asked = candidate_batch(judged.manifest, judged.standing, candidates, judged.duplicates, seed=0)
    assert array(asked, "row").tolist() == [7, 3, 30]
    assert asked.column("guesses").to_pylist() == [[], [], []]
    assert asked.column("given_prob").null_count == 3
    for sample in asked.to_pylist():
        assert len(sample["given_references"]) == 3 and not set(sample["given_references"]) & {7, 3, 30}


def test_answers_become_verdicts_that_outrank_a_models(judged):
    asked = of(judged)
    right = answers_to_verdicts(answers(asked, "right"), judged.manifest, stage="fine", round=2)
    assert set(right.column("by").to_pylist()) == {"person:ana"}
    assert set(fold(judged.manifest, [right]).take(array(asked, "row")).column("action").to_pylist()) == {"keep"}
    another = answers_to_verdicts(answers(asked, "another", "with space"), judged.manifest, stage="fine", round=2)
    assert set(another.column("new_label").to_pylist()) == {"with space"}
    assert set(another.column("score").to_pylist()) == {0.0}


def test_who_can_not_tell_changes_nothing(judged):
    unsure = answers_to_verdicts(answers(of(judged), "unsure"), judged.manifest, stage="fine", round=2)
    assert unsure.column("action").null_count == unsure.column("score").null_count == len(unsure)
    assert fold(judged.manifest, [unsure]).equals(fold(judged.manifest, []))


def test_a_data_set_without_negatives_asks_about_positives_only(judged):
    clean = fold(judged.manifest, [])
    asked = batch(judged.manifest, clean, judged.evidence, judged.duplicates, stage="fine", seed=0, **SHARES)
    assert set(asked.column("asked_because").to_pylist()) == {DOUBTFUL}
