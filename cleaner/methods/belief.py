"""How far a given label is to be believed, from what models that did not see it say of its sample, and from how labels
are mistaken."""

from dataclasses import dataclass, replace

import numpy as np
import scipy

from cleaner.evidence.channel import Channel, Confusion, Guesses, fitted, some_of

_SHARPEST = 3.0
_EXPONENTS = np.exp(np.linspace(0, np.log(8), 13))
_DOUBT = 0.5
_SLIP = 0.02
_CHANGES = np.array([0.5, 0.3])
"""How far answers are expected to move beliefs: the spread of what is added to log odds, and of the logarithm of what
they are multiplied by."""
_SUREST = 1e-15
_RANGES = (0.2, 0.5, 0.8, 0.95)
_NINETY = 1.645
_BEGUN_FROM = (0.0, -1.0, -2.0, -3.0)
_NEVER = 0.95
_LEAST_PROB = 1e-6


@dataclass(frozen=True)
class Fit:
    """What the given labels find likeliest.

    Attributes:
        exponent: from 1 up, of the predictions.
        strength: by how much a class's confusion is drawn to that of all.
        noise: the share of wrong labels then.
        sureness: the mean probability of the likeliest class then.
    """

    exponent: float
    strength: float
    noise: float
    sureness: float

    @property
    def sharpness(self) -> float:
        """The exponent to judge with: the likeliest one, and where labels are wrong, beyond it.

        Part of what models learn from wrong labels is a system to them, which the likelihood takes for the images' own
        hardness. From 2.5 % of estimated noise on, twice as far from 1 was measured to be nearer the truth, and three
        times as far where models are sure otherwise, to which few images are hard.
        """
        beyond = np.clip((self.noise - 0.01) / 0.015, 0, 1) * (1 + np.clip((self.sureness - 0.8) / 0.1, 0, 1))
        return min(_SHARPEST, 1 + (1 + float(beyond)) * (self.exponent - 1))


@dataclass(frozen=True)
class Gate:
    """How far the doubts of models are to be acted on, by what they made of labels as they were given: those of later
    rounds learn the less from a label the less it is believed, and so come to be surer of what they doubt.

    Attributes:
        information: how much the models know of the given labels: by how many nats the mean log probability of one,
            out of sample, is over that of its frequency; of a mixture of both, the best, so that being too sure of what
            is labelled wrong is no lack of knowledge.
        error: its standard error.
        knowledge: in [0, 1], 0 where the models know nothing of the labels.
        open: in [0, 1]: 0 where images that are hard and labels that are wrong can't be told apart.
        accuracy: on how many samples the likeliest class is expected to be right, as a share.
    """

    information: float
    error: float
    knowledge: float
    open: float
    accuracy: float


@dataclass(frozen=True)
class Beliefs:
    """What is believed of n given labels.

    Attributes:
        right: float64[n] in [0, 1], the probability that the given label is right.
        alone: float64[n], the same before answers of people corrected it.
        other: int32[n], the likeliest other class.
        other_prob: float64[n] in [0, 1], its probability.
        noise: the share of wrong labels, as estimated.
        confusion: how labels are mistaken, as estimated.
        exponent: what predictions were sharpened by: 1 where the gate is shut, beyond the likeliest where it is open.
        strength: by how much a class's confusion is drawn to that of all.
        gate: how far doubts are to be acted on.
    """

    right: np.ndarray
    alone: np.ndarray
    other: np.ndarray
    other_prob: np.ndarray
    noise: float
    confusion: Confusion
    exponent: float
    strength: float
    gate: Gate

    def of(self, some: np.ndarray) -> "Beliefs":
        """Of some of the samples, bool[n]."""
        arrays = {name: getattr(self, name)[some] for name in ("right", "alone", "other", "other_prob")}
        return replace(self, **arrays)


def believe(guesses: Guesses, told: np.ndarray, fit: Fit, gate: Gate) -> Beliefs:
    """Estimate the noise from all samples together, and judge each.

    Args:
        told: int8[n], what people have answered: 1 where the given label is right, 0 where it is wrong, else -1. The
            answers say how far beliefs are to be corrected, of all samples.
        fit: of these guesses.
        gate: by the first evidence of the same kind of models.
    """
    if len(guesses.given) == 0:
        none, classes = np.zeros(0, np.int64), np.zeros(guesses.count)
        nothing = Confusion(none, np.zeros(0), classes, 0.0, classes, classes)
        return Beliefs(np.zeros(0), np.zeros(0), np.zeros(0, np.int32), np.zeros(0), 0.0, nothing, 1.0, 1.0, gate)
    exponent = 1 + gate.open * (fit.sharpness - 1)
    posterior, confusion = _posterior(Channel.of(guesses), guesses.sharpened(exponent), fit.strength)
    given = guesses.classes == guesses.given[:, None]
    thought = np.clip(np.where(given, posterior, 0).sum(1), 0, 1)
    others = np.where(given, -1.0, posterior)
    best = others.argmax(1)[:, None]
    other, other_prob = (np.take_along_axis(of, best, 1)[:, 0] for of in (guesses.classes, others))
    right = corrected(thought, told)
    other_prob = np.clip(other_prob, 0, 1) * (1 - right) / np.maximum(1 - thought, 1e-12)
    noise, other_prob = float(1 - right.mean()), np.minimum(other_prob, 1 - right)
    return Beliefs(right, thought, other, other_prob, noise, confusion, exponent, fit.strength, gate)


