"""What a finished run leaves for its users: the files of the contract (docs/design.md, "The face")."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from cleaner import installed
from cleaner.data.exporters import clean, from_folder
from cleaner.parts import find
from cleaner.plan.issues import duplicates_of, issues_of
from cleaner.plan.predicting import concatenate_by_row
from cleaner.plan.runs import ROOTED, Run
from cleaner.plan.so_far import SoFar
from cleaner.plan.stage import stages_of
from cleaner.run.files import write_atomically, write_bytes, write_json, write_table
from cleaner.run.finished import (
    CLEAN_CSV,
    CLEAN_PARQUET,
    DUPLICATES_CSV,
    ISSUES,
    ISSUES_PARQUET,
    MANIFEST_FILE,
    PROVISIONAL,
    QUALITY_PARQUET,
    REPORT,
    SUMMARY,
    VERDICTS_FILE,
    damage,
    read_summary,
    withdraw,
)
from cleaner.run.ledger import PEOPLE
from cleaner.run.state import Judged
from cleaner.run.steps import Step
from cleaner.run.store import Cost
from cleaner.spreadsheets import as_csv
from cleaner.tables import DUPLICATES, QUALITY, Action, Classes, array, is_usable, unusable_classes

_NOTHING_LOOKED_FOR: dict[str, Any] = {
    "small_classes": [],
    "leakage": {"pictures": 0, "examples": []},
    "poor_quality": 0,
}
"""What the summary says of stages that are none of the run's."""
LIBRARIES = ("torch", "timm", "scikit-learn", "numpy", "pyarrow")


def concluded(so_far: SoFar, folder: Path, *, with_report: bool = True) -> bool:
    """Whether the results of a plan that has come to `so_far` lie in `folder`, whole."""
    before = read_summary(folder)
    same = before is not None and before["versions"].get("standing") == so_far.standing and not damage(folder)
    return same and ((folder / REPORT).exists() or not with_report)


def conclude(
    run: Run, so_far: SoFar, parts: Mapping[str, list[Step]], *, provisional: str = "", with_report: bool = True
) -> None:
    """Write the results of a plan that has come to `so_far` by the steps of each part, by its words; those of before
    are withdrawn first.

    Args:
        provisional: of a run that is not finished, what the results are of: they go to a folder of their own, and say
            what they are.
        with_report: whether the page is written too, which takes some seconds however few the images.

    Raises:
        StorageError: the disk refused a write.
    """
    manifest, standing = run.store.read(so_far.manifest), run.store.read(so_far.standing)
    summary = _summary(run, so_far, parts)
    summary["provisional"] = provisional
    folder = run.store.folder / PROVISIONAL if provisional else run.store.folder
    withdraw(folder)
    kept = clean(standing, manifest)
    if run.origin.form in ROOTED:
        kept = from_folder(kept, run.source, folder)
    flat = kept.select([field.name for field in kept.schema if not pa.types.is_nested(field.type)])
    write_table(folder / MANIFEST_FILE, manifest)
    write_table(folder / VERDICTS_FILE, standing)
    write_table(folder / CLEAN_PARQUET, kept)
    write_atomically(folder / CLEAN_CSV, lambda file: pa_csv.write_csv(flat, file))
    twins = _table(run, so_far, "duplicates", DUPLICATES)
    others = [found for stage in stages_of(run, so_far) for found in stage.issues(run.store, so_far)]
    issues = issues_of(manifest, standing, twins, others)
    write_table(folder / ISSUES_PARQUET, issues)
    write_bytes(folder / ISSUES, as_csv(issues.drop_columns(["group", "sample_id"])))
    write_table(folder / QUALITY_PARQUET, _table(run, so_far, "quality", QUALITY))
    write_bytes(folder / DUPLICATES_CSV, as_csv(duplicates_of(manifest, standing, twins)))
    if with_report:
        _write_report(run, so_far, folder / REPORT, summary, manifest, standing)
    write_json(folder / SUMMARY, summary)


def _write_report(
    run: Run, so_far: SoFar, file: Path, summary: dict[str, Any], manifest: pa.Table, standing: pa.Table
) -> None:
    # What draws is a large library, and many commands come to no end.
    from cleaner.pages.report import write_report

    judged = run.store.read(so_far.labels.evidence)
    known = summary, manifest, standing, judged, _table(run, so_far, "duplicates", DUPLICATES), run.source
    poor = next((run.store.read(judged.verdicts) for judged in so_far.judged if judged.stage == "quality"), None)
    write_report(file, *known, Classes.of(manifest).names, about=_about(run), poor=poor)


