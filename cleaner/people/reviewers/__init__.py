"""Reviewers: each puts doubtful samples and small classes before people. A reviewer is a frozen dataclass of settings;
its file's name is its name.

A batch has a `name` in the `folder` of a run's reviews. It is pushed once, and pulled until nothing is missing.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Protocol

import pyarrow as pa

from cleaner.data.sources import Source


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
        """Put a BATCH before people. A batch that is there already keeps what people have answered; a push that was
        killed is completed by the next. `more` batches may come after it, at most: for people to know.

        Raises:
            StorageError: the disk refused a write.
        """
        ...

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
        """The ANSWERS so far; a sample without an answer has no row, one that several were asked about one of
        each. `say` takes lines for whoever runs the command, on what can't be taken for an answer. What was said before
        `since` may be left out.

        Raises:
            AnswerError: an answer that can't be understood.
        """
        ...

    def push_classes(
        self, asked: pa.Table, name: str, folder: Path, *, source: Source, manifest: pa.Table, more: int = 0
    ) -> None:
        """Put SMALL_CLASSES before people, each as a class: keep, remove or merge it. As idempotent as `push`."""
        ...

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
        """The CLASS_ANSWERS so far; what was said before `since` may be left out.

        Raises:
            AnswerError: an answer that can't be understood.
        """
        ...

    def todo(self, name: str, folder: Path) -> str:
        """What people have to do so that the next pull of this batch finds more answers: one line."""
        ...
