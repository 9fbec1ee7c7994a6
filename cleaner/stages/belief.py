"""How far a given label is to be believed, from what models that did not see it say of its sample.

The model of the noise is Dawid and Skene's (1979) with one annotator, the given label: a sample's true class c is drawn
from the predicted p(c | x), and the label y given to it from confusion[c, y]. EM finds the confusion under which the
given labels are likeliest. Models learn from wrong labels too, and so are less sure than the truth deserves:
predictions are sharpened by the exponent under which, with its confusion, the given labels are likeliest. On clean
labels that is about 1 and the confusion about none, so that hard images alone are no noise.
"""

from dataclasses import dataclass

import numpy as np

_EXPONENTS = (1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
_EM_PASSES = 15
_FIRST_NOISE = 0.1
_TRIAL = 50_000


@dataclass(frozen=True)
class Guesses:
    """The predicted classes of n samples, the given one always among them.

    Attributes:
        classes: int32 n x j candidate classes.
        probs: float64 n x j; 0 for a candidate that is there twice.
        rest: float64[n], what is left for all other classes together.
        given: int32[n] given class numbers.
        count: how many classes there are.
    """

    classes: np.ndarray
    probs: np.ndarray
    rest: np.ndarray
    given: np.ndarray
    count: int

    @classmethod
    def of(
        cls, top_classes: np.ndarray, top_probs: np.ndarray, given: np.ndarray, given_prob: np.ndarray, count: int
    ) -> "Guesses":
        """From the columns of EVIDENCE as n x k and n arrays."""
        listed = (top_classes == given[:, None]).any(1)
        classes = np.column_stack([top_classes, given])
        probs = np.column_stack([top_probs, np.where(listed, 0, given_prob)]).astype(np.float64)
        return cls(classes, probs, np.clip(1 - probs.sum(1), 0, 1), given, count)

    def sharpened(self, exponent: float) -> "Guesses":
        """With probabilities to the power of `exponent`; those not listed count as equal among themselves."""
        unlisted = max(1, self.count - self.classes.shape[1] + 1)
        probs, rest = self.probs**exponent, unlisted * (self.rest / unlisted) ** exponent
        total = probs.sum(1) + rest
        return Guesses(self.classes, probs / total[:, None], rest / total, self.given, self.count)

    def take(self, rows: np.ndarray) -> "Guesses":
        return Guesses(self.classes[rows], self.probs[rows], self.rest[rows], self.given[rows], self.count)


@dataclass(frozen=True)
class Beliefs:
    """What is believed of n given labels.

    Attributes:
        right: float64[n] in [0, 1], the probability that the given label is right.
        other: int32[n], the likeliest other class.
        other_prob: float64[n] in [0, 1], its probability.
        noise: the share of wrong labels, as estimated.
        confusion: float64 classes x classes: how often a sample of the row's class is estimated to be given the
            column's label.
    """

    right: np.ndarray
    other: np.ndarray
    other_prob: np.ndarray
    noise: float
    confusion: np.ndarray


def believe(guesses: Guesses) -> Beliefs:
    """Estimate the noise from all samples together, and judge each."""
    if len(guesses.given) == 0:
        return Beliefs(np.zeros(0), np.zeros(0, np.int32), np.zeros(0), 0.0, np.eye(guesses.count))
    trial = guesses.take(np.arange(0, len(guesses.given), -(-len(guesses.given) // _TRIAL)))
    exponent = _likeliest_exponent(trial)
    sharp = guesses.sharpened(exponent)
    confusion = _confusion(sharp)
    joint, rest = _joint(sharp, confusion, _frequencies(guesses))
    likelihood = joint.sum(1) + rest
    posterior = joint / likelihood[:, None]
    given = guesses.classes == guesses.given[:, None]
    right = np.where(given, posterior, 0).sum(1)
    others = np.where(given, -1.0, posterior)
    best = others.argmax(1)[:, None]
    other, other_prob = (np.take_along_axis(of, best, 1)[:, 0] for of in (guesses.classes, others))
    noise = float(1 - right.mean())
    return Beliefs(np.clip(right, 0, 1), other, np.clip(other_prob, 0, 1), noise, confusion.table)


def _likeliest_exponent(guesses: Guesses) -> float:
    """The first of the ascending exponents after which the given labels only get less likely."""
    best, best_likelihood = _EXPONENTS[0], -np.inf
    for exponent in _EXPONENTS:
        sharp = guesses.sharpened(exponent)
        joint, rest = _joint(sharp, _confusion(sharp), _frequencies(guesses))
        likelihood = float(np.log(np.maximum(joint.sum(1) + rest, 1e-300)).mean())
        if likelihood <= best_likelihood:
            break
        best, best_likelihood = exponent, likelihood
    return best


def _frequencies(guesses: Guesses) -> np.ndarray:
    return (np.bincount(guesses.given, minlength=guesses.count) + 1) / (len(guesses.given) + guesses.count)


@dataclass(frozen=True)
class _Confusion:
    """`table` classes x classes: how often a sample of the row's class is given the column's label; `noise` overall."""

    table: np.ndarray
    noise: float


def _confusion(guesses: Guesses) -> _Confusion:
    frequencies = _frequencies(guesses)
    found = _smoothed(np.zeros((guesses.count, guesses.count)), _FIRST_NOISE, frequencies)
    cells = guesses.classes.astype(np.int64) * guesses.count + guesses.given[:, None]
    for _ in range(_EM_PASSES):
        joint, rest = _joint(guesses, found, frequencies)
        share = joint / (joint.sum(1) + rest)[:, None]
        counts = np.bincount(cells.ravel(), share.ravel(), guesses.count**2).reshape(guesses.count, -1)
        noise = 1 - np.trace(counts) / len(guesses.given)
        found = _smoothed(counts, noise, frequencies)
    return found


def _smoothed(counts: np.ndarray, noise: float, frequencies: np.ndarray) -> _Confusion:
    """Counts, and for each class as many more as there are classes, a share of `noise` of them labelled at random."""
    size = len(counts)
    prior = np.tile(frequencies, (size, 1))
    np.fill_diagonal(prior, 0)
    prior *= noise / np.maximum(prior.sum(1, keepdims=True), 1e-12)
    np.fill_diagonal(prior, 1 - noise)
    table = counts + size * prior
    table /= table.sum(1, keepdims=True)
    return _Confusion(table, noise)


def _joint(guesses: Guesses, confusion: _Confusion, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """n x j: the probability that a candidate is true and the label given; and n: of all unlisted classes together."""
    joint = guesses.probs * confusion.table[guesses.classes, guesses.given[:, None]]
    return np.maximum(joint, 1e-300), guesses.rest * confusion.noise * frequencies[guesses.given]


def flag_below(beliefs: Beliefs) -> float:
    """The belief under which labels are flagged, for the best F1.

    With true probabilities the best F1, F, comes from flagging what is wrong with a probability over F / 2 (Lipton et
    al. 2014, theorem 1). Errors that look like hard images escape the estimate, the more so the lower F: F squared in
    place of F was measured to be better on people's labels. Below 2.5 % of estimated noise, which a clean set of hard
    images shows too, only what is more likely wrong than right is flagged.
    """
    wrong = np.sort(1 - beliefs.right)[::-1]
    if len(wrong) == 0 or wrong.sum() == 0:
        return 0.5
    reached = (2 * np.cumsum(wrong) / (np.arange(1, len(wrong) + 1) + wrong.sum())).max()
    sure = np.clip((beliefs.noise - 0.025) / 0.02, 0, 1)
    return float(1 - (sure * reached**2 / 2 + (1 - sure) * 0.5))
