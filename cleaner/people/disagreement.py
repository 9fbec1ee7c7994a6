"""What holds of an image on which people disagree.

Of what one person says the newest holds, and so it does where each was asked alone: whoever speaks last has seen what
was said before. Where several were asked about one image, none of them knowing of the others, what they say is weighed.
"""

from collections import Counter
from typing import Any, Literal

import pyarrow as pa

from cleaner.people.agreement import on_known, shown
from cleaner.run.answer_lines import AnswerRows
from cleaner.run.answers import newest, of_each, on_images
from cleaner.tables import ANSWER_LOG, HowAsked

DISPUTED = "disputed"
"""The answer that stands where people disagree and nothing settles it."""

Disagreement = Literal["third", "accurate", "open"]


def settled(answers: pa.Table, how: Disagreement) -> pa.Table:
    """ANSWER_LOG: the one answer that holds on each image, ordered by content. Where it is DISPUTED, `by` names all who
    disagree.

    Args:
        how: `third`: the majority's answer holds; `accurate`: that of whoever is right most often on known images (by
            the rule of succession; of equals the newest); `open`: none. Where none holds the image is disputed.
    """
    several = [answer for answer in answers.to_pylist() if answer["asked"] == HowAsked.SEVERAL]
    together = of_each(several, _question)
    accuracy = (
        {by: (right + 1) / (of + 2) for by, (right, of) in on_known(answers).items()} if how == "accurate" else {}
    )
    held = []
    for answer in newest(on_images(answers)).to_pylist():
        those = together[_question(answer)] if answer["asked"] == HowAsked.SEVERAL else [answer]
        held.append(_settled(those, how, accuracy))
    return pa.Table.from_pylist(held, ANSWER_LOG)


def _question(answer: dict[str, Any]) -> str:
    return f"{answer['batch']} {answer['content_hash']}"


def majority(answers: AnswerRows) -> dict[str, Any] | None:
    """The newest answer that says what more than half of `answers` say, of each person one."""
    most, count = Counter(map(shown, answers)).most_common(1)[0]
    return [answer for answer in answers if shown(answer) == most][-1] if 2 * count > len(answers) else None


def _settled(answers: AnswerRows, how: Disagreement, accuracy: dict[str, float]) -> dict[str, Any]:
    agreed = len(set(map(shown, answers))) == 1
    found = answers[-1] if agreed else majority(answers) if how == "third" else None
    if found is None and how == "accurate":
        found = max(enumerate(answers), key=lambda each: (accuracy.get(each[1]["by"], 0.5), each[0]))[1]
    by = ", ".join(sorted(answer["by"] for answer in answers))
    return found or {**answers[-1], "answer": DISPUTED, "new_label": None, "by": by, "seconds": None}
