"""What holds of an image on which people disagree.

Of what one person says the newest holds, and so it does where each was asked alone: whoever speaks last has seen what
was said before. Where several were asked about one image, none of them knowing of the others, what they say is weighed.
"""

from collections import Counter
from typing import Any, Literal

import pyarrow as pa

from cleaner.people.agreement import on_known, shown
from cleaner.run.answer_lines import Words
from cleaner.run.answers import newest, of_each, on_images
from cleaner.tables import SAID, HowAsked

DISPUTED = "disputed"
"""The answer that stands where people disagree and nothing settles it."""

Disagreement = Literal["third", "accurate", "open"]


def settled(answers: pa.Table, how: Disagreement) -> pa.Table:
    """SAID: the one word that holds on each image, ordered by content; `by` names all who disagree where the answer is
    DISPUTED.

    Args:
        how: `third`: the word of the majority; `accurate`: of whoever is right most often on the images that were known
            (by the rule of succession; of equals the newest); `open`: none. Without either it is disputed.
    """
    several = [word for word in answers.to_pylist() if word["asked"] == HowAsked.SEVERAL]
    together = of_each(several, _question)
    accuracy = (
        {by: (right + 1) / (of + 2) for by, (right, of) in on_known(answers).items()} if how == "accurate" else {}
    )
    held = []
    for word in newest(on_images(answers)).to_pylist():
        words = together[_question(word)] if word["asked"] == HowAsked.SEVERAL else [word]
        held.append(_settled(words, how, accuracy))
    return pa.Table.from_pylist(held, SAID)


def _question(word: dict[str, Any]) -> str:
    return f"{word['batch']} {word['content_hash']}"


def majority(words: Words) -> dict[str, Any] | None:
    """The newest word that says what more than half of `words` say, of each person one."""
    most, count = Counter(map(shown, words)).most_common(1)[0]
    return [word for word in words if shown(word) == most][-1] if 2 * count > len(words) else None


def _settled(words: Words, how: Disagreement, accuracy: dict[str, float]) -> dict[str, Any]:
    agreed = len(set(map(shown, words))) == 1
    found = words[-1] if agreed else majority(words) if how == "third" else None
    if found is None and how == "accurate":
        found = max(enumerate(words), key=lambda each: (accuracy.get(each[1]["by"], 0.5), each[0]))[1]
    by = ", ".join(sorted(word["by"] for word in words))
    return found or {**words[-1], "answer": DISPUTED, "new_label": None, "by": by, "seconds": None}
