import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits

from cleaner.data.sources.folder import Folder
from cleaner.evidence.channel import some_of
from cleaner.evidence.crossfit import Task, assign_folds, evidence_table
from cleaner.evidence.predictors.probe import Probe
from cleaner.methods import judging, label_noise
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, MANIFEST, VERDICTS, array

NAMES = ["apple", "pear", "plum"]


def manifest_of(labels):
    names = [f"{row}.jpg" for row in range(len(labels))]
    known = {"sample_id": names, "path": names, "content_hash": names, "label": [NAMES[label] for label in labels]}
    return pa.table([known.get(part.name) or pa.nulls(len(labels), part.type) for part in MANIFEST], MANIFEST)


def judge(labels, probs, parts=(), said=ANSWER_LOG.empty_table(), **settings):  # noqa: B008
    manifest = manifest_of(labels)
    labels, probs = np.asarray(labels, np.int32), np.asarray(probs, np.float32)
    rows = np.arange(len(labels), dtype=np.int32)
    evidence = evidence_table(rows, (rows % 5).astype(np.int8), probs, labels)
    defaults = {"k": 1, "policy": "belief", "relabel": 0.8, "stage": "fine", "round": 1, "by": "probe"}
    return verdicts_of(manifest, fold(manifest, list(parts)), evidence, said, **(defaults | settings))


def verdicts_of(*known, policy, **settings):
    fit = label_noise.fit(*known, policy=policy)
    return label_noise.verdicts(*known, fit, fit, policy=policy, **settings)


def noise_of(manifest, evidence, said=ANSWER_LOG.empty_table()):  # noqa: B008
    known = manifest, fold(manifest, []), evidence, said
    fit = label_noise.fit(*known, policy="belief")
    return label_noise.noise(*known, fit, fit, policy="belief").to_pylist()[0]


def noisy_world(n=3000, share=0.2, certainty=6.0, seed=0):
    """True labels, given labels, and calibrated probabilities of the true labels."""
    random = np.random.default_rng(seed)
    logits = certainty * random.normal(size=(n, 3))
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    true = (probs.cumsum(1) > random.random((n, 1))).argmax(1)
    wrong = random.random(n) < share
    given = np.where(wrong, (true + random.integers(1, 3, n)) % 3, true)
    return true, given, probs


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_score_is_the_probability_that_the_given_label_is_right(share):
    true, given, probs = noisy_world(share=share)
    score = array(judge(given, probs), "score")
    for low, high in [(0, 0.2), (0.2, 0.8), (0.8, 1.01)]:
        inside = (score >= low) & (score < high)
        assert (given == true)[inside].mean() == pytest.approx(score[inside].mean(), abs=0.1)


def test_wrong_labels_are_flagged_better_than_by_top_1():
    true, given, probs = noisy_world(certainty=2.0)
    flagged = array(judge(given, probs), "action") != "keep"
    assert f1(flagged, given != true) > f1(probs.argmax(1) != given, given != true)


def f1(flagged, wrong):
    return 2 * (flagged & wrong).sum() / (flagged.sum() + wrong.sum())


def test_hard_images_alone_are_no_noise():
    _, given, probs = noisy_world(share=0.0, certainty=2.0)
    assert (probs.argmax(1) != given).mean() > 0.15
    assert (array(judge(given, probs), "action") != "keep").mean() < 0.01


def test_the_reason_says_how_the_given_and_the_likeliest_class_rank():
    probs = [[0.07, 0.03, 0.9], [0.1, 0.6, 0.3], [0.0, 0.0, 1.0]]
    reason = judge([0, 1, 2] * 2, probs * 2, policy="accv").column("reason").to_pylist()
    ranks = "apple ranks 2nd of 3 (p 0.07); plum ranks 1st (p 0.90)"
    assert re.fullmatch(re.escape(ranks) + "; about 3. % of plum and [67]. % of apple carry this label", reason[0])
    assert reason[1] == "pear ranks 1st of 3 (p 0.60); plum ranks 2nd (p 0.30)"


def test_a_class_that_no_model_has_learnt_is_kept_without_a_score():
    true, given, probs = noisy_world()
    folds = np.arange(len(given)) % 5
    alone = (given == 2) & (folds != 3)
    given = np.where(alone, true % 2, given)
    found = judge(given, probs)
    rows = array(found, "row")[given == 2]
    assert len(rows) and set(folds[rows]) == {3}
    said = found.filter(pa.array(given == 2))
    assert set(said.column("action").to_pylist()) == {"keep"}
    assert said.column("score").null_count == len(rows)
    assert "was not learnt" in said.column("reason")[0].as_py()
    assert found.filter(pa.array(given != 2)).column("score").null_count == 0


