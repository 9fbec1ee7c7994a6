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
from cleaner.run.files import storage_error
from cleaner.tables import SAID, Answer, ClassAnswer, HowAsked

FILE = "answers.jsonl"
_ONCE = HowAsked.ONCE.value
_WITHDRAWS = {"content_hash", "label", "by", "batch"}
_OF_IMAGES, _OF_CLASSES, _HOW = {*map(str, Answer)}, {*map(str, ClassAnswer)}, {*map(str, HowAsked)}

Words = list[dict[str, Any]]
"""Rows of SAID."""
Spoken = list[tuple[dict[str, Any], int]]
"""Words, and the number of the withdrawal that each is withdrawn by; 0 where it holds."""


@dataclass(frozen=True)
class Withdrawal:
    """Attributes:
    number: from 1 on, in the order in which they were stored.
    which: the words that are withdrawn, those that have each of these values: `content_hash`, `label` (of a class of
        which they speak), `by`, `batch`; or `withdrawal`, the number of a withdrawal.
    at: when, as in SAID.
    words: how many are withdrawn by this one.
    holds: whether it is not withdrawn itself.
    """

    number: int
    which: dict[str, Any]
    at: str
    words: int
    holds: bool


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
        return _told(self._lines(first))[0]

    def withdrawals(self) -> list[Withdrawal]:
        """All withdrawals, the oldest first.

        Raises:
            RunError: a line is damaged.
        """
        return _told(self._lines())[1]

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
        return [_line(self.file, number, line) for number, line in enumerate(lines[:first], 1)]

    def read(self, first: int | None = None) -> pa.Table:
        """The `words` as SAID.

        Raises:
            RunError: a line is damaged.
        """
        return pa.Table.from_pylist(self.words(first), SAID)

    def append(self, said: pa.Table) -> None:
        """Add the words `said`, SAID; those without a moment are said now.

        Raises:
            StorageError: the disk refused the write.
            RunError: one of them is no answer, or its moment is none.
        """
        self._locked(lambda: said.to_pylist())

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
            new = _sound({"withdraws": which, "at": datetime.now(UTC).isoformat()})
            before, after = _told(lines)[1], _told([*lines, new])[1]
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
                text = "".join(json.dumps(_at(word, now), ensure_ascii=False) + "\n" for word in words()).encode()
                with self.file.open("a+b") as file:
                    _cut_half_a_line(file)
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
        except ValueError as error:
            raise RunError(f"{self.file}: what was to be added is no answer ({error}); nothing was") from error
        except OSError as error:
            raise storage_error(self.file, error) from error


def _at(line: dict[str, Any], now: str) -> dict[str, Any]:
    """A line as it is stored; a word without a moment is said now."""
    if "withdraws" in line:
        return _sound(line)
    return _sound({**line, "at": line["at"] or now, "asked": line["asked"] or _ONCE})


def _line(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        word = json.loads(line)
        if isinstance(word, dict) and "withdraws" not in word:
            word.setdefault("asked", _ONCE)
        return _sound(word)
    except ValueError as error:
        remedy = "restore it from a copy: people's answers are in it"
        raise RunError(f"{file}: line {number}: is damaged ({error}); {remedy}") from error


def _told(lines: Words) -> tuple[Spoken, list[Withdrawal]]:
    """The words, each with the first withdrawal that holds for it, and the withdrawals, of sound lines."""
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


def _means(which: dict[str, Any], word: dict[str, Any]) -> bool:
    """Whether a withdrawal of words is one of this word."""
    if "withdrawal" in which or ("label" in which and word["content_hash"] is not None):
        return False
    return all(word[name] == value for name, value in which.items())


def _sound(word: Any) -> dict[str, Any]:
    """A word or a withdrawal whose moment is in UTC, so that moments are in order as text is.

    Raises:
        ValueError: it can't be one.
    """
    if isinstance(word, dict) and set(word) == {"withdraws", "at"}:
        which = word["withdraws"]
        if not isinstance(which, dict) or not which or not (set(which) <= _WITHDRAWS or set(which) == {"withdrawal"}):
            raise ValueError("withdraws nothing that there is")
        if not isinstance(word["at"], str):
            raise ValueError("a moment that is none")
        if not all(isinstance(value, int if name == "withdrawal" else str) for name, value in which.items()):
            raise ValueError("withdraws by a value that can't be")
        return {**word, "at": in_utc(word["at"])}
    if not isinstance(word, dict) or set(word) != set(SAID.names):
        raise ValueError("other fields than an answer's")
    if not all(value is None or isinstance(value, str) for name, value in word.items() if name != "seconds"):
        raise ValueError("a field that is no text")
    if not (word["seconds"] is None or isinstance(word["seconds"], (int, float))):
        raise ValueError("seconds that are no number")
    known = _OF_CLASSES if word["content_hash"] is None else _OF_IMAGES
    if word["answer"] not in known:
        raise ValueError(f"the answer {word['answer']!r}, which is none of {', '.join(sorted(known))}")
    if word["asked"] not in _HOW:
        raise ValueError(f"asked {word['asked']!r}, which is none of {', '.join(sorted(_HOW))}")
    return {**word, "at": in_utc(word["at"] or "")}


def in_utc(moment: str) -> str:
    """A moment, ISO 8601, in UTC with microseconds; one without a zone is taken to be in it.

    Raises:
        ValueError: it is none.
    """
    at = datetime.fromisoformat(moment)
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")


def _cut_half_a_line(file: BinaryIO) -> None:
    """Remove what a killed write left after the last line's end."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if end and file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def newest(said: pa.Table) -> pa.Table:
    """Of SAID the newest word on each image and on each class that decides anything, ordered by what they are about; of
    two words of one moment the one that was stored last."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for word in said.to_pylist():
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


def on_images(said: pa.Table) -> pa.Table:
    return said.filter(said.column("content_hash").is_valid())


def on_classes(said: pa.Table) -> pa.Table:
    return said.filter(said.column("content_hash").is_null())
