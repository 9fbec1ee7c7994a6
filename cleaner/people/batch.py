"""A batch as people see it: images, guesses, references, and which are asked about again or of two people."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.methods.references import fitness, fittest, pictures
from cleaner.people.agreement import shown
from cleaner.tables import BATCH, Answer, Classes, array, check, matrix

_NAMES = (Answer.RIGHT, Answer.ANOTHER)
GUESSES = 3
REFERENCES = 3


def compose(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    duplicates: pa.Table,
    answers: pa.Table,
    rows: np.ndarray,
    because: list[str],
    facts: dict[str, Any],
    *,
    known_share: float,
    overlap: float,
    seed: int,
) -> pa.Table:
    """The BATCH of images to ask about, those drawn at random and those that people know at random places among the
    others.

    Args:
        answers: as `said_of_images` gives it.
        rows, because, facts: of each image to ask about, those that were drawn at random last; `facts` the last columns
            of BATCH.
        known_share: images on which people have decided, as a share of the batch; they stand under others' reasons.
        overlap: share of the batch that two people are asked about.
        seed: of all that is drawn.
    """
    random = np.random.default_rng((seed, 1))
    drawn = np.asarray(facts["drawn"])
    known = _known(manifest, answers, array(evidence, "row"))
    again = random.permutation(sorted(known))[: ceil(known_share * len(rows))].astype(int)
    among = random.uniform(0, max(1, len(rows) - drawn.sum()), drawn.sum() + len(again))
    places = np.concatenate([np.arange(len(rows) - drawn.sum()), among])
    order = np.argsort(places, kind="stable")
    as_if = random.integers(0, max(1, len(rows)), len(again))
    taken = np.concatenate([np.arange(len(rows)), as_if])[order]
    is_known = (np.arange(len(places)) >= len(rows))[order]
    shown = np.concatenate([rows, again])[order]
    expected = [known[row] if again else None for row, again in zip(shown.tolist(), is_known.tolist(), strict=True)]
    asked = _people([name is None for name in expected], overlap, seed)
    columns = {name: pa.array(values).take(pa.array(taken)) for name, values in facts.items()}
    because = [because[number] for number in taken.tolist()]
    guesses = _Guesses.of(evidence, manifest, shown)
    return _assemble(manifest, shown, because, guesses, fitness(standing), duplicates, expected, asked, columns)


def _known(manifest: pa.Table, answers: pa.Table, rows: np.ndarray) -> dict[int, str]:
    """Of the `rows` those that are the first to show what people have named a class of, and the class."""
    told = [(answer["content_hash"], shown(answer)) for answer in answers.to_pylist() if answer["answer"] in _NAMES]
    classes, found = set(Classes.of(manifest).names), {}
    names = {content: name for content, name in told if name in classes}
    hashes = manifest.column("content_hash").take(pa.array(rows))
    at: Any = pc.index_in(hashes, value_set=pa.array(list(names), pa.string()))
    for place in np.flatnonzero(at.is_valid().to_numpy()).tolist():
        name = names.pop(hashes[place].as_py(), None)
        if name is not None:
            found[int(rows[place])] = name
    return found


def _people(open_: list[bool], overlap: float, seed: int) -> np.ndarray:
    """int32: how many people are asked about each sample of a batch; two about a share of those that are `open_`."""
    places = np.random.default_rng((seed, 2)).permutation(np.flatnonzero(open_))
    asked = np.ones(len(open_), np.int32)
    asked[places[: ceil(overlap * len(places))]] = 2
    return asked


def one_a_file(manifest: pa.Table, askable: np.ndarray) -> np.ndarray:
    """Of the `askable` samples those that are the first with their bytes."""
    rows = np.flatnonzero(askable)
    files = manifest.column("content_hash").combine_chunks().dictionary_encode().indices
    _, first = np.unique(files.to_numpy(zero_copy_only=False)[rows], return_index=True)
    found = np.zeros(len(askable), bool)
    found[rows[first]] = True
    return found


@dataclass(frozen=True)
class _Guesses:
    """Of each sample of a batch the most probable classes besides the given one, and the given one's probability; none
    of one that no model has judged."""

    names: list[list[str]]
    probs: list[list[float]]
    given_prob: list[float | None]

    @classmethod
    def of(cls, evidence: pa.Table, manifest: pa.Table, rows: np.ndarray) -> "_Guesses":
        classes, judged = Classes.of(manifest), array(evidence, "row")
        place = np.searchsorted(judged, rows).clip(max=max(0, len(judged) - 1))
        there = judged[place] == rows if len(judged) else np.zeros(len(rows), bool)
        of_them = evidence.take(place[there])
        given = classes.encode(manifest.column("label").take(rows[there]))
        top, probs, own = (
            matrix(of_them, "top_classes"),
            matrix(of_them, "top_probs"),
            of_them.column("given_prob").to_pylist(),
        )
        found = cls([[] for _ in rows], [[] for _ in rows], [None for _ in rows])
        for at, number in enumerate(np.flatnonzero(there).tolist()):
            other = np.flatnonzero(top[at] != given[at])[:GUESSES]
            found.names[number] = [classes.names[each] for each in top[at, other]]
            found.probs[number] = probs[at, other].tolist()
            found.given_prob[number] = own[at]
        return found


def _assemble(
    manifest: pa.Table,
    rows: np.ndarray,
    because: list[str],
    guesses: _Guesses,
    fit: np.ndarray,
    duplicates: pa.Table,
    known: list[str | None],
    people: np.ndarray,
    facts: dict[str, Any],
) -> pa.Table:
    labels = manifest.column("label").take(rows).to_pylist()
    first = [names[0] if names else None for names in guesses.names]
    picture = pictures(len(manifest), duplicates)
    references = _references(manifest, sorted({*labels, *first} - {None}), fit, picture)
    table = {
        "row": rows,
        "sample_id": manifest.column("sample_id").take(rows),
        "path": manifest.column("path").take(rows),
        "label": pa.array(labels, pa.string()),
        "asked_because": pa.array(because, pa.string()),
        "guesses": pa.array(guesses.names, pa.list_(pa.string())),
        "guess_probs": pa.array(guesses.probs, pa.list_(pa.float32())),
        "given_prob": pa.array(guesses.given_prob, pa.float32()),
        "given_references": _others(rows, labels, references, picture),
        "guess_references": _others(rows, first, references, picture),
        "known": pa.array(known, pa.string()),
        "people": people,
        "page": pa.nulls(len(rows), pa.int32()),
    }
    return check(pa.table(table | facts), BATCH, "batch")


def _references(
    manifest: pa.Table, names: list[str], fit: np.ndarray, picture: np.ndarray
) -> dict[str | None, np.ndarray]:
    """Rows for each class in `names`, one more than a sample is shown: it may be one of them itself."""
    numbers = Classes(tuple(names)).encode(manifest.column("label"))
    return dict(zip(names, fittest(numbers, fit, picture, classes=len(names), most=REFERENCES + 1), strict=True))


def _others(
    rows: np.ndarray, names: list[str | None], references: dict[str | None, np.ndarray], picture: np.ndarray
) -> pa.Array:
    """The references of each sample's class that are not the sample's own picture."""
    nothing = np.empty(0, np.int64)
    shown = [references.get(name, nothing) for name in names]
    own = [found[picture[found] != picture[row]][:REFERENCES] for row, found in zip(rows, shown, strict=True)]
    return pa.array(own, pa.list_(pa.int32()))
