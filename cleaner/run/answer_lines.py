"""A line of the file of answers: an answer, or the withdrawal of answers."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cleaner.errors import RunError
from cleaner.tables import ANSWER_LOG, Answer, ClassAnswer, HowAsked

ONCE = HowAsked.ONCE.value
_WITHDRAWS = {"content_hash", "label", "by", "batch"}
_OF_IMAGES, _OF_CLASSES, _HOW = {*map(str, Answer)}, {*map(str, ClassAnswer)}, {*map(str, HowAsked)}
AnswerRows = list[dict[str, Any]]
"""Rows of ANSWER_LOG."""
WithWithdrawals = list[tuple[dict[str, Any], int]]
"""AnswerRows, and the number of the withdrawal that each is withdrawn by; 0 where it holds."""


@dataclass(frozen=True)
class Withdrawal:
    """Attributes:
    number: from 1 on, in the order in which they were stored.
    which: the answers that are withdrawn, those that have each of these values: `content_hash`, `label` (of a class of
        which they speak), `by`, `batch`; or `withdrawal`, the number of a withdrawal.
    at: when, as in ANSWER_LOG.
    answers: how many are withdrawn by this one.
    holds: whether it is not withdrawn itself.
    """

    number: int
    which: dict[str, Any]
    at: str
    answers: int
    holds: bool


def stored(line: dict[str, Any], now: str) -> dict[str, Any]:
    """A line as it is stored; an answer without a moment is said now."""
    if "withdraws" in line:
        return sound(line)
    return sound({**line, "at": line["at"] or now, "asked": line["asked"] or ONCE})


def line_of(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
        if isinstance(answer, dict) and "withdraws" not in answer:
            answer.setdefault("asked", ONCE)
        return sound(answer)
    except ValueError as error:
        remedy = "restore it from a copy: people's answers are in it"
        raise RunError(f"{file}: line {number}: is damaged ({error}); {remedy}") from error


def told(lines: AnswerRows) -> tuple[WithWithdrawals, list[Withdrawal]]:
    """The answers, each with the first withdrawal that holds for it, and the withdrawals, of sound lines."""
    places = [place for place, line in enumerate(lines) if "withdraws" in line]
    holds = dict.fromkeys(range(1, len(places) + 1), True)
    for number in range(len(places), 0, -1):  # Whether the later ones hold is known.
        undone = lines[places[number - 1]]["withdraws"].get("withdrawal", number)
        if holds[number] and undone < number:
            holds[undone] = False
    spoken, counts = [], dict.fromkeys(holds, 0)
    for place, line in enumerate(lines):
        if "withdraws" in line:
            continue
        by = [
            number
            for number, at in enumerate(places, 1)
            if holds[number] and at > place and _means(lines[at]["withdraws"], line)
        ]
        spoken.append((line, by[0] if by else 0))
        if by:
            counts[by[0]] += 1
    found = [(number, lines[place]) for number, place in enumerate(places, 1)]
    withdrawals = [
        Withdrawal(number, line["withdraws"], line["at"], counts[number], holds[number]) for number, line in found
    ]
    return spoken, withdrawals


def _means(which: dict[str, Any], answer: dict[str, Any]) -> bool:
    """Whether a withdrawal of answers is one of this answer."""
    if "withdrawal" in which or ("label" in which and answer["content_hash"] is not None):
        return False
    return all(answer[name] == value for name, value in which.items())


def sound(answer: Any) -> dict[str, Any]:
    """An answer or a withdrawal whose moment is in UTC, so that moments are in order as text is.

    Raises:
        ValueError: it can't be one.
    """
    if isinstance(answer, dict) and set(answer) == {"withdraws", "at"}:
        which = answer["withdraws"]
        if not isinstance(which, dict) or not which or not (set(which) <= _WITHDRAWS or set(which) == {"withdrawal"}):
            raise ValueError("withdraws nothing that there is")
        if not isinstance(answer["at"], str):
            raise ValueError("a moment that is none")
        if not all(isinstance(value, int if name == "withdrawal" else str) for name, value in which.items()):
            raise ValueError("withdraws by a value that can't be")
        return {**answer, "at": in_utc(answer["at"])}
    if not isinstance(answer, dict) or set(answer) != set(ANSWER_LOG.names):
        raise ValueError("other fields than an answer's")
    if not all(value is None or isinstance(value, str) for name, value in answer.items() if name != "seconds"):
        raise ValueError("a field that is no text")
    if not (answer["seconds"] is None or isinstance(answer["seconds"], (int, float))):
        raise ValueError("seconds that are no number")
    known = _OF_CLASSES if answer["content_hash"] is None else _OF_IMAGES
    if answer["answer"] not in known:
        raise ValueError(f"the answer {answer['answer']!r}, which is none of {', '.join(sorted(known))}")
    if answer["asked"] not in _HOW:
        raise ValueError(f"asked {answer['asked']!r}, which is none of {', '.join(sorted(_HOW))}")
    return {**answer, "at": in_utc(answer["at"] or "")}


def in_utc(moment: str) -> str:
    """A moment, ISO 8601, in UTC with microseconds; one without a zone is taken to be in it.

    Raises:
        ValueError: it is none.
    """
    at = datetime.fromisoformat(moment)
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")
