"""A small data set on disk, scanned, with what models and stages might have said of it."""

import csv
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

# Before anything that computes is imported. Two tests run at once, and each starts commands: threads that wait for
# threads would take most of the time.
os.environ["OMP_NUM_THREADS"] = "1"
# Networks of commands take four threads all the same: those that wait leave the cores to others.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# However wide the terminal is at which the tests are started.
os.environ["COLUMNS"] = "80"

import numpy as np
import pyarrow as pa
import pytest
from command import clean_locally
from PIL import Image

from cleaner import threads
from cleaner.data.scan import QUALITY_COLUMN, scan
from cleaner.data.sources import Source, open_source
from cleaner.demo import write_demo
from cleaner.people.batch import compose, one_a_file
from cleaner.people.grid import pages
from cleaner.people.meaning import verdicts
from cleaner.people.reviewers import ReviewBatch
from cleaner.people.selection import DRAWN
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, DUPLICATES, EVIDENCE, VERDICTS, Classes, array, check, lists

# In this process the tiny networks of tests would spend two thirds of their time handing parts to one another.
THREADS_OF_COMMANDS, threads.NETWORK_THREADS = threads.NETWORK_THREADS, 1

NASTY = "<img src=x onerror=alert(1)>"
CLASSES = ("=cmd()", NASTY, "räksmörgås", "with space")


@dataclass(frozen=True)
class Judged:
    """A data set after one round of the stage `fine`: every fifth sample of a class is negative."""

    source: Source
    manifest: pa.Table
    evidence: pa.Table
    duplicates: pa.Table
    standing: pa.Table
    classes: tuple[str, ...]

    def batch(
        self,
        said: pa.Table = ANSWER_LOG.empty_table(),  # noqa: B008
        *,
        count: int = 15,
        known_share: float = 0,
        overlap: float = 0,
        seed: int = 0,
    ) -> pa.Table:
        """A review batch after what people have `said` so far: `count` images, those that models doubt first, then
        those that they keep, the last two as if drawn at random."""
        margin = array(self.evidence, "margin")
        order = np.concatenate([np.flatnonzero(margin < 0), np.flatnonzero(margin >= 0)])
        spoken = array(verdicts(self.manifest, said), "row")
        rows = array(self.evidence, "row")[order]
        rows = rows[one_a_file(self.manifest, ~np.isin(np.arange(len(self.manifest)), spoken))[rows]][:count]
        drawn = np.arange(len(rows)) >= len(rows) - 2
        facts = {"why": ["kept"] * len(rows), "gain": pa.array([0.5] * len(rows), pa.float32()), "drawn": drawn}
        because = [DRAWN if at_random else "kept, but the least sure" for at_random in drawn]
        tables = self.manifest, self.standing, self.evidence, self.duplicates, said
        return compose(*tables, rows, because, facts, known_share=known_share, overlap=overlap, seed=seed)

    def asking(self, asked: pa.Table, folder: Path, name: str = "fine-1") -> ReviewBatch:
        return ReviewBatch(name, folder, asked, self.manifest)


@pytest.fixture
def threads_of_commands(monkeypatch):
    """Networks in this process give the bytes that those of commands give."""
    monkeypatch.setattr(threads, "NETWORK_THREADS", THREADS_OF_COMMANDS)


@pytest.fixture(scope="session")
def judged(tmp_path_factory) -> Judged:
    root = tmp_path_factory.mktemp("images")
    for number, name in enumerate(CLASSES):
        (root / name).mkdir()
        for i in range(20):
            Image.new("RGB", (24, 16), (60 * number, 12 * i, 100)).save(root / name / f"{i:02}.png")
    (root / CLASSES[2] / "broken.png").write_bytes(b"no image")
    source = open_source(root)
    listing = source.listing()
    manifest = scan(listing, source=source, start=0, stop=len(listing), max_pixels=10**6, workers=1).drop_columns(
        [QUALITY_COLUMN]
    )
    classes = Classes.of(manifest).names
    evidence = _evidence(manifest, classes)
    return Judged(
        source=source,
        manifest=manifest,
        evidence=evidence,
        duplicates=_twins((0, 1), (5, 50)),
        standing=fold(manifest, [_verdicts(manifest, evidence, classes)]),
        classes=classes,
    )


