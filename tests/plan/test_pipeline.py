"""The whole command on real files, as a user gives it."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from command import CLEANER, clean_locally, here, stopped_before

from cleaner.demo import measure
from cleaner.tables import CLEAN, MANIFEST, STANDING


def verdicts(run: Path) -> bytes:
    return (run / "verdicts.parquet").read_bytes()


def test_the_result_files_are_the_contracts(finished):
    manifest, standing = pq.read_table(finished / "manifest.parquet"), pq.read_table(finished / "verdicts.parquet")
    assert manifest.schema.names[: len(MANIFEST)] == MANIFEST.names
    assert standing.schema == STANDING
    assert pq.read_table(finished / "clean.parquet").schema == CLEAN
    assert pa_csv.read_csv(finished / "clean.csv").column_names == CLEAN.names
    assert standing.column("sample_id").equals(manifest.column("sample_id"))
    assert list((finished / "ledger").glob("*.parquet"))
    assert (finished / "report.html").stat().st_size > 10_000


def test_every_usable_sample_has_a_score_and_every_sample_a_reason(finished):
    manifest, standing = pq.read_table(finished / "manifest.parquet"), pq.read_table(finished / "verdicts.parquet")
    scores = standing.filter(manifest.column("problem").is_null()).column("score")
    assert scores.null_count == 0
    assert all(0 <= score <= 1 for score in scores.to_pylist())
    assert standing.column("reason").null_count == 0


def test_the_clean_set_is_what_the_verdicts_say(finished):
    standing = pq.read_table(finished / "verdicts.parquet").to_pylist()
    stands = {row["path"]: row["new_label"] or row["label"] for row in standing if row["action"] != "drop"}
    clean = pq.read_table(finished / "clean.parquet").to_pylist()
    assert {row["path"]: row["label"] for row in clean} == stands


def test_most_of_the_planted_noise_is_found_and_little_else_flagged(demo, finished):
    found, planted, wrong = measure(demo, finished)["wrong labels and junk"]
    assert found / planted > 0.9
    assert found / (found + wrong) > 0.9
    found, planted, wrong = measure(demo, finished)["exact duplicates"]
    assert (found, wrong) == (planted, 0) and planted > 2
    assert measure(demo, finished)["unreadable files"] == (2, 2, 0)


def test_the_summary_tells_rounds_and_why_they_ended(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["kept"] + summary["relabelled"] + summary["dropped"] == summary["samples"]
    assert {"image_noise", "coarse", "fine"} <= summary["convergence"].keys()
    assert all(end["why"] for end in summary["convergence"].values())
    assert {entry["stage"] for entry in summary["stages"]} >= {"duplicates", "image_noise", "coarse", "fine"}


def test_a_finished_run_given_again_does_nothing_new(demo, finished):
    before = verdicts(finished), len(list((finished / "steps").iterdir()))
    again = clean_locally(demo / "images", finished, "--set", f"image_noise.seeds={demo / 'seeds.csv'}")
    assert (verdicts(finished), len(list((finished / "steps").iterdir()))) == before
    assert again.stderr == ""


RESULTS = (
    *("summary.json", "clean.csv", "clean.parquet", "issues.csv", "issues.parquet", "duplicates.csv"),
    *("verdicts.parquet", "report.html", "manifest.parquet"),
)


def test_results_of_other_settings_are_gone_before_new_ones_are_made_and_it_is_said(demo, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    words = ("clean", demo / "images", "--run", run, "--runner", "local", "--seed", 1)
    process = stopped_before("image_noise-", *words, "--set", f"image_noise.seeds={demo / 'seeds.csv'}")
    assert [name for name in RESULTS if (run / name).exists()] == []
    process.kill()
    assert "removing outdated results: " in process.communicate()[1]


def test_results_of_other_settings_are_gone_even_where_no_step_has_to_be_done_again(demo, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    seeds = f"image_noise.seeds={demo / 'seeds.csv'}"
    clean_locally(demo / "images", run, "--set", seeds, "--set", "review.first=50")
    origin, summary = (json.loads((run / name).read_text()) for name in ("run.json", "summary.json"))
    assert origin["config"]["review"]["first"] == 50
    assert summary["order"] != json.loads((finished / "summary.json").read_text())["order"]
    assert verdicts(run) == verdicts(finished)


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_was_lost_is_written_again(demo, finished, tmp_path, name):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / name).unlink()
    clean_locally(demo / "images", run, "--set", f"image_noise.seeds={demo / 'seeds.csv'}")
    assert (run / name).exists()
    assert verdicts(run) == verdicts(finished)


def test_a_changed_setting_runs_only_what_depends_on_it_again(demo, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    steps = {file.name for file in (run / "steps").iterdir()}
    seeds = f"image_noise.seeds={demo / 'seeds.csv'}"
    clean_locally(demo / "images", run, "--set", seeds, "--set", "small_classes.min_images=10")
    new = {file.name for file in (run / "steps").iterdir()} - steps
    assert new
    assert not [name for name in new if name.startswith(("scan", "features", "coarse", "fine", "duplicates"))]


def test_any_number_of_workers_gives_the_same_verdicts(demo, finished, tmp_path):
    clean_locally(demo / "images", tmp_path / "run", "--workers", 1, "--set", f"image_noise.seeds={demo / 'seeds.csv'}")
    assert verdicts(tmp_path / "run") == verdicts(finished)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(demo, finished, tmp_path):
    """Each process lives a few seconds, of which starting takes two: the kills fall all over the run."""
    run, chance = tmp_path / "run", random.Random(1)
    words = ["clean", demo / "images", "--run", run, "--runner", "local"]
    words += ["--set", f"image_noise.seeds={demo / 'seeds.csv'}"]
    for _ in range(6):
        process = subprocess.Popen([CLEANER, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(2, 5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (run / "verdicts.parquet").exists() or verdicts(run) == verdicts(finished)
    here(*words)
    assert verdicts(run) == verdicts(finished)


def test_a_kill_while_a_step_writes_leaves_nothing_half(demo, tmp_path):
    run = tmp_path / "run"
    process = stopped_before("features-", "clean", demo / "images", "--run", run, "--runner", "local")
    process.kill()
    process.communicate()
    assert list((run / "steps").glob("manifest-*.parquet"))
    for file in (run / "steps").glob("[!.]*.parquet"):
        pq.read_metadata(file)


def test_why_tells_the_story_of_a_sample(finished):
    dropped = next(row for row in pq.read_table(finished / "verdicts.parquet").to_pylist() if row["stage"] == "fine")
    by_path = here("why", finished, dropped["path"], COLUMNS="200").stdout
    assert "fine" in by_path
    assert dropped["label"] in by_path
    assert here("why", finished, dropped["sample_id"], COLUMNS="200").stdout == by_path
    assert "did you mean" in here("why", finished, f"x/{Path(dropped['path']).name}", status=2).stderr


def test_status_says_that_a_run_is_done(finished):
    assert "kept" in here("status", finished).stdout


def test_an_oracle_answers_and_the_loop_goes_on(demo, tmp_path):
    run = tmp_path / "run"
    clean_locally(demo / "images", run, "--reviewer", "oracle", "--truth", demo / "truth.csv")
    standing = pq.read_table(run / "verdicts.parquet").to_pylist()
    people = [row for row in standing if row["stage"] == "people"]
    truth = {row["path"]: row["label"] for row in csv.DictReader((demo / "truth.csv").open())}
    assert people
    for row in people:
        said = {"keep": row["label"], "relabel": row["new_label"], "drop": ""}[row["action"]]
        assert said == truth[row["path"]]
    found, planted, wrong = measure(demo, run)["wrong labels and junk"]
    assert found / planted > 0.9
    assert found / (found + wrong) > 0.9
    told = json.loads((run / "summary.json").read_text())["label_noise"]
    wrong = [truth[row["path"]] not in (row["label"], "") for row in standing if row["path"] in truth]
    assert told["answers"] > 25 and told["low"] < sum(wrong) / len(wrong) < told["high"]


@pytest.mark.slow
def test_a_run_waits_for_people_and_goes_on_with_their_answers(demo, tmp_path):
    run = tmp_path / "run"
    truth = {row["path"]: row["label"] for row in csv.DictReader((demo / "truth.csv").open())}
    for _ in range(8):
        done = clean_locally(demo / "images", run, "--reviewer", "sheet", status=None)
        if done.returncode == 0:
            break
        assert done.returncode == 3
        assert "answers are missing" in done.stderr
        assert "waits for people" in here("status", run).stdout
        fill_sheets(run / "reviews", truth)
    assert done.returncode == 0
    people = [row for row in pq.read_table(run / "verdicts.parquet").to_pylist() if row["by"] == "person:ana"]
    assert len(people) > 20


def fill_sheets(folder: Path, truth: dict[str, str]) -> None:
    """Answer every open line as a person would in a spreadsheet."""
    for sheet in folder.glob("*.csv"):
        rows = list(csv.DictReader(sheet.open(encoding="utf-8-sig")))
        for row in rows:
            if "path" not in row:
                row["answer"] = row["answer"] or "keep"
            elif not row["answer"]:
                right = truth[row["path"]]
                row["answer"] = "junk" if not right else "right" if right == row["label"] else "another"
                row["new_label"] = right if row["answer"] == "another" else ""
            row["reviewer"] = "ana"
        with sheet.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


def doubted(run: Path) -> int:
    summary = json.loads((run / "summary.json").read_text())
    return summary["samples"] - summary["kept"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_exported_can_be_cleaned_again_and_is_clean(demo, finished, tmp_path, form):
    out = tmp_path / f"clean.{form}"
    command = here("export", finished, "--format", form, "--out", out).stdout.partition("cleaner clean ")[2]
    words = command.strip(" )\n").split()
    assert words[:2] == [str(out), "--root"]
    clean_locally(out, tmp_path / "run", "--root", words[2])
    assert doubted(tmp_path / "run") <= 20 < doubted(finished)


def test_the_clean_set_of_a_table_of_paths_can_be_cleaned_again_and_is_clean(demo, tmp_path):
    rows = list(csv.DictReader((demo / "truth.csv").open()))
    table = tmp_path / "set.csv"
    with table.open("w", newline="") as out:
        lines = [(demo / "images" / row["path"], row["path"].split("/")[0], row["planted"]) for row in rows]
        csv.writer(out).writerows([("path", "label", "planted"), *lines])
    assert "--root" in clean_locally(table, tmp_path / "run", status=2).stderr
    clean_locally(table, tmp_path / "run", "--root", demo)
    root = os.path.commonpath([demo.resolve(), tmp_path.resolve()])
    clean_locally(tmp_path / "run" / "clean.csv", tmp_path / "again", "--root", root)
    assert doubted(tmp_path / "again") <= 40 < doubted(tmp_path / "run")
    assert "planted" in pq.read_schema(tmp_path / "again" / "clean.parquet").names


def test_a_parquet_of_images_comes_back_as_one_and_is_clean(demo, tmp_path):
    rows = list(csv.DictReader((demo / "truth.csv").open()))
    images = [{"bytes": (demo / "images" / row["path"]).read_bytes(), "path": row["path"]} for row in rows]
    labels = [row["path"].split("/")[0] for row in rows]
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "set.parquet")
    clean_locally(tmp_path / "set.parquet", tmp_path / "run")
    here("export", tmp_path / "run", "--format", "parquet", "--out", tmp_path / "clean.parquet")
    clean_locally(tmp_path / "clean.parquet", tmp_path / "again")
    assert doubted(tmp_path / "again") <= 40 < doubted(tmp_path / "run")


def test_a_picture_in_two_splits_is_leakage(demo, tmp_path):
    for path in (demo / "images").glob("[zo]*/*"):
        split = "val" if path.stem.endswith(("1", "2", "3")) else "train"
        (tmp_path / "set" / split / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "set" / split / path.parent.name)
    shutil.copy(next((tmp_path / "set/train/zero").iterdir()), tmp_path / "set/val/zero/copy.png")
    done = clean_locally(tmp_path / "set", tmp_path / "run")
    assert "read as splits, not as classes: train, val" in done.stderr
    assert "val/zero/copy.png" in done.stdout.partition("leakage: ")[2]
    leaking = json.loads(
        here("issues", tmp_path / "run", "--kind", "leakage", "--format", "json").stdout.splitlines()[0]
    )
    assert leaking["reason"] == "the same picture is in train and val" and leaking["group"] is not None
    assert pq.read_table(tmp_path / "run" / "clean.parquet").column("split").to_pylist().count("val") > 10


def test_a_run_directory_within_the_data_set_is_refused(demo):
    run = demo / "images" / "run"
    assert "lies in the data set" in clean_locally(demo / "images", run, status=2).stderr
    assert not run.exists()


def test_answers_hold_after_a_changed_setting_and_without_a_reviewer(demo, tmp_path):
    run = tmp_path / "run"
    words = ("--reviewer", "oracle", "--truth", demo / "truth.csv")
    clean_locally(demo / "images", run, *words)
    people = {path for path, by in decided(run) if by.startswith("person:")}
    clean_locally(demo / "images", run, *words, "--set", "coarse.relabel=0.99", "--set", "review.first=9")
    assert people == {path for path, by in decided(run) if by.startswith("person:")}
    clean_locally(demo / "images", run)
    assert people == {path for path, by in decided(run) if by.startswith("person:")}
    refused = clean_locally(demo / "images", run, "--reviewer", "sheet", status=2).stderr
    assert "was put before people by --reviewer oracle" in refused
    told = here("why", run, min(people), COLUMNS="200").stdout
    assert "oracle said" in told and "says oracle" in told


def decided(run: Path) -> list[tuple[str, str]]:
    rows = pq.read_table(run / "verdicts.parquet", columns=["path", "by"]).to_pylist()
    return [(row["path"], row["by"]) for row in rows]


def test_with_no_batches_nobody_is_asked_anything(demo, tmp_path):
    clean_locally(demo / "images", tmp_path / "run", "--reviewer", "sheet", "--set", "review.batches=0")
    assert not (tmp_path / "run" / "reviews").exists()


def test_a_path_marked_as_junk_and_as_none_is_refused_with_its_line(demo, tmp_path):
    (tmp_path / "seeds.csv").write_text("path,junk\nzero/0000.png,1\nzero/0000.png,0\n")
    words = ("--set", f"image_noise.seeds={tmp_path / 'seeds.csv'}")
    assert (
        "line 3: zero/0000.png is marked as junk and as none"
        in clean_locally(demo / "images", tmp_path / "run", *words, status=2).stderr
    )


def test_an_image_that_was_replaced_since_the_scan_is_never_mixed_in(demo, tmp_path):
    shutil.copytree(demo / "images", tmp_path / "images")
    words = ("clean", tmp_path / "images", "--run", tmp_path / "run", "--runner", "local")
    process = stopped_before("manifest-", *words)
    files = sorted((tmp_path / "images" / "zero").glob("*.png"))
    files[0].write_bytes(files[5].read_bytes())
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate()
    assert process.returncode == 2
    assert "it has changed since it was scanned" in said.splitlines()[-1]
    assert "to train on" in here(*words).stdout


def test_a_command_that_was_killed_where_it_began_can_be_given_again(demo, finished, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("state.json", "flow_run", ".run.json.7.tmp", ".lock"):
        (run / name).write_text("")
    (run / "state.json").write_bytes((finished / "state.json").read_bytes())
    process = stopped_before("manifest-", "clean", demo / "images", "--run", run, "--runner", "local")
    process.kill()
    process.communicate()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    assert "is not empty and no run directory" in clean_locally(demo / "images", tmp_path / "other", status=2).stderr


def test_the_summary_tells_what_each_part_took(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert sum(part["seconds"] for part in summary["parts"]) == pytest.approx(summary["seconds"], abs=0.2)
    assert [part["part"] for part in summary["parts"]][:2] == [
        "reading the images",
        "computing what the images look like, by their pixels",
    ]
    for part in summary["parts"]:
        assert part["images_per_second"] > 0
        assert 0.01 < part["peak_gb"] < 100
