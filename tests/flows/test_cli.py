"""The command line as a user meets it; in this process, but where it is the process that is looked at."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import CLEANER, here, stopped_before
from PIL import Image

from cleaner import installed, parts
from cleaner.run.store import Store

REFERENCE = Path(__file__).parents[2] / "docs" / "cli.md"
SUBCOMMANDS = ("demo", "clean", "status", "why", "export", "doctor")


def cleaner(*words, cwd="."):
    return here(*words, status=None, cwd=cwd)


def complaint(result) -> str:
    """The only line on stderr."""
    (line,) = result.stderr.splitlines()
    assert result.stdout == ""
    return line


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes that differ in colour, a mislabelled image, and a file that is none."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    for name, colour in {"red [bold]": 0, "blue": 2}.items():
        (folder / name).mkdir(parents=True)
        for number in range(30):
            pixel = [number * 3, number * 3, number * 3]
            pixel[colour] = 255
            image = Image.new("RGB", (8, 8), tuple(pixel))
            image.putpixel((number % 8, number // 8), (number * 7 % 256, 9, 9))
            image.save(folder / name / f"{number}.png")
    (folder / "blue" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    result = cleaner("clean", photos, "--run", run, "--runner", "local", "--set", "features.backbone=pixels")
    assert result.returncode == 0, result.stderr
    return run


def test_the_reference_is_what_the_command_says(tmp_path):
    page = tmp_path / "cli.md"
    make = ["flows.cli", "utils", "docs", "--name", "cleaner", "--title", "The command line", "--output", str(page)]
    subprocess.run([sys.executable, "-m", "typer", *make], check=True, capture_output=True)
    assert REFERENCE.read_text() == page.read_text(), f"make it again: typer {' '.join(make[:-1])} docs/cli.md"


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_command_has_help(command):
    result = cleaner(command, "--help")
    assert result.returncode == 0
    assert f"Usage: cleaner {command}" in result.stdout


@pytest.mark.parametrize("command", [("--help",), ("clean", "--help"), ("doctor",)])
def test_nothing_heavy_is_imported_to_answer_a_question(command):
    code = (
        "import atexit, sys; from flows.cli import main\n"
        "heavy = {'prefect', 'torch', 'timm', 'faiss', 'pyarrow', 'numpy'}\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sorted(heavy & sys.modules.keys()))))\n"
        "main()"
    )
    result = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    assert result.stderr == ""


@pytest.mark.parametrize("question", [("status",), ("why", "blue/3.png")])
def test_a_look_at_a_run_imports_neither_prefect_nor_what_embeds_images(finished, question):
    code = (
        "import atexit, sys; from flows.cli import main\n"
        "heavy = {'prefect', 'torch', 'timm', 'faiss', 'openvino', 'pandas'}\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sorted(heavy & sys.modules.keys()))))\n"
        "main()"
    )
    words = [question[0], str(finished), *question[1:]]
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert result.stderr == ""


def test_the_version_is_told():
    assert cleaner("--version").stdout == f"cleaner {installed.version()}\n"


def test_the_shell_can_complete_commands():
    asked = {"_CLEANER_COMPLETE": "complete_bash", "COMP_WORDS": "cleaner st", "COMP_CWORD": "1"}
    done = subprocess.run([CLEANER], capture_output=True, text=True, env={**os.environ, **asked}, check=False)
    assert "status" in done.stdout


def test_no_command_shows_the_help_and_is_wrong_usage():
    result = cleaner()
    assert result.returncode == 2
    assert "cleaner clean photos --run runs/photos" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clean"], "SOURCE"),
        (["clean", "photos"], "--run"),
        (["clean", "photos", "--run", "r", "--runner", "ray"], "'prefect', 'local'"),
        (["clean", "photos", "--run", "r", "--runner", "ray"], "'--runner': 'ray' is not one of"),
        (["clean", "photos", "--run", "r", "--reviewer", "shet"], "did you mean sheet?"),
        (
            ["clean", "photos", "--run", "r", "--reviewer", "zzz"],
            f"(known: {', '.join(sorted(['none', *parts.names('reviewers')]))})",
        ),
        (["clean", "photos", "--run", "r", "--reviewer", "oracle", "--truth", "photos"], "photos: is a folder"),
        (["clean", "photos", "--run", "r", "--set", "predictors.probe.penalties=[]"], "at least 1 item"),
        (["clean", "photos", "--run", "r", "--set", "reviewers.sheet.picture=-1"], "greater than or equal to 16"),
        (["clean", "photos", "--run", "r", "--set", "coarse.k=1000000000"], "less than or equal to"),
        (["clean", "photos", "--run", "r", "--set", "duplicates.near=by_split"], "the data set has no splits"),
        (["clean", "photos", "--run", "r", "--reviewer", "sheet", "--set", "review.overlap=0.5"], "asks one person"),
        (["clean", "photos", "--run", "r", "--workers", "99999"], "--workers"),
        (["clean", "photos", "--run", "r", "--set", "fine.kk=1"], "did you mean k?"),
        (["clean", "photos", "--run", "r", "--set", "fine.k"], "wants a.b=value"),
        (["clean", "photos", "--run", "r", "--config", "none.toml"], "none.toml"),
        (["clean", "photos", "--run", "r", "--reviewer", "oracle"], "--truth FILE"),
        (["clean", "nowhere", "--run", "r"], "nowhere"),
        (["clean", "photos", "--run", "r", "--root", "."], "is for a table of paths"),
        (["clean", "photos", "--run", "r", "--workers", "0"], "--workers"),
        (["tidy"], "tidy"),
        (["status", "r"], "no run lies here"),
        (["why", "r", "a"], "no run lies here"),
        (["export", "r", "--format", "cvs", "--out", "x"], "did you mean csv?"),
    ],
)
def test_a_mistake_gets_one_line_status_two_and_writes_nothing(photos, tmp_path, words, said):
    (tmp_path / "photos").symlink_to(photos)
    result = cleaner(*words, cwd=tmp_path)
    line = complaint(result)
    assert line.startswith("cleaner: ")
    assert said in line
    assert result.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_finished_run_says_what_it_found_and_where_it_is(photos, finished):
    again = cleaner("clean", photos, "--run", finished, "--runner", "local", "--set", "features.backbone=pixels")
    assert again.returncode == 0
    assert again.stderr == "", "nothing is done twice"
    summary = json.loads((finished / "summary.json").read_text())
    assert f"{summary['kept']} kept" in again.stdout
    assert str(finished / "report.html") in again.stdout


def test_progress_to_a_pipe_is_plain_lines(photos, tmp_path):
    words = ("clean", photos, "--run", tmp_path / "run", "--runner", "local", "--set", "features.backbone=pixels")
    result = cleaner(*words)
    assert result.returncode == 0
    assert "\x1b" not in result.stdout + result.stderr
    assert "reading the images: 61 images of 2 classes, 1 of them unreadable (" in result.stderr
    assert "looking for wrong labels, coarse, round 1 of at most 4: " in result.stderr
    assert "coarse-1" not in result.stdout + result.stderr, "steps' names are for programs"
    assert "1 unreadable file: 1 no image; for example blue/broken.png" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("next: ")


def test_status_tells_a_finished_run(finished):
    result = cleaner("status", finished)
    assert result.returncode == 0
    assert "finished" in result.stdout


def test_status_tells_a_run_at_work_and_one_whose_command_was_ended(photos, tmp_path):
    run = tmp_path / "run"
    process = stopped_before("features-", "clean", photos, "--run", run, "--runner", "local")
    at_work = cleaner("status", run)
    assert "at work since 20" in at_work.stdout and f"(process {process.pid} on " in at_work.stdout
    assert "computing what the images look like" in at_work.stdout
    assert "done: reading the images: 61 images of 2 classes" in at_work.stdout
    assert cleaner("why", run, "blue/3.png").stdout.splitlines()[-1].startswith("the run is not finished")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert "was ended while computing what the images look like" in cleaner("status", run).stdout
    process.communicate()
    assert json.loads(cleaner("status", run, "--json").stdout)["ended"] is True


def test_looking_needs_neither_the_data_set_nor_a_place_to_write_nor_torch(photos, tmp_path):
    data, run = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, data)
    words = ("clean", data, "--run", run, "--runner", "local", "--set", "features.backbone=pixels")
    assert cleaner(*words).returncode == 0
    shutil.rmtree(data)
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    with Store(run).locked():
        assert "finished" in cleaner("status", run).stdout
        assert "stands: " in cleaner("why", run, "blue/3.png").stdout
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before


def test_status_and_why_speak_json(finished):
    said = json.loads(cleaner("status", finished, "--json").stdout)
    assert (said["state"]["doing"], said["ended"]) == ("finished", False)
    assert said["summary"]["samples"] == 61
    sample = json.loads(cleaner("why", finished, "blue/3.png", "--json").stdout)
    assert sample["sample"]["label"] == "blue"
    assert sample["verdicts"][-1]["reason"] and sample["stands"]["action"]


RUN_FILES = ["{}", "[]", '{"source": 3}', "", "{"]


@pytest.mark.parametrize("content", RUN_FILES)
@pytest.mark.parametrize("question", ["status", "why blue/3.png", "export --format csv --out x.csv"])
def test_a_damaged_run_file_is_one_line(finished, tmp_path, content, question):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "run.json").write_text(content)
    command, *words = question.split()
    result = cleaner(command, run, *words, cwd=tmp_path)
    line = complaint(result)
    assert result.returncode == 2
    assert f"{run / 'run.json'}: is damaged (" in line and "; restore it, or give --run a new directory" in line


@pytest.mark.parametrize("how", ["missing", "empty", "truncated"])
@pytest.mark.parametrize("name", ["verdicts.parquet", "manifest.parquet", "ledger"])
def test_a_damaged_result_is_one_line_that_names_the_file_and_the_remedy(finished, tmp_path, name, how):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    file = run / name if name != "ledger" else sorted((run / "ledger").iterdir())[-1]
    content = file.read_bytes()
    file.unlink() if how == "missing" else file.write_bytes(content[: len(content) // 2 if how == "truncated" else 0])
    if name == "ledger":
        questions = [] if how == "missing" else [("why", run, "blue/3.png")]
    else:
        questions = [
            ("status", run),
            ("why", run, "blue/3.png"),
            ("export", run, "--format", "csv", "--out", run / "x"),
        ]
    for question in questions:
        line = complaint(cleaner(*question))
        assert line.startswith(f"cleaner: {file}: is {'missing' if how == 'missing' else 'damaged'}")
        assert "`cleaner clean` command again" in line


def test_why_tells_every_verdict_on_a_sample_found_by_path_or_id(finished):
    by_path = cleaner("why", finished, "red [bold]/3.png")
    assert by_path.returncode == 0
    assert "  wrong labels, coarse, round 1: " in by_path.stdout
    assert "stands: " in by_path.stdout
    assert "red [bold]/3.png" in by_path.stdout, "a data set's text is no markup"
    sample_id = by_path.stdout.split("(")[1].split(")")[0]
    assert cleaner("why", finished, sample_id).stdout == by_path.stdout


def test_why_tells_what_is_wrong_with_an_unusable_file(finished):
    result = cleaner("why", finished, "blue/broken.png")
    assert "can't be used: " in result.stdout
    assert "stands: drop" in result.stdout


def test_why_names_near_matches_of_an_unknown_sample(finished):
    result = cleaner("why", finished, "3.png")
    assert result.returncode == 2
    assert "blue/3.png" in complaint(result)
    assert len(complaint(cleaner("why", finished, "nothing like it"))) < 300


def test_export_writes_every_form_with_its_settings(finished, tmp_path):
    kept = json.loads((finished / "summary.json").read_text())["kept"]
    assert f"{kept} samples" in cleaner("export", finished, "--format", "csv", "--out", tmp_path / "c.csv").stdout
    assert len((tmp_path / "c.csv").read_text().splitlines()) == kept + 1
    words = ("--format", "image_folder", "--out", tmp_path / "images", "--set", "copy=true")
    assert cleaner("export", finished, *words).returncode == 0
    files = list((tmp_path / "images").rglob("*.png"))
    assert len(files) == kept
    assert not any(file.is_symlink() for file in files)


def test_export_refuses_a_setting_it_does_not_know(finished, tmp_path):
    result = cleaner("export", finished, "--format", "csv", "--out", tmp_path / "c.csv", "--set", "copy=true")
    assert result.returncode == 2
    assert "unknown setting exporters.csv.copy" in complaint(result)


def test_doctor_finds_this_environment_in_order(monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    result = cleaner("doctor")
    assert result.returncode == 0
    assert "torch" in result.stdout
    assert str(tmp_path / "home") in result.stdout.replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("number", "status", "line"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")]
)
@pytest.mark.parametrize("runner", ["local", pytest.param("prefect", marks=pytest.mark.slow)])
def test_a_signal_ends_the_command_with_one_line_and_the_state_says_so(
    photos, tmp_path, tmp_path_factory, number, status, line, runner
):
    home = tmp_path_factory.getbasetemp() / "home"
    words = ("clean", photos, "--run", tmp_path / "run", "--runner", runner)
    process = stopped_before("manifest-", *words, PREFECT_HOME=str(home))
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate()
    assert process.returncode == status
    assert said.splitlines()[-1] == f"cleaner: {line}; the same command goes on where it was"
    assert "Traceback" not in said
    assert "stopped: it was interrupted" in cleaner("status", tmp_path / "run").stdout