def test_a_class_that_was_dropped_whole_when_it_was_learnt_stays_so_by_the_recipe():
    _, given, probs = noisy_world(n=300)
    first = judge(given, probs, policy="accv")
    dropped = np.where(given == 2, "drop", array(first, "action").astype(str))
    first = first.set_column(VERDICTS.get_field_index("action"), "action", pa.array(dropped))
    second = judge(given, probs, [first], round=2, policy="accv")
    assert set(array(second, "row")) == set(np.flatnonzero(given != 2))


def test_a_single_image_of_a_class_is_never_judged():
    _, given, probs = noisy_world(n=300)
    given = np.where(given == 2, 0, given)
    given[7] = 2
    assert judge(given, probs).column("score")[7].as_py() is None


def test_no_label_is_taken_from_models_that_hardly_believe_in_it():
    _, given, probs = noisy_world(share=0.4)
    found = judge(given, probs, relabel=0.9)
    becomes = array(found, "action") == "relabel"
    new = np.array([NAMES.index(name) for name in array(found, "new_label")[becomes]])
    assert becomes.any() and (probs[becomes, new] >= 0.45).all()


def test_a_label_is_replaced_only_by_a_class_that_is_probable_enough():
    true, given, probs = noisy_world()
    found = judge(given, probs, relabel=0.9)
    becomes = array(found, "action") == "relabel"
    assert becomes.any() and (array(found, "action") == "drop").any()
    named = array(found, "new_label")
    assert (named[becomes] == np.array(NAMES, object)[true[becomes]]).mean() > 0.9
    assert all(name is None for name in named[~becomes])


@pytest.mark.parametrize("vouching", [4, 5])
def test_no_label_is_given_that_too_few_images_vouch_for(vouching):
    true, given, probs = noisy_world(n=600, share=0.2, certainty=9.0)
    given = np.where(given == 2, 0, given)
    given[np.flatnonzero(true == 2)[:vouching]] = 2
    found = judge(given, probs, relabel=0.5, policy="accv", k=1)
    assert (array(found, "action")[given == 2] == "keep").sum() == vouching
    assert (NAMES[2] in array(found, "new_label")) == (vouching == 5)
    assert (array(found, "action")[(true == 2) & (given != 2)] != "keep").any()


def test_the_recipe_flags_what_is_not_among_the_top_k_and_never_loses_a_positive():
    _, given, probs = noisy_world()
    first = judge(given, probs, policy="accv")
    negative = array(first, "action") != "keep"
    assert (negative == (probs.argmax(1) != given)).all()
    second = judge(given, np.roll(probs, 1, axis=0), [first], policy="accv", round=2)
    assert label_noise.changes(fold(manifest_of(given), [first]), second)[1] == 0
    assert (array(second, "action") == "keep")[~negative].all()


def test_belief_takes_positives_back_and_lets_negatives_return():
    _, given, probs = noisy_world()
    first = judge(given, probs)
    standing = fold(manifest_of(given), [first])
    others = 0.6 * probs + 0.4 * np.roll(probs, 1, axis=0)
    new, lost = label_noise.changes(standing, judge(given, others, [first], round=2))
    assert new > 0 and lost > 0
    assert label_noise.changes(standing, judge(given, probs, [first], round=2)) == (0, 0)


def test_what_a_person_decided_is_not_judged_again():
    _, given, probs = noisy_world(n=50)
    person = judge(given, probs).slice(0, 5)
    person = person.set_column(VERDICTS.get_field_index("by"), "by", pa.array(["person:ann"] * 5))
    assert array(judge(given, probs, [person]), "row").tolist() == list(range(5, 50))


@pytest.mark.parametrize(("classes", "k"), [(2, 1), (39, 1), (40, 2), (81, 4), (100, 5), (5000, 5)])
def test_k_follows_the_number_of_classes(classes, k):
    assert label_noise.effective_k(5, classes) == k


def test_no_evidence_gives_no_verdicts():
    manifest = manifest_of([0, 1, 2])
    none = np.zeros(0, np.int32)
    evidence = evidence_table(none, none, np.zeros((0, 3), np.float32), none)
    settings = {"k": 1, "policy": "belief", "relabel": 0.8, "stage": "fine", "round": 1, "by": "probe"}
    assert verdicts_of(manifest, fold(manifest, []), evidence, ANSWER_LOG.empty_table(), **settings).schema == VERDICTS


