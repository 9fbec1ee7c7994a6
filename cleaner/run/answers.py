"""What people said: `answers.jsonl`, one line a word, appended and never changed.

A word is about what an image shows, and so about every file with the same bytes, or about a class by its name. Which
batch asked for it is told beside it and changes nothing: of all words on one image or class the newest holds.

Words can be withdrawn, by a line of its own: of all that was stored before it, what it says counts as never said. Such
a line can be withdrawn in turn, and then it is the one that counts as never said.
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
from cleaner.run.answer_lines import Spoken, Withdrawal, Words, line_of, sound, stored, told
from cleaner.run.files import storage_error
from cleaner.tables import SAID, HowAsked

FILE = "answers.jsonl"


@dataclass(frozen=True)
class Answers:
    """The words stored in the run directory `folder`. Several processes may add to them at once."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / FILE

    @property
    def stamp(self) -> tuple[int, int]:
        """The length of the file, and when it changed: others after each word. Its moment alone might not be, since
        clocks of file systems tick slowly, nor its length, where a write that was killed has left half a line."""
        if not self.file.exists():
            return 0, 0
        found = self.file.stat()
        return found.st_size, found.st_mtime_ns

    def words(self, first: int | None = None) -> Words:
        """All words that are not withdrawn, the oldest first, each by the columns of SAID, by all that is stored, or by
        the `first` so many lines of it.

        Raises:
            RunError: a line is damaged.
        """
        return [word for word, withdrawn in self.spoken(first) if not withdrawn]

    def spoken(self, first: int | None = None) -> Spoken:
        """All words, withdrawn or not; otherwise as `words`."""
        return told(self._lines(first))[0]

    def withdrawals(self) -> list[Withdrawal]:
        """All withdrawals, the oldest first.

        Raises:
            RunError: a line is damaged.
        """
        return told(self._lines())[1]

    def lines(self) -> int:
        """How many words and withdrawals are stored."""
        return self._data().count(b"\n")

    def _data(self) -> bytes:
        try:
            return self.file.read_bytes() if self.file.exists() else b""
        except OSError as error:
            raise storage_error(self.file, error) from error

    def _lines(self, first: int | None = None) -> Words:
        # What stands after the last line's end is what is left of a write that was killed, or one that is under way.
        lines = self._data().split(b"\n")[:-1]
        return [line_of(self.file, number, line) for number, line in enumerate(lines[:first], 1)]

    def read(self, first: int | None = None) -> pa.Table:
        """The `words` as SAID.

        Raises:
            RunError: a line is damaged.
        """
        return pa.Table.from_pylist(self.words(first), SAID)

    def append(self, answers: pa.Table) -> None:
        """Add the words `answers`, SAID; those without a moment are said now.

        Raises:
            StorageError: the disk refused the write.
            RunError: one of them is no answer, or its moment is none.
        """
        self._locked(lambda: answers.to_pylist())

    def append_news(self, news: Callable[[Spoken], Words]) -> None:
        """Add what `news` makes of all that was `spoken` so far. Nobody else adds any between the two.

        Raises:
            StorageError: the disk refused the write.
            RunError: a line is damaged, or what is to be added is no answer.
        """
        self._locked(lambda: news(self.spoken()))

    def withdraw(self, which: dict[str, Any]) -> Withdrawal:
        """Take back the words, or the withdrawal, that a Withdrawal's `which` means.

        Raises:
            StorageError: the disk refused the write.
            RunError: a line is damaged.
            InputError: there is no such thing that holds; nothing is written.
        """
        found: list[Withdrawal] = []

        def line() -> Words:
            lines = self._lines()
            new = sound({"withdraws": which, "at": datetime.now(UTC).isoformat()})
            before, after = told(lines)[1], told([*lines, new])[1]
            found.append(after[-1])
            if "withdrawal" in which and not any(was.number == which["withdrawal"] and was.holds for was in before):
                raise InputError(f"{self.folder}: no withdrawal {which['withdrawal']} holds, so none is taken back")
            if "withdrawal" not in which and not after[-1].words:
                raise InputError(f"{self.folder}: there is no such answer that holds, so none is withdrawn")
            return [new]

        self._locked(line)
        return found[0]

    def _locked(self, words: Callable[[], Words]) -> None:
        now = datetime.now(UTC).isoformat()
        try:
            with FileLock(self.folder / f".{FILE}.lock"):
                text = "".join(json.dumps(stored(word, now), ensure_ascii=False) + "\n" for word in words()).encode()
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
    """Of SAID the newest word on each image and on each class that decides anything, ordered by what they are about; of
    two words of one moment the one that was stored last."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for word in answers.to_pylist():
        if word["asked"] == HowAsked.KNOWN:
            continue
        about = (word["content_hash"] or "", "" if word["content_hash"] else word["label"])
        if about not in last or word["at"] >= last[about]["at"]:
            last[about] = word
    return pa.Table.from_pylist([last[about] for about in sorted(last)], SAID)


def of_each(words: Words, about: Callable[[dict[str, Any]], str]) -> dict[str, Words]:
    """What people say of each thing that `words` are about: of each person the newest word, the newest last; of two of
    one moment the one that was stored last. Whoever counts answers counts these."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for word in sorted(words, key=itemgetter("at")):
        by = found.setdefault(about(word), {})
        by.pop(word["by"], None)
        by[word["by"]] = word
    return {thing: list(by.values()) for thing, by in found.items()}


def on_images(answers: pa.Table) -> pa.Table:
    return answers.filter(answers.column("content_hash").is_valid())


def on_classes(answers: pa.Table) -> pa.Table:
    return answers.filter(answers.column("content_hash").is_null())
