"""People answer at the dashboard's desk, which stores each answer at once."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from cleaner.data.sources import Source
from cleaner.run.answers import Answers
from cleaner.tables import ANSWERS, CLASS_ANSWERS, SAID, check


@dataclass(frozen=True)
class Desk:
    """The desk reads batches where the run keeps them, and its answers are among the run's."""

    several: ClassVar[bool] = True

    def check(self, samples: pa.Table) -> str:
        return ""

    def push(
        self,
        batch: pa.Table,
        name: str,
        folder: Path,
        *,
        source: Source,
        manifest: pa.Table,
        classes: tuple[str, ...],
        more: int = 0,
    ) -> None:
        pass

    def push_classes(
        self, asked: pa.Table, name: str, folder: Path, *, source: Source, manifest: pa.Table, more: int = 0
    ) -> None:
        pass

    def pull(
        self,
        name: str,
        folder: Path,
        batch: pa.Table,
        classes: tuple[str, ...],
        say: Callable[[str], None],
        *,
        since: datetime | None = None,
    ) -> pa.Table:
        return _stored(name, folder, ANSWERS)

    def pull_classes(
        self,
        name: str,
        folder: Path,
        asked: pa.Table,
        manifest: pa.Table,
        say: Callable[[str], None],
        *,
        since: datetime | None = None,
    ) -> pa.Table:
        return _stored(name, folder, CLASS_ANSWERS)

    def todo(self, name: str, folder: Path) -> str:
        return f"answer at the desk: cleaner ui {shlex.quote(str(folder.parent))}"


def _stored(name: str, folder: Path, schema: pa.Schema) -> pa.Table:
    """The answers to one batch, with when they were said and how long they took."""
    words = [word for word in Answers(folder.parent).words() if word["batch"] == name]
    return check(
        pa.Table.from_pylist(words, SAID).select([*schema.names, "at", "seconds"]), schema, "answers at the desk"
    )
