"""How far the whole of a run is: of each of its parts the shares that are done before and after it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleaner.plan.items import Begins

if TYPE_CHECKING:
    from cleaner.plan.runs import Run

_READING, _BY_PIXELS, _BY_NETWORK, _SETTLING, _RESULTS = 3.0, 0.5, 12.0, 0.2, 0.5
"""About how many milliseconds an image costs on a core; of stages they say so themselves."""


@dataclass(frozen=True)
class Outline:
    """Of each part the shares of the run, in [0, 1], that are estimated to be done before and after it."""

    shares: Mapping[str, tuple[float, float]]

    def begins(self, part: str, words: str, number: int | None = None) -> Begins:
        """A part begins, of a stage with rounds the round of a `number`."""
        return Begins(words, *self.shares.get(f"{part}-{number}", self.shares[part]))


def outline_of(run: "Run", *, by_network: bool) -> Outline:
    """The outline of a run; a stage with rounds stands for those beyond its cap."""
    costs = {"reading": _READING, "features": _BY_NETWORK if by_network else _BY_PIXELS}
    predicted = False
    for stage in run.config.order:
        costs |= stage.costs(run, predicted=predicted)
        predicted = predicted or stage.needs_models
    costs |= {"settling": _SETTLING, "results": _RESULTS}
    total, before, found = sum(costs.values()), 0.0, {}
    for name, cost in costs.items():
        found[name] = (before / total, (before + cost) / total)
        before += cost
    return Outline(found)
