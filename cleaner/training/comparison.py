"""What cleaning was worth: the same recipe on several versions of the data, over several seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cleaner.run.files import digest, write_bytes, write_json, write_text
from cleaner.run.versions import RAW
from cleaner.training.versions import TRUE

_PAYS = 2.0
"""Standard deviations over seeds from which a difference is called one."""
_TOLD_APART = ("version", "seed", "network", "learnt_from")
_NAMES = {RAW: "as it came", TRUE: "no noise at all"}


@dataclass(frozen=True)
class Measured:
    """One network's accuracies, in [0, 1], one a seed, after learning from one version.

    Attributes:
        images: how many it learnt from.
    """

    network: str
    version: str
    images: int
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float:
        """The standard deviation over seeds; nan of one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else float("nan")


def measured(summaries: Sequence[dict[str, Any]]) -> list[Measured]:
    """What trainings came to, as their summaries say, by network and version in the order in which they come."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for summary in summaries:
        found.setdefault((summary["network"], summary["version"]), []).append(summary)
    return [
        Measured(network, version, of[0]["learnt_from"], tuple(summary["accuracy"] for summary in of))
        for (network, version), of in found.items()
    ]


def verdict(before: Measured, after: Measured) -> str:
    """Whether learning from `after` instead of `before` paid, in a sentence."""
    gain = 100 * (after.mean - before.mean)
    numbers = f"{_percent(before.mean)} on {before.version}, {_percent(after.mean)} on {after.version}"
    spread = 100 * np.sqrt((before.spread**2 + after.spread**2) / 2)
    if np.isnan(spread):
        return f"{numbers}: of one seed nobody knows the spread; --seeds 3 tells whether that is a difference"
    told = f"{numbers}; seeds differ by {spread:.1f} points"
    if gain > _PAYS * spread:
        return f"cleaning paid: {gain:+.1f} points ({told})"
    if gain < -_PAYS * spread:
        return f"cleaning did not pay, it cost {-gain:.1f} points ({told})"
    return f"cleaning did not pay: {gain:+.1f} points are no more than chance ({told})"


def verdicts(found: Sequence[Measured]) -> list[str]:
    """Of each network and version a sentence beside the first version, save of that without any noise."""
    said = []
    for network in dict.fromkeys(each.network for each in found):
        first, *others = [each for each in found if each.network == network]
        said += [f"{network}: {verdict(first, other)}" for other in others if other.version != TRUE]
    return said


def table(found: Sequence[Measured]) -> str:
    """A row a network and version, as Markdown."""
    lines = ["| network | learnt from | images | right on the test set | seeds |", "|---|---|---|---|---|"]
    for each in found:
        name = f"{each.version} ({_NAMES[each.version]})" if each.version in _NAMES else each.version
        spread = "" if np.isnan(each.spread) else f" ± {100 * each.spread:.1f}"
        seeds = ", ".join(f"{100 * accuracy:.1f}" for accuracy in each.accuracies)
        lines.append(f"| {each.network} | {name} | {each.images:,} | **{100 * each.mean:.1f}**{spread} % | {seeds} |")
    return "\n".join(lines)


def write_comparison(folder: Path, name: str, summaries: Sequence[dict[str, Any]]) -> Path:
    """Write table, sentences and picture of what trainings by the recipe `name` came to; the table's file."""
    import vl_convert

    from cleaner.charts.versions import accuracies

    found = measured(summaries)
    test = summaries[0]["test"]
    of = f"{test['images']:,} test images: {test['what']}"
    if not test["labels_known_to_be_right"]:
        of += "; not known to be right, so that they may favour the version that they come from"
    stem = f"comparison-{name}-{digest([[summary[key] for key in _TOLD_APART] for summary in summaries])}"
    lines = [f"# What cleaning was worth: {name}", of, table(found), *verdicts(found), f"![accuracies]({stem}.png)"]
    write_json(folder / f"{stem}.json", [*summaries])
    chart = accuracies(_frame(found))
    write_bytes(folder / f"{stem}.png", vl_convert.vegalite_to_png(chart.to_json(), scale=2))
    return write_text(folder / f"{stem}.md", "\n\n".join(lines) + "\n")


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