def test_planted_errors_in_digits_are_found_in_one_round():
    features, true = load_digits(n_class=3, return_X_y=True)
    random = np.random.default_rng(0)
    wrong = random.random(len(true)) < 0.2
    given = np.where(wrong, (true + random.integers(1, 3, len(true))) % 3, true).astype(np.int32)
    everything, manifest = np.ones(len(true), bool), manifest_of(given)
    folds = assign_folds(given, np.full(len(given), -1, np.int32), np.arange(len(given), dtype=np.uint64), folds=5)
    task = Task(
        labels=given,
        train=everything,
        weights=np.ones(len(true), np.float32),
        predict=everything,
        folds=folds,
        finer_folds=folds,
        classes=3,
        round=1,
        seed=0,
        features=features.astype(np.float16),
        source=Folder(Path()),
        manifest=manifest,
    )
    evidence = Probe().evidence(task, (0, 1, 2, 3, 4))
    settings = {"k": 1, "policy": "belief", "relabel": 0.8, "stage": "fine", "round": 1, "by": "probe"}
    found = verdicts_of(manifest, fold(manifest, []), evidence, ANSWER_LOG.empty_table(), **settings)
    assert f1(array(found, "action") != "keep", wrong) > 0.93


def standing_of(**columns):
    rows = len(next(iter(columns.values())))
    known = {"stage": [None] * rows, "by": [""] * rows, "new_label": [None] * rows} | columns
    kinds = {"score": pa.float32()}
    return pa.table({name: pa.array(column, kinds.get(name, pa.string())) for name, column in known.items()})


def test_each_sample_is_learnt_as_far_as_its_label_is_believed():
    standing = standing_of(
        action=["keep", "keep", "drop", "relabel", "drop", "drop", "relabel", "keep", "drop"],
        stage=[None, "fine", "fine", "coarse", "image_noise", "duplicates", "people", "people", "fine"],
        by=["", *["model:probe"] * 4, "rule:duplicates", "person:ana", "person:ana", "person:ana"],
        score=[None, 0.9, 0.2, 0.1, 0.0, 0.8, 0.0, 1.0, 0.0],
    )
    believed = judging.weights(standing, "belief")
    assert believed == pytest.approx([1, 0.9, 0.2, 0.1, 0, 0, 1, 1, 0])
    assert judging.weights(standing, "accv").tolist() == [1, 1, 0, 0, 0, 0, 1, 1, 0]


def test_what_was_dropped_as_junk_is_not_judged_by_its_label():
    _, given, probs = noisy_world(n=300)
    first = judge(given, probs)
    junk = first.slice(0, 5).set_column(VERDICTS.get_field_index("stage"), "stage", pa.array(["image_noise"] * 5))
    junk = junk.set_column(VERDICTS.get_field_index("action"), "action", pa.array(["drop"] * 5))
    assert array(judge(given, probs, [junk]), "row").tolist() == list(range(5, 300))


def test_a_round_gains_where_it_explains_the_labels_better():
    _, given, probs = noisy_world(n=1000)
    rows, folds = np.arange(1000, dtype=np.int32), np.zeros(1000, np.int8)
    vague = np.where((rows % 3 == 0)[:, None], 1 / 3, probs)
    one, other = (evidence_table(rows, folds, np.asarray(p, np.float32), given) for p in (vague, probs))
    manifest = manifest_of(given)
    standing = fold(manifest, [])

    def gain(*both):
        fits = (label_noise.fit(manifest, standing, each, ANSWER_LOG.empty_table(), policy="belief") for each in both)
        known = (each for pair in zip(both, fits, strict=True) for each in pair)
        return label_noise.gain(manifest, standing, *known).column("gain")[0].as_py()

    assert gain(one, other) > 0.01
    assert gain(other, other) == 0
    # What one of them does not judge counts for neither.
    assert gain(other, other.slice(0, 500)) == pytest.approx(0, abs=1e-3)


def answered(rows, true, given):
    """ANSWER_LOG as somebody who knows might answer on these rows."""
    words = [
        {"content_hash": f"{row}.jpg", "label": NAMES[given[row]], "by": "ana", "answer": "right"}
        | ({} if true[row] == given[row] else {"answer": "another", "new_label": NAMES[true[row]]})
        for row in rows
    ]
    return pa.Table.from_pylist(words, ANSWER_LOG)


def vague_world():
    """Models that are far less sure than they are right: what they doubt looks like hard images."""
    true, given, probs = noisy_world(n=4000, share=0.25)
    vague = probs**0.25
    return true, given, vague / vague.sum(1, keepdims=True)


def test_a_few_answers_correct_the_belief_in_all_other_labels():
    true, given, vague = vague_world()
    asked = np.random.default_rng(1).permutation(len(true))[:100]
    said = answered(asked, true, given)
    before, after = judge(given, vague), judge(given, vague, said=said)
    rest = np.setdiff1d(np.arange(len(true)), asked)
    wrong = (true != given)[rest]
    losses = [np.abs(1 - array(found, "score")[rest] - wrong).mean() for found in (before, after)]
    assert losses[1] < losses[0]
    assert "corrected by 100 answers" in after.column("reason")[int(rest[0])].as_py()
    assert "corrected" not in before.column("reason")[0].as_py()


