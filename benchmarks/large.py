"""Seconds and memory of every part of a run over a large data set, the heads left out.

    python -m benchmarks.large [--samples 1000000] [--classes 1000] [--folder DIR]

The images are made up, 12 x 12 pixels in Parquet files of PNG: a pattern for each class, noise, a tenth of the labels
drawn at random, some files twice. Features are their pixels. Heads would take hours at this size (see rounds_speed.py);
in their place stands evidence that is made up too, so that all that is made of evidence is timed as it is.
"""

import argparse
import io
import tempfile
import threading
import time
from collections import defaultdict
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cleaner.config import Config
from cleaner.evidence.crossfit import Task, evidence_table
from cleaner.evidence.predictors.probe import Probe
from cleaner.plan.runs import open_run
from cleaner.run.steps import Step, perform
from cleaner.runners.execute import execute
from cleaner.runners.local import one_by_one
from flows.progress_bar import Lines

SEED = 0
SIDE = 12
GROUP = 10_000


def _group(asked: tuple[int, int, int]) -> pa.Table:
    start, stop, classes = asked
    patterns = np.random.default_rng(SEED).integers(40, 216, (classes, SIDE, SIDE, 3))
    random = np.random.default_rng((SEED, start))
    true = random.integers(0, classes, stop - start)
    given = np.where(random.random(len(true)) < 0.1, random.integers(0, classes, len(true)), true)
    images = []
    for number in true:
        pixels = np.clip(patterns[number] + random.normal(0, 30, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG", compress_level=1)
        images.append(data.getvalue())
    images[1::1000] = images[0::1000][: len(images[1::1000])]
    return pa.table({"image": pa.array(images, pa.binary()), "label": [f"class {number:04d}" for number in given]})


def write_images(file: Path, samples: int, classes: int) -> None:
    spans = [(start, min(start + GROUP, samples), classes) for start in range(0, samples, GROUP)]
    with Pool() as pool:
        groups = pool.imap(_group, spans)
        first = next(groups)
        with pq.ParquetWriter(file, first.schema) as writer:
            writer.write_table(first)
            for group in groups:
                writer.write_table(group)


def made_up(predictor: Probe, task: Task, asked: tuple[int, ...]) -> pa.Table:
    """Evidence as heads might give it: most often the given class comes first."""
    del predictor
    rows = np.flatnonzero(task.predict & np.isin(task.folds, asked)).astype(np.int32)
    blocks = (_made_up_block(task, rows[start : start + GROUP]) for start in range(0, len(rows), GROUP))
    return evidence_table(rows, task.folds[rows], blocks, task.labels[rows])


def _made_up_block(task: Task, rows: np.ndarray) -> np.ndarray:
    random = np.random.default_rng((SEED, int(rows[0])))
    first = np.where(random.random(len(rows)) < 0.1, random.integers(0, task.classes, len(rows)), task.labels[rows])
    probs = random.random((len(rows), task.classes), dtype=np.float32) * (0.4 / task.classes)
    probs[np.arange(len(rows)), first] = 0.4 + 0.4 * random.random(len(rows), dtype=np.float32)
    return probs / probs.sum(1, keepdims=True)


class Watch:
    """The most memory that is this process's own, each second since it was last asked."""

    def __init__(self) -> None:
        self._peak = 0.0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self._peak = max(self._peak, _own_gigabytes())
            time.sleep(0.05)

    def peak(self) -> float:
        found, self._peak = max(self._peak, _own_gigabytes()), 0.0
        return found


def _own_gigabytes() -> float:
    """Resident memory without the pages of files, which the system takes back when it wants to."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(asked.folder or Path(temporary), asked.samples, asked.classes)


def measure(folder: Path, samples: int, classes: int) -> None:
    folder.mkdir(exist_ok=True)
    file = folder / f"{samples}x{classes}.parquet"
    if not file.exists():
        write_images(file, samples, classes)
    Probe.evidence = made_up
    seconds, peaks, watch = defaultdict(float), defaultdict(float), Watch()

    def timed(name: str, started: float) -> None:
        seconds[name] += time.monotonic() - started
        peaks[name] = max(peaks[name], watch.peak())

    def perform_step(step: Step) -> None:
        started = time.monotonic()
        perform(run.store, step)
        timed(_kind(step.name), started)

    begun = started = time.monotonic()
    run = open_run(file, Path(tempfile.mkdtemp(dir=folder)) / "run", Config())
    timed("opening", started)
    execute(run, one_by_one(perform_step), Lines(lambda line: print(line, flush=True)))
    whole = time.monotonic() - begun
    print("\n| part | seconds | peak GB |\n|---|---|---|")
    for name, spent in seconds.items():
        print(f"| {name} | {spent:.1f} | {peaks[name]:.2f} |")
    rest = whole - sum(seconds.values())
    print(f"| between steps, and the results | {rest:.1f} | {watch.peak():.2f} |")
    print(f"| all | {whole:.1f} | {max([*peaks.values()]):.2f} |")


def _kind(step: str) -> str:
    """What a step is, without its number."""
    return "-".join(word for word in step.split("-") if not word.isdecimal())


if __name__ == "__main__":
    main()
