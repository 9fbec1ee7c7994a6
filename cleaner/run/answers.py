"""People's answers: `answers.jsonl`, one line an answer, append-only.

An answer is about what an image shows, and so about every file with the same bytes; or it is about a class, by its
name. The batch that asked for it is stored beside it and changes nothing: the newest answer on an image or a class
holds.

A withdrawal is a line of its own: the answers that it names, as far as they stand before it, count as never given. It
can be withdrawn in turn, and then counts as never given itself.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from filelock import FileLock

from cleaner.errors import InputError, RunError
from cleaner.run.answer_lines import AnswerRows, Withdrawal, WithWithdrawals, line_of, sound, stored, told
from cleaner.run.files import storage_error
from cleaner.tables import ANSWER_LOG, HowAsked

FILE = "answers.jsonl"


@dataclass(frozen=True)
class Answers:
    """The answers stored in the run directory `folder`. Several processes may add to them at once."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / FILE

    @property
    def stamp(self) -> tuple[int, int]:
        """The length of the file, and when it changed: others after each answer. Its moment alone might not be, since
        clocks of file systems tick slowly, nor its length, where a write that was killed has left half a line."""
        if not self.file.exists():
            return 0, 0
        found = self.file.stat()
        return found.st_size, found.st_mtime_ns

    def rows(self, first: int | None = None) -> AnswerRows:
        """All answers that are not withdrawn, the oldest first, with the columns of ANSWER_LOG; by the whole log, or by
        its `first` so many lines.

        Raises:
            RunError: a line is damaged.
        """
        return [answer for answer, withdrawn in self.with_withdrawals(first) if not withdrawn]

    def with_withdrawals(self, first: int | None = None) -> WithWithdrawals:
        """All answers, withdrawn or not; otherwise as `rows`."""
        return told(self._lines(first))[0]

    def withdrawals(self) -> list[Withdrawal]:
        """All withdrawals, the oldest first.

        Raises:
            RunError: a line is damaged.
        """
        return told(self._lines())[1]

    def lines(self) -> int:
        """How many answers and withdrawals are stored."""
        return self._data().count(b"\n")

    def _data(self) -> bytes:
        try:
            return self.file.read_bytes() if self.file.exists() else b""
        except OSError as error:
            raise storage_error(self.file, error) from error

    def _lines(self, first: int | None = None) -> AnswerRows:
        # What stands after the last line's end is what is left of a write that was killed, or one that is under way.
        lines = self._data().split(b"\n")[:-1]
        return [line_of(self.file, number, line) for number, line in enumerate(lines[:first], 1)]

    def read(self, first: int | None = None) -> pa.Table:
        """The `rows` as ANSWER_LOG.

        Raises:
            RunError: a line is damaged.
        """
        return pa.Table.from_pylist(self.rows(first), ANSWER_LOG)

    def append(self, answers: pa.Table) -> None:
        """Add the answers `answers`, ANSWER_LOG; those without a moment are said now.

        Raises:
            StorageError: the disk refused the write.
            RunError: one of them is no answer, or its moment is none.
        """
        self._locked(lambda: answers.to_pylist())

    def append_news(self, news: Callable[[WithWithdrawals], AnswerRows]) -> None:
        """Add what `news` makes of all that was `spoken` so far. Nobody else adds any between the two.

        Raises:
            StorageError: the disk refused the write.
            RunError: a line is damaged, or what is to be added is no answer.
        """
        self._locked(lambda: news(self.with_withdrawals()))

    def withdraw(self, which: dict[str, Any]) -> Withdrawal:
        """Take back the answers, or the withdrawal, that a Withdrawal's `which` means.

        Raises:
            StorageError: the disk refused the write.
            RunError: a line is damaged.
            InputError: there is no such thing that holds; nothing is written.
        """
        found: list[Withdrawal] = []

        def line() -> AnswerRows:
            lines = self._lines()
            new = sound({"withdraws": which, "at": datetime.now(UTC).isoformat()})
            before, after = told(lines)[1], told([*lines, new])[1]
            found.append(after[-1])
            if "withdrawal" in which and not any(was.number == which["withdrawal"] and was.holds for was in before):
                raise InputError(f"{self.folder}: no withdrawal {which['withdrawal']} holds, so none is taken back")
            if "withdrawal" not in which and not after[-1].answers:
                raise InputError(f"{self.folder}: there is no such answer that holds, so none is withdrawn")
            return [new]

        self._locked(line)
        return found[0]

    def _locked(self, lines: Callable[[], AnswerRows]) -> None:
        now = datetime.now(UTC).isoformat()
        try:
            with FileLock(self.folder / f".{FILE}.lock"):
                text = "".join(
                    json.dumps(stored(answer, now), ensure_ascii=False) + "\n" for answer in lines()
                ).encode()
                with self.file.open("a+b") as file:
                    _cut_half_a_line(file)
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
        except ValueError as error:
            raise RunError(f"{self.file}: what was to be added is no answer ({error}); nothing was") from error
        except OSError as error:
            raise storage_error(self.file, error) from error


def _cut_half_a_line(file: BinaryIO) -> None:
    """Remove what a killed write left after the last line's end."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if end and file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def newest(answers: pa.Table) -> pa.Table:
    """Of ANSWER_LOG the newest answer on each image and each class, ordered by what they are about. Answers on known
    images decide nothing and are left out; of two answers of one moment the one stored last is newer."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for answer in answers.to_pylist():
        if answer["asked"] == HowAsked.KNOWN:
            continue
        about = (answer["content_hash"] or "", "" if answer["content_hash"] else answer["label"])
        if about not in last or answer["at"] >= last[about]["at"]:
            last[about] = answer
    return pa.Table.from_pylist([last[about] for about in sorted(last)], ANSWER_LOG)


def of_each(answers: AnswerRows, about: Callable[[dict[str, Any]], str]) -> dict[str, AnswerRows]:
    """By what they are about, the newest answer of each person, the newest last; of two of one moment the one stored
    last is newer. Whoever counts answers counts these."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for answer in sorted(answers, key=itemgetter("at")):
        by = found.setdefault(about(answer), {})
        by.pop(answer["by"], None)
        by[answer["by"]] = answer
    return {thing: list(by.values()) for thing, by in found.items()}


def on_images(answers: pa.Table) -> pa.Table:
    return answers.filter(answers.column("content_hash").is_valid())


def on_classes(answers: pa.Table) -> pa.Table:
    return answers.filter(answers.column("content_hash").is_null())
