"""What people said: `answers.jsonl`, one line a word, appended and never changed.

A word is about what an image shows, and so about every file with the same bytes, or about a class by its name. Which
batch asked for it is told beside it and changes nothing: of all words on one image or class the newest holds.
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

from cleaner.errors import RunError
from cleaner.run.files import storage_error
from cleaner.tables import SAID, Answer, Asked, ClassAnswer

FILE = "answers.jsonl"
_ONCE = Asked.ONCE.value
_OF_IMAGES, _OF_CLASSES, _HOW = {*map(str, Answer)}, {*map(str, ClassAnswer)}, {*map(str, Asked)}

Words = list[dict[str, Any]]
"""Rows of SAID."""


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
        """All words, or the `first` so many, the oldest first, each by the columns of SAID.

        Raises:
            RunError: a line is damaged.
        """
        try:
            data = self.file.read_bytes() if self.file.exists() else b""
        except OSError as error:
            raise storage_error(self.file, error) from error
        # What stands after the last line's end is what is left of a write that was killed, or one that is under way.
        lines = data.split(b"\n")[:-1]
        return [_word(self.file, number, line) for number, line in enumerate(lines[:first], 1)]

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

    def append_news(self, news: Callable[[Words], Words]) -> None:
        """Add what `news` makes of all words so far. Nobody else adds any between the two.

        Raises:
            StorageError: the disk refused the write.
            RunError: a line is damaged, or what is to be added is no answer.
        """
        self._locked(lambda: news(self.words()))

    def _locked(self, words: Callable[[], Words]) -> None:
        now = datetime.now(UTC).isoformat()
        try:
            with FileLock(self.folder / f".{FILE}.lock"):
                said = [{**word, "at": word["at"] or now, "asked": word["asked"] or _ONCE} for word in words()]
                text = "".join(json.dumps(_sound(word), ensure_ascii=False) + "\n" for word in said).encode()
                with self.file.open("a+b") as file:
                    _cut_half_a_line(file)
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
        except ValueError as error:
            raise RunError(f"{self.file}: what was to be added is no answer ({error}); nothing was") from error
        except OSError as error:
            raise storage_error(self.file, error) from error


def _word(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        word = json.loads(line)
        if isinstance(word, dict):
            word.setdefault("asked", _ONCE)
        return _sound(word)
    except ValueError as error:
        remedy = "restore it from a copy: people's answers are in it"
        raise RunError(f"{file}: line {number}: is damaged ({error}); {remedy}") from error


def _sound(word: Any) -> dict[str, Any]:
    """A word whose moment is in UTC, so that moments are in order as text is.

    Raises:
        ValueError: it can't be one.
    """
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
        if word["asked"] == Asked.KNOWN:
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
