"""What a batch's answers were worth: how many overturned a verdict, beside how many were expected to.

Of what is kept the verdict is that its label is right, of what is doubted that it is wrong, whatever it is instead, and
of junk that it is junk.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cleaner.tables import Answer, HowAsked, Why


@dataclass(frozen=True)
class Worth:
    """Of one batch, of the images that people could tell something of.

    Attributes:
        answers: how many they are.
        changes: how many of these answers overturned the verdict.
        expected: how many were expected to when they were asked for, as models had it.
        by_why: both of each `Why`.
        drawn_answers, drawn_changes: how many of the images were drawn at random, and of how many of these the answers
            changed something.
    """

    answers: int
    changes: int
    expected: float
    by_why: dict[str, tuple[int, float]]
    drawn_answers: int
    drawn_changes: int


def worth(batch: pa.Table, answers: list[dict[str, Any]]) -> Worth | None:
    """What the `answers` to a BATCH, rows of ANSWER_LOG, were worth. None where it asks about classes, or where a
    version of cleaner sent it that did not yet write down what answers were expected to change."""
    if "why" not in batch.column_names:
        return None
    columns = (batch.column(name).to_pylist() for name in ("sample_id", "why", "gain", "drawn"))
    asked = {sample: facts for sample, *facts in zip(*columns, strict=True)}
    in_order = sorted((each for each in answers if each["asked"] != HowAsked.KNOWN), key=lambda each: each["at"])
    newest = {each["sample_id"]: each["answer"] for each in in_order}
    known = [
        (*asked[sample], answer) for sample, answer in newest.items() if sample in asked and answer != Answer.UNSURE
    ]
    changed = [_changes(why, answer) for why, _, _, answer in known]
    by_why = dict.fromkeys([kind.value for kind in Why], (0, 0.0))
    for (why, gain, _, _), changes in zip(known, changed, strict=True):
        by_why[why] = (by_why[why][0] + changes, by_why[why][1] + gain)
    return Worth(
        answers=len(known),
        changes=sum(changed),
        expected=sum(gain for _, gain, _, _ in known),
        by_why=by_why,
        drawn_answers=sum(drawn for _, _, drawn, _ in known),
        drawn_changes=sum(changes for (_, _, drawn, _), changes in zip(known, changed, strict=True) if drawn),
    )


def _changes(why: str, answer: str) -> bool:
    if why == Why.JUNK:
        return answer != Answer.JUNK
    if why == Why.DOUBTED:
        return answer == Answer.RIGHT
    return answer != Answer.RIGHT
