"""Whether anything is lost when commands are killed at random moments, and when several do the same at once.

    python -m benchmarks.kills [--kills 500] [--minutes 12] [--at-once 50]

Small runs of 90 images with two batches for people are begun again and again, each command killed (SIGKILL) at a moment
drawn from the time that one takes, until the run has come to its end; then its results must be, byte for byte, those of
a run that nobody disturbed, and each answer must be stored once. Then two commands and two flow runs, on a Prefect
server, are started at the same moment on one run, again and again: the work must be done once, and the others say who
has it.
"""

import argparse
import csv
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = ("verdicts.parquet", "clean.csv", "clean.parquet", "manifest.parquet")
ASKED = ("--reviewer", "sheet", "--set", "review.first=6", "--set", "review.max_samples=6")
FEW = ("--set", "coarse.max_rounds=2", "--set", "fine.max_rounds=1")
RUNNERS = ("local", "prefect", "local", "prefect")
WAITS = 3


def write_images(folder: Path) -> None:
    """Three classes of 30 tiny images, a tenth of them under a wrong label."""
    rng = np.random.default_rng(0)
    for number in range(90):
        shown = number % 3
        label = (shown + 1) % 3 if number % 10 == 0 else shown
        pixels = rng.integers(0, 90, (8, 8, 3), np.uint8)
        pixels[..., shown] += 150
        file = folder / "rgb"[label] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)


def begun(images: Path, run: Path, *words: str, runner: str = "local") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flows.cli", "clean", str(images), "--run", str(run), "--runner", runner]
    return subprocess.Popen(
        [*command, *FEW, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@contextmanager
def prefect_server(home: Path) -> Iterator[None]:
    """What PREFECT_API_URL names within the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    os.environ |= {"PREFECT_HOME": str(home), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5).close()
                break
            time.sleep(0.5)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def answer(run: Path) -> None:
    """Answer every sheet, by a rule."""
    for sheet in run.glob("reviews/*.csv"):
        rows = list(csv.DictReader(sheet.open(encoding="utf-8-sig")))
        for row in rows:
            row["answer"], row["reviewer"] = ("right" if "path" in row else "keep"), "ana"
        with sheet.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


def undisturbed(images: Path, run: Path) -> float:
    """Carry a run out; how long its longest command took."""
    longest = 0.0
    while True:
        started = time.monotonic()
        process = begun(images, run, *ASKED)
        said = process.communicate()[1]
        longest = max(longest, time.monotonic() - started)
        if process.returncode == 0:
            return longest
        assert process.returncode == WAITS, said
        answer(run)


def disturbed(images: Path, run: Path, seconds: float, seed: int, end: float) -> int | None:
    """Carry a run out, each command killed at a random moment unless it ends before; how many were. None: no time."""
    rng, kills = random.Random(seed), 0
    while time.monotonic() < end:
        process = begun(images, run, *ASKED)
        try:
            said = process.communicate(timeout=rng.uniform(0, 1.3 * seconds))[1]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        if process.returncode == 0:
            return kills
        assert process.returncode == WAITS, said
        answer(run)
    return None


def results(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in RESULTS}


def lines(run: Path) -> Counter[str]:
    """What was answered, without when."""
    rows = (run / "answers.jsonl").read_text().splitlines()
    return Counter(row.partition('"at"')[0] for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--at-once", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images")
        write_images(images)
        seconds = undisturbed(images, Path(folder, "reference"))
        print(many_kills(Path(folder), images, seconds, asked.kills, time.monotonic() + 60 * asked.minutes), flush=True)
        with prefect_server(Path(folder, "home")):
            print(many_at_once(Path(folder), images, asked.at_once))


def many_kills(folder: Path, images: Path, seconds: float, wanted: int, end: float) -> str:
    reference, kills, runs, seed = folder / "reference", 0, 0, 0
    with ThreadPoolExecutor(2) as pool:
        while kills < wanted and time.monotonic() < end:
            seeds = range(seed, seed := seed + 4)
            found = pool.map(lambda n: disturbed(images, folder / f"run-{n}", seconds, n, end), seeds)
            for number, killed in zip(seeds, found, strict=True):
                if killed is None:
                    continue
                run = folder / f"run-{number}"
                for name in RESULTS:
                    assert (run / name).read_bytes() == (reference / name).read_bytes(), (
                        f"{name} differs, seed {number}"
                    )
                assert lines(run) == lines(reference), f"answers differ, seed {number}"
                kills, runs = kills + killed, runs + 1
    answers = sum(lines(reference).values())
    told = f"{runs * answers} answers, none lost or doubled"
    return f"{kills} commands killed among {runs} runs: the same bytes each time, {told}"


def many_at_once(folder: Path, images: Path, times: int) -> str:
    reference = folder / "alone"
    process = begun(images, reference)
    assert process.wait() == 0
    refused = 0
    for number in range(times):
        run = folder / f"shared-{number}"
        processes = [begun(images, run, runner=runner) for runner in RUNNERS]
        ends = [(process.communicate()[1], process.returncode) for process in processes]
        assert any(status == 0 for _, status in ends), ends
        for said, status in ends:
            assert status == 0 or (status == 2 and "another command works on this run" in said), said
            refused += status == 2
        assert results(run) == results(reference), f"results differ, time {number}"
    told = f"{refused} were told who has the run, the same bytes each time"
    return f"two commands and two flow runs at once, {times} times: {told}"


if __name__ == "__main__":
    main()
