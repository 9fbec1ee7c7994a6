"""How far a given label is to be believed, from what models that did not see it say of its sample, and from how labels
are mistaken."""

from dataclasses import dataclass

import numpy as np

from cleaner.evidence.channel import Channel, Confusion, Guesses, fitted

_SHARPEST = 3.0


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


def believe(guesses: Guesses) -> Beliefs:
    """Estimate the noise from all samples together, and judge each."""
    if len(guesses.given) == 0:
        none, classes = np.zeros(0, np.int64), np.zeros(guesses.count)
        nothing = Confusion(none, np.zeros(0), classes, 0.0, classes)
        return Beliefs(np.zeros(0), np.zeros(0, np.int32), np.zeros(0), 0.0, nothing)
    channel = Channel.of(guesses)
    likeliest = fitted(guesses).exponent
    given = guesses.classes == guesses.given[:, None]
    sharp = guesses.sharpened(likeliest)
    noise = 1 - np.where(given, _posterior(channel, sharp)[0], 0).sum(1).mean()
    exponent = _sharpness(likeliest, noise=float(noise), sureness=float(sharp.probs.max(1).mean()))
    posterior, confusion = _posterior(channel, guesses.sharpened(exponent))
    right = np.where(given, posterior, 0).sum(1)
    others = np.where(given, -1.0, posterior)
    best = others.argmax(1)[:, None]
    other, other_prob = (np.take_along_axis(of, best, 1)[:, 0] for of in (guesses.classes, others))
    noise = float(1 - right.mean())
    return Beliefs(np.clip(right, 0, 1), other, np.clip(other_prob, 0, 1), noise, confusion)


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
    images shows too, only what is more likely wrong than right is flagged.
    """
    wrong = np.sort(1 - beliefs.right)[::-1]
    if len(wrong) == 0 or wrong.sum() == 0:
        return 0.5
    reached = (2 * np.cumsum(wrong) / (np.arange(1, len(wrong) + 1) + wrong.sum())).max()
    sure = np.clip((beliefs.noise - 0.04) / 0.03, 0, 1)
    return float(1 - (sure * reached**2 / 2 + (1 - sure) * 0.5))
