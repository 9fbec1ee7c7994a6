"""Classes that keep too few images are looked at as a class.

No model decides here: people keep a class, remove it or merge it into another; without people every class stays, and
the report lists the small.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.methods.references import fitness, fittest
from cleaner.run.answers import Answers, newest, on_classes
from cleaner.run.ledger import PERSON
from cleaner.run.steps import makes
from cleaner.tables import SMALL_CLASSES, VERDICTS, Action, ClassAnswer, Classes, array, check, is_usable

STAGE = "small_classes"
EXAMPLES = 12


def class_counts(manifest: pa.Table, standing: pa.Table) -> pa.Table:
    """SMALL_CLASSES of all classes, by name, without their examples."""
    classes = Classes.of(manifest)
    usable = is_usable(manifest)
    given = np.where(usable, classes.encode(standing.column("label")), -1)
    becomes = classes.encode(standing.column("new_label"))
    action = array(standing, "action")
    counts = {
        "given": _count(given, usable, classes),
        "kept": _count(given, action == Action.KEEP, classes),
        "gained": _count(becomes, action == Action.RELABEL, classes),
        "relabelled": _count(given, action == Action.RELABEL, classes),
        "dropped": _count(given, action == Action.DROP, classes),
    }
    return pa.table(
        {"label": pa.array(classes.names, pa.string()), "images": counts["kept"] + counts["gained"], **counts}
    )


@makes("small classes", version=1)
def small_classes(manifest: pa.Table, standing: pa.Table, *, min_images: int) -> pa.Table:
    """The SMALL_CLASSES: those with fewer than `min_images` images as it stands, the smallest first."""
    counts = class_counts(manifest, standing)
    small = counts.filter(pc.less(counts.column("images"), min_images))
    small = small.sort_by([("images", "ascending"), ("label", "ascending")])
    numbers = Classes(tuple(small.column("label").to_pylist())).encode(standing.column("label"))
    everyone = np.arange(len(manifest))
    examples = fittest(numbers, fitness(standing), everyone, classes=len(small), most=EXAMPLES)
    return check(small.append_column("examples", pa.array(examples, pa.list_(pa.int32()))), SMALL_CLASSES, STAGE)


@makes("small classes asked about", version=2)
def asked_about(small: pa.Table, answers: pa.Table, *, most: int) -> pa.Table:
    """Of the SMALL_CLASSES on which nobody has `answers` anything the first `most`, those with the fewest images: more
    than people look at in one go."""
    answered = pc.is_in(small.column("label"), value_set=answers.column("label").combine_chunks())
    return small.filter(pc.invert(answered)).slice(0, most)


@makes("what people said of classes", version=1)
def said_of_classes(*, answers: Answers, first: int) -> pa.Table:
    """ANSWER_LOG: the newest answer on each class, by the `first` so many lines of the log."""
    return newest(on_classes(answers.read(first)))


@makes("verdicts on small classes", version=1)
def verdicts(manifest: pa.Table, standing: pa.Table, answers: pa.Table) -> pa.Table:
    """VERDICTS on every sample that stands for a class which people remove or merge into another.

    A class that takes another's images and is itself merged hands them on; one that is removed takes them with it. Of
    classes that are merged into each other all stay.

    Args:
        answers: as `said_of_classes` gives it.
    """
    gone = {answer["label"]: answer for answer in answers.to_pylist() if answer["answer"] != ClassAnswer.KEEP}
    becomes = {name: _becomes(name, gone, set(Classes.of(manifest).names)) for name in gone}
    names = Classes(tuple(name for name in gone if becomes[name] != name))
    number = names.encode(pc.coalesce(standing.column("new_label"), standing.column("label")))
    rows = np.flatnonzero((number >= 0) & (array(standing, "action") != Action.DROP))
    samples = zip(
        rows.tolist(),
        manifest.column("sample_id").take(pa.array(rows)).to_pylist(),
        manifest.column("label").take(pa.array(rows)).to_pylist(),
        (names.names[n] for n in number[rows]),
        strict=True,
    )
    judged = {"stage": STAGE, "round": 1}
    judgements = [
        {
            "row": row,
            "sample_id": sample,
            **judged,
            **_fate(given, name, becomes[name]),
            "by": PERSON + gone[name]["by"],
        }
        for row, sample, given, name in samples
    ]
    return pa.Table.from_pylist(judgements, VERDICTS)


def _becomes(name: str, gone: dict[str, dict[str, Any]], classes: set[str]) -> str | None:
    """The class that in the end takes the images of the class `name`; None where they are dropped."""
    seen, now = {name}, name
    while now in gone:
        if gone[now]["answer"] == ClassAnswer.REMOVE:
            return None
        now = gone[now]["new_label"]
        if now in seen or now not in classes:
            return name
        seen.add(now)
    return now


def _fate(given: str, name: str, becomes: str | None) -> dict[str, Any]:
    if becomes is None:
        return {"action": Action.DROP.value, "reason": f"class {name} was removed"}
    reason = f"class {name} was merged into {becomes}"
    if becomes == given:
        return {"action": Action.KEEP.value, "reason": reason}
    return {"action": Action.RELABEL.value, "new_label": becomes, "reason": reason}


def _count(numbers: np.ndarray, where: np.ndarray, classes: Classes) -> np.ndarray:
    return np.bincount(numbers[where & (numbers >= 0)], minlength=len(classes.names))
