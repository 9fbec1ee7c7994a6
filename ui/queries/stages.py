"""What became of the samples, and where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cleaner.charts.scores import BINS
from cleaner.run.state import Judged
from cleaner.stages import in_order
from cleaner.tables import Action
from cleaner.words import ACTIONS
from ui.queries.samples import Samples


@dataclass(frozen=True)
class Totals:
    """Attributes: `actions`, how many samples are kept, relabelled and dropped, by the words of `ACTIONS`."""

    samples: int
    actions: dict[str, int]


def totals(samples: Samples) -> Totals:
    found = samples.ask("SELECT action, count(*) AS n FROM kept.samples GROUP BY action").to_pylist()
    counts = {row["action"]: row["n"] for row in found}
    return Totals(sum(counts.values()), {words: counts.get(action, 0) for action, words in ACTIONS.items()})


def branches(samples: Samples, rounds: Sequence[Judged]) -> list[tuple[str, str, int]]:
    """What leaves the stream: by which stage, relabelled or dropped, and how many; in the order of the stages."""
    question = "SELECT stage, action, count(*) AS n FROM kept.samples WHERE action != ? GROUP BY ALL"
    found = samples.ask(question, [Action.KEEP.value]).to_pylist()
    judged = (each.stage for each in rounds if each.round)
    order = in_order(judged, {row["stage"] for row in found})
    found.sort(key=lambda row: (order.index(row["stage"]), row["action"]))
    return [(row["stage"], ACTIONS[row["action"]], row["n"]) for row in found]


def scores(samples: Samples) -> dict[str, np.ndarray]:
    """How many samples have which score, in `BINS` equal bins over [0, 1], of each action by the words of `ACTIONS`."""
    place = f"least(floor(score * {BINS}), {BINS - 1})::INTEGER"
    scored = "FROM kept.samples WHERE score IS NOT NULL GROUP BY ALL"
    found = samples.ask(f"SELECT action, {place} AS bin, count(*) AS n {scored}")
    counts = {words: np.zeros(BINS, int) for words in ACTIONS.values()}
    for row in found.to_pylist():
        counts[ACTIONS[row["action"]]][row["bin"]] = row["n"]
    return counts
