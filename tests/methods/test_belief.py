"""What is made of models that know much, little or nothing of the labels; simulated: the probabilities are calibrated,
or learnt from the labels out of fold."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_predict

from cleaner.evidence import channel
from cleaner.evidence.fitting import guesses_of
from cleaner.methods.belief import believe, corrected, fit_of, flag_below, reliability


def nobody(labels):
    return np.full(len(labels), -1, np.int8)


def judged(probs, given):
    guesses = guesses_of(probs.astype(np.float32), given.astype(np.int32))
    found = believe(guesses, nobody(given), *fit_of(guesses))
    return found, found.right < flag_below(found)


def foretold(n, classes, certainty, seed=0):
    """Calibrated probabilities, and classes drawn from them."""
    random = np.random.default_rng(seed)
    logits = certainty * random.normal(size=(n, classes))
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    return probs, np.minimum((probs.cumsum(1) < random.random((n, 1))).sum(1), classes - 1)


def learnt(features, given):
    probs = cross_val_predict(LinearDiscriminantAnalysis(), features, given, cv=5, method="predict_proba")
    return np.clip(probs, 1e-9, 1)


def mistaken(true, classes, share, seed=0):
    random = np.random.default_rng(seed)
    wrong = random.random(len(true)) < share
    return np.where(wrong, (true + random.integers(1, classes, len(true))) % classes, true)


@pytest.mark.parametrize("classes", [2, 4, 10])
@pytest.mark.parametrize("n", [80, 400])
def test_where_models_know_nothing_of_the_labels_none_is_flagged(n, classes):
    random = np.random.default_rng(n + classes)
    for _ in range(5):
        given = random.permutation(np.arange(n) % classes)
        found, flagged = judged(learnt(random.normal(size=(n, 8)), given), given)
        assert found.gate.information < 2 * found.gate.error
        assert found.gate.knowledge == 0
        assert not flagged.any()


@pytest.mark.parametrize(
    ("certainty", "accuracies", "most"),
    [(1.3, (0.35, 0.42), 0.04), (1.9, (0.47, 0.55), 0.02), (2.7, (0.6, 0.68), 0.02)],
)
def test_right_labels_of_images_that_models_find_hard_are_left_alone(certainty, accuracies, most):
    for seed in range(3):
        probs, given = foretold(4000, 10, certainty, seed)
        low, high = accuracies
        assert low < (probs.argmax(1) == given).mean() < high
        found, flagged = judged(probs, given)
        assert flagged.mean() <= most
        assert found.gate.open < 0.5


def test_weak_models_are_believed_where_mistakes_keep_to_a_rule():
    probs, true = foretold(5000, 10, 2.9)
    given = np.where(np.random.default_rng(1).random(5000) < 0.4, (true + 1) % 10, true)
    assert 0.6 < (probs.argmax(1) == true).mean() < 0.7
    found, flagged = judged(probs, given)
    assert found.gate.open == 1
    wrong = given != true
    assert 2 * (flagged & wrong).sum() / (flagged.sum() + wrong.sum()) > 0.75


def test_classes_are_drawn_to_all_where_labels_are_mistaken_at_random():
    probs, true = foretold(81 * 30, 81, 8.0)
    given = mistaken(true, 81, 0.2)
    found, _ = judged(probs, given)
    assert found.strength > 81
    assert found.noise == pytest.approx((given != true).mean(), abs=0.02)


def sick_world():
    """100 classes of 100 images; of each tenth class 60 % carry the next one's label."""
    probs, true = foretold(100 * 100, 100, 8.0)
    wrong = (true % 10 == 0) & (np.random.default_rng(1).random(len(true)) < 0.6)
    return probs, np.where(wrong, true + 1, true)


def test_a_class_with_an_error_of_its_own_is_let_go():
    probs, given = sick_world()
    found, _ = judged(probs, given)
    sick = np.arange(0, 100, 10)
    released = found.confusion.strengths < found.strength
    assert released.mean() == pytest.approx(0.1, abs=0.01)
    assert found.confusion.of(sick, sick + 1).mean() == pytest.approx(0.6, abs=0.1)
    assert found.confusion.of(sick + 1, sick + 2).mean() < 0.01


