"""Reviewers: each puts doubtful samples and small classes before people. A reviewer is a frozen dataclass of settings;
its file's name is its name.

A batch is pushed once, and pulled until nothing is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import pyarrow as pa

from cleaner.data.sources import Source
from cleaner.tables import Classes


@dataclass(frozen=True)
class ReviewBatch:
    """What people are asked about at once.

    Attributes:
        name: in the `folder` of a run's reviews.
        asked: BATCH, or SMALL_CLASSES where classes are asked about.
        manifest: whose rows the batch has.
        more: so many batches may come after it, at most: for people to know.
    """

    name: str
    folder: Path
    asked: pa.Table
    manifest: pa.Table
    more: int = 0

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """All names that there are."""
        return Classes.of(self.manifest).names


class Reviewer(Protocol):
    """Attributes: `several`, whether more than one person can be asked about one sample, as a batch's `people` says."""

    several: ClassVar[bool]

    def check(self, samples: pa.Table) -> str:
        """See, before anything is written, whether this reviewer can answer on `samples`, a source's listing; returns a
        line for whoever starts the run, or nothing.

        Raises:
            InputError: it can't.
        """
        ...

    def push(self, batch: ReviewBatch, source: Source) -> None:
        """Put images before people, which `source` has. A batch that is there already keeps what people have answered;
        a push that was killed is completed by the next.

        Raises:
            StorageError: the disk refused a write.
        """
        ...

    def pull(self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None) -> pa.Table:
        """The ANSWERS so far; a sample without an answer has no row, one that several were asked about one of
        each. `say` takes lines for whoever runs the command, on what can't be taken for an answer. What was said before
        `since` may be left out.

        Raises:
            AnswerError: an answer that can't be understood.
        """
        ...

    def push_classes(self, batch: ReviewBatch, source: Source) -> None:
        """Put small classes before people, each as a class: keep, remove or merge it. As idempotent as `push`."""
        ...

    def pull_classes(
        self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None
    ) -> pa.Table:
        """The CLASS_ANSWERS so far, as `pull` gives those on images."""
        ...

    def todo(self, name: str, folder: Path) -> str:
        """What people have to do so that the next pull of this batch finds more answers: one line."""
        ...
