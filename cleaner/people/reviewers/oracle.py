"""Answers from a table of true labels, at once: for benchmarks, where people are known to be right."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
import pyarrow as pa
from pydantic import Field

from cleaner.data.sources import Source
from cleaner.data.truth import names, read_truth
from cleaner.errors import InputError
from cleaner.people.reviewers import ReviewBatch
from cleaner.tables import ANSWERS, CLASS_ANSWERS, Answer, ClassAnswer, array, check

BY = "oracle"


@dataclass(frozen=True)
class Oracle:
    """The truth for some samples; what it doesn't hold the oracle can't tell.

    Raises:
        InputError: there is no such file, it has other columns, or it says two things of one sample.
    """

    several: ClassVar[bool] = False

    truth: Annotated[
        Path,
        Field(
            description="what `--truth` gives: a CSV or Parquet file with `path` or `sample_id`, and `label`. An image"
            " with an empty label is junk, and so is one whose label is no class of the data set",
        ),
    ]

    def __post_init__(self) -> None:
        read_truth(self.truth)

    def check(self, samples: pa.Table) -> str:
        truth = read_truth(self.truth)
        key = str(truth.index.name)
        found = names(samples, key)
        covered = int(pd.Index(found).isin(truth.index).sum())
        if covered == 0:
            ours, theirs = (min(known, default="none") for known in (truth.index.tolist(), found))
            raise InputError(
                f"{self.truth}: covers none of the data set's {len(found):,} samples; one of its {len(truth):,} rows"
                f" has the {key} {ours!r}, one of the samples {theirs!r}; write them as the data set has them"
            )
        if covered == len(found):
            return ""
        return f"{self.truth} covers {covered:,} of {len(found):,} samples; on the others the oracle can't tell"

    def push(self, batch: ReviewBatch, source: Source) -> None:
        """Nothing has to be put anywhere."""

    def push_classes(self, batch: ReviewBatch, source: Source) -> None:
        """Nothing has to be put anywhere."""

    def pull(self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None) -> pa.Table:
        truth, asked = read_truth(self.truth), batch.asked
        true = pd.Series(asked.column(truth.index.name).to_pylist(), dtype=object).map(truth)
        given, known = asked.column("label").to_pylist(), set(batch.classes)
        answers = [_answer(label, true_label, known) for label, true_label in zip(given, true, strict=True)]
        in_pages = asked.column("page").is_valid().to_pylist()
        answers = [_marked(answer) if in_page else answer for answer, in_page in zip(answers, in_pages, strict=True)]
        columns = {
            "sample_id": asked.column("sample_id"),
            "answer": pa.array([answer.value for answer in answers], pa.string()),
            "new_label": pa.array(
                [label if answer is Answer.ANOTHER else None for answer, label in zip(answers, true, strict=True)],
                pa.string(),
            ),
            "by": pa.repeat(BY, len(asked)),
        }
        return check(pa.table(columns), ANSWERS, "answers")

    def pull_classes(
        self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None
    ) -> pa.Table:
        """A class is removed that no image truly shows, if the truth is known of an image that was given its label."""
        truth = read_truth(self.truth)
        true = pd.Series(names(batch.manifest, str(truth.index.name)), dtype=object).map(truth).to_numpy()
        known = ~pd.isna(true)
        shown, judged = set(true[known]), set(array(batch.manifest, "label")[known])
        answers = [
            (ClassAnswer.REMOVE if label in judged - shown else ClassAnswer.KEEP).value
            for label in batch.asked.column("label").to_pylist()
        ]
        columns = {
            "label": batch.asked.column("label"),
            "answer": pa.array(answers, pa.string()),
            "new_label": pa.nulls(len(batch.asked), pa.string()),
            "by": pa.repeat(BY, len(batch.asked)),
        }
        return check(pa.table(columns), CLASS_ANSWERS, "answers on classes")

    def todo(self, name: str, folder: Path) -> str:
        # It answers at once: what is missing was withdrawn.
        return (
            f"{self.truth} has answered, and what was withdrawn since does not come back by itself: `cleaner review RUN"
            f" --withdraw withdrawal=N` takes a withdrawal back, and `--close` waits no more"
        )


def _answer(given: str, true: object, classes: set[str]) -> Answer:
    if not isinstance(true, str):
        return Answer.UNSURE
    if true == given:
        return Answer.RIGHT
    return Answer.ANOTHER if true in classes else Answer.JUNK


def _marked(answer: Answer) -> Answer:
    """What can be said of a sample in a page of its class."""
    return Answer.WRONG if answer in (Answer.ANOTHER, Answer.JUNK) else answer
