"""From scores to probabilities, where few samples are marked and the rest is a mixture of both kinds."""

import numpy as np

_STEPS = 100
_APART = 2.5
_FIRST_SHARE = 0.05
_LEAST_SHARE = 1e-4
_PRIOR_WEIGHT = 5
_FAR = 3.0
_FEWEST = 3
_PRIOR_SPREAD = 0.25
_NARROWEST = 0.2


def probabilities(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The probability that a sample is of the kind sought, from its out-of-sample score; never falling with the score.

    Both kinds' scores are taken for normal. The kind sought has the mean and spread of those marked (its spread drawn
    to the others' where few are marked); its share among the unmarked and the other kind come by
    expectation-maximisation, so that unmarked samples count as what they seem to be (semi-supervised mixture; compare
    Elkan and Noto, KDD 2008). Where the means are less than 2.5 spreads of the other kind apart, the mixture can't be
    told from one skew distribution and all probabilities are 0: more has to be marked.

    Args:
        scores: float[n].
        known: int8[n]: 1 for marked as sought, 0 for marked as not, -1 for unmarked.

    Returns:
        float64[n] in [0, 1].
    """
    marked, unmarked = known == 1, known < 0
    other = scores[~marked]
    if not marked.any() or len(other) < 2:
        return np.zeros(len(scores))
    low, mean = np.quantile(other, [0.16, 0.5])  # the kind sought blurs the upper side only
    spread = max(mean - low, 1e-9)
    sought, share = float(scores[marked].mean()), _FIRST_SHARE
    found = np.zeros(len(scores))
    for _ in range(_STEPS):
        squares = ((scores[marked] - sought) ** 2).sum() + _PRIOR_WEIGHT * spread**2
        wide = np.sqrt(squares / (marked.sum() + _PRIOR_WEIGHT))
        found = _posterior(np.clip(scores, mean, sought), share, (sought, wide), (mean, spread))
        share = max(_LEAST_SHARE, float(found[unmarked].mean())) if unmarked.any() else share
        weight = np.where(unmarked, 1 - found, known == 0)
        if weight.sum() < 2:
            break
        mean = float(np.average(scores, weights=weight))
        spread = max(float(np.sqrt(np.average((scores - mean) ** 2, weights=weight))), 1e-9)
    return found if sought - mean >= _APART * spread else np.zeros(len(scores))


def outliers(scores: np.ndarray, *, open_: np.ndarray, good: np.ndarray) -> np.ndarray:
    """The probability that a sample is no part of the bulk of `scores`, where none is marked; never falling with them.

    The bulk is taken for normal, by its median and its lower side, which outliers do not blur. They are taken for
    normal too, begun with what is more than 3 spreads above the median, and found by expectation-maximisation. Where
    nearly none is so far out, or the means come less than 2.5 spreads apart, there are none: all are 0.

    Args:
        scores: float[n].
        open_: bool[n]; all others are of the bulk.
        good: bool[n], known to be of the bulk; where these are most of those far out, all are.

    Returns:
        float64[n] in [0, 1].
    """
    low, mean = np.quantile(scores, [0.16, 0.5])
    spread = max(mean - low, 1e-9)
    scores = (scores - mean) / spread
    far = open_ & (scores > _FAR)
    nothing: np.ndarray = np.zeros(len(scores))
    if (far & ~good).sum() < _FEWEST or (far & good).sum() > 0.5 * far.sum():
        return nothing
    open_ = open_ & ~good
    sought, wide, share = float(scores[far].mean()), 1.0, float(far.mean())
    found = nothing
    for _ in range(_STEPS):
        found = np.where(open_, _posterior(np.clip(scores, 0, sought), share, (sought, wide), (0.0, 1.0)), 0)
        total = found.sum()
        if total < 1e-6:
            return nothing
        share = min(float(found.mean()), 0.5)
        sought = float((found * scores).sum() / total)
        wide = max(float(np.sqrt(((found * (scores - sought) ** 2).sum() + _PRIOR_SPREAD) / (total + 1))), _NARROWEST)
    return found if sought >= _APART else nothing


def _posterior(scores: np.ndarray, share: float, sought: tuple[float, float], other: tuple[float, float]) -> np.ndarray:
    odds = np.log(share / (1 - share)) + _log_density(scores, *sought) - _log_density(scores, *other)
    return np.where(scores > other[0], 1 / (1 + np.exp(-np.clip(odds, -50, 50))), 0.0)


def _log_density(scores: np.ndarray, mean: float, spread: float) -> np.ndarray:
    return -0.5 * ((scores - mean) / spread) ** 2 - np.log(spread)
