"""The command, run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

CLEANER = str(Path(sys.executable).with_name("cleaner"))


def cleaner(*words: object, status: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command; `status` is the exit status that it must end with, None: any."""
    done = subprocess.run(
        [CLEANER, *map(str, words)], capture_output=True, text=True, timeout=500, env={**os.environ, **environment}
    )
    if status is not None:
        assert done.returncode == status, done.stdout + done.stderr
    return done


def clean_locally(source: Path, run: Path, *words: object, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """`cleaner clean` without Prefect."""
    return cleaner("clean", source, "--run", run, "--runner", "local", *words, status=status)
