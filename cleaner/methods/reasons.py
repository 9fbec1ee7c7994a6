"""Why a label is believed or doubted, in words."""

import numpy as np
import pyarrow as pa

from cleaner.evidence.channel import Confusion
from cleaner.tables import Classes, array, matrix
from cleaner.words import counted, percent


def reasons(
    evidence: pa.Table, labels: pa.ChunkedArray, classes: Classes, confusion: Confusion, answers: int
) -> list[str]:
    """`apple ranks 7th of 80 (p 0.01); pear ranks 1st (p 0.93); of pears about 0.2 % are labelled apple, of apples 97
    %`, in other words; where the given label ranks 1st, the 2nd beside it and nothing of how labels are mistaken."""
    if len(evidence) == 0:
        return []
    given, rank, prob = classes.encode(labels), array(evidence, "given_rank"), array(evidence, "given_prob")
    top, probs = matrix(evidence, "top_classes"), matrix(evidence, "top_probs")
    place = np.where(rank == 0, min(1, top.shape[1] - 1), 0)[:, None]
    rival = np.take_along_axis(top, place, 1)[:, 0]
    columns = [rank, prob, rival, np.take_along_axis(probs, place, 1)[:, 0]]
    columns += [confusion.of(rival, given), confusion.of(given, given)]
    names, count, found = classes.names, len(classes.names), list[str]()
    corrected = f"; corrected by {counted(answers, 'answer')}" if answers else ""
    for label, rank_, own, other, p, mistaken, right in zip(
        labels.to_pylist(), *map(np.ndarray.tolist, columns), strict=True
    ):
        reason = f"{label} ranks {_ordinal(rank_ + 1)} of {count} (p {own:.2f})"
        if rank_ > 0:
            reason += f"; {names[other]} ranks 1st (p {p:.2f}); about {percent(mistaken)} % of {names[other]}"
            reason += f" and {percent(right)} % of {label} carry this label"
        elif count > 1:
            reason += f"; {names[other]} ranks 2nd (p {p:.2f})"
        found.append(reason + corrected)
    return found


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
