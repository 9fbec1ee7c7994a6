"""What cleaning was worth: the same recipe on several versions of the data, over several seeds, on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from cleaner.run.files import digest, read_table, write_bytes, write_json, write_text
from cleaner.run.versions import RAW
from cleaner.tables import array
from cleaner.training.kept import PREDICTIONS
from cleaner.training.versions import TRUE

LEVEL = 0.95
"""Of the intervals, for all differences of a comparison together."""
_MOST_SEEDS = 100
_NAMES = {RAW: "as it came", TRUE: "no noise at all"}


@dataclass(frozen=True)
class Measured:
    """One network after learning from one version, once by each of several seeds.

    Attributes:
        images: how many it learnt from.
        right: bool seeds x test images, which the network knows.
    """

    network: str
    version: str
    images: int
    right: np.ndarray

    @property
    def accuracies(self) -> np.ndarray:
        """float64, in [0, 1], one a seed."""
        return self.right.mean(1)  # type: ignore[no-any-return]

    @property
    def mean(self) -> float:
        return float(self.accuracies.mean())

    @property
    def spread(self) -> float:
        """The standard deviation over seeds; nan of one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else float("nan")


@dataclass(frozen=True)
class Difference:
    """How much more of the test images, as a share of them, a network knows that has learnt from another version.

    Attributes:
        gain: as measured.
        low, high: an interval for what it is over all seeds and all images like those of the test set.
        more: seeds that would have to be added until a gain of this size is told from none; None: no number of them
            would, on these images.
    """

    gain: float
    low: float
    high: float
    more: int | None


@dataclass(frozen=True)
class _Variance:
    """Of a gain, by what it comes from: which images are in the test set, the seeds, and both at once.

    Attributes:
        images: that is left with any number of seeds.
        seeds: of each version's mean, with those there are.
        both: of what one seed knows of one image, with the seeds there are.
    """

    images: float
    seeds: tuple[float, float]
    both: float

    def half(self, seeds: int, level: float, times: np.ndarray) -> np.ndarray:
        """Half the width of the interval at `level` with so many seeds, `times` as many as there are; float64[k].

        Each part has the quantile of its own freedom, that of the seeds after Welch and Satterthwaite (1946): one
        quantile for their sum takes 11 % of the differences that are none for some where the seeds of one version
        differ much and those of the other do not, and a two-way bootstrap (Owen 2007) up to 22 %. What one seed knows
        of one image is in both parts, so that the interval is rather too wide.
        """
        among, parts = self.images + self.both / times, np.outer(self.seeds, 1 / times)
        total, squares = parts.sum(0), (parts**2).sum(0)
        freedom = np.where(squares > 0, total**2 * (seeds * times - 1) / np.where(squares > 0, squares, 1), 1.0)
        beyond = (1 + level) / 2
        return np.sqrt(norm.ppf(beyond) ** 2 * among + student.ppf(beyond, freedom) ** 2 * total)  # type: ignore[no-any-return]


def difference(before: np.ndarray, after: np.ndarray, *, level: float = LEVEL) -> Difference:
    """What learning from another version changed: a t interval over images, which both share, and seeds, which they
    do not.

    Args:
        before, after: bool seeds x images, of the same images; two seeds at least.
        level: of the interval.
    """
    shape, gain = before.shape, float(after.mean() - before.mean())
    apart = after.mean(0) - before.mean(0)
    both = sum(_both(right) for right in (before, after))
    seeds = (_of_seeds(before), _of_seeds(after))
    variance = _Variance(max(0.0, float(apart.var(ddof=1)) / shape[1] - both), seeds, both)
    counts = np.arange(shape[0], max(shape[0], _MOST_SEEDS) + 1)
    halves = variance.half(shape[0], level, counts / shape[0])
    enough, half = np.flatnonzero(halves[1:] < abs(gain)), float(halves[0])
    more = int(enough[0]) + 1 if len(enough) else None
    return Difference(gain, gain - half, gain + half, more)


def _of_seeds(right: np.ndarray) -> float:
    return float(right.mean(1).var(ddof=1)) / len(right)


def _both(right: np.ndarray) -> float:
    """The variance of the mean that comes of what is neither the image's nor the seed's."""
    seeds, images = right.shape
    rest = right - right.mean(0) - right.mean(1)[:, None] + right.mean()
    return float((rest**2).sum() / ((seeds - 1) * max(1, images - 1)) / (seeds * images))


def measured(trained: Sequence[tuple[Path, dict[str, Any]]]) -> list[Measured]:
    """What trainings, each its folder and its summary, came to, by network and version in the order in which they
    come."""
    found: dict[tuple[str, str], list[tuple[Path, dict[str, Any]]]] = {}
    sizes = {(summary["network"], summary["image_size"]) for _, summary in trained}
    several = {network for network, _ in sizes if sum(network == other for other, _ in sizes) > 1}
    for folder, summary in trained:
        network = summary["network"]
        network += f" at {summary['image_size']} px" if network in several else ""
        found.setdefault((network, summary["version"]), []).append((folder, summary))
    return [
        Measured(network, version, of[0][1]["learnt_from"], np.stack([_right(folder) for folder, _ in of]))
        for (network, version), of in found.items()
    ]


