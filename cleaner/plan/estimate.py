"""What a run will take on this machine, told before it is spent: measured on a few hundred of its images."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.config import Config
from cleaner.data.images import FORMATS
from cleaner.data.scan import scan
from cleaner.data.sources import Source
from cleaner.errors import SourceError
from cleaner.evidence.crossfit import Task, assign_folds
from cleaner.evidence.features import PIXELS, choose, embed, engine, pace
from cleaner.evidence.predictors.probe import Probe
from cleaner.plan.predicting import FINER
from cleaner.plan.runs import Run, cores
from cleaner.tables import Classes

_MEASURED = (60, 300)
_ROWS = (2_000, 20_000)
"""Rows on which a round is measured that learns from features; they are made of those of the measured images."""
_SHARE = 20
"""Of so many images one is measured, within these bounds, so that asking costs little beside doing."""
_SETTLING = 0.8e-3
"""Seconds an image for duplicates, junk and results on two cores: benchmarks/large.md."""
_BASE_GB = 0.75
_FEWEST_ROUNDS = 3
_GB = 2**30


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        images, new: how many there are, and how many of them are yet to be read.
        measured: on how many images this was found out.
        reading, features, rounds, settling: seconds of the parts; of rounds the fewest and the most.
        memory_gb: of this process, at most.
        disk_gb: in the run's directory.
        machine: on what, in words.
    """

    images: int
    new: int
    classes: int
    measured: int
    reading: float
    features: float
    rounds: tuple[float, float]
    settling: float
    memory_gb: float
    disk_gb: float
    machine: str

    @property
    def seconds(self) -> tuple[float, float]:
        """Of the whole run: at least, at most."""
        fixed = self.reading + self.features + self.settling
        return fixed + self.rounds[0], fixed + self.rounds[1]


@dataclass(frozen=True)
class _Some:
    """The rows `rows` of a source, as a source of their own."""

    source: Source
    rows: np.ndarray

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        return self.source.read(self.rows[rows], paths)


def estimate(run: Run) -> Estimate:
    """Read, embed and judge a few hundred images of the data set, and tell from that what the whole will take. Nothing
    is written.

    Raises:
        SourceError: the data set can't be read.
    """
    listing, config = run.source.listing(), run.config
    n, new = len(listing), _yet_to_be_read(run)
    rows = np.unique(np.linspace(0, n - 1, _some(n, _MEASURED)).astype(np.int32))
    some: Any = _Some(run.source, rows)
    started = time.monotonic()
    manifest = scan(
        listing.take(pa.array(rows)),
        source=some,
        start=0,
        stop=len(rows),
        max_pixels=config.scan.max_pixels,
        workers=run.workers,
        formats=FORMATS,
    )
    reading = (time.monotonic() - started) / len(rows)
    problems = manifest.column("problem").drop_null()
    if len(problems) == len(rows):
        what = f"none of the {len(rows)} images that were looked at can be used, the first: {problems[0]}"
        raise SourceError(f"{run.origin.source}: {what}")
    how = {"source": some, "workers": run.workers, "max_pixels": config.scan.max_pixels}
    wanted = config.features
    backbone = choose(wanted.backbone, weights=wanted.weights, image_size=wanted.image_size, manifest=manifest)
    paced = pace(manifest, backbone=backbone, **how)
    features = embed(manifest, backbone=backbone, start=0, stop=len(rows), **how)
    labels = listing.column("label")
    classes = len(pc.unique(labels))
    sample = _Sample(some, manifest, features, n, classes, config)
    rounds: dict[str, float] = {}
    for stage, predictor in run.predictors.items():
        same = (rounds[each] for each in rounds if run.predictors[each] == predictor)
        rounds[stage] = next(same, None) or sample.round(stage, run)
    width, seen = features.shape[1], min(features.shape[1], 384)
    return Estimate(
        images=n,
        new=new,
        classes=classes,
        measured=len(rows),
        reading=new * reading,
        features=new / paced.column("images_per_second")[0].as_py(),
        rounds=(
            _FEWEST_ROUNDS * min(rounds.values()),
            sum(seconds * getattr(config, stage).max_rounds for stage, seconds in rounds.items()),
        ),
        settling=n * _SETTLING * 2 / min(cores(), 8),
        memory_gb=_BASE_GB + (n * (2 * width + 8 * seen + 1000) + 100 * classes * seen) / _GB,
        disk_gb=n * (2 * width + 2500) / _GB,
        machine=f"{cores()} cores, {engine() if backbone.name != PIXELS else 'pixels'}",
    )


@dataclass(frozen=True)
class _Sample:
    """The measured images, of `n` of `classes` classes."""

    source: Any
    manifest: pa.Table
    features: np.ndarray
    n: int
    classes: int
    config: Config

    def round(self, stage: str, run: Run) -> float:
        """Seconds that one round of a stage takes, of all images."""
        predictor, folds = run.predictors[stage], self.config.folds
        if predictor.folds_together:
            if isinstance(predictor, Probe) and self.n * self.classes > predictor.heads_until:
                # What is measured has fewer rows; it must be done in the way of the whole all the same.
                predictor = replace(predictor, heads_until=0)
            task = self._made_up(_some(self.n, _ROWS))
            return (
                _seconds(predictor, task, tuple(range(folds))) * self.n / len(task.labels) * self.classes / task.classes
            )
        names = Classes.of(self.manifest)
        usable = pc.if_else(self.manifest.column("problem").is_null(), self.manifest.column("label"), None)
        task = self._task(names.encode(usable), self.features, max(2, len(names.names)))
        return _seconds(predictor, task, (0,)) * folds * self.n / len(self.manifest)

    def _made_up(self, rows: int) -> Task:
        """As many rows as there are, or enough to tell; like the measured ones, each a little different."""
        rng = np.random.default_rng(0)
        classes = max(2, min(self.classes, rows // 4))
        near = self.features[rng.integers(0, len(self.features), rows)]
        noise = rng.normal(0, 0.1, near.shape).astype(np.float16)
        return self._task(rng.integers(0, classes, rows).astype(np.int32), near + noise, classes)

    def _task(self, labels: np.ndarray, features: np.ndarray, classes: int) -> Task:
        everyone, alone = np.ones(len(labels), bool), np.full(len(labels), -1, np.int32)
        folds, keys = self.config.folds, np.arange(len(labels), dtype=np.uint64)
        return Task(
            labels=labels,
            train=everyone & (labels >= 0),
            weights=(labels >= 0).astype(np.float32),
            predict=everyone & (labels >= 0),
            folds=assign_folds(labels, alone, keys, folds=folds),
            finer_folds=assign_folds(labels, alone, keys, folds=folds, finer=FINER),
            classes=classes,
            round=1,
            seed=0,
            features=features,
            source=self.source,
            manifest=self.manifest,
        )


def _some(n: int, bounds: tuple[int, int]) -> int:
    """A share of `n`, within the bounds, and not more than all."""
    return min(n, max(bounds[0], min(bounds[1], n // _SHARE)))


def _seconds(predictor: Any, task: Task, folds: tuple[int, ...]) -> float:
    started = time.monotonic()
    predictor.evidence(task, folds)
    return time.monotonic() - started


def _yet_to_be_read(run: Run) -> int:
    """How many images nobody has read yet: all of them, or those that have come or changed since."""
    stamps = run.source.stamps()
    if run.before is None or stamps is None:
        return len(run.source.listing())
    return int((run.before.unchanged(stamps) < 0).sum())
