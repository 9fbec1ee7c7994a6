"""The report: one page that shows what a run did to a data set."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.charts.classes import long_tail, matrix
from cleaner.charts.flow import flow
from cleaner.charts.rounds import kept, moved
from cleaner.charts.scores import BINS, histogram, reliability
from cleaner.data.sources import Source
from cleaner.methods.confusion import Confusion
from cleaner.methods.image_noise import SEEDS
from cleaner.methods.small_classes import class_counts
from cleaner.pages import INK, TINY, drawing, pictures, render
from cleaner.run.files import write_text
from cleaner.run.ledger import PERSON
from cleaner.stages import gallery, in_order, title
from cleaner.tables import VERDICTS, Action, Classes, array, is_usable
from cleaner.words import ACTIONS, SCORE, models_worth, span, wrong_labels

GALLERY = 48
PAIRS = 15
PAIR_EXAMPLES = 4
CELLS = 40
DOUBTFUL = 0.8
DUPLICATE_GROUPS = 16
PROBLEMS = 200
SIDE = 224


def write_report(
    path: Path,
    summary: dict[str, Any],
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    duplicates: pa.Table,
    source: Source,
    classes: tuple[str, ...],
    *,
    about: dict[str, Any],
    poor: pa.Table | None = None,
) -> None:
    """Write the page to `path`: a few megabytes at most, whatever the data set's size.

    Args:
        summary: what stands in `summary.json`.
        evidence: EVIDENCE of the last round, or an empty table.
        duplicates: DUPLICATES, or an empty table.
        classes: the names behind the evidence's class numbers.
        poor: VERDICTS on the quality of images.
        about: `name` and `place` of the data set, `date`, and the `settings` that are not the recipe's.

    Raises:
        StorageError: the disk refused the write.
    """
    counts = class_counts(manifest, standing).to_pylist()
    likely = _likely(standing, evidence, Classes(classes))
    view = {
        "totals": _totals(manifest, standing, summary),
        "flow": drawing(flow(summary["samples"], _branches(standing, summary), ink=INK), 900),
        "stages": _stages(summary),
        "histogram": _histogram(standing),
        "reliability": drawing(reliability(ranges)) if (ranges := summary["label_noise"].get("reliability")) else "",
        "confusion": _confusion(standing, likely, classes),
        "tail": drawing(long_tail(*_sizes(counts)), 900),
        "pairs": _pairs(standing, likely, classes),
        "class_counts": counts,
        "small": [entry for entry in counts if entry["label"] in set(summary["small_classes"])],
        "problems": _problems(manifest),
        "duplicates": _duplicates(manifest, standing, duplicates),
        "galleries": _galleries(manifest, standing, summary, VERDICTS.empty_table() if poor is None else poor),
        "tiny": bool(np.nanmedian(array(manifest, "width") * 1.0) <= TINY),
    }
    noise, worth = (sentence(summary["label_noise"]).replace("`", "") for sentence in (wrong_labels, models_worth))
    shown = pictures(source, manifest, dict.fromkeys(_rows(view), SIDE))
    words: dict[str, Any] = {"title": title, "actions": ACTIONS, "score": SCORE, "about": about}
    words |= {"noise": noise[:1].upper() + noise[1:], "worth": worth[:1].upper() + worth[1:]}
    words["seconds"] = span(summary["seconds"])
    words["backbone"] = "{name} at {image_size} pixels".format(**summary["versions"]["weights"])
    write_text(path, render("report", summary=summary, pictures=shown, **words, **view))


def _rows(view: dict[str, Any]) -> list[int]:
    """All rows that the page shows a picture of."""
    samples = [sample for gallery in view["galleries"] for sample in gallery["samples"]]
    samples += [sample for group in view["duplicates"]["groups"] for sample in group["files"]]
    return [sample["row"] for sample in samples] + [row for pair in view["pairs"] for row in pair["rows"]]


def _totals(manifest: pa.Table, standing: pa.Table, summary: dict[str, Any]) -> dict[str, int]:
    by_person = pc.starts_with(standing.column("by"), PERSON).to_numpy()
    marked = array(standing, "by") == SEEDS
    return {
        **{name: summary[name] for name in ("samples", "kept", "relabelled", "dropped")},
        "unreadable": len(manifest) - manifest.column("problem").null_count,
        "by_person": int((by_person & ~marked).sum()),
        "marked": int(marked.sum()),
    }


def _branches(standing: pa.Table, summary: dict[str, Any]) -> list[tuple[str, str, int]]:
    """What leaves the stream: by which stage, relabelled or dropped, and how many."""
    gone = standing.filter(pc.not_equal(standing.column("action"), Action.KEEP.value))
    counts = Counter(zip(gone.column("stage").to_pylist(), gone.column("action").to_pylist(), strict=True))
    judged = (entry["stage"] for entry in summary["stages"] if entry["round"])
    order = in_order(judged, {stage for stage, _ in counts})
    return [
        (stage, ACTIONS[action], counts[stage, action])
        for stage in order
        for action in (Action.DROP.value, Action.RELABEL.value)
        if counts[stage, action]
    ]


def _stages(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Each stage with rounds: why it ended, and pictures of its models' rounds."""
    found = []
    for name, end in summary["convergence"].items():
        rounds = [r for r in summary["stages"] if r["stage"] == name and r["positives"] and not r["by_people"]]
        charts = []
        if rounds:
            names = {
                "round": "round",
                "kept": "positives",
                "taken back": "new_positives",
                "pushed out": "lost_positives",
            }
            table = pd.DataFrame([{shown: entry[key] for shown, key in names.items()} for entry in rounds])
            charts = [drawing(kept(table), 180), drawing(moved(table, ink=INK), 180)]
        found.append({"words": title(name), "charts": charts, "end": end})
    return found


