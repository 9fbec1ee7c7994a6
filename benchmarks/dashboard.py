"""How fast the dashboard's pages answer on a large run, and how much memory it takes, driven in a real browser.

    python -m benchmarks.dashboard [--samples 1000000] [--classes 5000] [--dir DIR]

The run is made up: its tables are of the real schemas and sizes, 4,096 of its images are there, those believed least.
A page has answered when what was asked for is to be seen and nothing is under way any more. Wants chromium.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from cleaner.config import Config
from cleaner.data.images import content_hash
from cleaner.run.origin import Origin, write_origin
from cleaner.run.state import Doing, Journal, Judged, Names
from cleaner.run.store import Store
from cleaner.tables import BATCH, DUPLICATES, EVIDENCE, MANIFEST, STANDING, VERDICTS, check, lists

SEED = 0
PICTURES = 4096
ASKED = 200
_WIDTH = 1280
_SHARD = 50_000
_WAIT = 60_000


def make_run(folder: Path, images: Path, samples: int, classes: int) -> None:
    """Write a finished run of made-up tables."""
    random, store = np.random.default_rng(SEED), Store(folder)
    sizes = 1 / np.arange(1, classes + 1) ** 0.7
    names = np.array([f"class {number:05d}{' of things' * (number % 3)}" for number in range(classes)])
    given = np.sort(random.choice(classes, samples, p=sizes / sizes.sum())).astype(np.int32)
    likely = np.where(random.random(samples) < 0.2, (given + random.integers(1, 9, samples)) % classes, given)
    score = np.where(likely == given, random.beta(8, 1, samples), random.beta(1, 6, samples)).astype(np.float32)
    rows = np.arange(samples, dtype=np.int32)
    shown = np.sort(random.choice(samples, min(PICTURES, samples), replace=False))
    score[shown] /= 1e6
    paths = [f"{label}/{row:07d}.jpg" for label, row in zip(names[given], rows, strict=True)]
    hashes = np.array([random.bytes(16).hex() for _ in rows], object)
    for row in shown:
        hashes[row] = _picture(images / paths[row], random)
    ids = np.char.zfill(np.char.mod("%x", rows), 16)
    known: dict[str, Any] = {"sample_id": ids, "path": paths, "label": names[given], "mode": ["RGB"] * samples}
    known |= {"width": np.full(samples, 320), "height": np.full(samples, 240), "bytes": np.full(samples, 9000)}
    manifest = pa.table(known | {"content_hash": hashes, "problem": pa.nulls(samples, pa.string())})
    store.write("manifest", check(manifest.select(MANIFEST.names), MANIFEST, "manifest"))
    action = np.where(score >= 0.3, "keep", np.where(rows % 2 == 0, "relabel", "drop")).astype(object)
    becomes = np.where(action == "relabel", names[likely], None)
    said: dict[str, Any] = {"row": rows, "sample_id": ids, "stage": ["fine"] * samples, "round": np.ones(samples, int)}
    reasons = [
        f"{a} ranks {r % 40}th of {classes} (p 0.01); {b} ranks 1st (p 0.93)"
        for a, b, r in zip(names[given], names[likely], rows, strict=True)
    ]
    said |= {"action": action, "new_label": becomes, "score": score, "by": ["model:probe"] * samples, "reason": reasons}
    store.ledger.append("fine-1-verdicts", check(pa.table(said), VERDICTS, "verdicts"))
    store.write("standing", check(pa.table(said | {"path": paths, "label": names[given]}), STANDING, "standing"))
    tops = (likely[:, None] + np.arange(10)) % classes
    told = {"row": rows, "fold": rows % 5, "top_classes": lists(tops.astype(np.int32), pa.int32())}
    told |= {"top_probs": lists(np.tile(np.array([0.7] + [0.03] * 9, np.float32), (samples, 1)), pa.float32())}
    told |= {"given_prob": score, "given_rank": (likely != given).astype(np.int32), "margin": score - 0.5}
    store.write("evidence", check(pa.table(told), EVIDENCE, "evidence"))
    store.write("duplicates", _duplicates(random, samples))
    store.write("noise", pa.table({"noise": [0.2], "low": [0.18], "high": [0.23], "answers": [0]}))
    shards = []
    for start in range(0, samples, _SHARD):
        shards.append(f"features-{start}")
        width = min(_SHARD, samples - start), _WIDTH
        store.write(shards[-1], random.random(width, np.float32).astype(np.float16))
    rounds = [Judged(stage, 1, "fine-1-verdicts", "standing", "evidence") for stage in ("coarse", "fine")]
    write_origin(
        folder, Origin(source=images, form="folder", fingerprint="", reviewer="none", truth=None, config=Config())
    )
    journal = Journal(folder)
    journal.has(
        Names(
            manifest="manifest",
            features=shards,
            duplicates="duplicates",
            standing="standing",
            ledger=["fine-1-verdicts"],
            rounds=rounds,
            noise="noise",
        )
    )
    journal.leaves(Doing.FINISHED, "finished")
    store.batches.add("review-1", _batch(known, shown[:ASKED], names), reviewer="desk")


def _batch(known: dict[str, Any], rows: np.ndarray, names: np.ndarray) -> pa.Table:
    """Questions on some samples."""
    count = len(rows)
    asked: dict[str, Any] = {name: np.asarray(known[name])[rows] for name in ("sample_id", "path", "label")}
    asked |= {
        "row": rows,
        "asked_because": ["doubtful"] * count,
        "why": ["kept"] * count,
        "guesses": [names[:3].tolist()] * count,
    }
    asked |= {
        "guess_probs": [[0.7, 0.2, 0.1]] * count,
        "given_prob": np.full(count, 0.1),
        "people": np.ones(count, int),
        "gain": np.full(count, 0.5),
        "drawn": np.zeros(count, bool),
    }
    asked |= {f"{of}_references": [rows[:3].tolist()] * count for of in ("given", "guess")}
    asked |= {"known": pa.nulls(count, pa.string()), "page": np.zeros(count, int), "people": np.ones(count, int)}
    return check(pa.table(asked).select(BATCH.names), BATCH, "batch")


def _picture(file: Path, random: np.random.Generator) -> str:
    """Write a JPEG; its content hash."""
    file.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(random.integers(0, 255, (12, 16, 3), np.uint8))
    small.resize((320, 240), Image.Resampling.BICUBIC).save(file, "JPEG", quality=80)
    return content_hash(file.read_bytes())


def _duplicates(random: np.random.Generator, samples: int) -> pa.Table:
    rows = np.sort(random.choice(samples, samples // 50 * 2, replace=False)).astype(np.int32)
    table = {"row": rows, "group": np.arange(len(rows)) // 2, "kind": ["near"] * len(rows)}
    table |= {"original": np.repeat(rows[::2], 2), "similarity": np.full(len(rows), 0.97)}
    return check(pa.table(table), DUPLICATES, "duplicates")


@contextmanager
def served(folder: Path, cache: Path) -> Iterator[tuple[str, int]]:
    """The address and the process id of a dashboard, until the block ends."""
    port = 8700 + os.getpid() % 1000
    command = [str(Path(sys.executable).with_name("cleaner")), "ui", str(folder), "--no-browser", "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, "XDG_CACHE_HOME": str(cache)}, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with suppress(OSError):
                urllib.request.urlopen(f"{address}/_stcore/health")
                break
            time.sleep(0.1)
        yield address, server.pid
    finally:
        server.terminate()
        server.wait()


def gigabytes(pid: int) -> float:
    """The most memory of its own that a process ever had, in gigabytes; memory-mapped files apart."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1e6


