"""What people say holds: whatever they are asked, in whatever order, whatever settings change in between."""

import csv
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from PIL import Image
from sklearn.datasets import load_digits

from cleaner.config import Config
from cleaner.errors import InputError, WaitsForPeople
from cleaner.plan.reviews import batches_of
from cleaner.plan.runs import open_run
from cleaner.run.answers import Answers, newest
from cleaner.runners.local import execute_here
from flows.progress_bar import Lines

pytestmark = pytest.mark.slow

CLASSES = ("zero", "one", "two")
ASKING = {"first": 9, "least_gain": 0.0, "max_samples": 20, "batches": 2}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Three handwritten digits, a tenth of them with wrong labels, and copies of a few under two labels."""
    root, digits = tmp_path_factory.mktemp("set") / "images", load_digits()
    draw = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i, row in enumerate(np.flatnonzero(digits.target == number)[:30]):
            given = CLASSES[draw.integers(3)] if i % 6 == 0 else name
            (root / given).mkdir(exist_ok=True)
            pixels = (digits.images[row] * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).save(root / given / f"{name}-{i:02}.png")
    for name in ("zero-01.png", "zero-02.png"):
        shutil.copy(root / "zero" / name, root / "two" / f"copy-{name}")
    return root


@dataclass
class Case:
    """A run in `folder`, and the settings that its next command is given."""

    images: Path
    folder: Path
    reviewer: str = "sheet"
    review: dict[str, object] = field(default_factory=lambda: dict(ASKING))
    seed: int = 0
    min_images: int = 20
    threads: int = 1
    said: list[str] = field(default_factory=list)

    def config(self) -> Config:
        return Config.model_validate(
            {
                "seed": self.seed,
                "features": {"backbone": "pixels"},
                "review": self.review,
                "small_classes": {"min_images": self.min_images},
                "coarse": {"max_rounds": 2},
            }
        )

    def clean(self) -> bool:
        """Give the command; whether it came to its end."""
        run = open_run(self.images, self.folder, self.config(), reviewer=self.reviewer, workers=self.threads)
        try:
            execute_here(run, Lines(self.said.append))
        except WaitsForPeople:
            return False
        return True

    @property
    def sheets(self) -> list[Path]:
        return sorted((self.folder / "reviews").glob("*.csv"))

    def verdicts(self) -> bytes:
        return (self.folder / "verdicts.parquet").read_bytes()

    def standing(self) -> dict[str, dict[str, object]]:
        return {sample["path"]: sample for sample in pq.read_table(self.folder / "verdicts.parquet").to_pylist()}


def answer(sheet: Path, says) -> None:
    """Write into each line of a sheet what `says` says of it, an answer and a new label, or nothing."""
    rows = list(csv.DictReader(sheet.open(encoding="utf-8-sig")))
    for number, row in enumerate(rows):
        word = says(number, row)
        if word is not None:
            row["answer"], row["reviewer"] = word[0], "ana"
            if "new_label" in row:
                row["new_label"] = word[1]
    with sheet.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def truly(number, row):
    if "path" not in row:
        return "keep", ""
    true = Path(row["path"]).stem.removeprefix("copy-").partition("-")[0]
    return ("right", "") if true == row["label"] else ("another", true)


def finish(case: Case, says=truly) -> None:
    """Answer whatever is asked until the run has come to its end."""
    for _ in range(10):
        if case.clean():
            return
        for sheet in case.sheets:
            answer(sheet, lambda number, row: None if row["answer"] else says(number, row))
    raise AssertionError("it asks for ever")


def again_from_the_newest(case: Case, folder: Path) -> Case:
    """A run of the same data and settings that knows the newest words from its beginning, and asks nobody."""
    folder.mkdir()
    held = newest(Answers(case.folder).read())
    (folder / "run").mkdir()
    other = Case(case.images, folder / "run", "none", dict(case.review), case.seed, case.min_images, threads=2)
    Answers(other.folder).append(held)
    return other


def test_an_edited_answer_or_setting_asks_nobody_again_and_every_answer_holds(images, tmp_path):
    case = Case(images, tmp_path / "run")
    finish(case)
    sheets, before = case.sheets, case.verdicts()
    assert [sheet.stem for sheet in sheets] == ["review-1", "review-2"]
    said = Answers(case.folder).read()
    case.review, case.seed = {**ASKING, "first": 20}, 1
    assert case.clean()
    assert case.sheets == sheets and Answers(case.folder).read().equals(said)
    answered = {row["path"] for sheet in sheets for row in csv.DictReader(sheet.open(encoding="utf-8-sig"))}
    assert all(case.standing()[path]["by"] == "person:ana" for path in answered)
    case.review, case.seed = dict(ASKING), 0
    answer(sheets[1], lambda number, row: ("junk", "") if number == 0 else None)
    assert case.clean() and case.sheets == sheets
    assert len(Answers(case.folder).read()) == len(said) + 1
    answer(sheets[1], lambda number, row: truly(number, row) if number == 0 else None)
    assert case.clean() and case.verdicts() == before


def test_a_removal_that_was_taken_back_stays_so_whatever_is_asked_next(images, tmp_path):
    def remove_two(number, row):
        if "path" in row:
            return truly(number, row)
        return ("remove" if row["label"] == "two" else "keep"), ""

    case = Case(images, tmp_path / "run", min_images=1000)
    finish(case, remove_two)
    assert all(sample["action"] == "drop" for path, sample in case.standing().items() if path.startswith("two/two"))
    (sheet,) = (sheet for sheet in case.sheets if sheet.stem.startswith("small"))
    answer(sheet, lambda number, row: ("keep", ""))
    for case.min_images, case.seed in ((1000, 0), (10, 0), (1000, 1), (12, 1)):
        finish(case)
        assert any(sample["action"] == "keep" for path, sample in case.standing().items() if path.startswith("two/"))
        assert all(sample["score"] is not None for sample in case.standing().values())


def test_what_was_asked_stays_as_it_was_and_is_waited_for_whatever_settings_change(images, tmp_path):
    case = Case(images, tmp_path / "run")
    assert not case.clean()
    (sheet,) = case.sheets
    asked = sheet.read_bytes()
    case.review, case.seed = {**ASKING, "first": 20, "max_samples": 3}, 7
    assert not case.clean()
    assert case.sheets == [sheet] and sheet.read_bytes() == asked
    case.review = {**ASKING, "batches": 0}
    assert case.clean() and case.sheets == [sheet]


def test_an_answer_that_is_there_no_more_holds_and_it_is_said(images, tmp_path):
    case = Case(images, tmp_path / "run")
    finish(case)
    before = case.verdicts()
    for sheet in case.sheets:
        sheet.unlink()
    case.said.clear()
    assert case.clean() and case.verdicts() == before
    assert any("they hold all the same" in line for line in case.said)


def test_answers_hold_where_nobody_is_asked_any_more_and_a_batch_goes_back_to_its_reviewer(images, tmp_path):
    case = Case(images, tmp_path / "run")
    finish(case)
    before = case.verdicts()
    case.reviewer = "none"
    assert case.clean() and case.verdicts() == before


def test_what_a_person_says_of_one_copy_holds_for_the_other(images, tmp_path):
    case = Case(images, tmp_path / "run", review={**ASKING, "batches": 0})
    assert case.clean()
    manifest = {sample["path"]: sample for sample in pq.read_table(case.folder / "manifest.parquet").to_pylist()}
    sample = manifest["two/copy-zero-01.png"]
    word = {name: sample[name] for name in ("sample_id", "content_hash", "label")} | {"batch": "review-1", "by": "bo"}
    words = (
        ({"answer": "right"}, ("drop", "keep")),
        ({"answer": "another", "new_label": "zero"}, ("keep", "drop")),
        ({"answer": "another", "new_label": "one"}, ("relabel", "drop")),
        ({"answer": "junk"}, ("drop", "drop")),
    )
    for number, (said, expected) in enumerate(words):
        with (case.folder / "answers.jsonl").open("a") as file:
            line = {"new_label": None, "seconds": None, **word, **said, "at": f"2026-01-01T00:00:0{number}"}
            file.write(json.dumps(line) + "\n")
        assert case.clean()
        standing = case.standing()
        found = {standing[path]["action"] for path in ("zero/zero-01.png", "two/copy-zero-01.png")}
        assert found == set(expected)
        assert {standing[path]["by"] for path in ("zero/zero-01.png", "two/copy-zero-01.png")} == {"person:bo"}


class Sequences(RuleBasedStateMachine):
    """Answers given, edited, taken back and lost, settings changed and commands given again, in any order."""

    def __init__(self, images: Path, folder: Path) -> None:
        super().__init__()
        self.case = Case(images, folder / "run")

    @rule()
    def clean(self) -> None:
        self.case.clean()

    @rule(which=st.integers(0, 20), every=st.integers(1, 3), what=st.integers(0, 6))
    def say(self, which: int, every: int, what: int) -> None:
        """Answer each so manieth line of a sheet, or empty it, and let the command hear it."""
        if not self.case.sheets:
            return
        sheet = self.case.sheets[which % len(self.case.sheets)]
        words = (
            ("right", ""),
            ("another", CLASSES[which % 3]),
            ("junk", ""),
            ("wrong", ""),
            ("unsure", ""),
            ("", ""),
            None,
        )

        def says(number, row):
            if number % every:
                return None
            if "path" not in row:
                return (("keep", ""), ("remove", ""), ("", ""))[which % 3]
            return words[what] or truly(number, row)

        answer(sheet, says)
        self.case.clean()

    @rule(
        seed=st.integers(0, 2),
        first=st.sampled_from([5, 20]),
        batches=st.integers(0, 2),
        grid=st.sampled_from([0, 12]),
        min_images=st.sampled_from([5, 25, 1000]),
        reviewer=st.sampled_from(["sheet", "sheet", "none"]),
    )
    def set(self, seed: int, first: int, batches: int, grid: int, min_images: int, reviewer: str) -> None:
        self.case.seed, self.case.min_images, self.case.reviewer = seed, min_images, reviewer
        self.case.review = {**ASKING, "first": first, "batches": batches, "grid": grid}

    @rule(which=st.sampled_from([{"by": "ana"}, {"batch": "review-1"}, {"label": "one"}, {"withdrawal": 1}]))
    def withdraw(self, which: dict[str, object]) -> None:
        with suppress(InputError):
            Answers(self.case.folder).withdraw(which)
        self.case.clean()

    @rule()
    def lose_a_sheet(self) -> None:
        for sheet in self.case.sheets[:1]:
            sheet.unlink()

    def teardown(self) -> None:
        self.case.reviewer = "none"
        assert self.case.clean()
        fresh = again_from_the_newest(self.case, self.case.folder.parent / "fresh")
        assert fresh.clean()
        assert fresh.verdicts() == self.case.verdicts()
        said = {word["content_hash"]: word for word in newest(Answers(self.case.folder).read()).to_pylist()}
        manifest = pq.read_table(self.case.folder / "manifest.parquet").to_pylist()
        standing = self.case.standing()
        for sample in manifest:
            word = said.get(sample["content_hash"])
            by = standing[sample["path"]]["by"]
            # That an image is not of the class it was shown as says nothing of a copy with another label.
            elsewhere = word is not None and word["answer"] == "wrong" and word["label"] != sample["label"]
            if word is not None and word["answer"] != "unsure" and not elsewhere:
                assert by == "person:ana", (sample, word)


def test_what_stands_follows_from_the_newest_words_the_data_and_the_settings_alone(images, tmp_path_factory):
    run_state_machine_as_test(
        lambda: Sequences(images, tmp_path_factory.mktemp("sequence")),
        settings=settings(
            max_examples=5,
            stateful_step_count=8,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_how_batches_stand_is_told_by_reading_the_answers_once(images, tmp_path, monkeypatch):
    case = Case(images, tmp_path / "run")
    finish(case)
    run, read = open_run(images, case.folder, case.config(), reviewer="sheet"), []
    rows = Answers.rows
    monkeypatch.setattr(Answers, "rows", lambda self: read.append(1) or rows(self))
    standing = batches_of(run)
    assert len(standing) == 2 and all(batch.missing == 0 for batch in standing)
    assert len(read) == 1


def test_a_batch_that_was_deleted_is_asked_anew_and_what_was_said_holds(images, tmp_path):
    case = Case(images, tmp_path / "run")
    finish(case)
    said, before = Answers(case.folder).read(), case.standing()
    for file in (case.folder / "reviews").glob("review-1.*"):
        file.unlink()
    finish(case)
    people = {path: row["by"] for path, row in before.items() if row["by"] == "person:ana"}
    assert people.items() <= {path: row["by"] for path, row in case.standing().items()}.items()
    assert len(Answers(case.folder).read()) > len(said)


def test_what_is_withdrawn_counts_as_never_said_until_that_is_taken_back(images, tmp_path):
    case = Case(images, tmp_path / "run")
    finish(case)
    said, before, sheets = Answers(case.folder).read(), case.verdicts(), case.sheets
    withdrawn = Answers(case.folder).withdraw({"by": "ana"})
    assert (withdrawn.number, withdrawn.answers) == (1, len(said))
    assert not case.clean(), "the sheets' answers are withdrawn, so they are missing, and come back by no fetching"
    assert len(Answers(case.folder).read()) == 0
    answer(sheets[0], lambda number, row: ("unsure", "") if number == 0 else None)
    assert not case.clean() and len(Answers(case.folder).read()) == 1
    case.reviewer = "none"
    assert case.clean()
    assert {row["by"] for row in case.standing().values()} & {"person:ana"} == set()
    Answers(case.folder).withdraw({"batch": "review-1"})
    Answers(case.folder).withdraw({"withdrawal": 1})
    assert case.clean()
    assert {row["by"] for row in case.standing().values()} & {"person:ana"}, "what review-2 heard holds again"
    case.reviewer = "sheet"
    assert not case.clean(), "review-1 is withdrawn"
    Answers(case.folder).withdraw({"withdrawal": 2})
    answer(sheets[0], lambda number, row: truly(number, row) if number == 0 else None)
    finish(case)
    assert case.verdicts() == before
