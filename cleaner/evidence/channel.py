"""The noise channel: how given labels come of true classes, from what models that did not see a sample say of it.

The model of the noise is Dawid and Skene's (1979) with one annotator, the given label: a sample's true class c is drawn
from the predicted p(c | x), and the label y given to it from confusion[c, y]. EM finds the confusion under which the
given labels are likeliest. Models learn from wrong labels too, and so are less sure than the truth deserves:
predictions are sharpened by the exponent under which, with its confusion, the given labels are likeliest. On clean
labels that is about 1 and the confusion about none, so that hard images alone are no noise.

A class's confusion is drawn to that of all by as many made-up samples as foretell each label best from the others; a
class that plainly has an error of its own is let go.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy

_SHARPEST = 3.0
_NEAR = 0.03
_EM_PASSES = 15
_FIRST_NOISE = 0.1
_TRIAL = 50_000
_STRENGTHS = (1.0, 3.0, 10.0, 1e9)
"""Made-up samples of a class, in classes, that are tried."""
_TRIED_EXPONENTS = (1.0, 1.5, 2.2, 3.0)
_TRIED_PASSES = 10
_RELEASED_FROM = 8
_RELEASED_SHARE = 0.25
_RELEASED_STRENGTH = 20.0


@dataclass(frozen=True)
class Guesses:
    """The predicted classes of n samples, the given one always among them.

    Attributes:
        classes: int32 n x j candidate classes.
        probs: float64 n x j; 0 for a candidate that is there twice.
        rest: float64[n], what is left for all other classes together.
        given: int32[n] given class numbers.
        count: how many classes there are.
        share: of how many samples they are drawn, as a share; 1 for all.
    """

    classes: np.ndarray
    probs: np.ndarray
    rest: np.ndarray
    given: np.ndarray
    count: int
    share: float = 1.0

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
        return replace(self, probs=probs / total[:, None], rest=rest / total)

    def drawn(self, rows: np.ndarray) -> "Guesses":
        """Those of `rows`, drawn at random."""
        parts = self.classes[rows], self.probs[rows], self.rest[rows], self.given[rows]
        return Guesses(*parts, self.count, self.share * len(rows) / max(1, len(self.given)))


@dataclass(frozen=True)
class Confusion:
    """How often a sample of one class is given each label: counts of the pairs that occur, smoothed.

    Attributes:
        pairs: int64, ascending: class * classes + label of each pair that occurs.
        counts: float64, how often it is estimated to.
        totals: float64[classes], how many samples there are estimated to be of each class.
        noise: the share of wrong labels that a class is drawn to.
        frequencies: float64[classes], how often each label is given.
        strengths: float64[classes], by how many made-up samples.
    """

    pairs: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    noise: float
    frequencies: np.ndarray
    strengths: np.ndarray

    def of(self, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """float64: how often a sample of each of `classes` is estimated to be given the one of `labels`."""
        wanted = classes.astype(np.int64) * len(self.totals) + labels
        place = np.minimum(np.searchsorted(self.pairs, wanted), len(self.pairs) - 1)
        counts = np.where(self.pairs[place] == wanted, self.counts[place], 0) if len(self.pairs) else 0.0
        return self.smoothed(counts, classes, classes == labels, by_chance(self.frequencies, classes, labels))

    def smoothed(
        self,
        counts: np.ndarray | float,
        classes: np.ndarray,
        right: np.ndarray,
        chance: np.ndarray,
        own: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """To the counts of pairs come each class's made-up samples, a share of `noise` of them labelled at random.

        Args:
            counts, classes, right, chance: of each pair how often it occurs, its class, whether that is its label too,
                and `by_chance`.
            own: a sample's own part in the counts, left out.
        """
        prior = np.where(right, 1 - self.noise, self.noise * chance)
        strength = self.strengths[classes]
        return (counts - own + strength * prior) / (self.totals[classes] - own + strength)


def by_chance(frequencies: np.ndarray, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often a sample of each of `classes`, labelled at random but not as what it is, is given the one of
    `labels`."""
    chance: np.ndarray = frequencies[labels] / np.maximum(1 - frequencies[classes], 1e-12)
    return chance


@dataclass(frozen=True)
class Fit:
    """The `exponent` of n samples under which their given labels are likeliest, with the mean log `likelihood` of a
    label, and the `strength` by which a class's confusion is drawn to that of all."""

    exponent: float
    likelihood: float
    strength: float


