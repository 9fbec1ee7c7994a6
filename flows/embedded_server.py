"""Prefect's server in a process of its own that ends with the command it serves.

    python -m flows.embedded_server PARENT PORT

Prefect's own embedded server outlives a killed command and goes on writing to the database. This one watches the
command's process id, so that nothing is left behind however the command ends. The first line it prints is its port:
PORT, or any that is free where that one is not.
"""

import os
import socket
import sys
import threading
import time

_LOOK_EVERY = 0.5
"""Seconds between two looks at whether the command still lives."""


def main() -> None:
    """Serve until the parent, whose process id is the first argument, is gone or asks to end."""
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    # Imported with the watch already on: the import takes seconds, and a command can be killed in them.
    import uvicorn

    with _listening(int(sys.argv[2])) as listening:
        port = listening.getsockname()[1]
        # Prefect's page asks there.
        os.environ["PREFECT_UI_API_URL"] = f"http://127.0.0.1:{port}/api"
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        app = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
        uvicorn.Server(app).run(sockets=[listening])


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(0)


if __name__ == "__main__":
    main()
