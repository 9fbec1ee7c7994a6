"""Surveys of wrong labels, simulated: models of seven kinds, some of which err."""

from collections.abc import Callable

import numpy as np

from cleaner.methods.prevalence import Survey, cut, draw, prevalence, shares

Kind = Callable[[np.random.Generator, int, float], tuple[np.ndarray, np.ndarray]]
"""Of a number of labels and the share of wrong ones: how doubtful each seems, and which are wrong."""


def calibrated(random: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    doubt = random.beta(0.25, 0.25 * (1 - share) / share, n)
    return doubt, random.random(n) < doubt


def overconfident(random: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    doubt, wrong = calibrated(random, n, share)
    odds = np.log(np.clip(doubt, 1e-12, 1 - 1e-12) / np.clip(1 - doubt, 1e-12, 1))
    return 1 / (1 + np.exp(-2 * odds)), wrong


def half_seen(random: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    doubt, wrong = calibrated(random, n, share / 2)
    return doubt, wrong | (random.random(n) < share / 2)


def useless(random: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    return random.random(n), random.random(n) < share


def too_doubtful(random: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    doubt, wrong = calibrated(random, n, share)
    return np.minimum(0.95, 5 * doubt), wrong


def clean(random: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    return calibrated(random, n, share)[0], np.zeros(n, bool)


def blind_class(random: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """One class is wrong where no label is doubted."""
    doubt = random.beta(0.25, 5, n)
    return np.where(np.arange(n) < share * n, 1e-4, doubt), np.arange(n) < share * n


KINDS: tuple[Kind, ...] = (calibrated, overconfident, half_seen, useless, too_doubtful, clean, blind_class)


def surveyed(stratum: np.ndarray, doubt: np.ndarray, asked: np.ndarray, wrong: np.ndarray) -> Survey:
    """The survey of the places `asked`, when all answers are true."""
    count = int(stratum.max()) + 1
    sizes = np.bincount(stratum, minlength=count)
    return Survey(
        sizes=sizes,
        doubts=np.bincount(stratum, doubt, count) / sizes,
        answers=np.bincount(stratum[asked], minlength=count),
        wrong=np.bincount(stratum[asked], wrong[asked], count).astype(int),
        untold=np.zeros(count, int),
    )


def repeated(kind: Kind, n: int, share: float, answers: int, repeats: int) -> tuple[float, float]:
    """Of many surveys how many cover the truth, and how wide they are."""
    random = np.random.default_rng([KINDS.index(kind), n, answers])
    covered, widths = [], []
    for seed in range(repeats):
        doubt, wrong = kind(random, n, share)
        stratum = cut(doubt, answers)
        found = prevalence(surveyed(stratum, doubt, draw(stratum, shares(stratum, doubt, answers), seed=seed), wrong))
        assert found is not None
        covered.append(found.low - 1e-12 <= wrong.mean() <= found.high + 1e-12)
        widths.append(found.high - found.low)
    return float(np.mean(covered)), float(np.mean(widths))
