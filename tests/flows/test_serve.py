"""`cleaner serve`: data sets that are kept clean by themselves, on a server of its own that is really there."""

import csv
import itertools
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from uuid import uuid4

import pytest
from command import CLEANER, clean_locally, cleaner
from needs import CHROMIUM, needs_chromium
from playwright.sync_api import sync_playwright
from prefect_api import get, wait_until
from sheets import answer
from webhook import Team

from cleaner.run.finished import read_summary

pytestmark = pytest.mark.slow

SCHEDULE = """
timezone = "Europe/Berlin"
dashboard = "http://127.0.0.1:8501"

[[notify]]
to = "TEST_TEAM"

[data.digits]
source = "digits"
run = "runs/digits"
times.clean = "0 2 * * *"
times.ingest = "every 15 seconds"
noise_above = 0.01

[data.asked]
source = "digits"
run = "runs/asked"
reviewer = "sheet"
times = { clean = "never", ingest = "never", collect = "every 15 seconds" }

[data.lost]
source = "digits"
run = "runs/lost"
times = { clean = "never", ingest = "never" }

[data.asked.config]
coarse.max_rounds = 1
fine.max_rounds = 1
review = { batches = 1, first = 4 }
small_classes.min_images = 0
"""


class AtWork(NamedTuple):
    """A cleaning at work: its flow run, its seed, its process."""

    flow_run: str
    seed: int
    process: int


