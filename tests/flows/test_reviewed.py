"""`cleaner review`, as people use it with sheets."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from command import CLEANER, clean_locally, here
from sheets import answer

from cleaner.tables import ANSWER_LOG
from flows.reviewed import fetch

pytestmark = pytest.mark.slow

FEW = (
    "--reviewer",
    "sheet",
    "--set",
    "review.first=4",
    "--set",
    "review.max_samples=6",
    "--set",
    "review.least_gain=0.01",
)


@pytest.fixture(scope="module")
def asked(demo, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("asked") / "run"
    clean_locally(demo / "images", run, *FEW, status=3)
    return run


@pytest.fixture
def waiting(asked, tmp_path) -> Path:
    """A run of one's own that waits for the answers to its first batch."""
    return Path(shutil.copytree(asked, tmp_path / "run"))


def test_it_fetches_and_says_who_answered_how_much(waiting):
    said = json.loads(here("review", waiting, "--json").stdout)
    (batch,) = said["batches"]
    assert (batch["name"], batch["answered"], batch["missing"]) == ("review-1", 0, batch["asked"])
    answer(waiting / "reviews" / "review-1.csv", 3)
    said = json.loads(here("review", waiting, "--json").stdout)
    assert said["batches"][0]["answered"] == 3
    assert said["people"] == [{"by": "ana", "answers": 3, "seconds": None, "known": 0, "right": 0}]
    told = here("review", waiting).stdout
    assert (
        "junk and wrong labels" in told
        and "ana" in told
        and " missing" in told
        and "3 of 3" not in told
        and "review-1.html" in told
    )


def test_answers_are_withdrawn_and_the_withdrawal_too(waiting):
    answer(waiting / "reviews" / "review-1.csv", 3)
    said = here("review", waiting, "--withdraw", "by=ana", "--withdraw", "batch=review-1")
    assert "3 answers withdrawn, as withdrawal 1" in said.stderr and "3 answers by ana in review-1" in said.stdout
    told = json.loads(here("review", waiting, "--json").stdout)
    assert told["batches"][0]["answered"] == 0 and not told["people"]
    assert [(each["number"], each["answers"], each["holds"]) for each in told["withdrawals"]] == [(1, 3, True)]
    sample = json.loads((waiting / "answers.jsonl").read_text().splitlines()[0])["sample_id"]
    assert "withdrawn by withdrawal 1" in here("why", waiting, sample).stdout
    assert "withdrawal 1 is taken back" in here("review", waiting, "--withdraw", "withdrawal=1").stderr
    assert json.loads(here("review", waiting, "--json").stdout)["batches"][0]["answered"] == 3
    here("review", waiting, "--withdraw", f"image={sample}")
    assert json.loads(here("review", waiting, "--json").stdout)["batches"][0]["answered"] == 2
    stored = (waiting / "answers.jsonl").read_text()
    for wrong, why in (
        ("by=bo", "no such answer that holds"),
        ("withdrawal=9", "no withdrawal 9 holds"),
        ("withdrawal=x", "is none of by=NAME"),
        (f"withdrawal={'9' * 5000}", "is none of by=NAME"),
        ("ana", "is none of by=NAME"),
        ("image=nowhere.png", "no sample nowhere.png"),
    ):
        assert why in here("review", waiting, "--withdraw", wrong, status=2).stderr
    assert (waiting / "answers.jsonl").read_text() == stored


def test_a_fetch_brings_back_neither_what_was_withdrawn_nor_what_another_has_corrected(waiting):
    answer(waiting / "reviews" / "review-1.csv", 3)
    run, _ = fetch(waiting, lambda line: None)
    word = run.store.answers.rows()[0] | {"by": "bo", "answer": "junk", "at": None}
    run.store.answers.append(pa.Table.from_pylist([word], ANSWER_LOG))
    fetch(waiting, lambda line: None)
    assert [each["by"] for each in run.store.answers.rows()] == ["ana", "ana", "ana", "bo"]
    here("review", waiting, "--withdraw", "by=ana")
    fetch(waiting, lambda line: None)
    assert [each["by"] for each in run.store.answers.rows()] == ["bo"]
    answer(waiting / "reviews" / "review-1.csv", 3, "junk")
    fetch(waiting, lambda line: None)
    assert sorted(each["by"] for each in run.store.answers.rows()) == ["ana", "ana", "ana", "bo"]


def test_what_was_stored_is_withdrawn_though_a_sheet_has_a_mistake_in_it(waiting):
    answer(waiting / "reviews" / "review-1.csv", 3)
    fetch(waiting, lambda line: None)
    answer(waiting / "reviews" / "review-1.csv", 1, "blah")
    assert "is none of by=NAME" in here("review", waiting, "--withdraw", "nobody", status=2).stderr
    said = here("review", waiting, "--withdraw", "by=ana").stderr
    assert "not all answers can be fetched" in said and "3 answers withdrawn" in said
    assert len((waiting / "answers.jsonl").read_text().splitlines()) == 4


def test_a_batch_that_is_closed_is_waited_for_no_more_and_its_answers_count(waiting):
    answer(waiting / "reviews" / "review-1.csv", 3)
    closed = here("review", waiting, "--close", "--runner", "local", status=3).stderr
    assert "closed: review-1" in closed and "junk and wrong labels" in closed
    said = {batch["name"]: batch for batch in json.loads(here("review", waiting, "--json").stdout)["batches"]}
    assert said["review-1"]["closed"] and said["review-1"]["answered"] == 3
    assert said["review-2"]["missing"] > 0
    for _ in range(3):
        done = here("review", waiting, "--close", "--runner", "local", status=None)
        if done.returncode == 0:
            break
    assert done.returncode == 0 and "to train on" in done.stdout


def test_watching_goes_on_when_all_is_answered_till_the_run_is_finished(waiting):
    command = [CLEANER, "review", waiting, "--watch", "--every", "1", "--runner", "local"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "looking again" in line:
            for sheet in (waiting / "reviews").glob("*.csv"):
                answer(sheet, 1000)
    assert process.wait() == 0, process.stderr
    assert "to train on" in process.stdout.read()


def test_a_folder_that_is_no_run_and_contrary_wishes_are_refused(waiting, tmp_path):
    assert "no run lies here" in here("review", tmp_path, status=2).stderr
    assert "give one of them" in here("review", waiting, "--watch", "--close", status=2).stderr


def test_answers_that_several_fetch_at_once_are_stored_once(waiting):
    answer(waiting / "reviews" / "review-1.csv", 3)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: fetch(waiting, lambda line: None), range(12)))
    assert len((waiting / "answers.jsonl").read_text().splitlines()) == 3
