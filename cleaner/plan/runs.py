"""A run: one directory, the data set it cleans, and the settings it goes by."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.config import Config
from cleaner.data.images import content_hash
from cleaner.data.sources import Source, form_of, open_source
from cleaner.errors import ConfigError, RunError
from cleaner.evidence.crossfit import Predictor
from cleaner.people.reviewers import Reviewer
from cleaner.plan.run_checks import (
    NO_REVIEWER,
    check_apart,
    check_backbone,
    check_folder,
    check_idle_settings,
    check_same_data,
    check_same_reviewer,
    check_unused_settings,
    predictor_of,
    read_seeds,
    reviewer_of,
)
from cleaner.plan.wrong_labels import WrongLabels
from cleaner.progress import track
from cleaner.run.before import Before
from cleaner.run.files import digest
from cleaner.run.origin import Origin, origin_of, read_origin, write_origin
from cleaner.run.state import read_state
from cleaner.run.store import Store
from cleaner.words import counted, shown

ROOTED = ("table", "data_manifest")
"""The sources that `--root` is for."""


@dataclass(frozen=True)
class Run:
    """Everything a plan needs.

    Attributes:
        origin: what this is a run of.
        reviewer: who is asked; None: nobody.
        predictors: of each stage that judges labels.
        seeds: the marked images of `image_noise.seeds`, path -> is junk.
        workers: threads that decode images; no result depends on it.
        notes: lines for whoever starts the run.
        before: what was read of the data set so far; None before that.
    """

    store: Store
    origin: Origin
    reviewer: Reviewer | None
    predictors: dict[str, Predictor]
    seeds: dict[str, bool]
    workers: int
    notes: tuple[str, ...] = ()
    before: Before | None = None

    @property
    def config(self) -> Config:
        return self.origin.config

    @cached_property
    def source(self) -> Source:
        """The data set. Opening a large one takes long, and what only looks at the run does without.

        Raises:
            SourceError: it can't be read any more.
        """
        return open_source(self.origin.source, self.config.sources)


def open_run(
    source: Path,
    folder: Path,
    config: Config,
    *,
    reviewer: str = NO_REVIEWER,
    truth: Path | None = None,
    workers: int | None = None,
) -> Run:
    """Check everything a person can get wrong; nothing is written.

    Raises:
        InputError: the source, a setting, the reviewer or the directory can't be what it is.
    """
    check_folder(folder)
    check_apart(folder, source)
    before = read_origin(folder)
    check_same_reviewer(folder, reviewer)
    opened = open_source(source, config.sources)
    if config.table.root is not None and form_of(opened) not in ROOTED:
        what = "is for a table of paths or a data manifest"
        raise ConfigError(f"--root {config.table.root}: {what}, which {source} is not; leave it out")
    table = config.table
    if (table.skip_missing or table.path_column != "path") and form_of(opened) != "table":
        raise ConfigError(f"--columns path=... and --skip-missing are for a table of paths, which {source} is not")
    if table.label_column != "label" and form_of(opened) not in ("table", "parquet_images"):
        raise ConfigError(f"--columns is for a table, which {source} is not; leave it out")
    origin = Origin(
        source=source.resolve(),
        form=form_of(opened),
        fingerprint=opened.fingerprint(),
        moved=opened.fingerprint(moved=True),
        verified=before.verified if before else "",
        reviewer=reviewer,
        truth=truth.resolve() if truth else None,
        config=Config.model_validate(_with_absolute_paths(config.model_dump())),
    )
    check_same_data(folder, before, origin)
    check_unused_settings(config)
    check_backbone(config)
    run = _run(folder, origin, workers)
    check_idle_settings(run)
    for predictor in run.predictors.values():
        predictor.files()
    for stage in config.order:
        stage.check(run)
    note = run.reviewer.check(opened.listing()) if run.reviewer else ""
    return replace(run, notes=(*opened.notes(), *filter(None, [note])), before=_before(folder))


def verified(run: Run) -> Run:
    """The run, once all images that it has read are read again. Where the content of one has changed and nothing else
    tells so, it is a run of other data, which reads all anew.

    Raises:
        SourceError: the data set can't be read any more.
    """
    if run.before is None:
        return run
    was, paths = run.before.manifest, run.source.listing().column("path")
    place = pc.index_in(paths, value_set=was.column("path").combine_chunks())
    rows = np.flatnonzero(place.is_valid().to_numpy()).astype(np.int64)
    hashes = was.column("content_hash").take(place.drop_null()).to_pylist()
    wanted = paths.take(pa.array(rows)).to_pylist()
    images = track(run.source.read(rows, wanted), len(rows), "images read again")
    now = (content_hash(image) if isinstance(image, bytes) else None for image in images)
    found = [(path, new) for path, new, old in zip(wanted, now, hashes, strict=True) if old not in (None, new)]
    if not found:
        return replace(run, notes=(*run.notes, f"all {len(rows):,} images are what they were when they were read"))
    names = shown([path for path, _ in found])
    note = f"{counted(len(found), 'image')} changed unnoticed: {names}; all are read anew"
    origin = run.origin.model_copy(update={"verified": digest(run.origin.verified, found)})
    return replace(run, origin=origin, notes=(*run.notes, note))


def _before(folder: Path) -> Before | None:
    """A state that is damaged is written anew, and says nothing of before."""
    try:
        state = read_state(folder)
    except RunError:
        return None
    return None if state is None else Before.of(folder, state.names)


def reopen(folder: Path) -> Run:
    """The run in `folder` as it was asked for last; its data set is not looked at.

    Raises:
        RunError: no run lies there.
    """
    return _run(folder, origin_of(folder), None)


def _run(folder: Path, origin: Origin, workers: int | None) -> Run:
    config = origin.config
    return Run(
        store=Store(folder),
        origin=origin,
        reviewer=reviewer_of(origin.reviewer, config, origin.truth),
        predictors={
            stage.name: predictor_of(stage.predictor, config)
            for stage in config.order
            if isinstance(stage, WrongLabels)
        },
        seeds=read_seeds(config.image_noise.seeds),
        workers=workers or cores(),
    )


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def remember(run: Run) -> None:
    """Write down what this is a run of, so that it is found again and another data set is refused."""
    write_origin(run.store.folder, run.origin)


def _with_absolute_paths(settings: Any) -> Any:
    """Settings that mean the same in every working directory."""
    if isinstance(settings, dict):
        return {name: _with_absolute_paths(value) for name, value in settings.items()}
    return settings.resolve() if isinstance(settings, Path) else settings
