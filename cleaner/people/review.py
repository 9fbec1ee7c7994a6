"""Which samples to put before people, and what their answers mean.

Asking in order of the smallest margin finds several times as many clean negatives as asking at random, and much of the
remaining noise sits among the least certain positives: so a batch holds both, and a random share to estimate from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.evidence.features import ShardedFeatures
from cleaner.evidence.neighbors import agreement
from cleaner.people.agreement import shown
from cleaner.people.disagreement import DISPUTED, Disagreement, settled
from cleaner.run.answers import Answers
from cleaner.run.ledger import MISLABELLED, PEOPLE, PERSON
from cleaner.run.steps import makes
from cleaner.stages.prevalence import cut, draw
from cleaner.stages.references import fitness, fittest, pictures
from cleaner.tables import BATCH, STRATA, VERDICTS, Action, Answer, Classes, array, check, matrix

GUESSES = 3
REFERENCES = 3
_LOOKED_AMONG = 50_000
_EVEN = 0.5

NEAR = "doubted, but not by much"
RANDOM = "doubted, drawn at random"
DOUBTFUL = "kept, but the least sure"
CALIBRATES = "tells how many labels are wrong"


@makes("review batch", version=6)
def batch(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    duplicates: pa.Table,
    people: pa.Table,
    said: pa.Table,
    *,
    stage: str,
    share: float,
    random_share: float,
    doubtful_share: float,
    max_samples: int,
    known_share: float,
    overlap: float,
    seed: int,
) -> pa.Table:
    """The BATCH of a stage: negatives nearest to being positive, the most doubtful positives, random negatives.

    Args:
        evidence: the stage's last round.
        people: VERDICTS of people; what is in them is not asked about again, though the answer was "unsure".
        said: as `said_of_images` gives it.
        stage: a negative is what this stage dropped or relabelled.
        share, random_share: of the negatives, smallest margin first and at random.
        doubtful_share: of the positives, smallest margin first.
        max_samples: where the three together are more, each gives way in proportion.
        known_share: images on which people have decided, as a share of the batch; they stand among the others, under
            their reasons.
        overlap: share of the batch that two people are asked about.
        seed: of the random share, which is drawn from all negatives, so that it estimates them all.
    """
    margin = np.full(len(manifest), np.nan, np.float32)
    margin[array(evidence, "row")] = array(evidence, "margin")
    askable = _one_a_file(manifest, _open(manifest, standing, people) & ~np.isnan(margin))
    kept = array(standing, "action") == Action.KEEP
    negatives = np.flatnonzero(askable & ~kept & (array(standing, "stage") == stage))
    # Of what has no score models know nothing: asking about it because it seems doubtful would be asking at random.
    positives = np.flatnonzero(askable & kept & standing.column("score").is_valid().to_numpy())
    wanted = _fit([share * len(negatives), random_share * len(negatives), doubtful_share * len(positives)], max_samples)
    drawn = np.random.default_rng(seed).permutation(negatives)[: wanted[1]]
    rest = np.setdiff1d(negatives, drawn)
    near = rest[np.argsort(-margin[rest], kind="stable")][: wanted[0]]
    doubtful = positives[np.argsort(margin[positives], kind="stable")][: wanted[2]]
    because = np.repeat([NEAR, DOUBTFUL, RANDOM], [len(near), len(doubtful), len(drawn)])
    rows = np.concatenate([near, doubtful, drawn])
    random = np.random.default_rng((seed, 1))
    known = _known(manifest, said, np.flatnonzero(~np.isnan(margin)))
    again = random.permutation(sorted(known))[: ceil(known_share * len(rows))].astype(int)
    place = np.argsort(np.concatenate([np.arange(len(rows)), random.uniform(0, len(rows), len(again))]), kind="stable")
    because = np.concatenate([because, random.choice(because, len(again))])[place].tolist()
    rows = np.concatenate([rows, again])[place]
    expected = [known.get(row) for row in rows.tolist()]
    asked = _people([name is None for name in expected], overlap, seed)
    guesses = _Guesses.of(evidence, manifest, rows)
    return _assemble(manifest, rows, because, guesses, fitness(standing), duplicates, expected, asked)


@makes("strata", version=1)
def strata(manifest: pa.Table, standing: pa.Table, evidence: pa.Table, people: pa.Table, *, count: int) -> pa.Table:
    """The STRATA of what may be asked about and models have judged, for a draw of `count` of them; rows ascending."""
    askable = _one_a_file(manifest, _open(manifest, standing, people))
    askable &= np.isin(np.arange(len(manifest)), array(evidence, "row"))
    rows = np.flatnonzero(askable)
    score = pc.fill_null(standing.column("score"), _EVEN).to_numpy()[rows].astype(np.float64)
    doubt = np.clip(1 - score, 0, 1)
    found = {"row": rows.astype(np.int32), "stratum": cut(doubt, _at_most(count, len(rows)))}
    return pa.table(found | {"doubt": doubt.astype(np.float32)}, STRATA)


def _at_most(count: int, among: int) -> int:
    return min(count, ceil(among / 10))


@makes("calibration batch", version=2)
def calibration_batch(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    duplicates: pa.Table,
    strata: pa.Table,
    *,
    count: int,
    overlap: float,
    seed: int,
) -> pa.Table:
    """The BATCH whose answers tell how many labels are wrong, drawn at random from each of `strata`, STRATA; in random
    order.

    Args:
        count: of samples, but no more than a tenth of those that may be asked about; two of each stratum at least.
    """
    stratum, doubt = array(strata, "stratum"), array(strata, "doubt").astype(np.float64)
    rows = array(strata, "row")[draw(stratum, doubt, _at_most(count, len(strata)), seed=seed)]
    guesses, asked = _Guesses.of(evidence, manifest, rows), _people([True] * len(rows), overlap, seed)
    because = [CALIBRATES] * len(rows)
    return _assemble(manifest, rows, because, guesses, fitness(standing), duplicates, [None] * len(rows), asked)


def _known(manifest: pa.Table, said: pa.Table, rows: np.ndarray) -> dict[int, str]:
    """Of the `rows` those that are the first to show what people have named a class of, and the class."""
    told = [(word["content_hash"], shown(word)) for word in said.to_pylist() if word["answer"] in _NAMES]
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


@makes("review batch of candidates", version=5)
def candidate_batch(
    manifest: pa.Table,
    standing: pa.Table,
    candidates: pa.Table,
    duplicates: pa.Table,
    people: pa.Table,
    *shards: np.ndarray,
    overlap: float,
    seed: int,
) -> pa.Table:
    """The BATCH of `candidates` (row, asked_because) in their order, without guesses, since junk shows no class, and as
    references kept samples most of whose nearest neighbours carry their label too; where there is none, no reference.

    Args:
        shards: the features of all samples.
        seed: of the at most 50,000 samples among which neighbours are looked for.
    """
    rows = array(candidates, "row")
    askable = np.zeros(len(manifest), bool)
    askable[rows] = True
    ask = _one_a_file(manifest, _open(manifest, standing, people) & askable)[rows]
    because = candidates.column("asked_because").filter(pa.array(ask)).to_pylist()
    fit = _typical(manifest, standing, rows, ShardedFeatures(shards), seed)
    count = int(ask.sum())
    asked = _people([True] * count, overlap, seed)
    return _assemble(manifest, rows[ask], because, _Guesses.none(count), fit, duplicates, [None] * count, asked)


def _typical(
    manifest: pa.Table, standing: pa.Table, rows: np.ndarray, features: ShardedFeatures, seed: int
) -> np.ndarray:
    """float32: of kept samples with the labels of those in `rows` the share of their neighbours that have their label;
    not a number for all others, and where that is no more than half."""
    fit = np.full(len(manifest), np.nan, np.float32)
    kept = np.flatnonzero(_usable(manifest) & (array(standing, "action") == Action.KEEP)).astype(np.int32)
    among = np.sort(np.random.default_rng(seed).permutation(kept)[:_LOOKED_AMONG])
    labels = Classes.of(manifest).encode(manifest.column("label"))
    asked = among[np.isin(labels[among], labels[rows]) & ~np.isin(among, rows)]
    alike = agreement(features, among, labels, asked)
    fit[asked] = np.where(alike > 0.5, alike, np.nan)
    return fit


@makes("what people said of images", version=2)
def said_of_images(*, disagreement: Disagreement, answers: Answers, first: int) -> pa.Table:
    """SAID: of the `first` so many words the one that holds on each image that people have spoken of, as
    `disagreement.settled` has it."""
    return settled(answers.read(first), disagreement)


@makes("verdicts of people", version=3)
def verdicts(manifest: pa.Table, said: pa.Table) -> pa.Table:
    """VERDICTS on every usable sample of whose bytes people have spoken, rows ascending.

    The image is junk: all its copies are dropped, score 0. It shows a class: one copy stays, if there is one a copy
    that was given this label (keep, score 1), else one that gets it (relabel, score 0); the other copies are dropped.
    It is not of the class it was shown as: the copies with that label are dropped, score 0, as wrong labels. Nobody can
    tell, or people disagree: no action, no score. A word of a class that the data set has no more says nothing.

    Args:
        said: as `said_of_images` gives it.
    """
    found: Any = pc.index_in(manifest.column("content_hash"), value_set=said.column("content_hash").combine_chunks())
    rows = np.flatnonzero(found.is_valid().to_numpy() & _usable(manifest))
    which = found.take(pa.array(rows)).to_numpy()
    words, classes = said.to_pylist(), set(Classes.of(manifest).names)
    copies: dict[int, list[tuple[int, str, str]]] = {}
    columns = (manifest.column(name).take(pa.array(rows)).to_pylist() for name in ("path", "label"))
    for number, *copy in zip(which.tolist(), rows.tolist(), *columns, strict=True):
        copies.setdefault(number, []).append((copy[0], copy[1], copy[2]))
    judged = [verdict for number, alike in copies.items() for verdict in _judged(words[number], alike, classes)]
    table = pa.Table.from_pylist(sorted(judged, key=itemgetter("row")), VERDICTS.remove(1))
    ids = manifest.column("sample_id").take(table.column("row"))
    return check(table.append_column("sample_id", ids), VERDICTS, "verdicts of people")


def _judged(word: dict[str, str], copies: list[tuple[int, str, str]], classes: set[str]) -> Iterator[dict[str, Any]]:
    """What one word says of the files (row, path, label) that have the bytes it is about."""
    by = word["by"]
    if word["answer"] == DISPUTED:
        open_ = {"stage": PEOPLE, "round": 0, "by": PERSON + by, "reason": f"{by} disagree"}
        yield from ({"row": row, **open_} for row, _, _ in copies)
        return
    answer = Answer(word["answer"])
    judged: dict[str, Any] = {"stage": PEOPLE, "round": 0, "by": PERSON + by, "reason": f"{_SAID[answer]}, says {by}"}
    if answer in (Answer.UNSURE, Answer.JUNK):
        junk = {"action": Action.DROP.value, "score": 0.0} if answer is Answer.JUNK else {}
        yield from ({"row": row, **judged, **junk} for row, _, _ in copies)
        return
    if answer is Answer.WRONG:
        dropped = judged | {"stage": MISLABELLED, "action": Action.DROP.value, "score": 0.0}
        yield from ({"row": row, **dropped} for row, _, label in copies if label == word["label"])
        return
    shown = word["label"] if answer is Answer.RIGHT else word["new_label"]
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


_NAMES = (Answer.RIGHT, Answer.ANOTHER)
_SAID = {
    Answer.RIGHT: "right",
    Answer.ANOTHER: "another class",
    Answer.WRONG: "not of this class",
    Answer.JUNK: "junk",
    Answer.UNSURE: "can't tell",
}


def _usable(manifest: pa.Table) -> np.ndarray:
    return manifest.column("problem").is_null().to_numpy()


def _open(manifest: pa.Table, standing: pa.Table, people: pa.Table) -> np.ndarray:
    """bool: the usable samples of which no person has spoken."""
    spoken = pc.starts_with(standing.column("by"), PERSON).to_numpy().copy()
    spoken[array(people, "row")] = True
    return _usable(manifest) & ~spoken


def _one_a_file(manifest: pa.Table, askable: np.ndarray) -> np.ndarray:
    """Of the `askable` samples those that are the first with their bytes."""
    rows = np.flatnonzero(askable)
    files = manifest.column("content_hash").combine_chunks().dictionary_encode().indices
    _, first = np.unique(files.to_numpy(zero_copy_only=False)[rows], return_index=True)
    found = np.zeros(len(askable), bool)
    found[rows[first]] = True
    return found


def _fit(wanted: list[float], most: int) -> list[int]:
    """Whole numbers near `wanted` (a share of something is at least one of it), in proportion not more than `most`."""
    whole = [ceil(count - 1e-9) for count in wanted]
    total = sum(whole)
    if total <= most:
        return whole
    fitted = [count * most // total for count in whole]
    fitted[int(np.argmax(whole))] += most - sum(fitted)
    return fitted


@dataclass(frozen=True)
class _Guesses:
    """Of each sample of a batch the most probable classes besides the given one, and the given one's probability."""

    names: list[list[str]]
    probs: list[list[float]]
    given_prob: list[float | None]

    @classmethod
    def none(cls, count: int) -> "_Guesses":
        return cls([[] for _ in range(count)], [[] for _ in range(count)], [None] * count)

    @classmethod
    def of(cls, evidence: pa.Table, manifest: pa.Table, rows: np.ndarray) -> "_Guesses":
        classes = Classes.of(manifest)
        said = evidence.take(np.searchsorted(array(evidence, "row"), rows))
        given = classes.encode(manifest.column("label").take(rows))
        top, probs = matrix(said, "top_classes"), matrix(said, "top_probs")
        others = [np.flatnonzero(top[i] != given[i])[:GUESSES] for i in range(len(rows))]
        return cls(
            names=[[classes.names[number] for number in top[i, other]] for i, other in enumerate(others)],
            probs=[probs[i, other].tolist() for i, other in enumerate(others)],
            given_prob=said.column("given_prob").to_pylist(),
        )


def _assemble(
    manifest: pa.Table,
    rows: np.ndarray,
    because: list[str],
    guesses: _Guesses,
    fit: np.ndarray,
    duplicates: pa.Table,
    known: list[str | None],
    people: np.ndarray,
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
    return check(pa.table(table), BATCH, "batch")


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
