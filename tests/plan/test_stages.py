"""Which stages a run has, and in which order, is a setting."""

import json

import pyarrow.parquet as pq
import pytest
from command import here
from PIL import Image
from sklearn.datasets import load_digits
from streamlit_pages import page

from cleaner.config import Config
from cleaner.tables import ANSWER_LOG

ALL = Config().stages
SETTINGS = ("--runner", "local", "--set", "features.backbone=pixels")
ROUNDS = {"coarse": "coarse.max_rounds=2", "fine": "fine.max_rounds=1", "small_classes": "small_classes.min_images=3"}


@pytest.fixture
def images(tmp_path):
    """Three handwritten digits, a few of them under wrong labels, one of them twice."""
    root, digits = tmp_path / "images", load_digits()
    for number in range(3):
        (root / str(number)).mkdir(parents=True)
    for number in range(3):
        for place, row in enumerate((digits.target == number).nonzero()[0][:30]):
            given = root / str((number + (place % 10 == 0)) % 3)
            Image.fromarray((digits.images[row] * 255 / 16).astype("uint8")).save(given / f"{number}-{place:02}.png")
    (root / "0" / "copy.png").write_bytes((root / "0" / "0-01.png").read_bytes())
    return root


def clean(images, run, stages, *more, status=0):
    few = [word for name in stages if name in ROUNDS for word in ("--set", ROUNDS[name])]
    words = (*SETTINGS, "--set", f"stages={json.dumps(stages)}", *few, *more)
    return here("clean", images, "--run", run, *words, status=status)


@pytest.mark.parametrize("left_out", ALL)
def test_a_run_does_without_any_stage(images, tmp_path, left_out):
    run = tmp_path / "run"
    stages = [name for name in ALL if name != left_out]
    clean(images, run, stages)
    summary = json.loads((run / "summary.json").read_text())
    judged = {entry["stage"] for entry in summary["stages"] if entry["round"]}
    assert judged == set(stages)
    assert left_out not in pq.read_table(run / "verdicts.parquet").column("stage").to_pylist()
    for command in (("status", run), ("issues", run), ("versions", run), ("why", run, "0/0-01.png")):
        here(*command)
    assert (run / "report.html").read_text().count("<section") > 3


@pytest.mark.parametrize(
    "stages",
    [
        ["fine", "duplicates", "image_noise", "quality", "small_classes"],
        ["duplicates", "coarse", "image_noise", "fine"],
        ["small_classes", "fine", "coarse", "quality"],
    ],
)
def test_stages_stand_in_any_order_and_nothing_else_is_found(images, tmp_path, stages):
    run = tmp_path / "run"
    clean(images, run, stages, "--reviewer", "oracle", "--truth", truth(images, tmp_path), "--set", "review.batches=1")
    judged = {entry["stage"] for entry in json.loads((run / "summary.json").read_text())["stages"]}
    assert judged == {*stages, "people"}
    assert not page("overview", run).exception


def truth(images, folder):
    file = folder / "truth.csv"
    lines = [f"{each.parent.name}/{each.name},{each.name[0]}" for each in sorted(images.glob("*/*-*.png"))]
    file.write_text("\n".join(["path,label", *lines]))
    return file


def test_a_run_is_readable_where_one_of_its_stages_is_no_more_installed(images, tmp_path):
    run = tmp_path / "run"
    clean(images, run, ["duplicates", "fine"])
    said = json.loads((run / "run.json").read_text())
    assert {*said["config"]} & {*ALL} == {"duplicates", "fine"}
    said["config"] |= {"stages": ["blur", "duplicates", "fine"], "blur": {"radius": 3}}
    (run / "run.json").write_text(json.dumps(said))
    for command in (("status", run), ("issues", run), ("versions", run), ("why", run, "0/0-01.png")):
        here(*command)
    here("export", run, "--format", "csv", "--out", tmp_path / "clean.csv")


def test_what_is_set_of_a_stage_that_is_none_of_the_runs_is_refused(images, tmp_path):
    told = clean(images, tmp_path / "run", ["fine"], "--set", "image_noise.threshold=0.5", status=2)
    assert "image_noise.threshold: does nothing, since image_noise is none of the stages" in told.stderr


def test_labels_are_judged_by_one_stage_alone(images, tmp_path):
    clean(images, tmp_path / "run", ["fine"])
    found = pq.read_table(tmp_path / "run" / "verdicts.parquet").to_pandas().set_index("path")
    assert {*found["stage"]} == {"fine"} and found.loc["1/0-00.png", "action"] != "keep"


def test_people_are_asked_whatever_stages_there_are(images, tmp_path):
    told = clean(images, tmp_path / "run", ["coarse"], "--reviewer", "sheet", status=3).stderr
    assert "answers are missing" in told
    assert len(pq.read_table(tmp_path / "run" / "reviews" / "review-1.parquet"))


def test_results_of_other_stages_are_those_of_another_run(images, tmp_path):
    first, other = tmp_path / "first", tmp_path / "other"
    clean(images, first, ALL)
    clean(images, first, ["duplicates", "fine"])
    clean(images, other, ["duplicates", "fine"])
    for name in ("verdicts.parquet", "clean.csv", "issues.csv"):
        assert (first / name).read_bytes() == (other / name).read_bytes()


def test_a_run_in_which_all_is_dropped_ends_as_a_failure_in_one_line(images, tmp_path):
    run = tmp_path / "run"
    drop = ("--set", 'quality.drop=["blurry"]', "--set", "quality.blurry=1")
    for _ in range(2):
        told = clean(images, run, ALL, *drop, status=1)
        last = told.stderr.strip().splitlines()[-1]
        assert "nothing is left to train on" in last and "images of poor quality" in last
        assert "clean.csv" not in told.stdout + told.stderr
    assert "nothing is left to train on" in here("status", run).stdout


def test_where_people_remove_every_class_there_are_results_and_a_failure(images, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    word = dict.fromkeys(ANSWER_LOG.names) | {
        "batch": "small_classes-1",
        "answer": "remove",
        "by": "ana",
        "asked": "once",
    }
    words = [word | {"label": name, "at": "2026-01-01T00:00:00+00:00"} for name in "012"]
    (run / "answers.jsonl").write_text("".join(json.dumps(each) + "\n" for each in words))
    told = clean(images, run, ALL, status=1)
    assert "images were dropped as small classes" in told.stderr.strip().splitlines()[-1]
    assert len(pq.read_table(run / "clean.parquet")) == 0 and (run / "report.html").exists()
