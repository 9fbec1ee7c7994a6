"""The run as a Prefect flow: on the embedded API, and on a server of its own."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from command import stopped_before
from PIL import Image
from prefect_api import answers, get, wait_until

COMMAND = [sys.executable, "-m", "flows.cli"]
FAST = ("--set", "features.backbone=pixels", "--set", "coarse.max_rounds=2", "--set", "fine.max_rounds=1")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    for channel, name in enumerate(["red", "green", "blue"]):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixel = [number * 3] * 3
            pixel[channel] = 255
            image = Image.new("RGB", (8, 8), tuple(pixel))
            image.putpixel((number % 8, number // 8), (number * 7 % 256, 9, 9))
            image.save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home of Prefect's whose database is made once for all tests here."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def environment(home):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, "PREFECT_HOME": str(home)}


def clean(photos, run, environment, *words):
    command = [*COMMAND, "clean", str(photos), "--run", str(run), *FAST, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def server(home, environment):
    """The address of a Prefect server as a user starts one, over the same database as the embedded ones."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    api = f"http://127.0.0.1:{port}/api"
    wait_until(lambda: answers(api))
    yield api
    process.send_signal(signal.SIGINT)
    process.wait(60)


def runs_of(api, folder):
    named = {"name": {"like_": str(folder)}}
    return get(api, "/flow_runs/filter", flow_runs=named, sort="START_TIME_ASC")


def test_the_embedded_runner_makes_the_bytes_that_the_local_one_makes_and_says_little(photos, tmp_path, environment):
    local = clean(photos, tmp_path / "local", environment, "--runner", "local")
    embedded = clean(photos, tmp_path / "embedded", environment)
    assert (local.returncode, embedded.returncode) == (0, 0), embedded.stderr
    for name in ("verdicts.parquet", "manifest.parquet", "clean.csv"):
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "embedded" / name).read_bytes()
    steps = {file.name for file in (tmp_path / "local" / "steps").iterdir()}
    assert steps == {file.name for file in (tmp_path / "embedded" / "steps").iterdir()}
    first, *rest = embedded.stderr.splitlines()
    assert first.startswith("starting Prefect's embedded server; ")
    assert rest[0].startswith("reading the images: 60 images of 3 classes (")
    (first, *rest), (there, *others) = embedded.stdout.splitlines(), local.stdout.splitlines()
    assert first.partition(" in ")[0] == there.partition(" in ")[0]
    assert rest == [line.replace(str(tmp_path / "local"), str(tmp_path / "embedded")) for line in others]


def test_a_server_that_is_named_shows_every_step_as_a_task_run(photos, tmp_path, environment, server):
    done = clean(photos, tmp_path / "run", {**environment, "PREFECT_API_URL": server})
    assert done.returncode == 0, done.stderr
    assert "embedded" not in done.stderr
    (run,) = runs_of(server, tmp_path / "run")
    assert run["state"]["type"] == "COMPLETED"
    assert run["parameters"]["run_dir"] == str(tmp_path / "run")
    outputs = [*(tmp_path / "run" / "steps").glob("*.cost"), *(tmp_path / "run" / "ledger").iterdir()]
    made = {re.sub(r"^\d{6}-|\.\w+$", "", output.name) for output in outputs}

    def completed():
        """The server hears of task runs by messages, which may come a little later than the command ends."""
        tasks = get(server, "/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
        return [task["name"] for task in tasks if task["state_type"] == "COMPLETED"]

    wait_until(lambda: len(completed()) >= len(made))
    assert len(completed()) == len(made)
    assert {"reading the images", "looking for junk images"} < set(completed())


def test_waiting_for_people_is_no_failure_of_the_flow(photos, tmp_path, environment, server):
    words = ("--reviewer", "sheet", "--set", "review.first=4")
    waits = clean(photos, tmp_path / "run", {**environment, "PREFECT_API_URL": server}, *words)
    assert waits.returncode == 3
    assert waits.stderr.splitlines()[-1].startswith("cleaner: ")
    (run,) = runs_of(server, tmp_path / "run")
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "WaitsForPeople")
    assert "answers are missing" in run["state"]["message"]


