"""What a plan yields: steps to be performed, questions to people, and what a person hears of it."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cleaner.run.steps import Step

if TYPE_CHECKING:
    from cleaner.plan.so_far import SoFar

T = TypeVar("T")


@dataclass(frozen=True)
class Begins:
    """A part of the run begins: in a person's words, and which shares of the whole run, in [0, 1], are estimated to be
    done before and after it."""

    words: str
    before: float
    after: float


@dataclass(frozen=True)
class Ends:
    """What came of the part that began last, in a person's words."""

    words: str


@dataclass(frozen=True)
class Ask:
    """A question to people: one batch, put before them unless it has been.

    Attributes:
        name: the batch's, `review-1`.
        manifest: the name of the manifest.
        output: the name of the BATCH or of the SMALL_CLASSES to ask about; None for a batch of before.
        waits: whether nothing may be done while answers are missing.
        strata, promise: the names of the STRATA that the batch is drawn from, and of the PROMISE of what its answers
            change.
    """

    name: str
    manifest: str
    output: str | None = None
    waits: bool = True
    strata: str = ""
    promise: str = ""


@dataclass(frozen=True)
class Reached:
    """What the run has come to by now, for whoever looks at it."""

    so_far: "SoFar"


@dataclass(frozen=True)
class Stands:
    """What stands so far, with all that results are written from; and what it is, in a person's words."""

    so_far: "SoFar"
    words: str


Item = list[Step] | Ask | Begins | Ends | Reached | Stands
"""A list has steps that do not depend on each other."""

Plan = Generator[Item, None, T]
"""Yields what is to be done next, and comes to a T; whoever performs it comes back for more."""


def one(step: Step) -> Plan[str]:
    """The name of the step's output."""
    yield [step]
    return step.output
