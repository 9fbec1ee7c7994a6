"""What is known of one sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cleaner.evidence.features import ShardedFeatures
from cleaner.run.answers import on_images
from cleaner.tables import array
from ui.access import Look
from ui.queries.samples import DOUBTFUL_FIRST, Filter, Samples

_LOOKED_AT = 20_000
_COPIES = 24


@dataclass(frozen=True)
class Sample:
    """Attributes:
    known: its row of the manifest; `stands`, of what stands, with the row number and what models take it for.
    verdicts: those that count, the oldest first.
    guesses: class and probability, the likeliest first; empty where no model has judged it.
    answers: what people said of the image, the oldest first.
    """

    known: dict[str, Any]
    stands: dict[str, Any]
    verdicts: list[dict[str, Any]]
    guesses: list[tuple[str, float]]
    answers: list[dict[str, Any]]


def sample(look: Look, samples: Samples, row: int) -> Sample | None:
    """None where there is no such row."""
    stands = samples.page(Filter(rows=(row,)), DOUBTFUL_FIRST, start=0, count=1).to_pylist()
    if not stands:
        return None
    known = _row(samples, samples.tables["manifest"], "file_row_number", row)[0]
    stands[0] |= {"reason": _row(samples, samples.tables["standing"], "file_row_number", row)[0]["reason"]}
    verdicts = [
        verdict for name in look.names.ledger for verdict in _row(samples, str(look.store.table(name)), "row", row)
    ]
    answers = on_images(look.store.answers.read())
    answers = answers.filter(np.equal(array(answers, "content_hash"), known["content_hash"])).sort_by("at")
    return Sample(known, stands[0], verdicts, _guesses(samples, row), answers.to_pylist())


def _row(samples: Samples, file: str, column: str, row: int) -> list[dict[str, Any]]:
    assert column in ("row", "file_row_number")
    question = f"SELECT * FROM read_parquet(?, file_row_number = true) WHERE {column} = ?"
    return samples.ask(question, [file, row]).to_pylist()


def _guesses(samples: Samples, row: int) -> list[tuple[str, float]]:
    if "evidence" not in samples.tables:
        return []
    found = _row(samples, samples.tables["evidence"], "row", row)
    return [
        (samples.classes[number], prob)
        for evidence in found
        for number, prob in zip(evidence["top_classes"], evidence["top_probs"], strict=True)
    ]


def copies(samples: Samples, row: int, group: int | None) -> tuple[int, ...]:
    """The rows of the other images that are the same picture."""
    if group is None:
        return ()
    found = samples.page(Filter(group=group), DOUBTFUL_FIRST, start=0, count=_COPIES + 1)["row"].to_pylist()
    return tuple(other for other in found if other != row)


def neighbours(look: Look, samples: Samples, found: Sample, count: int) -> tuple[int, ...]:
    """The rows of the images that look most alike, those of the largest cosine of their features, the nearest first:
    among those of the classes that it may be of. Of very many every second, third, ... is looked at."""
    row, names = found.stands["row"], {found.stands["label"], *(name for name, _ in found.guesses)} - {None}
    shards = [look.store.read(name) for name in look.names.features]
    if not shards or not names:
        return ()
    marks = ",".join("?" * len(names))
    question = (
        f"SELECT row FROM kept.samples WHERE (label IN ({marks}) OR guess IN ({marks})) AND row != ? ORDER BY row"
    )
    rows = array(samples.ask(question, [*names, *names, row]), "row")
    rows = rows[:: -(-len(rows) // _LOOKED_AT)] if len(rows) else rows
    features = ShardedFeatures(shards)
    others, own = features[rows].astype(np.float32), features[np.array([row])].astype(np.float32)[0]
    lengths = np.sqrt(np.einsum("ij,ij->i", others, others))
    likeness = others @ own / np.maximum(lengths, 1e-9)
    nearest: list[int] = rows[np.argsort(-likeness, kind="stable")[:count]].tolist()
    return tuple(nearest)
