"""The command, run as a user runs it."""

import os
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from unittest.mock import patch

from flows.cli import main

CLEANER = str(Path(sys.executable).with_name("cleaner"))


def cleaner(*words: object, status: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command; `status` is the exit status that it must end with, None: any."""
    done = subprocess.run(
        [CLEANER, *map(str, words)], capture_output=True, text=True, timeout=500, env={**os.environ, **environment}
    )
    if status is not None:
        assert done.returncode == status, done.stdout + done.stderr
    return done


def here(
    *words: object, status: int | None = 0, cwd: Path | str = ".", **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command in this process, where torch is loaded already: the same as `cleaner`, and seconds faster."""
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    ended: int | str | None = None
    with (
        patch.object(signal, "signal"),
        patch.object(sys, "argv", [CLEANER, *map(str, words)]),
        patch.dict(os.environ, environment),
        chdir(cwd),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            ended = end.code
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    done = subprocess.CompletedProcess([CLEANER, *map(str, words)], int(ended or 0), *said)
    if status is not None:
        assert done.returncode == status, done.stdout + done.stderr
    return done


def clean_locally(source: Path, run: Path, *words: object, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """`cleaner clean` without Prefect, in this process."""
    return here("clean", source, "--run", run, "--runner", "local", *words, status=status)


_STOPPING = """
import os, signal, sys
from cleaner.run.store import Store
write, step = Store.write, sys.argv.pop(1)

def stopping(store, name, value):
    if name.startswith(step):
        os.kill(os.getpid(), signal.SIGSTOP)
    write(store, name, value)

Store.write = stopping
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.cli import main
main()
"""


def stopped_before(step: str, *words: object, **environment: str) -> subprocess.Popen[str]:
    """A command that has stopped itself where it was about to write the first output whose name begins with `step`: it
    can be looked at and killed there, however busy the machine is."""
    command = [sys.executable, "-c", _STOPPING, step, *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
    seen = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert seen is not None and seen.si_code == os.CLD_STOPPED, f"it ended before {step}"
    return process
