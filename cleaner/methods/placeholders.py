"""Groups of placeholders: one image under many classes, by whether its labels are as random as all labels are."""

import numpy as np
import scipy

from cleaner.methods.junk import LEAST_SHARE, Seen

_GROUP_PRIOR = 0.1
_GROUP_MARK = 3.9
_GROUP_ERRORS = (0.05, 0.25, 0.5)
_INFORMED = 0.1


def groups_of_junk(groups: np.ndarray, seen: Seen) -> np.ndarray:
    """float64[n]: the probability that an image is of a group of placeholders, one image under many classes, whose
    labels are as random as all labels together are; many pictures of one thing are not.

    The labels of a group come either at random (in the shares of all labels, or a Dirichlet-multinomial around them),
    or from one class, with 5, 25 or 50 % at random. One group of ten is expected to be junk. Where labels tell
    nothing of any image none is.

    Args:
        groups: int[n], number of each one's group of images that are nearly equal, -1 for none.
    """
    junk = np.zeros(len(groups))
    shares = np.maximum(np.bincount(seen.given, minlength=seen.classes) / max(1, len(seen.given)), LEAST_SHARE)
    entropy = -(shares * np.log(shares)).sum()
    told = np.log(0.95 * seen.given_prob / seen.shares + 0.05).mean() if len(groups) else 0.0
    if told < _INFORMED * entropy:
        return junk
    for number in range(int(groups.max(initial=-1)) + 1):
        members = np.flatnonzero(groups == number)
        marked = seen.marks[members]
        odds = random_labels(np.bincount(seen.given[members], minlength=seen.classes), shares)
        odds += _GROUP_MARK * (int((marked == 1).sum()) - int((marked == 0).sum()))
        junk[members] = scipy.special.expit(odds + scipy.special.logit(_GROUP_PRIOR))
    return junk


def random_labels(counts: np.ndarray, shares: np.ndarray) -> float:
    """By how many nats labels of these counts, int[classes], are likelier if drawn by `shares` than if they come from
    one class or from shares of their own."""
    total = counts.sum()
    at_random = counts @ np.log(shares)
    own = (
        scipy.special.gammaln(shares.sum())
        - scipy.special.gammaln(shares.sum() + total)
        + (scipy.special.gammaln(shares + counts) - scipy.special.gammaln(shares)).sum()
    )
    of_one = [
        scipy.special.logsumexp(
            np.log(shares)
            + at_random
            + total * np.log(error)
            + counts * (np.log(1 - error + error * shares) - np.log(error * shares))
        )
        for error in _GROUP_ERRORS
    ]
    return float(at_random - max(own, *of_one))