def test_a_tenth_of_the_samples_tells_the_same(monkeypatch):
    probs, given = sick_world()
    of_all, _ = judged(probs, given)
    monkeypatch.setattr(channel, "_TRIAL", len(given) // 10)
    of_some, _ = judged(probs, given)
    assert of_some.exponent == pytest.approx(of_all.exponent, abs=0.05)


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 2, 40])
def test_few_samples_of_few_classes_divide_nothing_by_nothing(n, classes):
    given = np.arange(n) % classes
    with np.errstate(all="raise", under="ignore"):
        found, flagged = judged(np.full((n, classes), 1 / classes), given)
    assert not flagged.any()
    assert np.isfinite(found.right).all()
    assert 0 <= found.gate.open <= 1


def test_sure_models_know_the_labels_though_none_differs():
    given = np.zeros(50, int)
    given[25:] = 1
    found, flagged = judged(np.eye(2)[given], given)
    assert found.gate.knowledge == 1
    assert not flagged.any()


@pytest.mark.parametrize("gap", [0.8, 1.2])
def test_classes_that_look_alike_in_pairs_are_not_taken_for_mislabelled(gap):
    """Two and two classes lie so near each other that models are right in two of three cases; all labels are right."""
    random = np.random.default_rng(1)
    given = np.arange(2000) % 4
    features = random.normal(size=(2000, 16))
    features[:, 0] += 8 * (given // 2)
    features[:, 1] += gap * (given % 2)
    probs = learnt(features, given)
    assert 0.6 < (probs.argmax(1) == given).mean() < 0.75
    _, flagged = judged(probs, given)
    assert flagged.mean() < 0.02


@pytest.mark.parametrize("sure", [1e-3, 1e-5, 1e-9, 0.0])
def test_many_answers_overrule_beliefs_however_sure(sure):
    told = np.full(1000, -1, np.int8)
    told[:50] = 0
    found = corrected(np.full(1000, 1 - sure), told)
    assert found[60] < 0.4
    told[:50] = 1
    assert corrected(np.full(1000, sure), told)[60] > 0.6


def test_corrected_beliefs_keep_their_order_and_hardly_change_by_an_answer_as_expected():
    random = np.random.default_rng(2)
    right = random.beta(2, 0.3, 5000)
    told = np.full(5000, -1, np.int8)
    told[:40] = random.random(40) < right[:40]
    found = corrected(right, told)
    assert ((found > 0) & (found < 1)).all()
    assert (np.diff(found[np.argsort(right)]) >= 0).all()
    assert np.abs(found - right).mean() < 0.05
    assert (corrected(right, np.full(5000, -1, np.int8)) == right).all()


def test_predictions_that_are_all_the_same_are_no_knowledge():
    for classes in (2, 5, 10, 50):
        found, _ = judged(np.full((200, classes), 1 / classes), np.arange(200) % classes)
        assert found.gate.knowledge == 0


def test_how_beliefs_stand_to_answers_is_told_by_range():
    alone = np.repeat([0.1, 0.6, 0.97], 100)
    told = np.full(300, -1, np.int8)
    told[:20], told[5:9] = 0, 1
    told[200:210] = 1
    found = reliability(alone, told)
    assert [each["answers"] for each in found] == [20, 10]
    assert found[0]["right"] == 0.2 and found[0]["believed"] == pytest.approx(0.1)
    assert found[0]["low"] < 0.1 < 0.2 < found[0]["high"] < 0.4
    assert found[1]["right"] == 1 and found[1]["low"] > 0.75 and found[1]["high"] == pytest.approx(1)
    assert reliability(alone, np.full(300, -1, np.int8)) == []


def test_its_intervals_hold_the_truth():
    random = np.random.default_rng(0)
    held = []
    for _ in range(400):
        right = random.uniform(0.55, 0.75)
        told = (random.random(40) < right).astype(np.int8)
        (found,) = reliability(np.full(40, 0.6), told)
        held.append(found["low"] <= right <= found["high"])
    assert np.mean(held) > 0.86
