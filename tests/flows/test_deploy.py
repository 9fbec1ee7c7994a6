"""`cleaner deploy`: a Prefect server on PostgreSQL, Label Studio, a worker, what watches, and the dashboard."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
import yaml
from command import clean_locally, cleaner, here
from label_studio import EMAIL, PASSWORD, TOKEN, Server, copy_of_a_database, installed
from needs import POSTGRES, needs_postgresql
from prefect_api import answers, get, wait_until

from cleaner.run.finished import read_summary
from cleaner.run.state import Doing, read_state

ROOT = Path(__file__).parent.parent.parent
SCHEDULE = """
[data.digits]
source = "digits"
run = "runs/digits"
times = { clean = "every 20 seconds", ingest = "never" }

[data.killed]
source = "digits"
run = "runs/killed"
times = { clean = "never", ingest = "never" }

[data.asked]
source = "digits"
run = "runs/asked"
reviewer = "label_studio"
times = { clean = "never", ingest = "never", collect = "every 20 seconds" }

[data.asked.config]
coarse.max_rounds = 1
fine.max_rounds = 1
review = { batches = 1, first = 4, overlap = 0 }
small_classes.min_images = 0
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Unit:
    """What systemd makes of a unit, which no container has: its command, in its environment, and again when it ends."""

    def __init__(self, file: Path, log: Path) -> None:
        self.log, self.ends = log, False
        said = [line.partition("=") for line in file.read_text().splitlines()]
        self.lines = {name: value.replace("%%", "%") for name, _, value in said}
        assert self.lines["Restart"] == "always" and self.lines["StartLimitIntervalSec"] == "0"
        self.again()
        threading.Thread(target=self._keep, daemon=True).start()

    def again(self) -> None:
        file = Path(self.lines["EnvironmentFile"])
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        said = [line.partition("=") for line in file.read_text().splitlines() if line and line[0] != "#"]
        variables = {name: "".join(shlex.split(value)) for name, _, value in said}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        words = shlex.split(self.lines["ExecStart"].replace("$$", "\0"))
        words = [variables[word[2:-1]] if word.startswith("${") else word.replace("\0", "$") for word in words]
        assert self.lines["PrivateTmp"] == "yes"
        private = self.log.with_suffix(".tmp")
        private.mkdir(exist_ok=True)
        variables["TMPDIR"] = str(private)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words, cwd=self.lines["WorkingDirectory"], env=kept | variables, stdout=log, stderr=log
            )

    def _keep(self) -> None:
        while True:
            self.process.wait()
            if self.ends:
                return
            time.sleep(1)
            self.again()

    def end(self) -> None:
        self.ends = True
        self.process.terminate()
        self.process.wait(120)


class Postgres:
    """A PostgreSQL of the distribution's, with passwords, and the database that the units want."""

    def __init__(self, port: int) -> None:
        # As root PostgreSQL runs as another user, who can't enter pytest's folders.
        self.folder = Path(tempfile.mkdtemp(prefix="cleaner-postgres-"))
        self.folder.chmod(0o777)
        self.port = port
        (self.folder / "password").write_text("of-its-own\n")
        password = ("-A", "scram-sha-256", "--pwfile", self.folder / "password")
        self("initdb", "-D", self.folder / "data", "-U", "postgres", *password)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        self("pg_ctl", "start", "-w", "-D", self.folder / "data", "-l", self.folder / "log", "-o", options)

    def __call__(self, program: str, *words: object) -> None:
        as_another = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*as_another, POSTGRES[-1].with_name(program), *words]
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, cwd="/")

    def read(self, sql: str) -> None:
        psql = ["psql", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-v", "ON_ERROR_STOP=1"]
        subprocess.run(psql, input=sql, text=True, check=True, env={**os.environ, "PGPASSWORD": "of-its-own"})

    def end(self) -> None:
        self("pg_ctl", "stop", "-D", self.folder / "data", "-m", "fast")
        shutil.rmtree(self.folder)


def is_there(address: str) -> bool:
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5).close()
    except OSError:
        return False
    return True


