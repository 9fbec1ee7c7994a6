"""What Prefect costs: the same run by `--runner local` and by `--runner prefect` with its embedded server.

    python -m benchmarks.runners [--images 1500] [--pairs 3]

The images are the first of `grocery.parquet` (benchmarks/label_noise.py says where it comes from). Whole commands are
timed, one runner after the other, in pairs; processor time is that of the command and all it starts.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

RUNNERS = ("local", "prefect")


def timed(source: Path, run: Path, runner: str, home: Path) -> tuple[float, float]:
    """Wall and processor seconds of one command."""
    command = [sys.executable, "-m", "flows.cli", "clean", str(source), "--run", str(run), "--runner", runner]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env={**environment, "PREFECT_HOME": str(home)}, capture_output=True, check=True)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source, few = root / "images.parquet", root / "few.parquet"
        table = pq.read_table(asked.data / "grocery.parquet", columns=["image", "label"])
        pq.write_table(table.slice(0, asked.images), source)
        pq.write_table(table.take(list(range(0, len(table), len(table) // 20))), few)
        # Prefect's database is made once on a machine, and is not what is timed here.
        timed(few, root / "first", "prefect", root / "home")
        found = {runner: [] for runner in RUNNERS}
        for pair in range(asked.pairs):
            for runner in RUNNERS:
                found[runner].append(timed(source, root / f"{runner}-{pair}", runner, root / "home"))
    print(
        f"{asked.images:,} images, medians of {asked.pairs} pairs\n\n| runner | wall s | processor s |\n|---|---|---|"
    )
    medians = {runner: [statistics.median(each) for each in zip(*found[runner], strict=True)] for runner in RUNNERS}
    for runner, (wall, processor) in medians.items():
        print(f"| {runner} | {wall:.1f} | {processor:.1f} |")
    ratios = [prefect / local for local, prefect in zip(*medians.values(), strict=True)]
    print(f"| ratio | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
