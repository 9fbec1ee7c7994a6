"""How the batches stand that were put before people."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from cleaner.people.worth import Worth, worth
from cleaner.plan.asking import promise_of, unanswered, wanted
from cleaner.plan.items import Ask
from cleaner.run.batches import stage_of
from cleaner.stages import title

if TYPE_CHECKING:
    from cleaner.plan.runs import Run


@dataclass(frozen=True)
class BatchStatus:
    """One batch: how many answers it asks for, and how many of them are there."""

    name: str
    asks: str
    asked: int
    answered: int
    closed: bool
    worth: Worth | None
    promised: float
    """How many of the answers that are there were expected to overturn a verdict, when they were asked for."""

    @property
    def missing(self) -> int:
        """How many answers the run waits for."""
        return 0 if self.closed else self.asked - self.answered


def batches_of(run: "Run") -> list[BatchStatus]:
    """All batches so far, in the order in which they are asked."""
    answers: dict[str, list[dict[str, Any]]] = {}
    for answer in run.store.answers.rows():
        answers.setdefault(answer["batch"], []).append(answer)
    return [_asked(run, name, answers.get(name, [])) for name in run.store.batches.names()]


def _asked(run: "Run", name: str, answers: list[dict[str, Any]]) -> BatchStatus:
    """How a batch stands, to which these answers are all answers."""
    batches, asked = run.store.batches, sum(wanted(run, name, answers).values())
    batch = batches.read(name)
    found = _worth(batch, answers)
    return BatchStatus(
        name=name,
        asks=title(stage_of(name)),
        asked=asked,
        answered=asked - unanswered(run, Ask(name, ""), answers),
        closed=batches.is_closed(name),
        worth=found,
        promised=_promised(run, name, batch, found) if found is not None else 0.0,
    )


def _promised(run: "Run", name: str, batch: pa.Table, found: Worth) -> float:
    """By how much was promised of all answers, and by how likely each was to overturn a verdict."""
    promise = promise_of(run, name)
    expected = pc.sum(batch.filter(batch.column("known").is_null()).column("gain")).as_py() or 0.0
    return found.expected * promise["changes"] / expected if promise is not None and expected else found.expected


def _worth(asked: pa.Table, answers: list[dict[str, Any]]) -> Worth | None:
    return worth(asked, answers) if "asked_because" in asked.column_names else None
