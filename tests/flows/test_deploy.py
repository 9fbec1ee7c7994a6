"""`cleaner deploy` and deploy/team.sh: a Prefect server on PostgreSQL, Label Studio, a worker and the dashboard."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.error import HTTPError

import pytest
import yaml
from command import clean_locally, cleaner
from label_studio import EMAIL, PASSWORD, TOKEN, Server, copy_of_a_database, installed
from prefect_api import get, wait_until

from cleaner.run.finished import read_summary
from cleaner.run.state import Doing, read_state

ROOT = Path(__file__).parent.parent.parent
POSTGRES = list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
SCHEDULE = """
[data.digits]
source = "digits"
run = "runs/digits"
times = { clean = "every 20 seconds", ingest = "never" }

[data.asked]
source = "digits"
run = "runs/asked"
reviewer = "label_studio"
times = { clean = "never", ingest = "never", collect = "every 20 seconds" }

[data.asked.config]
image_noise.candidates = 4
coarse.max_rounds = 1
fine.max_rounds = 1
review = { batches = 1, calibration = 0, share = 0, random_share = 0, doubtful_share = 0, overlap = 0 }
small_classes.min_images = 0
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Team:
    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.place = folder / "team"
        ports = ("PREFECT_PORT", "POSTGRES_PORT", "LABEL_STUDIO_PORT", "DASHBOARD_PORT")
        self.ports = {name: free_port() for name in ports}
        self.questions = Server(f"http://127.0.0.1:{self.ports['LABEL_STUDIO_PORT']}", folder)
        self.program = installed(cache)
        self.place.mkdir()
        # As root PostgreSQL runs as another user, who can't enter pytest's folders.
        self.database = Path(tempfile.mkdtemp(prefix="cleaner-postgres-"))
        self.database.chmod(0o755)
        copy_of_a_database(cache, self.place / "label-studio")
        self.said: list[str] = []

    def start(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment = kept | {name: str(port) for name, port in self.ports.items()}
        environment |= {
            "BIN": str(Path(sys.executable).parent),
            # Cleanings of other tests have another machine.
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "POSTGRES_DIR": str(self.database / "postgres"),
            "LABEL_STUDIO": self.program,
            "LABEL_STUDIO_API_KEY": TOKEN,
            "LABEL_STUDIO_USERNAME": EMAIL,
            "LABEL_STUDIO_PASSWORD": PASSWORD,
        }
        command = [str(ROOT / "deploy" / "team.sh"), "cleaner.toml", str(self.place)]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._hear, args=(self.process.stdout,), daemon=True).start()
        wait_until(lambda: any("all is up" in line for line in self.said) or self.process.poll() is not None, 500)
        assert self.process.poll() is None, "".join(self.said)
        login = (self.place / "login").read_text().strip()
        self.api = f"http://{login}@127.0.0.1:{self.ports['PREFECT_PORT']}/api"

    def _hear(self, lines) -> None:
        for line in lines:
            self.said.append(line)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)

    def deployment(self, name: str):
        named = {"deployments": {"name": {"any_": [name]}}, "flows": {"name": {"any_": ["clean"]}}}
        return get(self.api, "/deployments/filter", **named)[0]

    def begin(self, name: str, **parameters) -> str:
        made = get(self.api, f"/deployments/{self.deployment(name)['id']}/create_flow_run", parameters=parameters)
        return made["id"]

    def state(self, flow_run: str):
        return get(self.api, "/flow_runs/filter", flow_runs={"id": {"any_": [flow_run]}})[0]

    def pause_schedule(self, name: str) -> None:
        (schedule,) = self.deployment(name)["schedules"]
        get(self.api, f"/deployments/{self.deployment(name)['id']}/schedules/{schedule['id']}", "PATCH", active=False)

    def processes(self, words: str) -> list[int]:
        """The processes whose command has `words`, below the script."""
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
        below = {self.process.pid}
        for _ in range(4):
            below |= {int(pid) for pid, parent, _ in rows if int(parent) in below}
        return [int(pid) for pid, _, args in rows if int(pid) in below and words in args]


