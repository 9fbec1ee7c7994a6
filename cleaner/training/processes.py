"""The processes that train one network: this one alone, or several that torchrun starts:

    python -m torch.distributed.run --standalone --nproc-per-node N -m cleaner.training.processes FOLDER

FOLDER holds `training.json`. The first process says on standard output how far it is, a line of JSON each time. All end
with the command that wanted them, whose process id is in CLEANER_TRAINS_FOR.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from cleaner.errors import CleanerError
from cleaner.progress import listening, note, tell
from cleaner.threads import NETWORK_THREADS
from cleaner.training.concluding import conclude
from cleaner.training.loader import World
from cleaner.training.opened import Training
from cleaner.training.request import SPEC, TrainingSpec

_COMMAND = "CLEANER_TRAINS_FOR"
_LOOK_EVERY = 0.5
_KEPT_LINES = 20


def train(training: Training) -> dict[str, Any]:
    """Carry a spec out, from where it was; what it came to, as `summary.json` says it.

    Raises:
        CleanerError: it can't be.
    """
    trainer = training.begin()
    processes = training.spec.recipe.optimisation.processes or torch.cuda.device_count()
    if processes > 1:
        _train_together(training.folder, processes)
    return conclude(training, trainer, trainer.train())


def _train_together(folder: Path, processes: int) -> None:
    """Train what FOLDER/training.json says by so many processes, up to its last epoch.

    Raises:
        CleanerError: one of them ended before.
    """
    environment = os.environ | {_COMMAND: str(os.getpid()), "OMP_NUM_THREADS": str(NETWORK_THREADS)}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with subprocess.Popen(
        [*launcher, "-m", "cleaner.training.processes", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        complaints: deque[str] = deque(maxlen=_KEPT_LINES)
        listener = threading.Thread(target=complaints.extend, args=(process.stderr,), daemon=True)
        listener.start()
        try:
            _relay(process.stdout)
        except BaseException:
            process.terminate()
            raise
        listener.join()
    if process.returncode:
        reason = next((line for line in complaints if "Error" in line), "its process was ended")
        raise CleanerError(f"{folder}: one of {processes} processes that train together ended: {reason.strip()}")


def _relay(lines: Iterable[str]) -> None:
    """Tell whoever listens here what the first process tells."""
    for line in lines:
        message = json.loads(line)
        if isinstance(message, str):
            note(message)
        else:
            tell(*message)


def main() -> None:
    threading.Thread(target=_end_with, args=(int(os.environ[_COMMAND]),), daemon=True).start()
    folder = Path(sys.argv[1])
    spec = TrainingSpec.model_validate_json((folder / SPEC).read_text(encoding="utf-8"))
    world = World.around()
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    distributed.init_process_group("nccl" if world.device.type == "cuda" else "gloo")
    with listening(lambda *counted: _say(counted), _say):
        Training(spec, folder).trainer(world).train()
    distributed.destroy_process_group()


def _say(what: object) -> None:
    if World.around().rank == 0:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def _end_with(command: int) -> None:
    while _lives(command):
        time.sleep(_LOOK_EVERY)
    os._exit(1)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
