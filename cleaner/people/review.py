"""Which samples to put before people, and what their answers mean.

Asking in order of the smallest margin finds several times as many clean negatives as asking at random, and much of the
remaining noise sits among the least certain positives: so a batch holds both, and a random share to estimate from.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.run.ledger import PERSON
from cleaner.run.steps import makes
from cleaner.stages.references import fitness, fittest, pictures
from cleaner.tables import ANSWERS, BATCH, VERDICTS, Action, Answer, Classes, array, check, matrix

GUESSES = 3
REFERENCES = 3

NEAR = "near the boundary"
RANDOM = "random negative"
DOUBTFUL = "doubtful positive"


@makes("review batch", version=1)
def batch(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    duplicates: pa.Table,
    *answered: pa.Table,
    stage: str,
    share: float,
    random_share: float,
    doubtful_share: float,
    max_samples: int,
    seed: int,
) -> pa.Table:
    """The BATCH of a stage: negatives nearest to being positive, the most doubtful positives, random negatives.

    Args:
        evidence: the stage's last round.
        answered: VERDICTS of people; who is in them is not asked about again, though the answer was "unsure".
        stage: a negative is what this stage dropped or relabelled.
        share, random_share: of the negatives, smallest margin first and at random.
        doubtful_share: of the positives, smallest margin first.
        max_samples: where the three together are more, each gives way in proportion.
        seed: of the random share, which is drawn from all negatives, so that it estimates them all.
    """
    margin = np.full(len(manifest), np.nan, np.float32)
    margin[array(evidence, "row")] = array(evidence, "margin")
    askable = _usable(manifest) & ~np.isnan(margin) & ~_answered(manifest, standing, answered)
    kept = array(standing, "action") == Action.KEEP
    negatives = np.flatnonzero(askable & ~kept & (array(standing, "stage") == stage))
    positives = np.flatnonzero(askable & kept)
    wanted = _fit([share * len(negatives), random_share * len(negatives), doubtful_share * len(positives)], max_samples)
    drawn = np.random.default_rng(seed).permutation(negatives)[: wanted[1]]
    rest = np.setdiff1d(negatives, drawn)
    near = rest[np.argsort(-margin[rest], kind="stable")][: wanted[0]]
    doubtful = positives[np.argsort(margin[positives], kind="stable")][: wanted[2]]
    because = [NEAR] * len(near) + [DOUBTFUL] * len(doubtful) + [RANDOM] * len(drawn)
    rows = np.concatenate([near, doubtful, drawn])
    return _assemble(manifest, rows, because, _Guesses.of(evidence, manifest, rows), fitness(standing), duplicates)


@makes("review batch of candidates", version=1)
def candidate_batch(
    manifest: pa.Table, standing: pa.Table, candidates: pa.Table, duplicates: pa.Table, *answered: pa.Table, seed: int
) -> pa.Table:
    """The BATCH of `candidates` (row, asked_because) in their order, before any model has spoken: no guesses, and
    random kept samples of the given class as references."""
    rows = array(candidates, "row")
    ask = _usable(manifest)[rows] & ~_answered(manifest, standing, answered)[rows]
    because = candidates.column("asked_because").filter(pa.array(ask)).to_pylist()
    fit = np.random.default_rng(seed).random(len(manifest), dtype=np.float32)
    fit[(array(standing, "action") != Action.KEEP) | np.isin(np.arange(len(manifest)), rows)] = np.nan
    return _assemble(manifest, rows[ask], because, _Guesses.none(int(ask.sum())), fit, duplicates)


def answers_to_verdicts(answers: pa.Table, manifest: pa.Table, *, stage: str, round: int) -> pa.Table:
    """People's ANSWERS as VERDICTS: the given label is right (keep, score 1), another one is (relabel, score 0), the
    image is junk (drop, score 0), or nobody can tell (no action, no score)."""
    answers = check(answers, ANSWERS, "answers")
    said = answers.column("answer").to_pylist()
    people = answers.column("by").to_pylist()
    columns = {
        "row": pc.index_in(answers.column("sample_id"), value_set=manifest.column("sample_id")),
        "sample_id": answers.column("sample_id"),
        "stage": pa.repeat(stage, len(answers)),
        "round": pa.repeat(round, len(answers)),
        "action": pa.array([_ACTION[answer] for answer in said], pa.string()),
        "new_label": answers.column("new_label"),
        "score": pa.array([_SCORE[answer] for answer in said], pa.float32()),
        "by": pa.array([PERSON + person for person in people], pa.string()),
        "reason": pa.array([f"{_SAID[a]}, says {by}" for a, by in zip(said, people, strict=True)], pa.string()),
    }
    return check(pa.table(columns), VERDICTS, "verdicts of people")


_ACTION = {Answer.RIGHT: Action.KEEP, Answer.ANOTHER: Action.RELABEL, Answer.JUNK: Action.DROP, Answer.UNSURE: None}
_SCORE = {Answer.RIGHT: 1.0, Answer.ANOTHER: 0.0, Answer.JUNK: 0.0, Answer.UNSURE: None}
_SAID = {Answer.RIGHT: "right", Answer.ANOTHER: "another class", Answer.JUNK: "junk", Answer.UNSURE: "can't tell"}


def _usable(manifest: pa.Table) -> np.ndarray:
    return manifest.column("problem").is_null().to_numpy()


def _answered(manifest: pa.Table, standing: pa.Table, answered: tuple[pa.Table, ...]) -> np.ndarray:
    by_person = pc.starts_with(standing.column("by"), PERSON).to_numpy().copy()
    for verdicts in answered:
        by_person[array(verdicts, "row")[pc.starts_with(verdicts.column("by"), PERSON).to_numpy()]] = True
    return by_person


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