@pytest.fixture(scope="module")
def team(request, demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    shutil.copytree(demo / "images", folder / "digits")
    (folder / "cleaner.toml").write_text(SCHEDULE)
    team = Team(folder, request.config.cache.mkdir("label-studio"))
    team.start()
    yield team
    team.end()
    assert team.process.returncode == 143
    assert team.processes("") == []
    shutil.rmtree(team.database)


def results(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in ("verdicts.parquet", "clean.csv", "manifest.parquet")}


needs_postgres = pytest.mark.skipif(not POSTGRES, reason="PostgreSQL is not installed")
pytestmark = pytest.mark.slow


@needs_postgres
def test_all_of_it_is_up_on_postgresql_and_a_schedule_fires(team):
    wait_until(lambda: read_summary(team.runs / "digits"))
    with pytest.raises(HTTPError, match="401"):
        get(f"http://{team.api.rpartition('@')[2]}", "/flow_runs/filter")
    team.pause_schedule("digits")
    assert (team.database / "postgres" / "data" / "PG_VERSION").exists()
    assert not list((team.place / "prefect").glob("*.db"))
    listening = [line for line in team.said if "http://" in line and "PREFECT_API_URL" not in line]
    assert len(listening) == 3 and all("http://127.0.0.1:" in line for line in listening)


@needs_postgres
def test_an_answer_in_label_studio_starts_the_next_cleaning(team):
    first = team.begin("asked")
    wait_until(lambda: team.state(first)["state_name"] == "WaitsForPeople")
    facts = json.loads((team.runs / "asked" / "reviews" / "image_noise-1.label_studio.json").read_text())
    shown = get(team.api, "/artifacts/latest/filter", sort="KEY_ASC")
    link = next(artifact["data"] for artifact in shown if artifact["key"] == "asked-batch")
    assert f"{team.questions.url}/projects/{facts['project']}" in link
    for task in team.questions.tasks(facts["project"]).values():
        team.questions.annotate(task, "right")
    wait_until(lambda: read_summary(team.runs / "asked"))
    assert len((team.runs / "asked" / "answers.jsonl").read_text().splitlines()) == 4
    assert not any(
        TOKEN in file.read_text(errors="replace") for file in (team.runs / "asked").rglob("*") if file.is_file()
    )


@needs_postgres
def test_the_server_may_be_started_anew_during_a_cleaning(team, tmp_path):
    run = team.begin("digits", config={"seed": 5})
    wait_until(lambda: team.state(run)["state_type"] == "RUNNING")
    (server,) = team.processes("prefect server start")
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: team.state(run)["state_type"] == "COMPLETED")
    clean_locally(team.folder / "digits", tmp_path / "fresh", "--seed", "5")
    assert results(tmp_path / "fresh") == results(team.runs / "digits")


@needs_postgres
def test_a_cleaning_whose_machine_has_stopped_is_taken_up_by_another_worker(team, tmp_path):
    run = team.begin("digits", config={"seed": 6})
    wait_until(lambda: (state := read_state(team.runs / "digits")) is not None and state.doing is Doing.WORKING)
    child = read_state(team.runs / "digits").pid
    (worker,) = team.processes("prefect worker start")
    # As when a machine stops: the worker can't say that the process it had started is there no more.
    os.kill(worker, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: team.state(run)["state_type"] == "COMPLETED", 400)
    assert team.state(run)["run_count"] == 2
    clean_locally(team.folder / "digits", tmp_path / "fresh", "--seed", "6")
    assert results(tmp_path / "fresh") == results(team.runs / "digits")


PREFECT_YAML = ROOT / "prefect.yaml"


def test_the_committed_prefect_yaml_is_what_the_example_says(tmp_path):
    out = tmp_path / "prefect.yaml"
    cleaner("deploy", ROOT / "docs" / "cleaner.toml", "--yaml", out)
    assert out.read_text() == PREFECT_YAML.read_text()


def test_the_containers_are_healthy_or_started_again_and_listen_on_loopback_only():
    services = yaml.safe_load((ROOT / "deploy" / "docker-compose.yaml").read_text())["services"]
    assert set(services) == {"postgres", "prefect", "label-studio", "worker", "watch", "dashboard"}
    for name, service in services.items():
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"].get("disable") is True if name == "watch" else service["healthcheck"]["test"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services and how == {"condition": "service_healthy"}
