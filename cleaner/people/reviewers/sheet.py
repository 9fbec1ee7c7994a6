"""A CSV file and a page with the pictures, for people without any server."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from cleaner.data.sources import Source
from cleaner.pages import pictures, render
from cleaner.people.answer_sheet import Complaint, Line, class_name, read_sheet, sheet_text, understand, word
from cleaner.people.questions import CLASS_COUNTS, above, is_paged, questions, references, typed
from cleaner.people.reviewers import ReviewBatch
from cleaner.run.files import digest, write_text
from cleaner.spreadsheets import unguarded
from cleaner.tables import ANSWERS, CLASS_ANSWERS, Answer, ClassAnswer, check
from cleaner.words import counted

NOBODY = "someone"
SAMPLE_COLUMNS: tuple[str, ...] = (
    *("number", "sample_id", "path", "label", "guess_1", "guess_2", "guess_3", "asked_because"),
    *("answer", "new_label", "reviewer"),
)
PAGE_COLUMNS: tuple[str, ...] = (
    "number",
    "page",
    "sample_id",
    "path",
    "label",
    "asked_because",
    "answer",
    "new_label",
    "reviewer",
)
CLASS_COLUMNS: tuple[str, ...] = (*CLASS_COUNTS, "answer", "new_label", "reviewer")


@dataclass(frozen=True)
class Sheet:
    """FOLDER/NAME.csv to fill in, and FOLDER/NAME.html that shows the pictures and makes the filled CSV."""

    several: ClassVar[bool] = False

    picture: Annotated[
        int, Field(ge=16, le=1024, description="side in pixels of the samples' thumbnails in the page")
    ] = 192
    reference: Annotated[int, Field(ge=16, le=1024, description="side in pixels of the references' thumbnails")] = 112

    def check(self, samples: pa.Table) -> str:
        return ""

    def push(self, batch: ReviewBatch, source: Source) -> None:
        self._write(batch, source, PAGE_COLUMNS if is_paged(batch.asked) else SAMPLE_COLUMNS)

    def push_classes(self, batch: ReviewBatch, source: Source) -> None:
        self._write(batch, source, CLASS_COLUMNS)

    def _write(self, batch: ReviewBatch, source: Source, columns: tuple[str, ...]) -> None:
        name, folder, items = batch.name, batch.folder, questions(batch.asked)
        lines = [cells for item in items for cells in item["lines"]]
        if not _csv(name, folder).exists():
            write_text(_csv(name, folder), sheet_text(columns, lines))
        if _page(name, folder).exists():
            return
        for item in items:
            paths = (line.get("path") for line in item["lines"])
            files = (None if path is None else source.file(path) for path in paths)
            item["files"] = [None if file is None else file.resolve().as_uri() for file in files]
        review: dict[str, Any] = {"name": name, "columns": columns, "items": items, "classes": batch.classes}
        review["more"] = counted(batch.more, "more batch", "more batches") if batch.more else ""
        review |= {"paged": is_paged(batch.asked), "asked": above(batch.asked), "typed": typed(batch.asked)}
        review["key"] = f"cleaner {name} {digest(lines)}"
        review |= {"place": str(_csv(name, folder)), "run": shlex.quote(str(folder.parent))}
        sides = dict.fromkeys(references(items), self.reference)
        sides |= {row: self.picture for item in items for row in (*item["grid"], item["picture"]) if row is not None}
        review["pictures"] = pictures(source, batch.manifest, sides)
        write_text(_page(name, folder), render("sheet", "question", review=review))

    def pull(self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None) -> pa.Table:
        file, classes = _csv(batch.name, batch.folder), batch.classes
        columns = ["sample_id", "path", "label"]
        samples = {sample["sample_id"]: sample for sample in batch.asked.select(columns).to_pylist()}
        numbered = list(samples.values())

        def read(line: Line) -> tuple[str, tuple[str, str | None, str]] | None:
            sample = samples.get(line["sample_id"]) or _by_number(line, numbered)
            answer = _sample_answer(line, sample["label"], classes)
            return None if answer is None else (sample["sample_id"], (*answer, unguarded(line["reviewer"]) or NOBODY))

        found = understand(file, read_sheet(file, ("sample_id", "answer")), read)
        rows = [(sample, *found[sample]) for sample in samples if sample in found]
        return check(pa.table(_columns(rows, ANSWERS)), ANSWERS, "answers")

    def pull_classes(
        self, batch: ReviewBatch, say: Callable[[str], None], *, since: datetime | None = None
    ) -> pa.Table:
        file, classes = _csv(batch.name, batch.folder), batch.classes
        labels = batch.asked.column("label").to_pylist()

        def read(line: Line) -> tuple[str, tuple[str, str | None, str]] | None:
            label = class_name(line["label"], tuple(labels), "label")
            answer = _class_answer(line, label, classes)
            return None if answer is None else (label, (*answer, unguarded(line["reviewer"]) or NOBODY))

        found = understand(file, read_sheet(file, ("label", "answer")), read)
        rows = [(label, *found[label]) for label in labels if label in found]
        return check(pa.table(_columns(rows, CLASS_ANSWERS)), CLASS_ANSWERS, "answers on classes")

    def todo(self, name: str, folder: Path) -> str:
        page, file = _page(name, folder), _csv(name, folder)
        return f"open {page} in a browser, answer, and save the file it gives you over {file} (or fill in that CSV)"


def _csv(name: str, folder: Path) -> Path:
    return folder / f"{name}.csv"


def _page(name: str, folder: Path) -> Path:
    return folder / f"{name}.html"


def _columns(rows: Sequence[tuple[str | None, ...]], schema: pa.Schema) -> dict[str, pa.Array]:
    return {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(schema.names)}


def _by_number(line: Line, samples: list[dict[str, str]]) -> dict[str, str]:
    """The sample of a line whose `sample_id` is none: spreadsheets turn an id like 12e45678 into a number."""
    if line["number"].isdecimal() and 0 < int(line["number"]) <= len(samples):
        sample = samples[int(line["number"]) - 1]
        if unguarded(line["path"]) == sample["path"].strip():
            return sample
    raise Complaint(f"sample_id {line['sample_id']!r} is not in this batch; give it back its own or remove the line")


def _sample_answer(line: Line, label: str, classes: tuple[str, ...]) -> tuple[str, str | None] | None:
    """The answer and the new label; None where nothing is answered yet. A typed new label alone is an answer."""
    answer = word(line["answer"], [answer.value for answer in Answer], "answer")
    wanted = class_name(line["new_label"], classes, "new_label") if line["new_label"] else None
    if wanted is None and answer == Answer.ANOTHER:
        raise Complaint("answer 'another' without a new_label; write the right class there")
    if wanted not in (None, label) and answer not in ("", Answer.ANOTHER, Answer.WRONG):
        raise Complaint(f"answer {answer!r} and new_label {wanted!r} contradict each other; leave one of the two")
    if wanted is None or answer in (Answer.JUNK, Answer.UNSURE):
        return (answer, None) if answer else None
    return (Answer.RIGHT.value, None) if wanted == label else (Answer.ANOTHER.value, wanted)


def _class_answer(line: Line, label: str, classes: tuple[str, ...]) -> tuple[str, str | None] | None:
    """The answer and the class that takes the images; None where nothing is answered yet."""
    answer = word(line["answer"], [answer.value for answer in ClassAnswer], "answer")
    into = class_name(line["new_label"], classes, "new_label") if line["new_label"] else None
    if into is None and answer == ClassAnswer.MERGE:
        raise Complaint("answer 'merge' without a new_label; write there the class that takes its images")
    if into not in (None, label) and answer not in ("", ClassAnswer.MERGE):
        raise Complaint(f"answer {answer!r} and new_label {into!r} contradict each other; leave one of the two")
    if into is None:
        return (answer, None) if answer else None
    return (ClassAnswer.KEEP.value, None) if into == label else (ClassAnswer.MERGE.value, into)
