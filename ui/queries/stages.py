"""What became of the samples, and where."""

from dataclasses import dataclass

from cleaner.tables import Action
from cleaner.words import ACTIONS, STAGES
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


def branches(samples: Samples) -> list[tuple[str, str, int]]:
    """What leaves the stream: by which stage, relabelled or dropped, and how many; in the order of the stages."""
    question = "SELECT stage, action, count(*) AS n FROM kept.samples WHERE action != ? GROUP BY ALL"
    found = samples.ask(question, [Action.KEEP.value]).to_pylist()
    order = [*(stage for stage in STAGES if stage != "people"), "people"]
    found.sort(key=lambda row: (order.index(row["stage"]), row["action"]))
    return [(row["stage"], ACTIONS[row["action"]], row["n"]) for row in found]
