"""What is looked at before a run is opened, so that nothing is written of what can not be."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from cleaner import parts
from cleaner.config import Config
from cleaner.errors import ConfigError, RunError, nearest
from cleaner.evidence import features
from cleaner.evidence.crossfit import Predictor
from cleaner.people.reviewers import Reviewer
from cleaner.run import answers
from cleaner.run.origin import Origin, read_origin
from cleaner.run.store import Store

NO_REVIEWER = "none"

if TYPE_CHECKING:
    from cleaner.plan.runs import Run


def check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; --run wants a directory")
    if not folder.is_dir() or read_origin(folder) is not None:
        return
    # A command that was killed where it began leaves the first three, a lock and half a run.json, both hidden; one that
    # could not begin what people were told of that; and what people said, a person may have copied from another run.
    begun = {"steps", "flow_run", "state.json", "told.json", answers.FILE}
    if any(not entry.name.startswith(".") for entry in folder.iterdir() if entry.name not in begun):
        raise RunError(f"{folder}: is not empty and no run directory; give --run a new directory")


def check_apart(folder: Path, source: Path) -> None:
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise RunError(
            f"{folder}: lies in the data set {source}, and would be read as a part of it; give --run another"
        )


def check_same_reviewer(folder: Path, reviewer: str) -> None:
    """People are asked for the answers to a batch where it was put before them."""
    batches = Store(folder).batches
    for name in batches.names() if reviewer != NO_REVIEWER else ():
        if batches.reviewer(name) != reviewer:
            what = f"its batch {name} was put before people by --reviewer {batches.reviewer(name)}"
            raise RunError(f"{folder}: {what}; give that again, or --run a new directory")


def check_same_data(folder: Path, before: Origin | None, now: Origin) -> None:
    """What has grown or changed where it lay is read as far as it is new; what lies elsewhere must be the same."""
    if before is None or before.source == now.source:
        return
    if (before.moved or before.fingerprint) != (now.moved if before.moved else now.fingerprint):
        raise RunError(f"{folder}: it is a run of {before.source}, not of {now.source}; give --run a new directory")


def reviewer_of(name: str, config: Config, truth: Path | None) -> Reviewer | None:
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


def predictor_of(name: str, config: Config) -> Predictor:
    return parts.make("predictors", name, config.predictors.get(name, {}))


def check_unused_settings(config: Config) -> None:
    """Settings of a part that this run does not use must be right all the same; of a stage there may be none."""
    for kind, of_kind in (("predictors", config.predictors), ("reviewers", config.reviewers)):
        for name, settings in of_kind.items():
            parts.check(kind, name, settings)
    for name in sorted({*parts.names("stages")} - {*config.stages}):
        section = getattr(config, name)
        if idle := section.model_dump(exclude_defaults=True):
            what = f"does nothing, since {name} is none of the stages; leave it out, or add {name} to `stages`"
            raise ConfigError(f"{name}.{next(iter(idle))}: {what}")


def check_idle_settings(run: "Run") -> None:
    """What is set and would do nothing is a mistake about what it does."""
    review, reviewer = run.config.review, run.origin.reviewer
    if review.grid and "blind_share" in run.config.reviewers.get(reviewer, {}):
        what = "does nothing with review.grid, whose pages show no guesses; leave one of them out"
        raise ConfigError(f"reviewers.{reviewer}.blind_share: {what}")
    is_set = review.overlap != type(review)().overlap
    if is_set and review.overlap and run.reviewer is not None and not run.reviewer.several:
        what = f"does nothing with --reviewer {reviewer}, which asks one person about each image; leave it out"
        raise ConfigError(f"review.overlap = {review.overlap:g}: {what}")


def check_backbone(config: Config) -> None:
    name, weights = config.features.backbone, config.features.weights
    if name not in (features.AUTO, features.PIXELS) or weights is not None:
        features.check(name, weights=weights)


def read_seeds(file: Path | None) -> dict[str, bool]:
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
