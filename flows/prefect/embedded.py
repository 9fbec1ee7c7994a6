"""Where Prefect's API is: the server that PREFECT_API_URL names, or one embedded in this command.

Prefect reads its settings from the environment when it is imported, so everything here is said before that.
"""

import atexit
import importlib
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from http.client import UNAUTHORIZED
from importlib.metadata import version
from pathlib import Path
from typing import IO

from filelock import FileLock

from cleaner.errors import CleanerError, InputError, ServerError
from cleaner.run.cache import cache_folder

_START_SECONDS = 180
"""The first start makes a database: half a minute on a quiet machine, a minute and more on a busy one."""

_STOP_SECONDS = 5

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    # What goes wrong is told once, by the command; the whole story is in the flow run's log on the server.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}

_SERVER_ONLY = {
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
    # With Prefect's own values a server that is ended loses the last task runs and prints tracebacks. Whole seconds:
    # Prefect takes int() of the interval, and with 0 the server spins at a whole core.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # Looked for every five seconds by itself, and nothing of ours waits for it.
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "60",
}

_NEITHER_PAGE_NOR_SCHEDULES = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}
_USUAL_PORT = 4200


def home() -> Path:
    """Where Prefect keeps its files: PREFECT_HOME, or a cache folder of our own.

    Not ~/.prefect: a database there that another Prefect has migrated, or a profile that points elsewhere, would decide
    whether cleaner runs. One folder a Prefect version, since a database can't go back a version.
    """
    if named := os.environ.get("PREFECT_HOME"):
        return Path(named)
    return cache_folder() / f"prefect-{version('prefect')}"


def connect(tell: Callable[[str], None], *, schedules: bool = False, port: int | None = None) -> None:
    """Make Prefect's API answer, starting a server that ends with this command where PREFECT_API_URL names none.

    Args:
        tell: hears one line where that takes long.
        schedules: the server shows Prefect's page, and minds schedules.
        port: of that page; the usual one, where it is free, unless given.

    Raises:
        InputError: the named server does not answer, Prefect's files can't be kept, or the port is taken.
        CleanerError: the embedded server does not start.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ["PREFECT_HOME"] = str(home())
    _make_home()
    if os.environ.get("PREFECT_API_URL"):
        _check_server()
    else:
        if port is not None:
            _check_free(port)
        _start(tell, schedules=schedules, port=port or (_USUAL_PORT if schedules else 0))
        if schedules:
            tell(f"Prefect's page: {os.environ['PREFECT_API_URL'].removesuffix('/api')}")
            tell(f"it lets in who gives it what stands in {_key()}")


def _make_home() -> None:
    try:
        home().mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=home()).close()
    except OSError as error:
        raise InputError(
            f"{home()}: Prefect can't keep its files there ({error.strerror});"
            " set PREFECT_HOME to another folder, or give --runner local"
        ) from error


def _check_server() -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    with get_client(sync_client=True) as client:
        problem = client.api_healthcheck()
        try:
            # How the server is goes without a login; this does not.
            lets_in = problem is not None or client.read_flows(limit=1) is not None
        except PrefectHTTPStatusError as error:
            if error.response.status_code != UNAUTHORIZED:
                raise
            lets_in = False
    address = os.environ["PREFECT_API_URL"]
    if problem is not None:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise InputError(
            f"PREFECT_API_URL={address}: no Prefect server answers there ({reason});"
            " start it, unset PREFECT_API_URL, or give --runner local"
        )
    if not lets_in:
        raise InputError(
            f"PREFECT_API_URL={address}: the server there wants a login; set PREFECT_API_AUTH_STRING to its"
            f" user:password; of one that `cleaner serve` started it stands in {_key()}"
        )


def _key() -> Path:
    """The file of what our servers ask of everybody who speaks to them, `user:password`: whoever can speak to a Prefect
    server can run commands by it, and any page in a browser, and any user of this machine, can reach one."""
    return home() / "login"


def _login() -> str:
    """What stands in that file; made where it is not there yet, for this user alone."""
    file = _key()
    if not file.exists():
        # Such a file is its user's alone from the beginning.
        with tempfile.NamedTemporaryFile("w", dir=home(), delete=False) as made:
            made.write(f"cleaner:{secrets.token_urlsafe(32)}\n")
        Path(made.name).replace(file)
    return file.read_text(encoding="utf-8").strip()


def _check_free(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise InputError(f"port = {port}: can't be had ({error.strerror}); give another, or none") from error


def _start(tell: Callable[[str], None], *, schedules: bool, port: int) -> None:
    spell = (
        "takes about ten seconds" if (home() / "prefect.db").exists() else "the first time takes about half a minute"
    )
    without = "" if schedules else "; --runner local does without"
    tell(f"starting Prefect's {'' if schedules else 'embedded '}server; {spell}{without}")
    # What goes to this machine goes through no proxy.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
    # One after the other: the first server makes the database, and two would make it at once.
    with FileLock(home() / "starting.lock"), tempfile.TemporaryFile("w+") as complaints:
        os.environ["PREFECT_API_AUTH_STRING"] = _login()
        server = _launch(complaints, schedules=schedules, port=port)
        # Registered before Prefect is imported, so that it comes after what Prefect does at exit.
        atexit.register(_stop, server)
        _await(server, complaints)


def _launch(complaints: IO[str], *, schedules: bool, port: int) -> subprocess.Popen[str]:
    """The server's process, which prints its port; what else it says goes to `complaints`."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.prefect.embedded_server", str(os.getpid()), str(port)],
        env=os.environ
        | {"PREFECT_SERVER_API_AUTH_STRING": os.environ["PREFECT_API_AUTH_STRING"]}
        | _SERVER_ONLY
        | ({} if schedules else _NEITHER_PAGE_NOR_SCHEDULES),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        # Ctrl-C at a terminal is for the command; it still needs the server to say how the flow ended.
        start_new_session=True,
    )


def _await(server: subprocess.Popen[str], complaints: IO[str]) -> None:
    """Set PREFECT_API_URL, and wait until the server answers there.

    Raises:
        ServerError: Prefect is one that cleaner does not know.
        CleanerError: the server ended, or does not answer.
    """
    try:
        assert server.stdout is not None
        os.environ["PREFECT_API_URL"] = address = f"http://127.0.0.1:{int(server.stdout.readline())}/api"
        # Takes seconds, as the server's start does; its address is all that this needs to know.
        importlib.import_module("prefect.flows")
        # The port is open from the start: the answer comes when the server is ready.
        urllib.request.urlopen(f"{address}/health", timeout=_START_SECONDS).close()
    except (ValueError, OSError) as error:
        _stop(server)
        complaints.seek(0)
        output = complaints.read()
        if ours := re.search(rf"^{re.escape(ServerError.__module__)}\.ServerError: (.*)", output, re.MULTILINE):
            raise ServerError(ours[1]) from error
        raised = re.findall(r"^\w[\w.]*(?:Error|Exception): .*", output, re.MULTILINE)
        raise CleanerError(
            f"Prefect's embedded server does not start with PREFECT_HOME={home()} ({raised[-1] if raised else error});"
            " set PREFECT_HOME to a new folder, or give --runner local"
        ) from error


def _stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