def corrected(right: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Beliefs, float64[n], by what people have answered, `told` as in `believe`: their log odds times a number above 0,
    and another added, the likeliest (Platt 1999); both are drawn to changing nothing, and the order stays.

    Whom people were asked about may depend on the beliefs, and so needs no weighting. An answer is wrong in 2 % of
    cases.
    """
    asked = told >= 0
    if not asked.any():
        return right
    odds, yes = scipy.special.logit(np.clip(right, _SUREST, 1 - _SUREST)), told[asked] == 1

    def loss(changes: np.ndarray) -> float:
        prob = _SLIP + (1 - 2 * _SLIP) * scipy.special.expit(changes[0] + np.exp(changes[1]) * odds[asked])
        return float(-np.log(np.where(yes, prob, 1 - prob)).sum() + 0.5 * ((changes / _CHANGES) ** 2).sum())

    # Beliefs near 0 and 1 leave no slope to go by: it is begun from flatter ones too.
    tried = [scipy.optimize.minimize(loss, np.array([0.0, factor]), method="BFGS") for factor in _BEGUN_FROM]
    shift, log_factor = min(tried, key=lambda each: each.fun).x
    found: np.ndarray = scipy.special.expit(shift + np.exp(log_factor) * odds)
    return found


def reliability(alone: np.ndarray, told: np.ndarray) -> list[dict[str, float]]:
    """How beliefs, as `Beliefs.alone`, stand to what people have answered, `told` as in `believe`: of each range of
    beliefs in which there are answers how many, the mean belief, the share of right labels, and the ends of an interval
    of 90 % of it (Wilson 1927)."""
    found, asked = [], told >= 0
    place = np.searchsorted(_RANGES, alone[asked], side="right")
    for number in np.unique(place):
        own = place == number
        count, right = int(own.sum()), int((told[asked][own] == 1).sum())
        middle, wide = right + _NINETY**2 / 2, _NINETY * np.sqrt(right * (count - right) / count + _NINETY**2 / 4)
        low, high = ((middle + sign * wide) / (count + _NINETY**2) for sign in (-1, 1))
        shares = {"believed": float(alone[asked][own].mean()), "right": right / count}
        found.append({"answers": count, **shares, "low": float(low), "high": float(high)})
    return found


def span(guesses: Guesses, beliefs: Beliefs) -> tuple[float, float]:
    """The shares of wrong labels between which models put it: how far off the exponent that the given labels find
    likeliest was seen to be. Its logarithm is taken for normal around the one that is used, with a spread of 0.5."""
    trial = guesses.drawn(some_of(guesses.given))
    channel, given = Channel.of(trial), trial.classes == trial.given[:, None]
    noises = [
        1 - np.where(given, _posterior(channel, trial.sharpened(exponent), beliefs.strength)[0], 0).sum(1).mean()
        for exponent in _EXPONENTS
    ]
    weights = np.exp(-0.5 * (np.log(_EXPONENTS / beliefs.exponent) / _DOUBT) ** 2)
    order = np.argsort(noises)
    below = np.cumsum(weights[order] / weights.sum())
    low, high = np.searchsorted(below, [0.05, 0.95]).clip(max=len(order) - 1)
    return float(noises[order[low]]), float(noises[order[high]])


def fit_of(guesses: Guesses) -> tuple[Fit, Gate]:
    """What the given labels find likeliest, and how far doubts are to be acted on where the models learnt from labels
    as they were given."""
    n = len(guesses.given)
    if n == 0:
        return Fit(1.0, 1.0, 0.0, 0.0), Gate(0.0, 0.0, 0.0, 0.0, 0.0)
    found = fitted(guesses)
    trial = guesses.drawn(some_of(guesses.given))
    sharp = trial.sharpened(found.exponent)
    posterior, confusion = _posterior(Channel.of(trial), sharp, found.strength)
    noise = 1 - np.where(trial.classes == trial.given[:, None], posterior, 0).sum(1).mean()
    fit = Fit(found.exponent, found.strength, float(noise), float(sharp.probs.max(1).mean()))
    return fit, _gate(guesses, fit, confusion)


def _gate(guesses: Guesses, fit: Fit, confusion: Confusion) -> Gate:
    n = len(guesses.given)
    given = guesses.classes == guesses.given[:, None]
    share = np.bincount(guesses.given, minlength=guesses.count)[guesses.given] / n
    information, error = _information(np.where(given, guesses.probs, 0).sum(1) / share)
    # Without spread, as where all labels are one class, what is above 0 but for rounding is known.
    knowledge = float(information > _LEAST_PROB) if error < _LEAST_PROB else clip(information / error - 2)
    most, one_way = _concentration(confusion)
    sure = clip((fit.sureness + 0.2 * np.log(fit.exponent) - 0.70) / 0.06)
    # Classes that are taken for each other, each for one other alone, look alike, however sure models come to be.
    sure *= 1 - clip((most - one_way - 0.6) / 0.2)
    rule = clip((one_way - 0.6) / 0.15) * clip((fit.noise - 0.15) / 0.05)
    open_ = knowledge * max(sure, rule)
    accuracy = guesses.sharpened(1 + open_ * (fit.sharpness - 1)).probs.max(1).mean()
    return Gate(information, error, knowledge, open_, float(accuracy))


def clip(value: float) -> float:
    return float(np.clip(value, 0, 1))


def _information(ratio: np.ndarray) -> tuple[float, float]:
    """The mean of log(1 - m + m * ratio) for the best m in [0, 1], and its standard error."""

    def loss(mixed: float) -> float:
        return -float(np.log1p(mixed * (ratio - 1)).mean())

    mixed = scipy.optimize.minimize_scalar(loss, bounds=(0, 1 - _LEAST_PROB), method="bounded").x
    nats = np.log1p(mixed * (ratio - 1))
    return float(nats.mean()), float(nats.std() / np.sqrt(len(nats)))


def _concentration(confusion: Confusion) -> tuple[float, float]:
    """Which part of the mistakes of each class goes to one other, and which does so and does not come back from it,
    both beyond what equal shares would show; at most 1. What comes back is what classes that look alike show too."""
    size = len(confusion.totals)
    if size < 4:
        return 0.0, 0.0
    classes, labels = np.divmod(confusion.pairs, size)
    wrong = classes != labels
    back = labels * size + classes
    place = np.minimum(np.searchsorted(confusion.pairs, back), len(confusion.pairs) - 1)
    returned = np.where(confusion.pairs[place] == back, confusion.counts[place], 0)
    most, one_way = np.zeros(size), np.zeros(size)
    np.maximum.at(most, classes[wrong], confusion.counts[wrong])
    np.maximum.at(one_way, classes[wrong], (confusion.counts - returned)[wrong])
    even, total = 1 / (size - 1), max(confusion.counts[wrong].sum(), 1e-300)
    one, other = ((part.sum() / total - even) / (1 - even) for part in (most, one_way))
    return float(one), float(other)


def _posterior(channel: Channel, sharp: Guesses, strength: float) -> tuple[np.ndarray, Confusion]:
    """float64 n x j: the probability that each candidate is the true class; and how labels are mistaken."""
    confusion = channel.confusion(sharp, strength)
    joint, rest = channel.joint(sharp, confusion)
    return joint / (joint.sum(1) + rest)[:, None], confusion


def flag_below(beliefs: Beliefs) -> float:
    """The belief under which labels are flagged, for the best F1.

    With true probabilities the best F1, F, comes from flagging what is wrong with a probability over F / 2 (Lipton et
    al. 2014, theorem 1). Errors that look like hard images escape the estimate, the more so the lower F: F squared in
    place of F was measured to be better on people's labels. Below 4 % of estimated noise, which a clean set of hard
    images shows too, and where models are too weak to tell hard images from wrong labels, only what is more likely
    wrong than right is flagged; a label that is believed by more than 95 % never; and where models know nothing of the
    labels, none.
    """
    if beliefs.gate.knowledge == 0:
        return 0.0
    wrong = np.sort(1 - beliefs.right)[::-1]
    if len(wrong) == 0 or wrong.sum() == 0:
        return 0.5
    reached = (2 * np.cumsum(wrong) / (np.arange(1, len(wrong) + 1) + wrong.sum())).max()
    sure = beliefs.gate.open * np.clip((wrong.mean() - 0.04) / 0.03, 0, 1)
    return min(_NEVER, float(1 - (sure * reached**2 / 2 + (1 - sure) * 0.5)))
