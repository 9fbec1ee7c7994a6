"""The server that ends with the command it serves."""

import os
import re
import sqlite3
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import pytest
from command import cleaner
from PIL import Image
from prefect.server.database import PrefectDBInterface
from prefect.server.events import triggers
from prefect_api import answers, get, wait_until

from cleaner.errors import ServerError
from flows.prefect import embedded_server
from flows.prefect.embedded_server import KNOWN

pytestmark = pytest.mark.slow

LOGIN = "cleaner:of-a-test"
IMPATIENT = """
from flows.prefect import embedded_server
embedded_server._TRY_EVERY, embedded_server._PATIENCE = 0.5, 5
embedded_server.main()
"""


@dataclass
class Running:
    """A server, its API, and its database as another process sees it."""

    process: subprocess.Popen[str]
    home: Path
    api: str

    @property
    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.home / "prefect.db", isolation_level=None, timeout=120)

    def emit(self, name: str) -> None:
        event = {"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat(), "event": name, "payload": {}}
        get(self.api, "/events", listed=[event | {"resource": {"prefect.resource.id": "test"}}])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, str(os.getpid()), "0"],
        env=environment
        | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        | {"PREFECT_SERVER_API_AUTH_STRING": LOGIN},
        stdout=subprocess.PIPE,
        text=True,
    )
    place = f"127.0.0.1:{int(process.stdout.readline())}/api"
    wait_until(lambda: answers(f"http://{place}"))
    yield Running(process, home, f"http://{LOGIN}@{place}")
    process.kill()
    process.wait()


def test_an_event_is_not_lost_when_another_writes_as_it_comes(server):
    trigger = {"type": "event", "match": {"prefect.resource.id": "test"}, "after": ["begun"], "expect": ["ended"]}
    trigger |= {"posture": "Reactive", "threshold": 1, "within": 600}
    get(server.api, "/automations/", name="test", trigger=trigger, actions=[{"type": "do-nothing"}])
    database = server.database

    def begun() -> bool:
        # Again and again: it may come before the automation is known to what weighs events.
        server.emit("begun")
        return database.execute("SELECT count(*) FROM automation_bucket").fetchone()[0] > 0

    wait_until(begun)
    database.execute("BEGIN IMMEDIATE")
    server.emit("ended")
    time.sleep(1)
    database.execute("ROLLBACK")
    database.close()
    happened = {"event": {"name": ["prefect.automation.triggered"]}}
    wait_until(lambda: get(server.api, "/events/filter", filter=happened)["events"], 120)


def test_a_server_that_can_write_no_more_starts_itself_anew_where_it_was(server):
    # It has to have written once before it can be said not to write any more.
    wait_until(lambda: get(server.api, "/flows/filter"))
    database = server.database
    database.execute("BEGIN IMMEDIATE")
    command = Path(f"/proc/{server.process.pid}/cmdline")
    wait_until(lambda: b"embedded_server._PATIENCE" not in command.read_bytes())
    database.execute("ROLLBACK")
    database.close()
    wait_until(lambda: answers(server.api))
    assert get(server.api, "/flows/", name="written")["name"] == "written"
    assert "Thread" in (server.home / "stuck.txt").read_text()


COLLECTING = """
import threading, time
from flows.prefect import embedded_server

class Garbage:
    def __init__(self):
        self.me = self

    def __del__(self):
        let_go_in.add(threading.current_thread())

let_go_in = set()
embedded_server._COLLECT_EVERY = 0.2
collector = threading.Thread(target=embedded_server._collect_garbage, daemon=True)
collector.start()
while not let_go_in:
    Garbage()
print(let_go_in == {collector})
"""


def test_garbage_is_never_collected_by_what_is_at_work():
    """The event loop would wait there for a connection, which waits for another that waits for the event loop."""
    done = subprocess.run([sys.executable, "-c", COLLECTING], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def _one_that_takes_no_more(session):
    """What `automations_session` could become."""


@pytest.mark.parametrize("change", ["gone", "other", "unused", "transaction"])
def test_a_prefect_that_is_another_inside_is_told_with_its_version(monkeypatch, change):
    """Without that a patch by name would be no patch after a renaming, and events would be lost in silence."""
    patched = triggers.automations_session
    monkeypatch.setattr(triggers, "automations_session", patched)
    if change == "gone":
        monkeypatch.delattr(triggers, "automations_session")
    elif change == "other":
        monkeypatch.setattr(triggers, "automations_session", _one_that_takes_no_more)
    elif change == "unused":
        for name, found in [*vars(triggers).items()]:
            if "automations_session" in getattr(getattr(found, "__code__", None), "co_names", ()):
                monkeypatch.delattr(triggers, name)
    else:
        monkeypatch.setattr(PrefectDBInterface, "session_context", _one_that_takes_no_more)
    with pytest.raises(ServerError, match=rf"Prefect {re.escape(version('prefect'))} is another.*{KNOWN}"):
        embedded_server._weigh_events_in_turn()


def test_the_command_says_so_too(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'flows.prefect.embedded_server' in sys.orig_argv:\n"
        "    from prefect.server.events import triggers\n"
        "    del triggers.automations_session\n"
    )
    for label in ("one", "two"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (40, 40), "red").save(tmp_path / "photos" / label / "a.png")
    found = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = {"PYTHONPATH": found, "PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": ""}
    done = cleaner("clean", tmp_path / "photos", "--run", tmp_path / "run", status=1, **environment)
    assert f"Prefect {version('prefect')} is another inside than" in done.stderr
    assert "(no automations_session)" in done.stderr and "Traceback" not in done.stderr


def test_the_versions_that_are_known_are_those_that_are_installed():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert KNOWN in project["project"]["dependencies"]