class Team:
    """Everything on one machine, as `cleaner deploy --systemd` has it."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.runs, self.state = folder, folder / "runs", folder / "state of all"
        program = installed(cache)
        path = f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"
        self.said = cleaner("deploy", folder / "cleaner.toml", "--systemd", self.state, PATH=path).stderr
        prefect, dashboard, label_studio, postgres = (free_port() for _ in range(4))
        environment = self.state / "cleaner.env"
        said = environment.read_text()
        for usual, port in ((4200, prefect), (8501, dashboard), (8080, label_studio), (5432, postgres)):
            said = re.sub(rf"(?<=[=:]){usual}\b", str(port), said)
        # A first user whose database another test has made.
        first = {"API_KEY": TOKEN, "USER_TOKEN": TOKEN, "USERNAME": EMAIL, "PASSWORD": PASSWORD}
        for name, value in first.items():
            said = re.sub(
                rf"^LABEL_STUDIO_{name}=.*", f"LABEL_STUDIO_{name}={shlex.quote(value)}", said, flags=re.MULTILINE
            )
        copy_of_a_database(cache, self.state / "label-studio")
        environment.write_text(said)
        self.variables = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        self.login = self.variables["PREFECT_API_AUTH_STRING"]
        self.api = f"http://{self.login}@127.0.0.1:{prefect}/api"
        self.page = f"http://127.0.0.1:{dashboard}/_stcore/health"
        self.questions = Server(f"http://127.0.0.1:{label_studio}", folder)
        self.postgres = Postgres(postgres)
        self.postgres.read((self.state / "database.sql").read_text())
        self.units: dict[str, Unit] = {}

    def start(self) -> None:
        for file in sorted(self.state.glob("*.service")):
            self.units[file.stem.removeprefix("cleaner-")] = Unit(file, self.folder / f"{file.stem}.log")
        wait_until(self.is_up)

    def is_up(self) -> bool:
        return (
            answers(self.api)
            and is_there(self.page)
            and is_there(f"{self.questions.url}/health")
            and self.has_worker()
            and len(get(self.api, "/deployments/filter")) == len(tomllib.loads(SCHEDULE)["data"])
        )

    def has_worker(self) -> bool:
        try:
            pools = get(self.api, "/work_pools/filter")
        except HTTPError:
            return False
        return any(pool["name"] == "cleaner" and pool["status"] == "READY" for pool in pools)

    def end(self) -> None:
        for name in ("worker", "watch", "dashboard", "label-studio", "prefect"):
            if name in self.units:
                self.units[name].end()
        self.postgres.end()

    def deployment(self, name: str):
        named = {"deployments": {"name": {"any_": [name]}}, "flows": {"name": {"any_": ["clean"]}}}
        return get(self.api, "/deployments/filter", **named)[0]

    def begin(self, name: str, **parameters) -> str:
        made = get(self.api, f"/deployments/{self.deployment(name)['id']}/create_flow_run", parameters=parameters)
        return made["id"]

    def run(self, flow_run: str):
        return get(self.api, "/flow_runs/filter", flow_runs={"id": {"any_": [flow_run]}})[0]

    def pause_schedule(self, name: str) -> None:
        (schedule,) = self.deployment(name)["schedules"]
        get(self.api, f"/deployments/{self.deployment(name)['id']}/schedules/{schedule['id']}", "PATCH", active=False)


@pytest.fixture(scope="module")
def team(request, few_classes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("a team's")
    shutil.copytree(few_classes / "images", folder / "digits")
    (folder / "cleaner.toml").write_text(SCHEDULE)
    team = Team(folder, request.config.cache.mkdir("label-studio"))
    try:
        team.start()
        yield team
    finally:
        team.end()


def results(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in ("verdicts.parquet", "clean.csv", "manifest.parquet")}


pytestmark = pytest.mark.slow


@needs_postgresql()
def test_all_of_it_is_up_on_postgresql_and_a_schedule_fires(team):
    wait_until(lambda: read_summary(team.runs / "digits"))
    with pytest.raises(HTTPError, match="401"):
        get(f"http://{team.api.rpartition('@')[2]}", "/flow_runs/filter")
    team.pause_schedule("digits")
    assert not list((team.state / "prefect").glob("*.db"))


@needs_postgresql()
def test_an_answer_in_label_studio_starts_the_next_cleaning(team):
    first = team.begin("asked")
    wait_until(lambda: team.run(first)["state_name"] == "WaitsForPeople")
    facts = json.loads((team.runs / "asked" / "reviews" / "review-1.label_studio.json").read_text())
    shown = get(team.api, "/artifacts/latest/filter", sort="KEY_ASC")
    link = next(artifact["data"] for artifact in shown if artifact["key"] == "asked-batch")
    assert f"{team.questions.url}/projects/{facts['project']}" in link
    tasks = team.questions.tasks(facts["project"])
    for task in tasks.values():
        team.questions.annotate(task, "right")
    wait_until(lambda: read_summary(team.runs / "asked"))
    assert len((team.runs / "asked" / "answers.jsonl").read_text().splitlines()) == len(tasks)
    assert not any(
        TOKEN in file.read_text(errors="replace") for file in (team.runs / "asked").rglob("*") if file.is_file()
    )


@needs_postgresql()
@pytest.mark.parametrize("killed", ["prefect", "worker", "watch", "dashboard", "label-studio"])
def test_whatever_is_killed_comes_back_and_a_cleaning_goes_on(team, tmp_path, killed):
    seed = {"prefect": 5, "worker": 6}.get(killed)
    run = None if seed is None else team.begin("killed", config={"seed": seed})
    if run is not None:
        wait_until(lambda: team.run(run)["state_type"] == "RUNNING")
    before = team.units[killed].process.pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: team.units[killed].process.pid != before)
    wait_until(team.is_up)
    if run is not None:
        wait_until(lambda: team.run(run)["state_type"] == "COMPLETED")
        clean_locally(team.folder / "digits", tmp_path / "fresh", "--seed", seed)
        assert results(tmp_path / "fresh") == results(team.runs / "killed")


@needs_postgresql()
def test_a_cleaning_whose_machine_has_stopped_is_taken_up_again(team, tmp_path):
    run = team.begin("killed", config={"seed": 7})
    wait_until(lambda: (state := read_state(team.runs / "killed")) is not None and state.doing is Doing.WORKING)
    # As when a machine stops: the worker can't say that the process it had started is there no more.
    os.kill(team.units["worker"].process.pid, signal.SIGKILL)
    os.kill(read_state(team.runs / "killed").pid, signal.SIGKILL)
    wait_until(lambda: team.run(run)["state_type"] == "COMPLETED", 400)
    assert team.run(run)["run_count"] == 2
    clean_locally(team.folder / "digits", tmp_path / "fresh", "--seed", "7")
    assert results(tmp_path / "fresh") == results(team.runs / "killed")


def test_units_are_what_systemd_takes_for_some_and_keep_their_secrets(tmp_path, monkeypatch):
    folder = tmp_path / 'a "team" at 50% for $5'
    folder.mkdir()
    (folder / "cleaner.toml").write_text(
        '[data.far]\nsource = "/far/away"\nrun = "/far/runs"\n[[notify]]\nto = "TEAM"\n'
    )
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "label-studio"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    told = here("deploy", folder / "cleaner.toml", "--systemd", folder / "state").stderr
    state = folder / "state"
    assert "sudo systemctl" in told
    private = {file.name for file in state.iterdir() if stat.S_IMODE(file.stat().st_mode) == 0o600}
    assert private == {"cleaner.env", "database.sql"}
    units = {file.name: file.read_text() for file in state.iterdir() if file.name not in private}
    secret = re.search(r"cleaner:(\S{40,})", (state / "cleaner.env").read_text())[1]
    assert not any(secret in text for text in (told, *units.values()))
    kept = (state / "cleaner.env").read_bytes()
    here("deploy", folder / "cleaner.toml", "--systemd", folder / "state")
    assert (state / "cleaner.env").read_bytes() == kept
    if shutil.which("systemd-analyze"):
        environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{state}:"}
        command = ["systemd-analyze", "verify", "--man=no", *sorted(units)]
        done = subprocess.run(command, cwd=state, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


PREFECT_YAML = ROOT / "prefect.yaml"


def test_the_committed_prefect_yaml_is_what_the_example_says(tmp_path):
    out = tmp_path / "prefect.yaml"
    here("deploy", ROOT / "docs" / "cleaner.toml", "--yaml", out)
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


SCRIPTS = Path(sys.executable).parent


def test_the_composition_obeys_its_schema():
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/docker-compose.yaml"]
    done = subprocess.run([SCRIPTS / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not (SCRIPTS / "hadolint").exists(), reason="hadolint is not published for this kind of machine")
def test_the_image_is_made_as_its_linter_wants_it():
    command = [SCRIPTS / "hadolint", "--no-color", "deploy/Dockerfile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_is_not_roots_and_each_folder_that_a_volume_covers_is_its_users():
    build, final = (ROOT / "deploy" / "Dockerfile").read_text().split("\nFROM ")[1:]
    for stage in (build, final):
        assert re.match(r"python:\d+\.\d+\.\d+-slim-\w+", stage)
    assert "\nUSER $USER_ID\n" in final and "COPY . " not in final
    services = yaml.safe_load((ROOT / "deploy" / "docker-compose.yaml").read_text())["services"]
    made = re.search(r"install --directory --owner cleaner .*", final)[0]
    for volume in services["worker"]["volumes"]:
        assert volume.rpartition(":")[2] in made
    images = {service["image"] for service in services.values()} - {"cleaner"}
    assert all(re.search(r":\d+\.\d+(\.\d+)?$", image) for image in images)


def test_the_image_gets_the_code_and_what_building_it_needs_and_nothing_else_of_the_checkout():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.removesuffix("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    needed = {"pyproject.toml", "constraints.txt", project["project"]["readme"], *project["project"]["license-files"]}
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line[0] == "!"} == packages | needed | {"data_manifests"}
    assert {"**/*.env", "**/.env"} <= {*lines[lines.index("!ui") :]}