@dataclass(frozen=True)
class Visit:
    """Something a person does: what is done on the page before, and what then is to be seen."""

    what: str
    do: Callable[[Any], object]
    sees: str


def visits() -> list[Visit]:
    """A walk through all pages, each reached by a click or an address, as people reach them."""

    def to(title: str) -> Callable[[Any], object]:
        return lambda page: page.get_by_test_id("stSidebarNavLink").filter(has_text=title).click()

    def typed(label: str, text: str) -> Callable[[Any], object]:
        def do(page: Any) -> None:
            page.get_by_label(label).fill(text)
            page.get_by_label(label).press("Enter")

        return do

    thumbnail = ".grid button img"
    return [
        Visit("overview, again", to("Overview"), "[data-testid=stVegaLiteChart]"),
        Visit("rounds", to("Rounds"), "[data-testid=stVegaLiteChart]"),
        Visit("classes", to("Classes"), "[data-testid=stDataFrame]"),
        Visit("which are taken for which", lambda page: page.get_by_text("Taken for each other").click(), _MATRIX),
        Visit("sizes", lambda page: page.get_by_text("Sizes", exact=True).click(), "[data-testid=stVegaLiteChart]"),
        Visit("gallery", to("Gallery"), thumbnail),
        Visit("gallery, page 2", lambda page: page.get_by_label("Page 2", exact=True).click(), thumbnail),
        Visit("gallery, relabelled", lambda page: page.get_by_text("relabelled").first.click(), _RELABELLED),
        Visit("gallery, path has 9", typed("Path has", "9"), thumbnail),
        Visit("gallery, reason has a text", typed("Reason has", "ranks 1"), thumbnail),
        Visit("one image", lambda page: page.locator(".grid button").first.click(), "text=What looks most like it"),
        Visit("map, drawn before", to("Map"), ".js-plotly-plot .main-svg"),
        Visit("reviewers", to("Reviewers"), "[data-testid=stDataFrame]"),
        Visit("compare", to("Compare"), "[data-testid=stDataFrame], [data-testid=stAlert]"),
        Visit("desk", to("Desk"), "text=Give your name"),
        Visit("the first question", typed("Your name", "ann"), "#choices button"),
    ]


