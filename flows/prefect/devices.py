"""Which of the machine's GPUs a cleaning works on: each cleaning on one of its own, the others wait.

A lock on a file is what holds a GPU: it goes with the process that holds it, however that ends.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cleaner.errors import RunLocked
from cleaner.run.cache import cache_folder
from cleaner.run.files import digest
from cleaner.run.store import Store

VISIBLE = "CUDA_VISIBLE_DEVICES"
_CPU = "cpu"
_LOOK_EVERY = 1.0
_ASK_SECONDS = 30


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    asks = shutil.which("nvidia-smi")
    if asks is None:
        return []
    command = [asks, "--query-gpu=uuid", "--format=csv,noheader"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    return listed.stdout.split() if listed.returncode == 0 else []


@contextmanager
def a_device(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Within the block the cleaning of `folder` has a GPU that no other one has, or, on a machine without, the CPU.

    Torch must not be imported before: it sees that GPU only.

    Raises:
        RunLocked: another cleaning of `folder` waits for one, or has one.
    """
    place = cache_folder() / "devices"
    place.mkdir(parents=True, exist_ok=True)
    mine = FileLock(place / f"run-{digest(str(folder.absolute()))}.lock")
    try:
        mine.acquire(blocking=False)
    except Timeout as error:
        who = Store(folder).who()
        raise RunLocked(f"{folder}: another cleaning of it works, or waits until it may{who}") from error
    with mine:
        name, lock = _first_free(place, gpus() or [_CPU], say)
        with lock:
            if name != _CPU:
                os.environ[VISIBLE] = name
                say(f"works on the GPU {name}")
            yield


def _first_free(place: Path, names: list[str], say: Callable[[str], None]) -> tuple[str, FileLock]:
    told = False
    while True:
        for name in names:
            lock = FileLock(place / f"{digest(name)}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            return name, lock
        if not told:
            told = True
            say(f"waits: other cleanings have {'the machine' if names == [_CPU] else f'its {len(names)} GPUs'}")
        time.sleep(_LOOK_EVERY)
