"""The survey of wrong labels: its interval holds whatever the models think."""

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.surveys import KINDS, blind_class, calibrated, clean, half_seen, repeated, surveyed, useless
from cleaner.methods.prevalence import Survey, cut, draw, prevalence, shares

REPEATS = 200
LEAST = 0.88


@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_of_ninety_percent_holds_the_truth_whatever_models_think(kind):
    assert repeated(kind, 2_000, 0.15, 100, REPEATS)[0] >= LEAST


@pytest.mark.parametrize("kind", [half_seen, useless, blind_class])
def test_it_holds_with_many_answers_and_models_that_err(kind):
    assert repeated(kind, 5_000, 0.15, 300, REPEATS)[0] >= LEAST


@pytest.mark.parametrize("kind", KINDS)
def test_it_holds_where_few_labels_are_wrong_among_few(kind):
    assert repeated(kind, 400, 0.02, 50, REPEATS)[0] >= LEAST


def test_models_that_know_make_it_narrower_and_those_that_do_not_no_wider_than_a_plain_draw():
    plain = 2 * 1.645 * np.sqrt(0.15 * 0.85 / 100)
    assert repeated(calibrated, 5_000, 0.15, 100, 40)[1] < 0.85 * plain
    assert repeated(useless, 5_000, 0.15, 100, 40)[1] < 1.15 * plain
    assert repeated(clean, 5_000, 0.15, 100, 40)[1] < 0.04


def test_where_all_is_answered_it_is_the_count():
    random = np.random.default_rng(0)
    doubt, wrong = calibrated(random, 500, 0.147)
    stratum = cut(doubt, 500)
    found = prevalence(surveyed(stratum, doubt, np.arange(500), wrong))
    assert found.low == found.estimate == found.high == wrong.mean()


def test_where_nothing_drawn_at_random_is_answered_there_is_none():
    none = np.zeros(2, int)
    asked = Survey(np.array([100, 10]), np.array([0.1, 0.5]), none, none, none, certain=50, certain_wrong=40)
    assert prevalence(asked) is None


def test_what_was_asked_for_its_own_sake_tells_of_itself_alone():
    random = np.random.default_rng(1)
    covered = []
    for seed in range(REPEATS):
        doubt, wrong = calibrated(random, 2_000, 0.15)
        doubted = np.argsort(-doubt, kind="stable")[:150]
        rest = np.setdiff1d(np.arange(2_000), doubted)
        stratum = cut(doubt[rest], 60)
        of_rest = surveyed(
            stratum, doubt[rest], draw(stratum, shares(stratum, doubt[rest], 60), seed=seed), wrong[rest]
        )
        found = prevalence(Survey(**vars(of_rest) | {"certain": 150, "certain_wrong": int(wrong[doubted].sum())}))
        covered.append(found.low <= wrong.mean() <= found.high)
    assert np.mean(covered) >= LEAST


def test_what_nobody_can_tell_is_right_at_one_end_and_wrong_at_the_other():
    sizes = answers = np.array([50, 50])
    survey = Survey(sizes, np.full(2, 0.2), answers, np.array([1, 5]), np.array([2, 2]), 10, 4, 1)
    found = prevalence(survey)
    assert (found.low, found.high) == (10 / 110, 15 / 110)
    assert found.low < found.estimate < found.high


@pytest.mark.parametrize("n", [1, 2, 3, 5, 11])
@pytest.mark.parametrize("doubt", [0.0, 0.5, 1.0])
def test_few_labels_and_sure_models_divide_by_nothing(n, doubt):
    doubts = np.full(n, doubt)
    stratum = cut(doubts, 50)
    asked = draw(stratum, shares(stratum, doubts, 2), seed=0)
    found = prevalence(surveyed(stratum, doubts, asked, np.zeros(n, bool)))
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert len(cut(np.zeros(0), 50)) == 0


def test_strata_are_parts_in_order_of_doubt_and_each_is_drawn_from():
    doubt, _ = calibrated(np.random.default_rng(2), 3_000, 0.1)
    stratum = cut(doubt, 100)
    assert sorted(set(stratum.tolist())) == list(range(6))
    ends = [(doubt[stratum == number].min(), doubt[stratum == number].max()) for number in range(6)]
    assert all(one[1] <= other[0] for one, other in pairwise(ends))
    wanted = shares(stratum, doubt, 100)
    drawn = draw(stratum, wanted, seed=3)
    assert len(set(drawn.tolist())) == len(drawn) and abs(len(drawn) - 100) <= 6
    assert np.bincount(stratum[drawn]).tolist() == wanted.tolist()
    assert np.array_equal(drawn, draw(stratum, wanted, seed=3))
    assert not np.array_equal(drawn, draw(stratum, wanted, seed=4))