def _right(folder: Path) -> np.ndarray:
    table = read_table(folder / PREDICTIONS)
    return np.asarray(array(table, "label") == array(table, "guess"), bool)


def verdict(before: Measured, after: Measured, *, level: float = LEVEL, trusted: bool) -> str:
    """Whether learning from `after` instead of `before` paid, in a sentence.

    Args:
        before, after: measured on the same images.
        level: of the interval.
        trusted: whether the labels of the test images are known to be right; else there is no verdict.
    """
    numbers = f"{_percent(before.mean)} on {before.version}, {_percent(after.mean)} on {after.version}"
    if len(before.right) < 2 or len(after.right) < 2:
        return f"{numbers}: of one seed nobody knows the spread; --seeds 3 tells more"
    found = difference(before.right, after.right, level=level)
    told = f"{_points(found.gain)} points, between {_points(found.low)} and {_points(found.high)} ({numbers})"
    if not trusted:
        return f"no verdict, {told}: the labels of the test images are not known to be right, and may favour a version"
    if found.low > 0:
        return f"cleaning paid: {told}"
    if found.high < 0:
        return f"cleaning did not pay, it cost: {told}"
    if found.more is None:
        return f"can't tell whether cleaning paid: {told}; more seeds would not tell, more test images would"
    seeds = f"about {found.more} seeds more" if found.more > 1 else "a seed more"
    return f"can't tell whether cleaning paid: {told}; {seeds} would, if that is the difference"


def verdicts(found: Sequence[Measured], *, trusted: bool) -> list[str]:
    """Of each network and version a sentence beside the first version, save of that without any noise; the intervals
    hold for all of them together (Bonferroni)."""
    pairs = []
    for network in dict.fromkeys(each.network for each in found):
        first, *others = [each for each in found if each.network == network]
        pairs += [(network, first, other) for other in others if other.version != TRUE]
    level = 1 - (1 - LEVEL) / max(1, len(pairs))
    return [f"{network}: {verdict(first, other, level=level, trusted=trusted)}" for network, first, other in pairs]


def table(found: Sequence[Measured]) -> str:
    """A row a network and version, as Markdown."""
    lines = ["| network | learnt from | images | right on the test set | seeds |", "|---|---|---|---|---|"]
    for each in found:
        name = f"{each.version} ({_NAMES[each.version]})" if each.version in _NAMES else each.version
        spread = "" if np.isnan(each.spread) else f" ± {100 * each.spread:.1f}"
        seeds = ", ".join(f"{100 * accuracy:.1f}" for accuracy in each.accuracies)
        lines.append(f"| {each.network} | {name} | {each.images:,} | **{100 * each.mean:.1f}**{spread} % | {seeds} |")
    return "\n".join(lines)


def write_comparison(folder: Path, name: str, trained: Sequence[tuple[Path, dict[str, Any]]]) -> tuple[Path, str]:
    """Write table, sentences and picture of what trainings by the recipe `name` came to; the table's file, and what is
    said."""
    import vl_convert

    from cleaner.charts.versions import accuracies

    found, summaries = measured(trained), [summary for _, summary in trained]
    test = summaries[0]["test"]
    trusted = bool(test["labels_known_to_be_right"])
    of = f"{test['images']:,} test images: {test['what']}"
    if not trusted:
        of += "; not known to be right, so that they may favour the version that they come from"
    stem = f"comparison-{name}-{digest([folder.name for folder, _ in trained])}"
    sentences = verdicts(found, trusted=trusted)
    about = f"Intervals: {100 * LEVEL:.0f} %, over seeds and test images" + (", of all together" * (len(sentences) > 1))
    lines = [f"# What cleaning was worth: {name}", of, table(found), *sentences, about, f"![accuracies]({stem}.png)"]
    write_json(folder / f"{stem}.json", summaries)
    chart = accuracies(_frame(found))
    write_bytes(folder / f"{stem}.png", vl_convert.vegalite_to_png(chart.to_json(), scale=2))
    file = write_text(folder / f"{stem}.md", "\n\n".join(lines) + "\n")
    return file, "\n".join([table(found), "", *sentences])


def _frame(found: Sequence[Measured]) -> Any:
    import pandas as pd

    several = len({each.network for each in found}) > 1
    rows = [
        {"version": f"{each.network}, {each.version}" if several else each.version, "accuracy": accuracy}
        for each in found
        for accuracy in each.accuracies
    ]
    return pd.DataFrame(rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