def test_what_models_put_the_share_of_wrong_labels_at_is_corrected_by_answers():
    true, given, vague = vague_world()
    rows = np.arange(len(true), dtype=np.int32)
    evidence = evidence_table(rows, (rows % 5).astype(np.int8), vague.astype(np.float32), given)
    manifest = manifest_of(given)
    told = answered(np.random.default_rng(1).permutation(len(true))[:200], true, given)
    found = [noise_of(manifest, evidence, said) for said in (ANSWER_LOG.empty_table(), told)]
    assert all(each["low"] <= each["noise"] <= each["high"] for each in found)
    off = [abs(each["noise"] - (true != given).mean()) for each in found]
    assert off[1] < off[0]
    assert [each["corrected"] for each in found] == [0, 200]


def test_models_that_come_to_be_surer_in_later_rounds_open_no_gate():
    """Hard images, rightly labelled: models that learnt little from what they doubt have become sure of it."""
    _, given, probs = noisy_world(share=0.0, certainty=0.9)
    assert 0.45 < (probs.argmax(1) == given).mean() < 0.6
    sure = probs**4 / (probs**4).sum(1, keepdims=True)
    manifest, rows = manifest_of(given), np.arange(len(given), dtype=np.int32)
    first, later = (
        evidence_table(rows, (rows % 5).astype(np.int8), each.astype(np.float32), given) for each in (probs, sure)
    )
    nobody, settings = ANSWER_LOG.empty_table(), {"policy": "belief"}
    fits = [label_noise.fit(manifest, fold(manifest, []), each, nobody, **settings) for each in (first, later)]
    settings |= {"k": 1, "relabel": 0.8, "stage": "fine", "round": 2, "by": "probe"}
    by_first, by_own = (
        label_noise.verdicts(manifest, fold(manifest, []), later, nobody, fits[1], fit, **settings) for fit in fits
    )
    assert fits[0].column("open")[0].as_py() < 0.1 < 0.9 < fits[1].column("open")[0].as_py()
    flagged = [(array(each, "action") != "keep").mean() for each in (by_first, by_own)]
    assert flagged[0] < flagged[1]


def test_where_models_know_nothing_of_the_labels_all_are_kept_and_it_is_said():
    _, given, probs = noisy_world(n=600)
    given = np.random.default_rng(5).permutation(given)
    found = judge(given, probs)
    assert set(found.column("action").to_pylist()) == {"keep"}
    assert found.column("score").null_count == len(given)
    assert set(found.column("reason").to_pylist()) == {"the models can't tell the classes apart"}
    rows = np.arange(len(given), dtype=np.int32)
    evidence = evidence_table(rows, (rows % 5).astype(np.int8), probs.astype(np.float32), given)
    manifest = manifest_of(given)
    told = noise_of(manifest, evidence)
    assert told["noise"] is told["low"] is told["high"] is None
    assert told["knowledge"] == 0


def test_a_trial_of_many_labels_is_of_all_of_them_however_they_stand():
    """Every second row wrong: every second row must not be the trial."""
    rows = np.arange(50_002)
    given = (rows // 2 % 10).astype(np.int32)
    some = some_of(given)
    assert len(some) <= 50_000 and (np.diff(some) > 0).all()
    assert abs((some % 2).mean() - 0.5) < 0.01
    counts = np.bincount(given[some]) / np.bincount(given)
    assert counts.max() - counts.min() < 0.001
    assert some_of(given[:7]).tolist() == [*range(7)]


def test_what_people_said_of_a_file_tells_of_the_label_that_each_copy_was_given():
    manifest = manifest_of([0, 1, 2, 0])
    content = pa.array(["a", "a", "b", "c"])
    manifest = manifest.set_column(manifest.schema.get_field_index("content_hash"), "content_hash", content)
    words = [
        {"content_hash": "a", "label": "apple", "answer": "another", "new_label": "pear"},
        {"content_hash": "b", "label": "apple", "answer": "wrong"},
        {"content_hash": "c", "label": "apple", "answer": "junk"},
    ]
    assert judging.told_of(manifest, pa.Table.from_pylist(words, ANSWER_LOG)).tolist() == [0, 1, -1, -1]


def test_where_people_have_found_all_that_is_wrong_nothing_that_is_sure_is_dropped():
    given = np.arange(90) % 3
    true = np.where(np.arange(90) < 20, (given + 1) % 3, given)
    probs = np.full((90, 3), 1e-7)
    probs[np.arange(90), true] = 1
    words = answered(range(20), true, given)
    people = {"stage": "people", "round": 0, "action": "relabel", "by": "person:ana", "reason": "", "score": 0.0}
    said = [people | {"row": row, "sample_id": f"{row}.jpg", "new_label": NAMES[true[row]]} for row in range(20)]
    found = judge(given, probs, [pa.Table.from_pylist(said, VERDICTS)], said=words)
    assert set(found.column("action").to_pylist()) == {"keep"} and len(found) == 70
