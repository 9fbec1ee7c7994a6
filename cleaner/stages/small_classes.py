"""Classes that keep too few images are looked at as a class.

No model decides here: people keep or remove a class; without people every class stays, and the report lists the small.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.run.answers import Answers, newest, on_classes
from cleaner.run.ledger import PERSON
from cleaner.run.steps import makes
from cleaner.stages.references import fitness, fittest
from cleaner.tables import SMALL_CLASSES, VERDICTS, Action, ClassAnswer, Classes, array, check

STAGE = "small_classes"
EXAMPLES = 12


def class_counts(manifest: pa.Table, standing: pa.Table) -> pa.Table:
    """SMALL_CLASSES of all classes, by name, without their examples."""
    classes = Classes.of(manifest)
    usable = manifest.column("problem").is_null().to_numpy()
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
def asked_about(small: pa.Table, said: pa.Table, *, most: int) -> pa.Table:
    """Of the SMALL_CLASSES on which nobody has `said` anything the first `most`, those with the fewest images: more
    than people look at in one go."""
    answered = pc.is_in(small.column("label"), value_set=said.column("label").combine_chunks())
    return small.filter(pc.invert(answered)).slice(0, most)


@makes("what people said of classes", version=1)
def said_of_classes(*, answers: Answers, first: int) -> pa.Table:
    """SAID: the newest of the `first` so many words on each class that people have spoken of."""
    return newest(on_classes(answers.read(first)))


@makes("removals of classes", version=1)
def removals(manifest: pa.Table, standing: pa.Table, said: pa.Table) -> pa.Table:
    """VERDICTS that drop every sample that stands for a class which people remove.

    Args:
        said: as `said_of_classes` gives it.
    """
    removed = said.filter(pc.equal(said.column("answer"), ClassAnswer.REMOVE.value))
    names = Classes(tuple(removed.column("label").to_pylist()))
    number = names.encode(pc.coalesce(standing.column("new_label"), standing.column("label")))
    rows = np.flatnonzero((number >= 0) & (array(standing, "action") != Action.DROP))
    by = [PERSON + removed.column("by")[int(number[row])].as_py() for row in rows]
    columns = {
        "row": rows,
        "sample_id": manifest.column("sample_id").take(rows),
        "stage": pa.repeat(STAGE, len(rows)),
        "round": pa.repeat(1, len(rows)),
        "action": pa.repeat(Action.DROP.value, len(rows)),
        "new_label": pa.nulls(len(rows), pa.string()),
        "score": pa.nulls(len(rows), pa.float32()),
        "by": pa.array(by, pa.string()),
        "reason": pa.array([f"class {names.names[number[row]]} was removed" for row in rows], pa.string()),
    }
    return check(pa.table(columns), VERDICTS, "removals")


def _count(numbers: np.ndarray, where: np.ndarray, classes: Classes) -> np.ndarray:
    return np.bincount(numbers[where & (numbers >= 0)], minlength=len(classes.names))
