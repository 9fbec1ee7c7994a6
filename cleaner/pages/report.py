"""The report: one page that shows what a run did to a data set."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.sources import Source
from cleaner.pages import TINY, pictures, render
from cleaner.run.files import write_text
from cleaner.run.ledger import PERSON
from cleaner.stages.image_noise import SEEDS
from cleaner.stages.small_classes import class_counts
from cleaner.tables import Action, Classes, array
from cleaner.words import SCORE, STAGES, wrong_labels

GALLERY = 48
PAIRS = 15
PAIR_EXAMPLES = 4
DUPLICATE_GROUPS = 16
PROBLEMS = 200
BINS = 40
SIDE = 128


def write_report(
    path: Path,
    summary: dict[str, Any],
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    duplicates: pa.Table,
    source: Source,
    classes: tuple[str, ...],
) -> None:
    """Write the page to `path`: a few megabytes at most, whatever the data set's size.

    Args:
        summary: what stands in `summary.json`.
        evidence: EVIDENCE of the last round, or an empty table.
        duplicates: DUPLICATES, or an empty table.
        classes: the names behind the evidence's class numbers.

    Raises:
        StorageError: the disk refused the write.
    """
    counts = class_counts(manifest, standing).to_pylist()
    view = {
        "totals": _totals(manifest, standing),
        "stages": _stages(summary),
        "histograms": _histograms(standing),
        "pairs": _pairs(standing, evidence, classes),
        "class_counts": counts,
        "small": [entry for entry in counts if entry["label"] in set(summary["small_classes"])],
        "problems": _problems(manifest),
        "duplicates": _duplicates(standing, duplicates),
        "galleries": _galleries(manifest, standing),
        "tiny": bool(np.nanmedian(array(manifest, "width") * 1.0) <= TINY),
    }
    shown = pictures(source, manifest, dict.fromkeys(_rows(view), SIDE))
    write_text(
        path,
        render(
            "report",
            summary=summary,
            noise=wrong_labels(summary["label_noise"]),
            pictures=shown,
            words=STAGES,
            score=SCORE,
            **view,
        ),
    )


def _rows(view: dict[str, Any]) -> list[int]:
    """All rows that the page shows a picture of."""
    samples = [sample for gallery in view["galleries"] for sample in gallery["samples"]]
    samples += [sample for group in view["duplicates"]["groups"] for sample in group]
    return [sample["row"] for sample in samples] + [row for pair in view["pairs"] for row in pair["rows"]]


def _totals(manifest: pa.Table, standing: pa.Table) -> dict[str, int]:
    usable = manifest.column("problem").is_null().to_numpy()
    action = array(standing, "action")
    by_person = pc.starts_with(standing.column("by"), PERSON).to_numpy()
    marked = array(standing, "by") == SEEDS
    return {
        "samples": len(manifest),
        "usable": int(usable.sum()),
        "kept": int((usable & (action == Action.KEEP)).sum()),
        "relabelled": int((usable & (action == Action.RELABEL)).sum()),
        "dropped": int((usable & (action == Action.DROP)).sum()),
        "by_person": int((by_person & ~marked).sum()),
        "marked": int(marked.sum()),
    }


def _stages(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Each stage, why it ended (where it has rounds), and the line of its models' positives in a 300 x 90 box."""
    rounds = summary["stages"]
    names = dict.fromkeys([*summary["convergence"], *(entry["stage"] for entry in rounds)])
    return [
        {
            "words": STAGES.get(name, name),
            "points": _points([e["positives"] for e in _by_models(rounds, name)]),
            "end": summary["convergence"].get(name),
        }
        for name in names
    ]


def _by_models(rounds: list[dict[str, Any]], stage: str) -> list[dict[str, Any]]:
    """The rounds of a stage in which models confirmed labels; image noise has none, it only finds junk."""
    return [entry for entry in rounds if entry["stage"] == stage and entry["positives"] and not entry["by_people"]]


def _points(values: list[int]) -> list[dict[str, float]]:
    low, high = min(values, default=0), max(values, default=0)
    across, up = 300 / max(len(values) - 1, 1), 60 / max(high - low, 1)
    return [{"x": round(i * across, 1), "y": round(75 - (v - low) * up, 1), "value": v} for i, v in enumerate(values)]


