"""A run: one directory, the data set it cleans, and the settings it goes by."""

import csv
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner import parts
from cleaner.config import Config
from cleaner.data.images import content_hash
from cleaner.data.sources import Source, form_of, open_source
from cleaner.errors import ConfigError, RunError, nearest
from cleaner.evidence import features
from cleaner.evidence.crossfit import Predictor
from cleaner.people.reviewers import Reviewer
from cleaner.plan.wrong_labels import WrongLabels
from cleaner.progress import track
from cleaner.run import answers
from cleaner.run.before import Before
from cleaner.run.files import digest
from cleaner.run.origin import Origin, origin_of, read_origin, write_origin
from cleaner.run.state import read_state
from cleaner.run.store import Store
from cleaner.words import counted, shown

NO_REVIEWER = "none"
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
    _check_folder(folder)
    _check_apart(folder, source)
    before = read_origin(folder)
    _check_same_reviewer(folder, reviewer)
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
    _check_same_data(folder, before, origin)
    _check_unused_settings(config)
    _check_backbone(config)
    run = _run(folder, origin, workers)
    _check_idle_settings(run)
    for predictor in run.predictors.values():
        predictor.files()
    for stage in config.order:
        stage.check(run)
    said = run.reviewer.check(opened.listing()) if run.reviewer else ""
    return replace(run, notes=(*opened.notes(), *filter(None, [said])), before=_before(folder))


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
    said = f"{counted(len(found), 'image')} changed unnoticed: {names}; all are read anew"
    origin = run.origin.model_copy(update={"verified": digest(run.origin.verified, found)})
    return replace(run, origin=origin, notes=(*run.notes, said))


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
        reviewer=_reviewer(origin.reviewer, config, origin.truth),
        predictors={
            stage.name: _predictor(stage.predictor, config) for stage in config.order if isinstance(stage, WrongLabels)
        },
        seeds=_read_seeds(config.image_noise.seeds),
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


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; --run wants a directory")
    if not folder.is_dir() or read_origin(folder) is not None:
        return
    # A command that was killed where it began leaves the first three, a lock and half a run.json, both hidden; one that
    # could not begin what people were told of that; and what people said, a person may have copied from another run.
    begun = {"steps", "flow_run", "state.json", "told.json", answers.FILE}
    if any(not entry.name.startswith(".") for entry in folder.iterdir() if entry.name not in begun):
        raise RunError(f"{folder}: is not empty and no run directory; give --run a new directory")


def _check_apart(folder: Path, source: Path) -> None:
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise RunError(
            f"{folder}: lies in the data set {source}, and would be read as a part of it; give --run another"
        )


def _check_same_reviewer(folder: Path, reviewer: str) -> None:
    """People are asked for the answers to a batch where it was put before them."""
    batches = Store(folder).batches
    for name in batches.names() if reviewer != NO_REVIEWER else ():
        if batches.reviewer(name) != reviewer:
            what = f"its batch {name} was put before people by --reviewer {batches.reviewer(name)}"
            raise RunError(f"{folder}: {what}; give that again, or --run a new directory")


def _check_same_data(folder: Path, before: Origin | None, now: Origin) -> None:
    """What has grown or changed where it lay is read as far as it is new; what lies elsewhere must be the same."""
    if before is None or before.source == now.source:
        return
    if (before.moved or before.fingerprint) != (now.moved if before.moved else now.fingerprint):
        raise RunError(f"{folder}: it is a run of {before.source}, not of {now.source}; give --run a new directory")


def _reviewer(name: str, config: Config, truth: Path | None) -> Reviewer | None:
    if truth is not None and name != "oracle":
        raise ConfigError("--truth is read by --reviewer oracle only; give both or neither")
    if name == NO_REVIEWER:
        return None
    known = parts.names("reviewers")
    if name not in known:
        raise ConfigError(f"no reviewer {name}{nearest(name, [NO_REVIEWER, *known])}")
    settings = dict(config.reviewers.get(name, {}))
    if name == "oracle":
        if truth is None:
            raise ConfigError("--reviewer oracle answers from a table of true labels; give it with --truth FILE")
        settings["truth"] = truth
    return parts.make("reviewers", name, settings)


def _predictor(name: str, config: Config) -> Predictor:
    return parts.make("predictors", name, config.predictors.get(name, {}))


def _check_unused_settings(config: Config) -> None:
    """Settings of a part that this run does not use must be right all the same; of a stage there may be none."""
    for kind, of_kind in (("predictors", config.predictors), ("reviewers", config.reviewers)):
        for name, settings in of_kind.items():
            parts.check(kind, name, settings)
    for name in sorted({*parts.names("stages")} - {*config.stages}):
        section = getattr(config, name)
        if idle := section.model_dump(exclude_defaults=True):
            what = f"does nothing, since {name} is none of the stages; leave it out, or add {name} to `stages`"
            raise ConfigError(f"{name}.{next(iter(idle))}: {what}")


def _check_idle_settings(run: Run) -> None:
    """What is set and would do nothing is a mistake about what it does."""
    review, reviewer = run.config.review, run.origin.reviewer
    if review.grid and "blind_share" in run.config.reviewers.get(reviewer, {}):
        what = "does nothing with review.grid, whose pages show no guesses; leave one of them out"
        raise ConfigError(f"reviewers.{reviewer}.blind_share: {what}")
    is_set = review.overlap != type(review)().overlap
    if is_set and review.overlap and run.reviewer is not None and not run.reviewer.several:
        what = f"does nothing with --reviewer {reviewer}, which asks one person about each image; leave it out"
        raise ConfigError(f"review.overlap = {review.overlap:g}: {what}")


def _check_backbone(config: Config) -> None:
    name, weights = config.features.backbone, config.features.weights
    if name not in (features.AUTO, features.PIXELS) or weights is not None:
        features.check(name, weights=weights)


def _read_seeds(file: Path | None) -> dict[str, bool]:
    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"image_noise.seeds = {file}: can't be read as a CSV ({error})") from error
    if not rows or not {"path", "junk"} <= rows[0].keys():
        raise ConfigError(f"image_noise.seeds = {file}: wants the columns path,junk and at least one row")
    wrong = [str(number) for number, row in enumerate(rows, 2) if row["junk"] not in {"0", "1"}]
    if wrong:
        raise ConfigError(f"image_noise.seeds = {file}: junk is 1 or 0, in line {', '.join(wrong[:5])} it is neither")
    seeds: dict[str, bool] = {}
    for number, row in enumerate(rows, 2):
        if seeds.setdefault(row["path"], row["junk"] == "1") != (row["junk"] == "1"):
            where = f"image_noise.seeds = {file}: line {number}"
            raise ConfigError(f"{where}: {row['path']} is marked as junk and as none; leave one of the two")
    return seeds
