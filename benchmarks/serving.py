"""What `cleaner serve` costs while nothing comes: processor time of all its processes, for one data set and for more.

    python -m benchmarks.serving [--sets 1 10] [--minutes 4]

Each data set is 60 images that have been cleaned once and wait for answers; it is looked at for new images and
for answers at the times that a schedule has by default. Linux only: processor time is read from /proc.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

COMMAND = [sys.executable, "-m", "flows.cli"]
SETTLING = 60
"""Seconds after the start that are not counted."""


def make_data(folder: Path, seed: int) -> None:
    """Three classes of 20 images, one of which stands in a wrong class."""
    rng = np.random.default_rng(seed)
    for label, color in (("red", (200, 40, 40)), ("green", (40, 200, 40)), ("blue", (40, 40, 200))):
        (folder / label).mkdir(parents=True)
        for number in range(20):
            shown = (40, 40, 200) if (label, number) == ("red", 0) else color
            pixels = np.clip(rng.normal(shown, 30, (48, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def processor_seconds(root: int) -> tuple[float, int]:
    """Processor seconds of the process `root`, of all that descend from it, and of those that have ended; and how many
    live."""
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            stats[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    family = {root}
    while more := {pid for pid, (parent, _) in stats.items() if parent in family} - family:
        family |= more
    return sum(stats[pid][1] for pid in family) / os.sysconf("SC_CLK_TCK"), len(family)


def idle(sets: int, seconds: float, root: Path) -> tuple[float, int]:
    """Processor seconds a second of a serving of so many data sets, and the number of its processes."""
    tables = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(root / "home")}
    for number in range(sets):
        source, run = root / f"images-{number}", root / f"run-{number}"
        make_data(source, number)
        settings = ["--set", "features.backbone=pixels", "--set", "review.first=4"]
        asked = ["--run", run, "--reviewer", "sheet", "--runner", "local", *settings]
        subprocess.run([*COMMAND, "clean", source, *asked], env=environment, capture_output=True, check=False)
        assert (run / "state.json").exists(), "the cleaning left no run"
        tables.append(f'[data.set{number}]\nsource = "{source}"\nrun = "{run}"\nreviewer = "sheet"\n')
    schedule = root / "cleaner.toml"
    schedule.write_text("port = 4299\n" + "\n".join(tables))
    with (root / "log").open("w") as log:
        serving = subprocess.Popen([*COMMAND, "serve", schedule], env=environment, stdout=log, stderr=log)
        try:
            while "serving " not in (root / "log").read_text():
                assert serving.poll() is None, (root / "log").read_text()
                time.sleep(1)
            time.sleep(SETTLING)
            before, started = processor_seconds(serving.pid)[0], time.monotonic()
            time.sleep(seconds)
            after, processes = processor_seconds(serving.pid)
            return (after - before) / (time.monotonic() - started), processes
        finally:
            serving.send_signal(signal.SIGINT)
            serving.wait(60)
            print((root / "log").read_text(), file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--minutes", type=float, default=4)
    asked = parser.parse_args()
    print("| data sets | processes | of a core |\n|---|---|---|")
    for sets in asked.sets:
        with tempfile.TemporaryDirectory() as folder:
            share, processes = idle(sets, asked.minutes * 60, Path(folder))
        print(f"| {sets} | {processes} | {100 * share:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
