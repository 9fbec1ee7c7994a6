"""People answer at the dashboard's desk, which stores each answer at once."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from cleaner.data.sources import Source
from cleaner.people.reviewers import ReviewBatch
from cleaner.run.answers import Answers
from cleaner.tables import ANSWER_LOG, ANSWERS, CLASS_ANSWERS, check


@dataclass(frozen=True)
class Desk:
    """The desk reads batches where the run keeps them, and its answers are among the run's."""

    several: ClassVar[bool] = True

    def check(self, samples: pa.Table) -> str:
        return ""

    def push(self, batch: ReviewBatch, source: Source) -> None:
        pass

    def push_classes(self, batch: ReviewBatch, source: Source) -> None:
        pass

    def pull(self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None) -> pa.Table:
        return _stored(batch, ANSWERS)

    def pull_classes(
        self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None
    ) -> pa.Table:
        return _stored(batch, CLASS_ANSWERS)

    def todo(self, name: str, folder: Path) -> str:
        return f"answer at the desk: cleaner ui {shlex.quote(str(folder.parent))}"


def _stored(batch: ReviewBatch, schema: pa.Schema) -> pa.Table:
    """The answers to one batch, with when they were said and how long they took."""
    answers = [answer for answer in Answers(batch.folder.parent).rows() if answer["batch"] == batch.name]
    return check(
        pa.Table.from_pylist(answers, ANSWER_LOG).select([*schema.names, "at", "seconds"]),
        schema,
        "answers at the desk",
    )