def pages_of(judged: Judged, asked: pa.Table, *, shard: int = 50, overlap: float = 0, grid: int = 12) -> pa.Table:
    """A batch in pages, by made-up features in shards."""
    features = np.random.default_rng(0).normal(size=(len(judged.manifest), 8)).astype(np.float16)
    shards = [features[start : start + shard] for start in range(0, len(features), shard)]
    return pages(asked, *shards, grid=grid, overlap=overlap, seed=0)


def _evidence(manifest: pa.Table, classes: tuple[str, ...]) -> pa.Table:
    rows = np.flatnonzero(manifest.column("problem").is_null().to_numpy())
    given = Classes(classes).encode(manifest.column("label").take(rows))
    margin = np.random.default_rng(0).uniform(0.01, 1, len(rows)).astype(np.float32)
    margin[::5] *= -1
    order = (given[:, None] + np.arange(4)) % 4
    order[::5, :2] = order[::5, 1::-1]
    table = {
        "row": rows,
        "fold": rows % 5,
        "top_classes": lists(order, pa.int32()),
        "top_probs": lists(np.tile([0.6, 0.2, 0.1, 0.1], (len(rows), 1)), pa.float32()),
        "given_prob": (margin + 1) / 2,
        "given_rank": (margin < 0).astype(np.int32),
        "margin": margin,
    }
    return check(pa.table(table), EVIDENCE, "evidence")


def _verdicts(manifest: pa.Table, evidence: pa.Table, classes: tuple[str, ...]) -> pa.Table:
    rows, margin = array(evidence, "row"), array(evidence, "margin")
    second = [classes[top[0]] for top in evidence.column("top_classes").to_pylist()]
    action = np.where(margin > 0, "keep", np.where(rows % 2 == 0, "relabel", "drop"))
    table = {
        "row": rows,
        "sample_id": manifest.column("sample_id").take(rows),
        "stage": pa.repeat("fine", len(rows)),
        "round": pa.repeat(1, len(rows)),
        "action": action,
        "new_label": [name if act == "relabel" else None for name, act in zip(second, action, strict=True)],
        "score": evidence.column("given_prob"),
        "by": pa.repeat("model:probe", len(rows)),
        "reason": pa.repeat(f"because {NASTY}", len(rows)),
    }
    return check(pa.table(table), VERDICTS, "verdicts")


def _twins(*pairs: tuple[int, int]) -> pa.Table:
    rows = [
        {"row": row, "group": group, "kind": "exact", "original": pair[0], "similarity": 1.0}
        for group, pair in enumerate(pairs)
        for row in pair
    ]
    return pa.Table.from_pylist(rows, DUPLICATES)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """The demo's folder: images/, truth.csv, seeds.csv; of its images about a third."""
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, seed=0)
    with (folder / "seeds.csv").open() as file:
        seeds = {row["path"] for row in csv.DictReader(file)}
    for path in sorted((folder / "images").rglob("*.*")):
        # A copy stays where its original does.
        number = re.search(r"\d+", path.name)
        if number and int(number[0]) % 3 and str(path.relative_to(folder / "images")) not in seeds:
            path.unlink()
    rows = (folder / "truth.csv").read_text().splitlines()
    there = [row for row in rows[1:] if (folder / "images" / row.partition(",")[0]).exists()]
    (folder / "truth.csv").write_text("\n".join([rows[0], *there, ""]))
    return folder


@pytest.fixture(scope="session")
def few_classes(demo, tmp_path_factory) -> Path:
    """A folder with images/, four of the demo's classes: what is cleaned again and again, and not measured."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("one", "two", "three", "four"):
        shutil.copytree(demo / "images" / name, folder / "images" / name)
    return folder


@pytest.fixture(scope="session")
def finished(demo, tmp_path_factory) -> Path:
    """A finished run over the demo's images."""
    run = tmp_path_factory.mktemp("finished") / "run"
    clean_locally(demo / "images", run, "--set", f"image_noise.seeds={demo / 'seeds.csv'}")
    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is slow comes first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
