"""Who answers which question of a batch, when several people sit at the desk at once."""

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa

from cleaner.errors import AnswerError
from cleaner.people.questions import Question, above, is_paged, questions, typed
from cleaner.plan.asking import take_answers, wanted
from cleaner.plan.runs import reopen
from cleaner.run.answers import of_each
from cleaner.tables import ANSWERS, CLASS_ANSWERS, Answer, Classes

_HELD = 300.0
"""Seconds for which a question that was handed to somebody is handed to nobody else."""


@dataclass(frozen=True)
class Progress:
    """How many answers there are to a batch, of how many, and how many of them are this person's."""

    answered: int
    asked: int
    mine: int


class Seats:
    """The desk of one batch, shared by everybody who sits at it in this process. A question is known by its number."""

    def __init__(self, folder: Path, name: str, manifest: str) -> None:
        self.run, self.name = reopen(folder), name
        batch, whole = self.run.store.batches.read(name), self.run.store.read(manifest)
        self.questions: list[Question] = questions(batch)
        self.classes = Classes.of(whole).names
        self.asked, self.typed, self.paged = above(batch), typed(batch), is_paged(batch)
        of_samples = "sample_id" in batch.column_names
        self._schema = ANSWERS if of_samples else CLASS_ANSWERS
        self._known = "sample_id" if of_samples else "label"
        self._about = [[line[self._known] for line in question["lines"]] for question in self.questions]
        shown = {row for question in self.questions for row in rows_of(question)}
        self.shown = whole.take(pa.array(sorted(shown), pa.int64())).append_column(
            "row", pa.array(sorted(shown), pa.int32())
        )
        self._manifest = whole.take(batch.column("row")) if of_samples else whole.slice(0, 0)
        self._lock, self._held, self._known_of = Lock(), dict[int, dict[str, float]](), (-1, -1)
        self._said, self._wanted = dict[str, list[str]](), dict[str, int]()

    def hand_out(self, person: str, count: int) -> list[int]:
        """The numbers of up to `count` questions that this person has not answered, and that nobody else is at; fewer
        where few are left, so that others find some too."""
        now, free = time.monotonic(), dict[int, dict[str, float]]()
        with self._lock:
            self._read()
            for number, about in enumerate(self._about):
                held = {by: until for by, until in self._held.get(number, {}).items() if until > now and by != person}
                lacking = max(self._wanted[one] - len(self._said.get(one, [])) for one in about)
                if lacking > len(held) and not any(person in self._said.get(one, []) for one in about):
                    free[number] = held
            found = [*free][: min(count, 1 + len(free) // 4)]
            for number in found:
                self._held[number] = free[number] | {person: now + _HELD}
        return found

    def take(self, person: str, given: dict[str, Any]) -> None:
        """Store an answer to the question `given["id"]`: `answer`, `new_label`, `seconds`; of a page, what is `marked`.

        Raises:
            AnswerError: it can't be an answer to this question.
        """
        number, answer, new_label = given.get("id"), given.get("answer"), given.get("new_label") or None
        if not isinstance(number, int) or not 0 <= number < len(self.questions):
            raise AnswerError(f"there is no question {number!r} in {self.name}; open the desk anew")
        question = self.questions[number]
        may = {choice["answer"] for choice in question["choices"]} | {self.typed["answer"], self.typed["same"]}
        if answer not in may or (new_label is None) != (answer != self.typed["answer"]):
            raise AnswerError(f"{answer!r} can't be an answer to {question['title']!r}; open the desk anew")
        if new_label is not None and new_label not in self.classes:
            raise AnswerError(f"there is no class {new_label!r}; choose one of the list")
        marked, seconds = {*given.get("marked", [])}, float(given.get("seconds") or 0)
        rows = []
        for place, about in enumerate(self._about[number]):
            unmarked = question["grid"] and answer == Answer.WRONG and place not in marked
            each = Answer.RIGHT.value if unmarked else str(answer)
            rows.append({self._known: about, "answer": each, "new_label": new_label, "by": person})
        answers = pa.Table.from_pylist(rows, self._schema)
        spent = pa.array([round(seconds / len(rows), 2)] * len(rows), pa.float64())
        with self._lock:
            take_answers(self.run, self.name, answers.append_column("seconds", spent), self._manifest)
            self._held.get(number, {}).pop(person, None)

    def progress(self, person: str) -> Progress:
        with self._lock:
            self._read()
            there = sum(min(len(self._said.get(about, [])), count) for about, count in self._wanted.items())
            mine = sum(person in by for by in self._said.values())
            return Progress(there, sum(self._wanted.values()), mine)

    def _read(self) -> None:
        """What has been said by now, whoever stored it."""
        stamp = self.run.store.answers.stamp
        if stamp == self._known_of:
            return
        stored = [answer for answer in self.run.store.answers.rows() if answer["batch"] == self.name]
        held = of_each(stored, lambda answer: str(answer[self._known]))
        self._said = {about: [answer["by"] for answer in answers] for about, answers in held.items()}
        self._wanted = wanted(self.run, self.name)
        self._known_of = stamp


def rows_of(question: Question) -> list[int]:
    """The rows of all images that a question shows."""
    large = [question["picture"]] if question["picture"] is not None else []
    return [*large, *question["grid"], *(row for group in question["groups"] for row in group["rows"])]
