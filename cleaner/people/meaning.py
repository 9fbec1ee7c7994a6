"""What answers mean: the one answer that holds on each image, and the verdicts that follow."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.methods.duplicates import Near
from cleaner.people.disagreement import DISPUTED, Disagreement, settled
from cleaner.run.answers import Answers
from cleaner.run.ledger import MISLABELLED, PEOPLE, PERSON
from cleaner.run.steps import makes
from cleaner.tables import VERDICTS, Action, Answer, Classes, check, held_out, is_usable


@makes("what people said of images", version=2)
def said_of_images(*, disagreement: Disagreement, answers: Answers, first: int) -> pa.Table:
    """ANSWER_LOG: the one answer that holds on each image, by the `first` so many lines of the log; as
    `disagreement.settled` has it."""
    return settled(answers.read(first), disagreement)


@makes("verdicts of people", version=3)
def verdicts(manifest: pa.Table, answers: pa.Table, *, near: Near = "keep") -> pa.Table:
    """VERDICTS on every usable sample of whose bytes people have spoken, rows ascending.

    The image is junk: all its copies are dropped, score 0. It shows a class: one copy stays, if there is one a copy
    that was given this label (keep, score 1), else one that gets it (relabel, score 0); the other copies are dropped.
    The first copy stays, or `near` = by_split, the first of those that are measured on.
    It is not of the class it was shown as: the copies with that label are dropped, score 0, as wrong labels. Nobody can
    tell, or people disagree: no action, no score. An answer of a class that the data set has no more says nothing.

    Args:
        answers: as `said_of_images` gives it.
    """
    found: Any = pc.index_in(manifest.column("content_hash"), value_set=answers.column("content_hash").combine_chunks())
    rows = np.flatnonzero(found.is_valid().to_numpy() & is_usable(manifest))
    which = found.take(pa.array(rows)).to_numpy()
    stored, classes = answers.to_pylist(), set(Classes.of(manifest).names)
    copies: dict[int, list[tuple[int, str, str]]] = {}
    columns = (manifest.column(name).take(pa.array(rows)).to_pylist() for name in ("path", "label"))
    for number, *copy in zip(which.tolist(), rows.tolist(), *columns, strict=True):
        copies.setdefault(number, []).append((copy[0], copy[1], copy[2]))
    if near == "by_split":
        held = held_out(manifest)
        for alike in copies.values():
            most = max(held[row] for row, _, _ in alike)
            alike.sort(key=lambda copy: (held[copy[0]] < most, copy[0]))
    judged = [verdict for number, alike in copies.items() for verdict in _judged(stored[number], alike, classes)]
    table = pa.Table.from_pylist(sorted(judged, key=itemgetter("row")), VERDICTS.remove(1))
    ids = manifest.column("sample_id").take(table.column("row"))
    return check(table.append_column("sample_id", ids), VERDICTS, "verdicts of people")


def _judged(answer: dict[str, str], copies: list[tuple[int, str, str]], classes: set[str]) -> Iterator[dict[str, Any]]:
    """What one answer says of the files (row, path, label) that have the bytes it is about."""
    by = answer["by"]
    if answer["answer"] == DISPUTED:
        open_ = {"stage": PEOPLE, "round": 0, "by": PERSON + by, "reason": f"{by} disagree"}
        yield from ({"row": row, **open_} for row, _, _ in copies)
        return
    kind = Answer(answer["answer"])
    judged: dict[str, Any] = {"stage": PEOPLE, "round": 0, "by": PERSON + by, "reason": f"{_SAID[kind]}, says {by}"}
    if kind in (Answer.UNSURE, Answer.JUNK):
        junk = {"action": Action.DROP.value, "score": 0.0} if kind is Answer.JUNK else {}
        yield from ({"row": row, **judged, **junk} for row, _, _ in copies)
        return
    if kind is Answer.WRONG:
        dropped = judged | {"stage": MISLABELLED, "action": Action.DROP.value, "score": 0.0}
        yield from ({"row": row, **dropped} for row, _, label in copies if label == answer["label"])
        return
    shown = answer["label"] if kind is Answer.RIGHT else answer["new_label"]
    if shown not in classes:
        return
    stays, path, given = next((copy for copy in copies if copy[2] == shown), copies[0])
    score = {row: float(label == shown) for row, _, label in copies}
    if given == shown:
        judged["reason"] = f"{_SAID[Answer.RIGHT]}, says {by}"
        yield {"row": stays, **judged, "action": Action.KEEP.value, "score": 1.0}
    else:
        judged["reason"] = f"{_SAID[Answer.ANOTHER]}, says {by}"
        yield {"row": stays, **judged, "action": Action.RELABEL.value, "new_label": shown, "score": 0.0}
    gone = judged | {"stage": "duplicates", "action": Action.DROP.value, "reason": f"same file as {path}"}
    yield from ({"row": row, **gone, "score": score[row]} for row, _, _ in copies if row != stays)


_SAID = {
    Answer.RIGHT: "right",
    Answer.ANOTHER: "another class",
    Answer.WRONG: "not of this class",
    Answer.JUNK: "junk",
    Answer.UNSURE: "can't tell",
}
