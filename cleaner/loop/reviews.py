"""How the batches stand that were put before people."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cleaner.loop.asking import Ask, unanswered, wanted
from cleaner.loop.runs import Run
from cleaner.people.worth import Worth, worth
from cleaner.run.batches import stage_of
from cleaner.words import STAGES


@dataclass(frozen=True)
class Asked:
    """One batch: how many answers it asks for, and how many of them are there."""

    name: str
    asks: str
    asked: int
    answered: int
    closed: bool
    worth: Worth | None

    @property
    def missing(self) -> int:
        """How many answers the run waits for."""
        return 0 if self.closed else self.asked - self.answered


def batches_of(run: Run) -> list[Asked]:
    """All batches so far, in the order in which they are asked."""
    words: dict[str, list[dict[str, Any]]] = {}
    for word in run.store.answers.words():
        words.setdefault(word["batch"], []).append(word)
    return [_asked(run, name, words.get(name, [])) for name in run.store.batches.names()]


def _asked(run: Run, name: str, words: list[dict[str, Any]]) -> Asked:
    """How a batch stands, to which these words are all answers."""
    batches, asked = run.store.batches, sum(wanted(run, name, words).values())
    return Asked(
        name=name,
        asks=STAGES[stage_of(name)],
        asked=asked,
        answered=asked - unanswered(run, Ask(name, ""), words),
        closed=batches.is_closed(name),
        worth=_worth(batches.read(name), words),
    )


def _worth(asked: pa.Table, words: list[dict[str, Any]]) -> Worth | None:
    return worth(asked, words) if "asked_because" in asked.column_names else None
