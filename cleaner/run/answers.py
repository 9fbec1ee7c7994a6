"""What people said: `answers.jsonl`, one line a word, appended and never changed.

A word is about what an image shows, and so about every file with the same bytes, or about a class by its name. Which
batch asked for it is told beside it and changes nothing: of all words on one image or class the newest holds.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from filelock import FileLock

from cleaner.errors import RunError
from cleaner.run.files import storage_error
from cleaner.tables import SAID, Asked

FILE = "answers.jsonl"
_ONCE = Asked.ONCE.value


@dataclass(frozen=True)
class Answers:
    """The words stored in the run directory `folder`. Several processes may add to them at once."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / FILE

    def words(self, first: int | None = None) -> list[dict[str, Any]]:
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
        """
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        words = [{**word, "at": word["at"] or now, "asked": word["asked"] or _ONCE} for word in said.to_pylist()]
        text = "".join(json.dumps(word, ensure_ascii=False) + "\n" for word in words).encode()
        try:
            with FileLock(self.folder / f".{FILE}.lock"), self.file.open("a+b") as file:
                _cut_half_a_line(file)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(self.file, error) from error


def _word(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        word = json.loads(line)
        if isinstance(word, dict):
            word.setdefault("asked", _ONCE)
        if not isinstance(word, dict) or set(word) != set(SAID.names):
            raise ValueError("other fields than an answer's")
        if not all(value is None or isinstance(value, str) for name, value in word.items() if name != "seconds"):
            raise ValueError("a field that is no text")
    except ValueError as error:
        remedy = "restore it from a copy: people's answers are in it"
        raise RunError(f"{file}: line {number}: is damaged ({error}); {remedy}") from error
    return word


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


def on_images(said: pa.Table) -> pa.Table:
    return said.filter(said.column("content_hash").is_valid())


def on_classes(said: pa.Table) -> pa.Table:
    return said.filter(said.column("content_hash").is_null())
