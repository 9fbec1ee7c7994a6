import numpy as np
import pytest

from cleaner.stages.calibration import probabilities


def mixture(junk: int, fine: int, *, apart: float, marks: int, seed: int = 0):
    """Scores of two kinds, who is which, and `marks` of either kind marked."""
    rng = np.random.default_rng(seed)
    truth = np.arange(junk + fine) < junk
    scores = rng.normal(0, 1, len(truth)) + apart * truth
    known = np.full(len(truth), -1, np.int8)
    known[rng.choice(junk, marks, replace=False)] = 1
    known[junk + rng.choice(fine, marks, replace=False)] = 0
    return scores, truth, known


@pytest.mark.parametrize("share", [0.02, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_nine_in_ten_of_what_gets_a_probability_near_nine_tenths_are_of_the_kind(share, seed):
    scores, truth, known = mixture(int(20_000 * share), int(20_000 * (1 - share)), apart=4, marks=40, seed=seed)
    found = probabilities(scores, known)
    near = (found > 0.8) & (found < 0.97)
    assert truth[near].mean() == pytest.approx(found[near].mean(), abs=0.15)
    assert truth[found > 0.9].mean() > 0.93 and (found > 0.9)[truth].mean() > 0.6


def test_a_higher_score_never_means_a_lower_probability():
    scores, _, known = mixture(100, 2_000, apart=4, marks=20)
    found = probabilities(np.r_[scores, 12, -6], np.r_[known, -1, -1])
    assert (np.diff(found[np.argsort(np.r_[scores, 12, -6])]) >= 0).all()
    assert found[-2] > 0.9 and found[-1] == 0


def test_kinds_that_the_score_does_not_set_apart_get_no_probability():
    scores, _, known = mixture(100, 2_000, apart=1, marks=20)
    assert not probabilities(scores, known).any()


def test_when_all_of_the_kind_are_marked_already_hardly_another_is_found():
    scores, truth, known = mixture(50, 2_000, apart=5, marks=50)
    assert (probabilities(scores, known) > 0.9)[~truth].sum() <= 2


@pytest.mark.parametrize("known", [[-1, -1, -1], [0, -1, -1], [1, 1, 1], [1, -1, 1]])
def test_too_few_marks_or_too_few_others_say_nothing(known):
    assert not probabilities(np.array([0.0, 1.0, 2.0]), np.array(known, np.int8)).any()


def test_scores_that_are_all_the_same_are_no_evidence():
    assert not probabilities(np.zeros(30), np.array([1] * 5 + [-1] * 25, np.int8)).any()
