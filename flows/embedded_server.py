"""Prefect's API in a process of its own that ends with the command it serves: python -m flows.embedded_server PARENT

Prefect's own embedded server outlives a killed command and goes on writing to the database. This one watches the
command's process id, so that nothing is left behind however the command ends. The first line it prints is its port.
"""

import os
import socket
import sys
import threading
import time

_LOOK_EVERY = 0.5
"""Seconds between two looks at whether the command still lives."""


def main() -> None:
    """Serve until the parent, whose process id is the only argument, is gone or asks to end."""
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    # Imported with the watch already on: the import takes seconds, and a command can be killed in them.
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        app = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
        uvicorn.Server(app).run(sockets=[listening])


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(0)


if __name__ == "__main__":
    main()
