"""What a batch's answers were worth: how many changed what stood, and what its random share says of all negatives."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cleaner.people.review import DOUBTFUL, NEAR, RANDOM
from cleaner.tables import Answer, Asked

_WRONG = (Answer.ANOTHER, Answer.WRONG, Answer.JUNK)


@dataclass(frozen=True)
class Worth:
    """Of one batch about wrong labels.

    Attributes:
        answers: how many images people could tell something of.
        corrections: how many of these answers changed what stood: a negative whose label is right, a positive whose is
            not.
        random_answers, random_corrections: of these the negatives that were drawn at random.
        clean_share: the share of all negatives whose given label is right, as the random ones say it; None without any.
        interval: 95 % of it (Wilson 1927).
    """

    answers: int
    corrections: int
    random_answers: int
    random_corrections: int
    clean_share: float | None
    interval: tuple[float, float] | None


def worth(batch: pa.Table, words: list[dict[str, Any]]) -> Worth | None:
    """What the `words`, rows of SAID, that answer a BATCH were worth; None where it asks about no positive or negative
    of a stage."""
    because = dict(zip(*(batch.column(name).to_pylist() for name in ("sample_id", "asked_because")), strict=True))
    if not {*because.values()} & {NEAR, RANDOM, DOUBTFUL}:
        return None
    told_last = sorted((word for word in words if word["asked"] != Asked.KNOWN), key=lambda word: word["at"])
    newest = {word["sample_id"]: word for word in told_last}
    told = [(because[key], word["answer"]) for key, word in newest.items() if word["answer"] != Answer.UNSURE]
    corrected = [why for why, answer in told if (answer in _WRONG if why == DOUBTFUL else answer == Answer.RIGHT)]
    drawn, clean = sum(why == RANDOM for why, _ in told), corrected.count(RANDOM)
    return Worth(
        answers=len(told),
        corrections=len(corrected),
        random_answers=drawn,
        random_corrections=clean,
        clean_share=clean / drawn if drawn else None,
        interval=_interval(clean, drawn) if drawn else None,
    )


def _interval(count: int, of: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(count, of).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)
