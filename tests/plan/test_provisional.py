"""A run that is not finished has results of what stands so far, and they say what they are."""

import json
import shutil

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from command import here
from PIL import Image
from sklearn.datasets import load_digits

from cleaner.config import Config
from cleaner.errors import WaitsForPeople
from cleaner.plan.results import conclude
from cleaner.plan.runs import open_run
from cleaner.run.finished import PROVISIONAL, RESULTS
from cleaner.run.steps import perform
from cleaner.runners.execute import execute
from cleaner.runners.local import execute_here, one_by_one
from flows.progress_bar import Lines

pytestmark = pytest.mark.slow

SETTINGS = {
    "features": {"backbone": "pixels"},
    "small_classes": {"min_images": 5},
    "coarse": {"max_rounds": 2},
    "fine": {"max_rounds": 1},
    "review": {"first": 6, "batches": 1},
}


class StoppedError(RuntimeError):
    """As if the process had been killed."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three handwritten digits, a few of them under wrong labels."""
    root, digits = tmp_path_factory.mktemp("set") / "images", load_digits()
    for number in range(3):
        for place, row in enumerate(np.flatnonzero(digits.target == number)[:30]):
            given = root / str((number + (place % 10 == 0)) % 3)
            given.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digits.images[row] * 255 / 16).astype(np.uint8)).save(given / f"{number}-{place:02}.png")
    return root


def clean(images, folder, most=None, reviewer="none", **settings):
    """Perform `most` steps at most, then stop."""
    run = open_run(images, folder, Config.model_validate(SETTINGS | settings), reviewer=reviewer, workers=1)
    performed = []

    def step_by_step(step):
        if len(performed) == most:
            raise StoppedError
        performed.append(step.name)
        perform(run.store, step)

    execute(run, one_by_one(step_by_step), Lines([].append))


def left_by(folder):
    """The names of the results that lie in a folder."""
    return {name for name in RESULTS if (folder / name).exists()}


def test_wherever_a_run_is_stopped_it_has_results_of_the_rounds_that_are_done(images, tmp_path):
    folder, said = tmp_path / "run", []
    for _ in range(100):
        try:
            clean(images, folder, most=1)
        except StoppedError:
            rounds = sorted(part.name for part in (folder / "ledger").glob("*-verdicts*") if "small" not in part.name)
            judged = [name for name in rounds if "coarse" in name or "fine" in name]
            assert left_by(folder) == set()
            results = folder / PROVISIONAL
            # Of a round that is judged there are results once what stands after it is settled.
            if judged and (results / "summary.json").exists():
                summary = json.loads((results / "summary.json").read_text())
                said.append(summary["provisional"])
                kept = pq.read_table(results / "clean.parquet")
                assert len(kept) == summary["kept"] + summary["relabelled"] > 70
                assert len(pyarrow.csv.read_csv(results / "clean.csv")) == len(kept)
                assert len(pq.read_table(results / "verdicts.parquet")) == summary["samples"]
            else:
                assert not said, "what was there does not vanish"
            continue
        break
    first, *_, last = dict.fromkeys(said)
    assert first == "after round 1 of looking for wrong labels, coarse" and "round" in last
    assert left_by(folder) == set(RESULTS) and not (folder / PROVISIONAL).exists()
    assert json.loads((folder / "summary.json").read_text())["provisional"] == ""


def test_while_people_are_asked_there_are_results_with_a_page_and_they_are_exported_when_asked_for(images, tmp_path):
    folder, results = tmp_path / "run", tmp_path / "run" / PROVISIONAL
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    assert left_by(results) == set(RESULTS) and left_by(folder) == set()
    assert "Provisional: what stands after all rounds." in (results / "report.html").read_text()
    assert str(results / "clean.csv") in here("status", folder, COLUMNS="300").stdout
    assert json.loads(here("status", folder, "--json").stdout)["provisional"]["provisional"] == "after all rounds"
    out = tmp_path / "clean.csv"
    refused = here("export", folder, "--format", "csv", "--out", out, status=2).stderr
    assert "--provisional" in refused and not out.exists()
    assert "provisional" in here("export", folder, "--format", "csv", "--out", out, "--provisional").stdout
    assert len(out.read_text().splitlines()) == len((results / "clean.csv").read_text().splitlines())
    before = (results / "summary.json").read_bytes()
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    assert (results / "summary.json").read_bytes() == before, "nothing is written anew for nothing"