def _histograms(standing: pa.Table) -> list[dict[str, Any]]:
    """Of each action how many samples have which score, in `BINS` equal bins over [0, 1], scaled to the tallest."""
    scored = standing.filter(standing.column("score").is_valid())
    found = []
    for action, tone in ((Action.KEEP, "kept"), (Action.RELABEL, "relabelled"), (Action.DROP, "dropped")):
        score = scored.filter(pc.equal(scored.column("action"), action.value)).column("score").to_numpy()
        counts, _ = np.histogram(score, bins=BINS, range=(0, 1))
        heights = (counts * (100 / max(counts.max(), 1))).round(2).tolist()
        found.append({"tone": tone, "count": len(score), "counts": counts.tolist(), "heights": heights})
    return found


def _pairs(standing: pa.Table, evidence: pa.Table, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Which classes are given for which others most often: of the samples that lost their label, the new one, or what
    the last models think most probable."""
    known = Classes(classes)
    given = known.encode(standing.column("label"))
    likely = np.full(len(standing), -1, np.int64)
    likely[array(evidence, "row")] = pc.list_element(evidence.column("top_classes"), 0).to_numpy()
    becomes = known.encode(standing.column("new_label"))
    likely[becomes >= 0] = becomes[becomes >= 0]
    lost = (array(standing, "action") != Action.KEEP) & (likely >= 0) & (given >= 0) & (likely != given)
    rows = np.flatnonzero(lost)
    rows = rows[np.argsort(_score(standing)[rows], kind="stable")]
    keys, inverse, counts = np.unique(
        given[rows] * len(classes) + likely[rows], return_inverse=True, return_counts=True
    )
    return [
        {
            "given": classes[keys[pair] // len(classes)],
            "likely": classes[keys[pair] % len(classes)],
            "count": int(counts[pair]),
            "rows": rows[inverse == pair][:PAIR_EXAMPLES].tolist(),
        }
        for pair in np.argsort(-counts, kind="stable")[:PAIRS]
    ]


def _score(standing: pa.Table) -> np.ndarray:
    return pc.fill_null(standing.column("score"), 0.0).to_numpy()


def _problems(manifest: pa.Table) -> dict[str, Any]:
    found = manifest.filter(manifest.column("problem").is_valid()).select(["path", "label", "problem"])
    return {"count": len(found), "samples": found.slice(0, PROBLEMS).to_pylist()}


def _duplicates(standing: pa.Table, duplicates: pa.Table) -> dict[str, Any]:
    """How many there are, and the groups that people should see first: those whose samples have different labels."""
    groups, inverse = np.unique(array(duplicates, "group"), return_inverse=True)
    rows = array(duplicates, "row")
    _, label = np.unique(standing.column("label").take(rows).to_numpy().astype(str), return_inverse=True)
    pairs = np.unique(np.stack([inverse, label]), axis=1)
    labels = np.bincount(pairs[0], minlength=len(groups))
    first = np.argsort(-labels, kind="stable")[:DUPLICATE_GROUPS]
    return {
        "samples": len(duplicates),
        "count": len(groups),
        "exact": int(pc.sum(pc.equal(duplicates.column("kind"), "exact")).as_py() or 0),
        "conflicting": int((labels > 1).sum()),
        "groups": [_cards(standing, rows[inverse == group][:4]) for group in first],
    }


def _cards(standing: pa.Table, rows: np.ndarray) -> list[dict[str, Any]]:
    return [{"row": int(row), **card} for row, card in zip(rows, standing.take(rows).to_pylist(), strict=True)]


def _galleries(manifest: pa.Table, standing: pa.Table) -> list[dict[str, Any]]:
    """What people want to see of a cleaning, the surest decisions first, and the least sure of what was kept."""
    usable = manifest.column("problem").is_null().to_numpy()
    action, stage = array(standing, "action"), array(standing, "stage")
    dropped = usable & (action == Action.DROP)
    junk = dropped & (stage == "image_noise")
    twins = dropped & (stage == "duplicates")
    scored = standing.column("score").is_valid().to_numpy()
    of = {
        "Dropped as junk": ("dropped", junk),
        "Dropped for a wrong label": ("dropped", dropped & ~junk & ~twins),
        "Relabelled": ("relabelled", usable & (action == Action.RELABEL)),
        "Kept, but doubtful": ("kept", usable & scored & (action == Action.KEEP)),
    }
    score = _score(standing)
    galleries = []
    for title, (tone, which) in of.items():
        rows = np.flatnonzero(which)
        surest = rows[np.argsort(score[rows], kind="stable")][:GALLERY]
        galleries.append({"title": title, "tone": tone, "count": len(rows), "samples": _cards(standing, surest)})
    return galleries
