"""How far a given label is to be believed, from what models that did not see it say of its sample, and from how labels
are mistaken."""

from dataclasses import dataclass

import numpy as np

from cleaner.evidence.channel import Channel, Confusion, Guesses, fitted, some_of

_SHARPEST = 3.0
_EXPONENTS = np.exp(np.linspace(0, np.log(8), 13))
_DOUBT = 0.5
_SLIP = 0.02
_COUNTS_FROM = 0.02
_NEVER = 0.95


@dataclass(frozen=True)
class Beliefs:
    """What is believed of n given labels.

    Attributes:
        right: float64[n] in [0, 1], the probability that the given label is right.
        other: int32[n], the likeliest other class.
        other_prob: float64[n] in [0, 1], its probability.
        noise: the share of wrong labels, as estimated.
        confusion: how labels are mistaken, as estimated.
    """

    right: np.ndarray
    other: np.ndarray
    other_prob: np.ndarray
    noise: float
    confusion: Confusion

    def of(self, some: np.ndarray) -> "Beliefs":
        """Of some of the samples, bool[n]."""
        return Beliefs(self.right[some], self.other[some], self.other_prob[some], self.noise, self.confusion)


@dataclass(frozen=True)
class Level:
    """How much noise there may be.

    Attributes:
        exponents: float64[e], ascending, that predictions may have to be sharpened by.
        weights: float64[e], how likely each is; they sum to 1.
        noises: float64[e], the share of wrong labels with each.
    """

    exponents: np.ndarray
    weights: np.ndarray
    noises: np.ndarray

    @property
    def noise(self) -> float:
        return float(self.weights @ self.noises)

    @property
    def interval(self) -> tuple[float, float]:
        """The shares of wrong labels between which 90 % of the weight lies."""
        order = np.argsort(self.noises)
        below = np.cumsum(self.weights[order])
        low, high = np.searchsorted(below, [0.05, 0.95]).clip(max=len(order) - 1)
        return float(self.noises[order][low]), float(self.noises[order][high])


def believe(guesses: Guesses, told: np.ndarray) -> Beliefs:
    """Estimate the noise from all samples together, and judge each.

    Args:
        told: int8[n], what people have answered: 1 where the given label is right, 0 where it is wrong, else -1. The
            answers say how far predictions are to be sharpened, for all samples.
    """
    if len(guesses.given) == 0:
        none, classes = np.zeros(0, np.int64), np.zeros(guesses.count)
        nothing = Confusion(none, np.zeros(0), classes, 0.0, classes)
        return Beliefs(np.zeros(0), np.zeros(0, np.int32), np.zeros(0), 0.0, nothing)
    channel = Channel.of(guesses)
    exponents, weights = np.array([_used(_trial(guesses, told)[0])]), np.ones(1)
    if (told >= 0).any():
        known = level(guesses, told)
        some = known.weights >= _COUNTS_FROM
        exponents, weights = known.exponents[some], known.weights[some] / known.weights[some].sum()
    found = [_posterior(channel, guesses.sharpened(exponent)) for exponent in exponents]
    posterior = sum(weight * each for weight, (each, _) in zip(weights, found, strict=True))
    given = guesses.classes == guesses.given[:, None]
    right = np.where(given, posterior, 0).sum(1)
    others = np.where(given, -1.0, posterior)
    best = others.argmax(1)[:, None]
    other, other_prob = (np.take_along_axis(of, best, 1)[:, 0] for of in (guesses.classes, others))
    confusion = found[int(np.argmax(weights))][1]
    return Beliefs(np.clip(right, 0, 1), other, np.clip(other_prob, 0, 1), float(1 - right.mean()), confusion)