def _table(run: Run, so_far: SoFar, stage: str, schema: pa.Schema) -> pa.Table:
    """What a stage leaves beside its verdicts; no rows of one that is none of the run's."""
    found = so_far.tables.get(stage)
    return schema.empty_table() if found is None else run.store.read(found)


def _about(run: Run) -> dict[str, Any]:
    """What the report says of the run itself."""
    place = run.origin.source
    today = datetime.now(UTC).date().isoformat()
    return {"name": place.name, "place": str(place), "date": today, "settings": run.config.changed()}


def _summary(run: Run, so_far: SoFar, parts: Mapping[str, list[Step]]) -> dict[str, Any]:
    manifest, standing = run.store.read(so_far.manifest), run.store.read(so_far.standing)
    usable = is_usable(manifest)
    actions = Counter(array(standing, "action"))
    problems = Counter(problem for problem in array(manifest, "problem") if problem is not None)
    costs = {step.output: run.store.cost(step.output) for steps in parts.values() for step in steps}
    made = {step.output: step for steps in parts.values() for step in steps}
    return {
        "cleaner": installed.version(),
        "order": run.origin.digest,
        "seed": run.config.seed,
        "samples": len(manifest),
        "usable": int(usable.sum()),
        "classes": len(Classes.of(manifest).names),
        "kept": actions[Action.KEEP],
        "relabelled": actions[Action.RELABEL],
        "dropped": actions[Action.DROP],
        "stages": [_round(run, so_far, judged, made) for judged in so_far.judged],
        "convergence": {
            stage: {"converged": end.converged, "rounds": end.rounds, "why": end.why}
            for stage, end in so_far.ended.items()
        },
        "label_noise": run.store.read(so_far.noise).to_pylist()[0],
        **_NOTHING_LOOKED_FOR,
        **{name: value for stage in stages_of(run, so_far) for name, value in stage.summary(run.store, so_far).items()},
        "problems": dict(problems.most_common()),
        "unusable_classes": unusable_classes(manifest),
        "problem_paths": array(manifest.filter(pa.array(~usable)).slice(0, 3), "path").tolist(),
        "versions": {
            "data": run.origin.fingerprint,
            "weights": dict(so_far.data.backbone),
            "manifest": so_far.manifest,
            "ledger": list(so_far.parts),
            "standing": so_far.standing,
            "duplicates": so_far.tables.get("duplicates", ""),
            "libraries": {name: version(name) for name in LIBRARIES},
        },
        "seconds": round(sum(cost.seconds for cost in costs.values()), 2),
        "parts": [
            _part(words, [costs[step.output] for step in steps], len(manifest)) for words, steps in parts.items()
        ],
    }


def _part(words: str, costs: list[Cost], images: int) -> dict[str, Any]:
    """What one part of the run took, its steps one after the other."""
    seconds = sum(cost.seconds for cost in costs)
    return {
        "part": words,
        "seconds": round(seconds, 2),
        "images_per_second": round(images / max(seconds, 1e-3), 1),
        "peak_gb": round(max((cost.peak_gb for cost in costs), default=0.0), 2),
    }


def _round(run: Run, so_far: SoFar, judged: Judged, made: Mapping[str, Step]) -> dict[str, Any]:
    """What one round of one stage did: how many it judged, kept, took back, gave up."""
    verdicts = run.store.read(judged.verdicts)
    actions = Counter(array(verdicts, "action"))
    before = np.full(run.store.rows(so_far.manifest), Action.KEEP, object)
    if judged.before:
        before = array(run.store.read(judged.before), "action")
    was_kept = before[array(verdicts, "row")] == Action.KEEP
    is_kept = array(verdicts, "action") == Action.KEEP
    is_negative = verdicts.column("action").is_valid().to_numpy() & ~is_kept
    took = {judged.verdicts, judged.before, judged.evidence} - {""}
    predicted = made.get(judged.evidence)
    if predicted is not None and predicted.function is concatenate_by_row:
        took |= {*predicted.inputs}
    return {
        "stage": judged.stage,
        "round": judged.round,
        "judged": len(verdicts),
        "positives": actions[Action.KEEP],
        "new_positives": int((is_kept & ~was_kept).sum()),
        "lost_positives": int((was_kept & is_negative).sum()),
        "dropped": actions[Action.DROP],
        "relabelled": actions[Action.RELABEL],
        "by_people": judged.stage == PEOPLE or find("stages", judged.stage).by_people,
        "seconds": round(sum(run.store.cost(name).seconds for name in took), 2),
    }
