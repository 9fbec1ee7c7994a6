"""How many labels are wrong: a stratified survey, and an interval that holds whatever the models think.

Labels are cut into strata by how doubtful models find them (Dalenius and Hodges 1959), and from each some are drawn at
random for people. What models think moves how many are drawn where, never what an answer counts. Images that people
were asked about because they were doubtful tell of themselves alone: they are counted as they are, and belong to no
stratum.
"""

from dataclasses import dataclass

import numpy as np

_AN_ANSWER, _FEWEST, _MOST = 12, 2, 6
_FLOOR = 1e-4
_LEAST = 2
_DRAWS = 4_000
_ENDS = (0.05, 0.95)


def cut(doubt: np.ndarray, answers: int) -> np.ndarray:
    """int8[n]: the stratum of each label, the least doubted first; none is empty unless there are fewer labels.

    Args:
        doubt: float64[n] in [0, 1], the probability that a label is wrong, as models see it.
        answers: how many are wanted.
    """
    count = int(np.clip(answers // _AN_ANSWER, _FEWEST, _MOST))
    order = np.argsort(doubt, kind="stable")
    upto = np.cumsum(np.sqrt(doubt * (1 - doubt) + _FLOOR)[order])
    found = np.zeros(len(doubt), np.int8)
    if len(doubt):
        found[order] = np.minimum(np.ceil(count * upto / upto[-1] - 1e-9) - 1, count - 1)
    # Where a few labels are most of the doubt, some parts hold nobody.
    return np.unique(found, return_inverse=True)[1].astype(np.int8)


def shares(stratum: np.ndarray, doubt: np.ndarray, answers: int) -> np.ndarray:
    """int64[h]: how many to draw from each stratum: half by its size, half by its size times how mixed it seems to be
    (Neyman 1934), two at least."""
    sizes, mixed = np.bincount(stratum), _mixed(stratum, doubt)
    by_mixture = mixed / mixed.sum() if mixed.sum() else sizes / sizes.sum()
    wanted = np.round(answers * (sizes / sizes.sum() + by_mixture) / 2).astype(np.int64)
    return np.minimum(sizes, np.maximum(_LEAST, wanted))


def more_shares(stratum: np.ndarray, doubt: np.ndarray, answers: int) -> np.ndarray:
    """int64[h]: how many more to draw from what is left of each stratum: by its size times how mixed it seems to be."""
    upto = np.cumsum(_mixed(stratum, doubt) + _FLOOR * np.bincount(stratum))
    return np.minimum(np.bincount(stratum), np.diff(np.round(answers * upto / upto[-1]), prepend=0).astype(np.int64))


def _mixed(stratum: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """float64[h]: the size of each stratum, times the spread of its labels, right or wrong, as models see it."""
    sizes = np.bincount(stratum)
    mixed: np.ndarray = sizes * np.sqrt(np.bincount(stratum, doubt * (1 - doubt)) / np.maximum(sizes, 1))
    return mixed


def draw(stratum: np.ndarray, shares: np.ndarray, *, seed: int) -> np.ndarray:
    """int64: the places of so many labels of each stratum, drawn at random; in random order."""
    random = np.random.default_rng(seed)
    drawn = [random.permutation(np.flatnonzero(stratum == of))[:count] for of, count in enumerate(shares)]
    return random.permutation(np.concatenate([np.zeros(0, np.int64), *drawn]))


@dataclass(frozen=True)
class Survey:
    """What people said of labels that were drawn at random, and of others.

    Attributes:
        sizes: int64[h], how many labels each stratum has, those drawn among them.
        doubts: float64[h], their mean doubt.
        answers: int64[h], how many of those drawn people have answered on.
        wrong: int64[h], how many of these are wrong.
        untold: int64[h], of how many people could not tell, or disagree; none of them is among `wrong`.
        certain, certain_wrong, certain_untold: how many labels belong to no stratum, since they were asked about for
            their own sake; how many of these are wrong, and of how many nobody can tell.
    """

    sizes: np.ndarray
    doubts: np.ndarray
    answers: np.ndarray
    wrong: np.ndarray
    untold: np.ndarray
    certain: int = 0
    certain_wrong: int = 0
    certain_untold: int = 0

    @property
    def labels(self) -> int:
        return int(self.sizes.sum()) + self.certain


@dataclass(frozen=True)
class Prevalence:
    """The share of labels that is wrong: as `estimate`d, and the ends of an interval of 90 %."""

    estimate: float
    low: float
    high: float


def prevalence(survey: Survey) -> Prevalence | None:
    """The share of wrong labels by what people said; None where they have answered on none that was drawn at random.

    The lower end takes a stratum's share of wrong labels from Beta(k, n - k + 1), as Clopper and Pearson's (1934) does,
    the upper one from Beta(k + 1 / h, n - k): a whole 1 in each of h strata would be needlessly much. What was not
    drawn then follows by a binomial. What nobody can tell counts as right for the lower end, as wrong for the upper.
    It was seen to hold the truth in 90 % of surveys or more where scores are right, useless, far too doubtful or blind
    to half of what is wrong.
    """
    if survey.answers.sum() == 0:
        return None
    left, most_wrong = survey.sizes - survey.answers, survey.wrong + survey.untold
    drawn = [survey.sizes, survey.answers, survey.wrong, survey.untold]
    random = np.random.default_rng([survey.certain, survey.certain_wrong, *np.concatenate(drawn).tolist()])
    few = _beta(random, survey.wrong, survey.answers - survey.wrong + 1.0)
    many = _beta(random, most_wrong + 1 / len(survey.sizes), survey.answers - most_wrong)
    fewest = survey.wrong.sum() + random.binomial(left, few).sum(1) + survey.certain_wrong
    most = most_wrong.sum() + random.binomial(left, many).sum(1) + survey.certain_wrong + survey.certain_untold
    low, high = np.quantile(fewest, _ENDS[0]) / survey.labels, np.quantile(most, _ENDS[1]) / survey.labels
    middle = (survey.wrong + most_wrong) / 2
    strata = survey.sizes * (middle + 2 * survey.doubts) / (survey.answers + 2)
    whole = survey.answers == survey.sizes
    strata[whole] = middle[whole]
    estimate = (strata.sum() + survey.certain_wrong + survey.certain_untold / 2) / survey.labels
    return Prevalence(float(np.clip(estimate, low, high)), float(low), float(high))


def _beta(random: np.random.Generator, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float64 draws x h from Beta(one, other); 0 where `one` is, 1 where `other` is."""
    sure = (one <= 0) | (other <= 0)
    drawn = random.beta(np.where(sure, 1.0, one), np.where(sure, 1.0, other), (_DRAWS, len(one)))
    return np.where(sure, (one > 0).astype(float), drawn)