def level(guesses: Guesses, told: np.ndarray) -> Level:
    """How much noise there may be, by what people have answered, `told` as in `believe`; without answers, by how far
    off the exponent that the given labels find likeliest was seen to be.

    The exponent's logarithm is taken for normal around the one that is used without answers, with a spread of 0.5; an
    answer is wrong in 2 % of cases.
    """
    trial, said = _trial(guesses, told)
    channel, given = Channel.of(trial), trial.classes == trial.given[:, None]
    asked = said >= 0
    log_weights = -0.5 * (np.log(_EXPONENTS / _used(trial)) / _DOUBT) ** 2
    noises = np.empty(len(_EXPONENTS))
    for number, exponent in enumerate(_EXPONENTS):
        right = np.where(given, _posterior(channel, trial.sharpened(exponent))[0], 0).sum(1)
        noises[number] = 1 - right.mean()
        sure = np.clip(right[asked], _SLIP, 1 - _SLIP)
        log_weights[number] += np.log(np.where(said[asked] == 1, sure, 1 - sure)).sum()
    weights = np.exp(log_weights - log_weights.max())
    return Level(_EXPONENTS, weights / weights.sum(), noises)


def _trial(guesses: Guesses, told: np.ndarray) -> tuple[Guesses, np.ndarray]:
    """Of at most 50,000 samples, and of all that people have answered on."""
    rows = np.union1d(some_of(guesses.given), np.flatnonzero(told >= 0))
    return guesses.take(rows), told[rows]


def _used(guesses: Guesses) -> float:
    """The exponent to judge with where nobody has answered."""
    likeliest = fitted(guesses).exponent
    sharp, given = guesses.sharpened(likeliest), guesses.classes == guesses.given[:, None]
    noise = 1 - np.where(given, _posterior(Channel.of(guesses), sharp)[0], 0).sum(1).mean()
    return _sharpness(likeliest, noise=float(noise), sureness=float(sharp.probs.max(1).mean()))


def _posterior(channel: Channel, sharp: Guesses) -> tuple[np.ndarray, Confusion]:
    """float64 n x j: the probability that each candidate is the true class; and how labels are mistaken."""
    confusion = channel.confusion(sharp)
    joint, rest = channel.joint(sharp, confusion)
    return joint / (joint.sum(1) + rest)[:, None], confusion


def _sharpness(likeliest: float, *, noise: float, sureness: float) -> float:
    """The exponent to judge with: the likeliest one, and where labels are wrong, beyond it.

    Part of what models learn from wrong labels is a system to them, which the likelihood takes for the images' own
    hardness. From 2.5 % of estimated noise on, twice as far from 1 was measured to be nearer the truth, and three times
    as far where models are sure otherwise, to which few images are hard.

    Args:
        noise: as estimated with the likeliest exponent.
        sureness: the mean probability of the likeliest class, with that exponent.
    """
    beyond = np.clip((noise - 0.01) / 0.015, 0, 1) * (1 + np.clip((sureness - 0.8) / 0.1, 0, 1))
    return min(_SHARPEST, 1 + (1 + float(beyond)) * (likeliest - 1))


def flag_below(beliefs: Beliefs) -> float:
    """The belief under which labels are flagged, for the best F1.

    With true probabilities the best F1, F, comes from flagging what is wrong with a probability over F / 2 (Lipton et
    al. 2014, theorem 1). Errors that look like hard images escape the estimate, the more so the lower F: F squared in
    place of F was measured to be better on people's labels. Below 4 % of estimated noise, which a clean set of hard
    images shows too, only what is more likely wrong than right is flagged; a label that is believed by more than
    95 % never.
    """
    wrong = np.sort(1 - beliefs.right)[::-1]
    if len(wrong) == 0 or wrong.sum() == 0:
        return 0.5
    reached = (2 * np.cumsum(wrong) / (np.arange(1, len(wrong) + 1) + wrong.sum())).max()
    sure = np.clip((wrong.mean() - 0.04) / 0.03, 0, 1)
    return min(_NEVER, float(1 - (sure * reached**2 / 2 + (1 - sure) * 0.5)))
