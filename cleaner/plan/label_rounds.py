"""Which round of a stage of label noise comes next, and when there is none: what to do in turn, for whoever does it."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cleaner.methods.judging import ACCV
from cleaner.methods.label_noise import LEAST_GAIN
from cleaner.plan.so_far import End

if TYPE_CHECKING:
    from cleaner.plan.wrong_labels import WrongLabels

NO_BETTER = "one round more explained the labels no better"
NOTHING_NEW = "judged once, by the predictions of the stage before, which no round more makes better"


@dataclass(frozen=True)
class Predict:
    """Predict all samples by models of what stands, for round `number`; the answer is the evidence, by whatever it is
    known."""

    number: int


@dataclass(frozen=True)
class Compare:
    """The answer: by how much `evidence` raises the mean log likelihood of a given label beside that judged last."""

    evidence: Any


@dataclass(frozen=True)
class Judge:
    """Judge all by `evidence`, in round `number`; the answer: how many positives are new."""

    number: int
    evidence: Any


def label_rounds(
    split: "WrongLabels", first: Any = None, settled: End | None = None
) -> Generator[Predict | Compare | Judge, Any, End]:
    """The rounds of a stage. By belief, until one explains the given labels no better than the one before it. By the
    recipe, until nothing is taken back any more.

    Args:
        first: the evidence of the first round, where it is there.
        settled: how the stage before came to its end, where `first` is what it judged last and its end was that nothing
            explains the labels better: one judgement is all then.
    """
    last = split.max_rounds
    new = 0
    for number in range(1, last + 1):
        evidence = first
        if number > 1 or first is None:
            evidence = yield Predict(number)
            if number > 1 and split.policy != ACCV and not (yield Compare(evidence)) > LEAST_GAIN:
                return End(True, number - 1, NO_BETTER, refused=True)
        new = yield Judge(number, evidence)
        if settled is not None:
            return End(True, 1, NOTHING_NEW)
        if number > 1 and new == 0 and split.policy == ACCV:
            return End(True, number, "nothing was taken back any more")
    still = f"; the last still took {new:,} back" * (last > 1)
    return End(False, last, f"stopped at the most rounds allowed, {last}{still}")