def _histogram(standing: pa.Table) -> str:
    scored = standing.filter(standing.column("score").is_valid())
    if not len(scored):
        return ""
    all_of = {tone: int(np.equal(array(standing, "action"), name).sum()) for name, tone in ACTIONS.items()}
    action, score = array(scored, "action"), array(scored, "score")
    of = {tone: np.histogram(score[action == name], bins=BINS, range=(0, 1))[0] for name, tone in ACTIONS.items()}
    return drawing(histogram(of, all_of))


def _sizes(counts: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([entry["given"] for entry in counts]), np.array([entry["images"] for entry in counts])


def _likely(standing: pa.Table, evidence: pa.Table, classes: Classes) -> np.ndarray:
    """int64: of each sample the number of the class that it became, else that the last models think most probable, else
    -1."""
    likely = np.full(len(standing), -1, np.int64)
    likely[array(evidence, "row")] = pc.list_element(evidence.column("top_classes"), 0).to_numpy()
    becomes = classes.encode(standing.column("new_label"))
    likely[becomes >= 0] = becomes[becomes >= 0]
    return likely


def _confusion(standing: pa.Table, likely: np.ndarray, classes: tuple[str, ...]) -> str:
    """A picture of which classes are taken for which; empty where no model has judged anything."""
    given = Classes(classes).encode(standing.column("label")).astype(np.int64)
    known = (likely >= 0) & (given >= 0)
    if not known.any():
        return ""
    pairs, images = np.unique(given[known] * len(classes) + likely[known], return_counts=True)
    found = Confusion.of(classes, pairs // len(classes), pairs % len(classes), images)
    whole = (0, len(classes))
    return drawing(matrix(found.blocks(whole, whole, CELLS), found.names, side=560), 560)


def _pairs(standing: pa.Table, likely: np.ndarray, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Which classes are given for which others most often: of the samples that lost their label, the new one, or what
    the last models think most probable."""
    given = Classes(classes).encode(standing.column("label")).astype(np.int64)
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


def _duplicates(manifest: pa.Table, standing: pa.Table, duplicates: pa.Table) -> dict[str, Any]:
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
        "groups": [_group(manifest, standing, duplicates.filter(pa.array(inverse == group))) for group in first],
    }


def _group(manifest: pa.Table, standing: pa.Table, members: pa.Table) -> dict[str, Any]:
    """Some files that are one picture, and `differs`: in which of their facts."""
    members = members.slice(0, 4)
    rows = array(members, "row")
    facts = (
        manifest.select(["width", "height", "bytes", *({"split"} & {*manifest.column_names})]).take(rows).to_pylist()
    )
    files = [
        {**card, **fact, "size": f"{fact['width']} x {fact['height']}", "folder": card["path"].rpartition("/")[0]}
        for card, fact in zip(_cards(standing, rows), facts, strict=True)
    ]
    names = {
        "label": "labels",
        "split": "splits",
        "folder": "folders",
        "size": "sizes in pixels",
        "bytes": "sizes in bytes",
    }
    differs = [words for name, words in names.items() if len({file.get(name) for file in files}) > 1]
    alike = min(array(members, "similarity"))
    same = "the same file" if "near" not in members.column("kind").to_pylist() else f"{100 * alike:.1f} % alike"
    return {"files": files, "differs": differs, "same": same}


def _cards(standing: pa.Table, rows: np.ndarray) -> list[dict[str, Any]]:
    return [{"row": int(row), **card} for row, card in zip(rows, standing.take(rows).to_pylist(), strict=True)]


def _galleries(manifest: pa.Table, standing: pa.Table, summary: dict[str, Any], poor: pa.Table) -> list[dict[str, Any]]:
    """What people want to see of a cleaning, the surest decisions first, and the least sure of what was kept."""
    usable = is_usable(manifest)
    action, stage = array(standing, "action"), array(standing, "stage")
    dropped = usable & (action == Action.DROP)
    scored = standing.column("score").is_valid().to_numpy()
    by_title: dict[str, np.ndarray] = {}
    for name in in_order((entry["stage"] for entry in summary["stages"]), {*stage[dropped].tolist()}):
        if heading := gallery(name):
            by_title[heading] = by_title.get(heading, np.zeros(len(standing), bool)) | (dropped & (stage == name))
    of = {heading: ("dropped", which) for heading, which in by_title.items()} | {
        "Relabelled": ("relabelled", usable & (action == Action.RELABEL)),
        "Kept, but doubtful": ("kept", usable & scored & (action == Action.KEEP) & (_score(standing) < DOUBTFUL)),
    }
    score = _score(standing)
    galleries = []
    for heading, (tone, which) in of.items():
        rows = np.flatnonzero(which)
        surest = rows[np.argsort(score[rows], kind="stable")][:GALLERY]
        cards = _cards(standing, surest)
        # What is said of all alike is said once.
        reasons = {card["reason"] for card in cards}
        alike = reasons.pop() if len(reasons) == 1 and len(cards) > 1 else ""
        shown = {"count": len(rows), "samples": cards, "reason": alike, "which": "with the lowest score"}
        galleries.append({"title": heading, "tone": tone, **shown})
    listed = poor.filter(pa.array(action[array(poor, "row")] != Action.DROP))
    reasons_of = zip(listed.column("row").to_pylist(), listed.column("reason").to_pylist(), strict=True)
    why = dict(islice(reasons_of, GALLERY))
    cards = [card | {"reason": why[card["row"]]} for card in _cards(standing, np.array([*why], np.int64))]
    of_poor = {
        "title": "Of poor quality",
        "tone": "kept",
        "count": len(listed),
        "samples": cards,
        "reason": "",
        "which": "first",
    }
    return [*galleries, of_poor]