def test_provisional_results_of_other_settings_are_taken_away(images, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    with pytest.raises(StoppedError):
        clean(images, folder, most=0, coarse={"max_rounds": 1, "k": 1}, image_noise={"threshold": 0.5})
    assert left_by(folder / PROVISIONAL) == set()


def test_where_no_round_is_done_there_is_nothing_to_export_and_it_is_said(images, tmp_path):
    with pytest.raises(StoppedError):
        clean(images, tmp_path / "run", most=3)
    words = ("export", tmp_path / "run", "--format", "csv", "--out", tmp_path / "clean.csv", "--provisional")
    assert "no round is done yet" in here(*words, status=2).stderr


def test_who_comes_back_to_an_open_batch_with_other_settings_has_results_too(images, tmp_path):
    """What was there no longer holds; what stands now, by the answers that are there, takes its place."""
    folder, results = tmp_path / "run", tmp_path / "run" / PROVISIONAL
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    for change in ({"fine": {"max_rounds": 1, "relabel": 0.99}}, {"fine": {"max_rounds": 1, "relabel": 0.5}}):
        with pytest.raises(WaitsForPeople, match="answers are missing"):
            clean(images, folder, reviewer="sheet", **change)
        assert left_by(results) == set(RESULTS)
    assert [sheet.stem for sheet in (folder / "reviews").glob("*.csv")] == ["review-1"]
    (results / "clean.csv").unlink()
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet", **change)
    assert left_by(results) == set(RESULTS)


def test_a_finished_run_that_asks_again_has_provisional_results(images, tmp_path):
    folder = tmp_path / "run"
    clean(images, folder)
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    assert left_by(folder / PROVISIONAL) == set(RESULTS) and left_by(folder) == set()
    clean(images, folder)
    assert left_by(folder) == set(RESULTS) and not (folder / PROVISIONAL).exists()


def test_provisional_results_that_a_killed_command_left_beside_others_are_taken_away(images, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    shutil.copytree(folder / PROVISIONAL, tmp_path / "kept")
    clean(images, folder)
    shutil.copytree(tmp_path / "kept", folder / PROVISIONAL)
    clean(images, folder)
    assert left_by(folder) == set(RESULTS) and not (folder / PROVISIONAL).exists()


def test_what_is_written_provisionally_is_what_stood_then_though_answers_come_at_once(images, tmp_path, monkeypatch):
    truth = tmp_path / "truth.csv"
    paths = sorted(path.relative_to(images) for path in images.rglob("*.png"))
    truth.write_text("\n".join(["path,label", *(f"{path},{path.stem[0]}" for path in paths)]) + "\n")
    written = []

    def noted(run, line, parts, **how):
        standing = run.store.read(line.standing)
        what = line.standing, how.get("with_report", True), how.get("provisional", "") == ""
        written.append((how.get("provisional", ""), standing.column("score").null_count, what))
        conclude(run, line, parts, **how)

    monkeypatch.setattr("cleaner.runners.execute.conclude", noted)
    run = open_run(images, tmp_path / "run", Config.model_validate(SETTINGS), reviewer="oracle", truth=truth, workers=1)
    execute_here(run, Lines([].append))
    assert len(written) > 2 and written[-1][0] == ""
    assert all(unscored == written[-1][1] for _, unscored, _ in written), "models had judged all of them"
    assert len({what for *_, what in written}) == len(written), "nothing is written twice, but for its page"


def test_how_far_reading_is_counts_all_of_the_images_and_not_one_shard(images, tmp_path):
    told = []
    settings = Config.model_validate(SETTINGS | {"scan": {"shard": 40}})
    execute_here(open_run(images, tmp_path / "run", settings, workers=1), Lines(told.append, every=0))
    read = [line for line in told if line.endswith(" images scanned")]
    assert list(dict.fromkeys(int(line.split()[3]) for line in read)) == [*range(1, 91)]
    assert all(" of 90 " in line for line in read)