_WATCH = """() => {
  window.ran = 0;
  window.watching?.disconnect();
  window.watching = new MutationObserver(() => { window.ran += 1; });
  window.watching.observe(document, { subtree: true, attributeFilter: ["data-test-script-state"] });
}"""
"""Counts from now on how often the server's work on the page begins or ends."""
_ANSWER = """async () => {
  const holders = [...document.querySelectorAll("*")].filter((one) => one.shadowRoot?.getElementById("picture"));
  const root = holders[0].shadowRoot;
  const before = root.getElementById("note").textContent;
  const started = performance.now();
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
  while (root.getElementById("note").textContent === before || !root.getElementById("picture").complete) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const seconds = (performance.now() - started) / 1000;
  await new Promise((resolve) => setTimeout(resolve, 700));
  return seconds;
}"""
_MATRIX = "text=Most often"
_RELABELLED = ".grid button.relabelled img"


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"samples": 1_000_000, "classes": 5000}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dir", type=Path, help="where the run is made, or lies from before")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = asked.dir or Path(temporary)
        if not (place / "run" / "state.json").exists():
            shutil.rmtree(place / "run", ignore_errors=True)
            make_run(place / "run", place / "images", asked.samples, asked.classes)
        started = time.monotonic()
        subprocess.run([sys.executable, "-W", "ignore", "-m", "ui.mapping", str(place / "run")], check=True)
        drawn = time.monotonic() - started
        with served(place / "run", Path(temporary) / "cache") as (address, pid), sync_playwright() as playwright:
            flags = ["--no-sandbox", "--enable-unsafe-swiftshader"]
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            print("| page | s |\n|---|---|")
            started = time.monotonic()
            page.goto(address)
            _settle(page, "[data-testid=stVegaLiteChart]")
            print(f"| the dashboard opened for the first time | {time.monotonic() - started:.2f} |")
            for visit in visits():
                page.evaluate(_WATCH)
                started = time.monotonic()
                visit.do(page)
                page.wait_for_function("window.ran > 0", timeout=_WAIT)
                _settle(page, visit.sees)
                print(f"| {visit.what} | {time.monotonic() - started:.2f} |", flush=True)
            print(f"| an answer at the desk shows the next question | {_answered(page):.3f} |")
            print(f"\nThe server's own memory: {gigabytes(pid):.2f} GB. The map of 50,000 was drawn in {drawn:.0f} s.")


def _answered(page: Any) -> float:
    """The longest of twenty times from a key to the next picture."""
    return max(page.evaluate(_ANSWER) for _ in range(20))


def _settle(page: Any, sees: str) -> None:
    """Wait until what is asked for is to be seen, and nothing is under way any more."""
    page.locator(sees).first.wait_for(timeout=_WAIT)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=_WAIT)
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=_WAIT)


if __name__ == "__main__":
    main()
