"""A real Label Studio server, in an environment of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock
from label_studio_sdk import LabelStudio as Client

VERSION = "1.23.2"
EMAIL, PASSWORD = "ana@example.com", "a long password 1"
TOKEN = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Server:
    """One that runs; `root` is the folder whose files it may serve."""

    url: str
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"LABEL_STUDIO_URL": self.url, "LABEL_STUDIO_API_KEY": TOKEN}

    @cached_property
    def client(self) -> Client:
        return Client(base_url=self.url, api_key=TOKEN)

    def person(self, email: str) -> int:
        """The id of one more person who answers there."""
        known = {user.email: user.id for user in self.client.users.list()}
        return known.get(email) or self.client.users.create(email=email, username=email).id

    def tasks(self, project: int) -> dict[str, int]:
        """The ids of a project's tasks by what they are about; each must be there once."""
        tasks = list(self.client.tasks.list(project=project, page_size=500))
        found = {task.data["item"]: task.id for task in tasks}
        assert len(found) == len(tasks), "a task was doubled"
        return found

    def annotate(self, task: int, answer: str | None, chosen: str | None = None, **more: Any) -> None:
        """Answer as the page would: a choice, and where another class was chosen its key."""
        result = []
        if answer is not None:
            result.append(part("answer", "choices", [answer]))
        if chosen is not None:
            result.append(part("class", "taxonomy", [[chosen]]))
        self.client.annotations.create(id=task, result=result, lead_time=2.5, **more)


def part(name: str, kind: str, value: list[Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": kind, "value": {kind: value}}


@contextmanager
def running(cache: Path, folder: Path) -> Iterator[Server]:
    """Start a server on loopback with a fresh database in `folder`; what is slow to make is kept in `cache`."""
    program = installed(cache)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, root = folder / "data", folder / "root"
    root.mkdir(parents=True)
    copy_of_a_database(cache, data)
    environment = os.environ | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": EMAIL,
        "LABEL_STUDIO_PASSWORD": PASSWORD,
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(root),
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
    }
    command = [program, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, url, folder / "log")
        kept = cache / f"data-{VERSION}"
        if not kept.exists():
            # A database in use may be copied between two writes; one that is damaged would not start.
            with FileLock(cache / "data.lock"):
                shutil.copytree(data, cache / "half", dirs_exist_ok=True)
                shutil.rmtree(kept, ignore_errors=True)
                (cache / "half").rename(kept)
        yield Server(url, root)
    finally:
        process.terminate()
        process.wait()
        log.close()


def copy_of_a_database(cache: Path, data: Path) -> None:
    """Spare a server its first start, where another one had it."""
    kept = cache / f"data-{VERSION}"
    if kept.exists():
        shutil.copytree(kept, data)


def installed(cache: Path) -> str:
    """The program, in an environment of its own that is made once."""
    environment = cache / f"venv-{VERSION}"
    program = environment / "bin" / "label-studio"
    with FileLock(cache / "install.lock"):
        if not (environment / "whole").exists():
            uv = Path(sys.executable).with_name("uv")
            variables = {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")} | os.environ
            subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, environment], check=True, env=variables)
            install = [uv, "pip", "install", "-q", "--python", environment / "bin" / "python"]
            subprocess.run([*install, f"label-studio=={VERSION}"], check=True, env=variables)
            (environment / "whole").touch()
    return str(program)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    while True:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            request = urllib.request.Request(f"{url}/api/version", headers={"Authorization": f"Token {TOKEN}"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                json.load(answer)
                return
        except (OSError, urllib.error.URLError, ValueError):
            time.sleep(0.2)