def test_a_killed_run_leaves_no_server_and_is_crashed_when_it_goes_on(photos, tmp_path, environment, server):
    run = tmp_path / "run"
    process = stopped_before("manifest-", "clean", photos, "--run", run, *FAST, **environment)
    (embedded,) = children(process.pid, "flows.prefect.embedded_server")
    process.kill()
    process.communicate()
    wait_until(lambda: not is_alive(embedded))
    assert [found["state"]["type"] for found in runs_of(server, run)] == ["RUNNING"]
    again = clean(photos, run, {**environment, "PREFECT_API_URL": server})
    assert again.returncode == 0, again.stderr
    assert [found["state"]["type"] for found in runs_of(server, run)] == ["CRASHED", "COMPLETED"]


def test_a_living_run_of_the_same_name_is_left_alone(photos, tmp_path, environment, server):
    """As two containers have it that are called the same and mount different disks at the same place."""
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    process = stopped_before("manifest-", "clean", photos, "--run", run, *FAST, **environment, PREFECT_API_URL=server)
    run.rename(elsewhere)
    again = clean(photos, run, {**environment, "PREFECT_API_URL": server})
    assert again.returncode == 0, again.stderr
    assert sorted(found["state"]["type"] for found in runs_of(server, run)) == ["COMPLETED", "RUNNING"]
    process.kill()
    process.communicate()


FAILING = """
import errno, os, sys
from pathlib import Path
replace, failed = Path.replace, []

def failing(path, target):
    if target.name.startswith("manifest-") and len(failed) < times:
        failed.append(target)
        raise OSError(number, os.strerror(number))
    return replace(path, target)

Path.replace = failing
from flows.prefect import clean
clean.perform_step = clean.perform_step.with_options(retry_delay_seconds=[0, 0])
from flows.cli import main
run = sys.argv.pop(1)
for number, times in ((errno.EIO, 2), (errno.EIO, 3), (errno.ENOSPC, 1), (errno.EACCES, 1)):
    failed.clear()
    sys.argv[4] = f"{run}-{errno.errorcode[number]}-{times}"
    try:
        main()
    except SystemExit as end:
        print("ended", errno.errorcode[number], times, end.code or 0)
"""


def test_a_disk_that_is_away_for_a_moment_is_tried_again(photos, tmp_path, environment, server):
    command = [sys.executable, "-c", FAILING, str(tmp_path / "run"), "clean", str(photos), "--run", "", *FAST]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**environment, "PREFECT_API_URL": server}, check=False
    )
    ended = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("ended ")]
    assert ended == [["EIO", "2", "0"], ["EIO", "3", "1"], ["ENOSPC", "1", "1"], ["EACCES", "1", "1"]], done.stderr


def children(parent, module):
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid in re.findall(rf"^\s*(\d+)\s+{parent}\s.*{module}", listed, re.MULTILINE)]


def is_alive(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_what_fails_in_a_step_ends_the_command_in_one_line(photos, tmp_path, environment, server):
    run = tmp_path / "run"
    run.mkdir()
    (run / "steps").write_text("in the way")
    failed = clean(photos, run, {**environment, "PREFECT_API_URL": server})
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"cleaner: {run / 'steps'}")
    (told,) = runs_of(server, run)
    assert told["state"]["type"] == "FAILED"


def test_a_server_that_does_not_answer_is_named(photos, tmp_path, environment):
    refused = clean(photos, tmp_path / "run", {**environment, "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("cleaner: PREFECT_API_URL=http://127.0.0.1:9/api: no Prefect server answers there")


def test_a_database_that_prefect_cannot_open_is_told_with_its_home(photos, tmp_path, environment):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "prefect.db").write_bytes(os.urandom(100_000))
    failed = clean(photos, tmp_path / "run", {**environment, "PREFECT_HOME": str(tmp_path / "home")})
    assert failed.returncode == 1
    assert f"PREFECT_HOME={tmp_path / 'home'}" in failed.stderr.splitlines()[-1]
    assert "file is not a database" in failed.stderr.splitlines()[-1]
