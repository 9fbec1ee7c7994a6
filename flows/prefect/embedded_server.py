"""Prefect's server in a process of its own that ends with the command it serves.

    python -m flows.prefect.embedded_server PARENT PORT

Prefect's own embedded server outlives a killed command and goes on writing to the database. This one watches the
command's process id, so that nothing is left behind however the command ends. The first line it prints is its port:
PORT, or any that is free where that one is not. With PARENT 0 it is a service of its own, at PORT and nowhere else.

Prefect's server can end up waiting for itself: SQLite's one write lock is held by what waits for what waits for the
lock. One cause is known (`_collect_garbage`). For others this one tries from outside whether it still writes, and
starts itself anew where it does not; its clients ask again meanwhile.
"""

import base64
import faulthandler
import gc
import inspect
import json
import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from http.client import FORBIDDEN
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

from cleaner.errors import ServerError
from cleaner.installed import to_install

_LOOK_EVERY = 0.5
"""Seconds between two looks at whether the command still lives."""
_TRY_EVERY = 15
"""Seconds between two looks at whether the server still writes."""
_PATIENCE = 90
"""Seconds without one write after which it is taken to be stuck: SQLite itself waits for a minute."""
_COLLECT_EVERY = 30
"""Seconds between two collections of garbage; the first takes a third of a second."""

KNOWN = "prefect>=3.7.8,<3.9"
"""Whose insides are known. Older servers fail with the FastAPI of today; `make oldest` tries the oldest."""
_OF_PREFECT = ("self", "db")
"""Parameters that Prefect fills in by itself."""


def main() -> None:
    """Serve until the parent, whose process id is the first argument, is gone or asks to end."""
    parent = int(sys.argv[1])
    if parent:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    threading.Thread(target=_collect_garbage, daemon=True).start()
    # Imported with the watch already on: the import takes seconds, and a command can be killed in them.
    import uvicorn

    with _listening(int(sys.argv[2]), others=bool(parent)) as listening:
        port = listening.getsockname()[1]
        # Prefect's page asks there, and no other page may.
        os.environ["PREFECT_UI_API_URL"] = f"http://127.0.0.1:{port}/api"
        os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(_origins(port))
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        threading.Thread(target=_see_it_write, args=(port,), daemon=True).start()
        _weigh_events_in_turn()
        server = uvicorn.Config(_guarded_app, factory=True, log_level="error", lifespan="on")
        uvicorn.Server(server).run(sockets=[listening])


def _guarded_app() -> Any:
    from prefect.server.api.server import create_app

    app = create_app()
    port = int(os.environ["PREFECT_UI_API_URL"].rpartition(":")[2].removesuffix("/api"))
    return OwnPageOnly(app, _origins(port))


def _origins(port: int) -> list[str]:
    return [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]


class OwnPageOnly:
    """An ASGI application that answers who calls it by one of its own addresses, and no page but its own.

    A browser lets any page send requests to this machine, and one whose name is made to lead here read the answers too
    (DNS rebinding); but it says under which name it asks, and for which page.
    """

    def __init__(self, app: Any, origins: Sequence[str]) -> None:
        self.app = app
        self.origins = {origin.encode() for origin in origins}
        self.hosts = {origin.partition(b"//")[2] for origin in self.origins}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_own(scope["headers"]):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            plain = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": FORBIDDEN, "headers": plain})
            await send({"type": "http.response.body", "body": b"not for other pages"})
            return
        await self.app(scope, receive, send)

    def _is_own(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        hosts = [value.lower() for name, value in headers if name == b"host"]
        origins = [value.lower() for name, value in headers if name == b"origin"]
        return len(hosts) == 1 and hosts[0] in self.hosts and all(origin in self.origins for origin in origins)


def _listening(port: int, *, others: bool) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        if not others:
            raise
        return socket.create_server(("127.0.0.1", 0))


def _collect_garbage() -> None:
    """Collect garbage here, and never in the thread of the event loop, or in one of a connection's.

    Among it are cursors of requests that were broken off. To let go of one takes the lock of its connection, which may
    be waiting in SQLite, for a minute, until another connection has written; and that waits for the event loop.
    """
    gc.disable()
    time.sleep(_COLLECT_EVERY)
    gc.collect()
    # What is there by now, modules above all, stays; looking through it each time is a third of an idle server's work.
    gc.freeze()
    while True:
        time.sleep(_COLLECT_EVERY)
        gc.collect()


def _weigh_events_in_turn() -> None:
    """Let the transactions in which automations weigh events wait for SQLite's write lock.

    They read and then write. As Prefect begins them, SQLite refuses the write at once where another has the lock, and
    after four such refusals within milliseconds the event is lost: what crashed is not taken up again, nobody is told.
    """
    from prefect.server.database import PrefectDBInterface, provide_database_interface
    from prefect.server.events import triggers

    _expect(triggers, "automations_session", ["begin_transaction"])
    _expect(PrefectDBInterface, "session_context", ["begin_transaction", "with_for_update"])
    weighing = [found for found in vars(triggers).values() if isinstance(found, FunctionType)]
    if not any("automations_session" in found.__code__.co_names for found in weighing):
        raise _other_inside("nobody calls automations_session")

    @asynccontextmanager
    async def patient_session(begin_transaction: bool = False) -> AsyncIterator[Any]:
        database = provide_database_interface()
        async with database.session_context(begin_transaction, with_for_update=begin_transaction) as session:
            yield session

    triggers.automations_session = patient_session  # type: ignore[assignment]


def _expect(owner: Any, name: str, parameters: list[str]) -> None:
    """What is replaced, or called in its place, is still what it was when this was written.

    Raises:
        ServerError: it is not.
    """
    found = getattr(owner, name, None)
    given = [] if found is None else [*inspect.signature(found).parameters]
    if [parameter for parameter in given if parameter not in _OF_PREFECT] != parameters:
        raise _other_inside(f"{name}({', '.join(given)})" if given else f"no {name}")


def _other_inside(what: str) -> ServerError:
    return ServerError(
        f"Prefect {version('prefect')} is another inside than the versions that cleaner knows ({what});"
        f" {to_install(KNOWN)} gets one of these"
    )


def _see_it_write(port: int) -> None:
    """Once the server has written, and then does not any more for a while, start it anew."""
    # The name of a flow that is there already, or will be: where it is there nothing changes, but the lock was had.
    body = json.dumps({"name": "clean"}).encode()
    login = base64.b64encode(os.environ["PREFECT_SERVER_API_AUTH_STRING"].encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/flows/", body, headers)
    written = None
    while (left := _PATIENCE if written is None else written + _PATIENCE - time.monotonic()) > 0:
        try:
            urllib.request.urlopen(request, timeout=left).close()
            written = time.monotonic()
        except OSError:
            pass
        time.sleep(_TRY_EVERY)
    _start_anew(port)


def _start_anew(port: int) -> None:
    """Become a new server at the same port. What the old one was at is left in PREFECT_HOME, for whoever wonders."""
    with (Path(os.environ["PREFECT_HOME"]) / "stuck.txt").open("w") as file:
        faulthandler.dump_traceback(file)
    os.execv(sys.executable, [sys.executable, "-m", "flows.prefect.embedded_server", sys.argv[1], str(port)])


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(0)


if __name__ == "__main__":
    main()