def some_of(given: np.ndarray) -> np.ndarray:
    """int64, ascending: the places of 50,000 labels at most, drawn at random from each class in proportion."""
    shuffled = np.random.default_rng(0).permutation(len(given))
    by_class = shuffled[np.argsort(given[shuffled], kind="stable")]
    return np.sort(by_class[:: max(1, -(-len(given) // _TRIAL))])


def fitted(guesses: Guesses) -> Fit:
    """The exponent from 1 up, and the strength, under which the given labels are likeliest."""

    trial = guesses.drawn(some_of(guesses.given))
    channel = Channel.of(trial)
    sharpened = [trial.sharpened(exponent) for exponent in _TRIED_EXPONENTS]

    def foretold(strength: float) -> float:
        return max(channel.foretold(sharp, channel.confusion(sharp, strength, _TRIED_PASSES)) for sharp in sharpened)

    strength = max((guesses.count * each for each in _STRENGTHS), key=foretold)

    def loss(exponent: float) -> float:
        return -channel.likelihood(trial.sharpened(exponent), strength)

    found = scipy.optimize.minimize_scalar(loss, bounds=(1, _SHARPEST), method="bounded", options={"xatol": _NEAR})
    return Fit(float(found.x), -float(found.fun), strength)


def likelihood(guesses: Guesses, exponent: float, strength: float) -> float:
    """The mean log likelihood of a given label, by what `fitted` found for these samples and others."""
    trial = guesses.drawn(some_of(guesses.given))
    return Channel.of(trial).likelihood(trial.sharpened(exponent), strength)


@dataclass(frozen=True)
class Channel:
    """The pairs of a candidate class and a given label that occur among n samples, each with j candidates.

    Attributes:
        pairs: int64, ascending, as in `Confusion`.
        classes, right, chance: of each pair its class, whether that is its label too, and `by_chance`.
        cells: int64 n x j: which of the pairs each candidate with the given label is.
        given: int32[n] given labels.
        frequencies: float64[classes], how often each label is given.
    """

    pairs: np.ndarray
    classes: np.ndarray
    right: np.ndarray
    chance: np.ndarray
    cells: np.ndarray
    given: np.ndarray
    frequencies: np.ndarray

    @classmethod
    def of(cls, guesses: Guesses) -> "Channel":
        wanted = guesses.classes.astype(np.int64) * guesses.count + guesses.given[:, None]
        pairs, cells = np.unique(wanted, return_inverse=True)
        frequencies = np.bincount(guesses.given, minlength=guesses.count) + 1.0
        frequencies /= frequencies.sum()
        classes, labels = np.divmod(pairs, guesses.count)
        known = classes, classes == labels, by_chance(frequencies, classes, labels)
        return cls(pairs, *known, cells.reshape(wanted.shape), guesses.given, frequencies)

    def confusion(self, guesses: Guesses, strength: float, passes: int = _EM_PASSES) -> Confusion:
        """The one under which the given labels are likeliest, by EM.

        Args:
            strength: made-up samples by which a class is drawn to all, among as many samples as `guesses` are drawn
                from. A class with a quarter of its samples, and at least 8, under one other label is drawn by 20 at
                most, and says nothing of the noise that others are drawn to.
        """
        size, share = len(self.frequencies), guesses.share
        classes, right = self.classes, self.right
        tied = np.full(size, strength * share)
        found = Confusion(self.pairs, np.zeros(len(self.pairs)), np.zeros(size), _FIRST_NOISE, self.frequencies, tied)
        for _ in range(passes):
            counts = np.bincount(self.cells.ravel(), self._shares(guesses, found).ravel(), len(self.pairs))
            totals = np.bincount(classes, counts, size)
            odd = ~right & (counts >= _RELEASED_FROM * share) & (counts >= _RELEASED_SHARE * totals[classes])
            released = np.zeros(size, bool)
            released[classes[odd]] = True
            strengths = np.where(released, np.minimum(_RELEASED_STRENGTH * share, tied), tied)
            bound = ~released if totals[~released].sum() >= totals.sum() / 2 else np.ones(size, bool)
            noise = 1 - counts[right & bound[classes]].sum() / (len(self.given) - totals[~bound].sum())
            found = Confusion(self.pairs, counts, totals, float(noise), self.frequencies, strengths)
        return found

    def _shares(self, guesses: Guesses, confusion: Confusion) -> np.ndarray:
        joint, rest = self.joint(guesses, confusion)
        return joint / (joint.sum(1) + rest)[:, None]

    def foretold(self, guesses: Guesses, confusion: Confusion) -> float:
        """The mean log likelihood of a given label by a confusion that its own sample has no part in."""
        own = self._shares(guesses, confusion)
        counts, classes, right, chance = (
            of[self.cells] for of in (confusion.counts, self.classes, self.right, self.chance)
        )
        of = confusion.smoothed(counts, classes, right, chance, own)
        likelihood = (guesses.probs * of).sum(1) + self._rest(guesses, confusion)
        return float(np.log(np.maximum(likelihood, 1e-300)).mean())

    def likelihood(self, guesses: Guesses, strength: float) -> float:
        """The mean log likelihood of a given label by the likeliest confusion."""
        joint, rest = self.joint(guesses, self.confusion(guesses, strength))
        return float(np.log(np.maximum(joint.sum(1) + rest, 1e-300)).mean())

    def joint(self, guesses: Guesses, confusion: Confusion) -> tuple[np.ndarray, np.ndarray]:
        """n x j: the probability that a candidate is true and the label given; n: that of all other classes."""
        occurring = confusion.smoothed(confusion.counts, self.classes, self.right, self.chance)
        joint = guesses.probs * occurring[self.cells]
        return np.maximum(joint, 1e-300), self._rest(guesses, confusion)

    def _rest(self, guesses: Guesses, confusion: Confusion) -> np.ndarray:
        return guesses.rest * confusion.noise * self.frequencies[self.given]