class Served:
    """A folder with a schedule, and the command that serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs, self.team = folder, folder / "runs", Team()
        self.said: list[str] = []
        self.seeds = itertools.count(100)
        self.began = time.monotonic()

    def start(self) -> None:
        # As where another user of the machine has made what Prefect's runners take for theirs.
        (self.folder / "tmp").mkdir(exist_ok=True)
        (self.folder / "tmp" / "runner_storage").write_text("another's")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.process = subprocess.Popen(
            [CLEANER, "serve", "cleaner.toml"],
            cwd=self.folder,
            # A cache of its own: cleanings of other tests have another machine.
            env=environment
            | {
                "PREFECT_HOME": str(self.folder / "home"),
                "XDG_CACHE_HOME": str(self.folder / "cache"),
                "TEST_TEAM": self.team.address,
                "TMPDIR": str(self.folder / "tmp"),
            },
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.said.clear()
        threading.Thread(target=self._hear, args=(self.process.stderr,), daemon=True).start()
        wait_until(lambda: any(line.startswith("serving ") for line in self.said) or self.process.poll() is not None)
        (page,) = [line for line in self.said if line.startswith("Prefect's page: ")]
        self.page = page.removeprefix("Prefect's page: ").strip()
        self.login = (self.folder / "home" / "login").read_text().strip()
        self.api = self.page.replace("//", f"//{self.login}@") + "/api"

    def _hear(self, lines) -> None:
        for line in lines:
            self.said.append(line)

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(120)

    def deployment(self, name: str):
        return get(
            self.api, "/deployments/filter", deployments={"name": {"any_": [name]}}, flows={"name": {"any_": ["clean"]}}
        )[0]

    def begin(self, name: str, **parameters):
        """Start a cleaning as a person does on Prefect's page; the flow run's id."""
        # Where the server is busy this is asked again; the key makes one flow run of it all the same.
        asked = {"parameters": parameters, "idempotency_key": str(uuid4())}
        return get(self.api, f"/deployments/{self.deployment(name)['id']}/create_flow_run", **asked)["id"]

    def lose(self, name: str, after: int) -> str:
        """A cleaning that was given out and never begins, as when whoever had it could not reach the server; what never
        begins is begun again `after` so many seconds."""
        named = {"name": {"any_": ["cleaner: mark runs that never started as crashed"]}}
        (automation,) = get(self.api, "/automations/filter", automations=named)
        automation["trigger"]["within"] = after
        body = {name: automation[name] for name in ("name", "description", "enabled", "trigger", "actions")}
        get(self.api, f"/automations/{automation['id']}", "PUT", **body)
        due = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
        made = get(self.api, f"/deployments/{self.deployment(name)['id']}/create_flow_run", state=due)["id"]
        (automation,) = get(self.api, "/automations/filter", automations=named)
        database = sqlite3.connect(self.folder / "home" / "prefect.db", timeout=60)
        waited_for = "SELECT count(*) FROM automation_bucket WHERE trigger_id = ? AND bucketing_key LIKE ?"

        def lost() -> bool:
            # Again and again: it may come before the change is known to what weighs events.
            get(self.api, f"/flow_runs/{made}/set_state", state={"type": "PENDING"}, force=True)
            return database.execute(waited_for, (automation["trigger"]["id"], f"%{made}%")).fetchone()[0] > 0

        wait_until(lost)
        database.close()
        return made

    def ended(self, flow_run: str):
        """The flow run, when it has ended."""
        (found,) = get(self.api, "/flow_runs/filter", flow_runs={"id": {"any_": [flow_run]}})
        return found if found["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    def states(self, name: str) -> list[str]:
        """The names of the states in which the cleanings of a data set have ended, in order."""
        found = get(
            self.api,
            "/flow_runs/filter",
            deployments={"id": {"any_": [self.deployment(name)["id"]]}},
            sort="EXPECTED_START_TIME_ASC",
        )
        return [run["state_name"] for run in found if run["state_type"] not in ("SCHEDULED", "PENDING", "RUNNING")]

    def at_work(self, name: str) -> AtWork:
        """A cleaning at work. One that was over before it was seen, or left to another, is begun again."""
        while True:
            seed = next(self.seeds)
            flow_run = self.begin(name, config={"seed": seed})
            if process := self._process_of(name, flow_run):
                return AtWork(flow_run, seed, process)

    def _process_of(self, name: str, flow_run: str) -> int | None:
        state, worker = self.runs / name / "state.json", self.runs / name / "flow_run"

        def working() -> int | None:
            told = json.loads(state.read_text()) if state.exists() else {"doing": ""}
            mine = worker.exists() and worker.read_text().strip() == flow_run
            return int(told["pid"]) if mine and told["doing"] == "working" else None

        wait_until(lambda: working() or self.ended(flow_run))
        return working()

    def summary(self, name: str):
        return read_summary(self.runs / name)


@pytest.fixture(scope="module")
def served(few_classes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(few_classes / "images", folder / "digits")
    for file in sorted((folder / "digits" / "three").glob("*.png"))[::5]:
        file.rename(folder / "digits" / "four" / f"three-{file.name}")
    (folder / "cleaner.toml").write_text(SCHEDULE)
    served = Served(folder)
    try:
        served.start()
        # As long as what died is waited for. Done first: the tests take their time meanwhile.
        served.lost = served.lose("lost", after=90)
        yield served
    finally:
        served.end()


def results(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in ("verdicts.parquet", "clean.csv", "manifest.parquet")}


def test_images_that_come_are_taken_in_without_anybody_asking(served, tmp_path):
    wait_until(lambda: served.summary("digits"))
    before = served.summary("digits")["samples"]
    wait_until(lambda: served.team.about("digits: cleaned"))
    told = len(served.team.about("digits: cleaned"))
    come = served.folder / "come"
    come.mkdir()
    for number, file in enumerate(sorted((served.folder / "digits" / "one").glob("*.png"))[:10]):
        new = come / f"new-{number}.png"
        new.write_bytes(file.read_bytes() + b"x" * 3)
        # As what was copied keeps its time; what has just been written is waited with for a minute.
        os.utime(new, (time.time() - 600,) * 2)
    for new in list(come.iterdir()):
        new.rename(served.folder / "digits" / "one" / new.name)
    wait_until(lambda: (served.summary("digits") or {"samples": 0})["samples"] == before + 10)
    clean_locally(served.folder / "digits", tmp_path / "fresh")
    assert results(tmp_path / "fresh") == results(served.runs / "digits")
    wait_until(lambda: len(served.team.about("digits: cleaned")) == told + 1)
    first, *_, last = served.team.about("digits: cleaned")
    said = "".join(served.said)
    for line in ("a cleaning begins", "10 files new; a cleaning is asked for", "cleaned: the clean data set is in "):
        assert f"digits: {line}" in said
    assert first.startswith(f"{before:,} images, ") and "(+" not in first
    assert last.startswith(f"{before + 10:,} images (+10), ") and last.endswith("\nhttp://127.0.0.1:8501")
    wait_until(lambda: len(served.team.about("digits: more labels are wrong than they may be")) == told + 1)


def test_prefects_page_shows_what_it_came_to(served):
    wait_until(lambda: served.summary("digits"))
    found = get(served.api, "/artifacts/latest/filter", sort="KEY_ASC")
    shown = {artifact["key"]: artifact for artifact in found}
    assert f"**{served.summary('digits')['kept']:,} kept" in shown["digits-summary"]["data"]
    assert "http://127.0.0.1:8501" in shown["digits-dashboard"]["data"]
    assert "report.html" in shown["digits-report"]["data"]
    rounds = json.loads(shown["digits-rounds"]["data"])
    assert any(row["part"] == "wrong labels, fine" and row["images judged"] > 200 for row in rounds)
    assert not any(served.team.address in json.dumps(artifact) for artifact in found)


def test_when_all_is_answered_it_goes_on_and_waiting_holds_no_process(served):
    first = served.begin("asked")
    wait_until(lambda: served.ended(first))
    waits = served.ended(first)
    assert (waits["state_type"], waits["state_name"]) == ("COMPLETED", "WaitsForPeople")
    wait_until(lambda: served.team.about("asked: people are needed"))
    assert "review-1.html" in served.team.about("asked: people are needed")[0]
    wait_until(lambda: "asked: waits for people: " in "".join(served.said))
    sheet = served.runs / "asked" / "reviews" / "review-1.csv"
    asked = len(list(csv.DictReader(sheet.open(encoding="utf-8-sig"))))
    answer(sheet, asked)
    wait_until(lambda: served.summary("asked"))
    wait_until(lambda: served.states("asked")[1:].count("Completed"))
    # Where the machine is busy a second look finds the same before the cleaning has begun: the work is done once.
    states = served.states("asked")
    assert states[0] == "WaitsForPeople"
    assert set(states[1:]) <= {"Completed", "LeftToTheNext", "AtWorkAlready"}
    assert len((served.runs / "asked" / "answers.jsonl").read_text().splitlines()) == asked


def test_what_was_given_out_and_never_began_is_begun_again(served):
    wait_until(lambda: served.summary("lost"))
    wait_until(lambda: served.ended(served.lost))
    assert served.ended(served.lost)["state_type"] == "COMPLETED"


def test_what_is_started_several_times_at_once_is_done_once_and_the_others_say_who_has_it(served):
    seed = {"config": {"seed": 5}}
    runs = [served.begin("digits", **seed) for _ in range(3)]
    wait_until(lambda: all(served.ended(run) for run in runs))
    states = [served.ended(run)["state"] for run in runs]
    assert {state["type"] for state in states} == {"COMPLETED"}
    for state in states:
        if state["name"] == "AtWorkAlready":
            assert re.search("another (command|cleaning of it) works", state["message"])
    assert served.summary("digits")["seed"] == 5


def test_a_mistake_ends_a_cleaning_in_one_line_at_once_and_people_are_told(served):
    run = served.begin("digits", source=str(served.folder / "nowhere"))
    wait_until(lambda: served.ended(run))
    state = served.ended(run)["state"]
    assert state["type"] == "FAILED"
    assert state["message"].startswith(f"{served.folder / 'nowhere'}: No such file")
    logs = get(served.api, "/logs/filter", logs={"flow_run_id": {"any_": [run]}})
    assert not any("Traceback" in log["message"] for log in logs)
    wait_until(
        lambda: any("nowhere: No such file" in told for told in served.team.about("digits: the cleaning failed"))
    )


def test_a_cleaning_that_would_take_more_than_it_may_does_not_begin(served):
    wait_until(lambda: served.summary("digits"))
    run = served.begin("digits", config={"seed": 9}, limits={"disk_gb": 1e-6, "hours": 1000})
    wait_until(lambda: served.ended(run))
    state = served.ended(run)["state"]
    assert state["type"] == "FAILED"
    assert "limits.disk_gb = 1e-06, and it would take about" in state["message"]
    assert served.summary("digits")["seed"] != 9


def test_a_cleaning_whose_process_was_killed_is_taken_up_again(served, tmp_path):
    run, seed, process = served.at_work("digits")
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: (served.ended(run) or {"state_type": ""})["state_type"] == "COMPLETED")
    assert served.ended(run)["run_count"] == 2
    clean_locally(served.folder / "digits", tmp_path / "fresh", "--seed", seed)
    assert results(tmp_path / "fresh") == results(served.runs / "digits")


def test_a_serving_that_was_killed_with_all_its_processes_goes_on_where_it_was(served, tmp_path):
    run, seed, process = served.at_work("digits")
    served.end(signal.SIGKILL)
    os.kill(process, signal.SIGKILL)
    served.start()
    wait_until(lambda: (served.ended(run) or {"state_type": ""})["state_type"] == "COMPLETED")
    clean_locally(served.folder / "digits", tmp_path / "fresh", "--seed", seed)
    assert results(tmp_path / "fresh") == results(served.runs / "digits")


def test_no_address_reaches_a_log(served):
    logs = get(served.api, "/logs/filter", sort="TIMESTAMP_ASC")
    assert any("told TEST_TEAM: digits: cleaned" in log["message"] for log in logs)
    assert not any("a-secret" in log["message"] for log in logs)
    assert not any("a-secret" in line for line in served.said)


def test_nobody_gets_in_without_the_login_which_is_its_user_s_alone_and_told_nowhere(served, tmp_path):
    file = served.folder / "home" / "login"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = served.login.partition(":")[2]
    assert len(secret) >= 40
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert secret not in listed and not any(secret in line for line in served.said)
    assert not any(secret in log["message"] for log in get(served.api, "/logs/filter"))
    kept = [path for path in served.folder.rglob("*") if path.is_file() and path != file]
    assert not any(secret.encode() in path.read_bytes() for path in kept)
    for api in (f"{served.page}/api", f"{served.page}/api".replace("//", "//cleaner:guess@")):
        with pytest.raises(HTTPError, match="401"):
            get(api, "/flow_runs/filter")
    there = {"PREFECT_API_URL": f"{served.page}/api", "PREFECT_HOME": str(tmp_path)}
    refused = cleaner("clean", served.folder / "digits", "--run", tmp_path / "run", status=2, **there)
    assert "wants a login; set PREFECT_API_AUTH_STRING" in refused.stderr


ATTACK = """
async () => {
  const asked = []
  for (const host of ["127.0.0.1", "localhost"]) {
    const api = `http://${host}:PORT/api`
    const json = {"Content-Type": "application/json"}
    for (const [path, method, headers, mode] of [
      ["/deployments/filter", "POST", json, "cors"],
      ["/deployments/filter", "POST", {"Content-Type": "text/plain"}, "no-cors"],
      ["/flow_runs/filter", "POST", {...json, Authorization: "Basic Y2xlYW5lcjpndWVzcw=="}, "cors"],
      ["/admin/version", "GET", {}, "cors"],
    ]) {
      try {
        const answer = await fetch(api + path, {method, headers, mode, body: method == "GET" ? undefined : "{}"})
        asked.push(answer.type == "opaque" ? "unread" : answer.status)
      } catch (error) { asked.push("refused") }
    }
    const socket = new WebSocket(`ws://${host}:PORT/api/events/in`, "prefect")
    asked.push(await new Promise(told => {
      socket.onopen = () => told("open")
      socket.onerror = () => told("refused")
    }))
  }
  return asked
}
"""


@needs_chromium()
def test_a_page_of_another_origin_gets_nothing_from_it(served, tmp_path):
    """As a page that somebody visits while it serves: it read all deployments, changed their steps and ran commands."""
    (tmp_path / "index.html").write_text("<title>another page</title>")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as elsewhere, sync_playwright() as driver:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{elsewhere.server_port}/index.html")
        asked = page.evaluate(ATTACK.replace("PORT", served.page.rpartition(":")[2]))
        elsewhere.shutdown()
        chromium.close()
    assert set(asked) <= {"refused", "unread"} and asked.count("unread") == 2


def test_a_file_is_served_by_one_command(served, tmp_path):
    there = {"PREFECT_API_URL": f"{served.page}/api", "TEST_TEAM": served.team.address}
    there |= {"PREFECT_HOME": str(tmp_path), "PREFECT_API_AUTH_STRING": served.login}
    refused = cleaner("serve", served.folder / "cleaner.toml", status=2, **there)
    assert refused.stderr.startswith(f"cleaner: {served.folder / 'cleaner.toml'}: another command serves it")


def test_prefects_form_shows_every_setting_with_its_description(served):
    schema = served.deployment("digits")["parameter_openapi_schema"]
    assert "folder of class folders" in schema["properties"]["source"]["description"]
    assert schema["definitions"]["Split" if "Split" in schema["definitions"] else "Fine"]["properties"]["k"][
        "description"
    ]


def test_what_has_ended_is_not_taken_for_dead_when_it_gives_no_sign_of_life(served):
    """A run of a second is over before its first sign of life has arrived."""
    wait_until(lambda: time.monotonic() - served.began > 150)
    found = get(served.api, "/flow_runs/filter", sort="EXPECTED_START_TIME_ASC")
    assert any(run["state_name"] == "Completed" for run in found)
    assert not any("no sign of life" in (run["state"]["message"] or "") for run in found)


WRONG = """
paralel = 3
[data.digits]
source = "nowhere"
run = "runs/digits"
times.clean = "0 2 * *"
config.fine.kk = 2
[data.Dogs]
source = "digits"
"""


def test_a_wrong_file_is_refused_with_everything_that_is_wrong(tmp_path):
    file = tmp_path / "cleaner.toml"
    file.write_text(WRONG)
    refused = cleaner("serve", file, status=2, PREFECT_HOME=str(tmp_path / "home"))
    (line,) = refused.stderr.splitlines()
    for part in (
        "paralel",
        "times.clean = '0 2 * *'",
        "config.fine.kk (did you mean k?)",
        "data.Dogs",
        "data.Dogs.run is missing",
    ):
        assert part in line
    assert not (tmp_path / "home").exists()


def test_what_the_file_names_is_looked_at_before_anything_is_registered(tmp_path):
    file = tmp_path / "cleaner.toml"
    file.write_text(
        """
        [data.one]
        source = "nowhere"
        run = "runs/one"
        [data.two]
        source = "nowhere"
        run = "runs/two"
        reviewer = "shet"
        [[notify]]
        to = "NOBODY_SET_THIS"
        data = ["three"]
        """
    )
    refused = cleaner("serve", file, status=2, PREFECT_HOME=str(tmp_path / "home"))
    (line,) = refused.stderr.splitlines()
    for part in ("data.one:", "data.two:", "nowhere", "NOBODY_SET_THIS is not set", "no data set three"):
        assert part in line
    assert not (tmp_path / "home").exists()
    assert not (tmp_path / "runs").exists()
