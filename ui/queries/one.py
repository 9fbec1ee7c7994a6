"""What is known of one sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cleaner.run.answers import on_images
from cleaner.tables import array
from ui.access import Look
from ui.queries.samples import DOUBTFUL_FIRST, Filter, Samples

_BLOCK = 32_768
_COPIES = 24


@dataclass(frozen=True)
class Sample:
    """Attributes:
    known: its row of the manifest; `stands`, of what stands, with the row number and what models take it for.
    verdicts: those that count, the oldest first.
    guesses: class and probability, the likeliest first; empty where no model has judged it.
    said: what people said of the image, the oldest first.
    """

    known: dict[str, Any]
    stands: dict[str, Any]
    verdicts: list[dict[str, Any]]
    guesses: list[tuple[str, float]]
    said: list[dict[str, Any]]


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
    said = on_images(look.store.answers.read())
    said = said.filter(np.equal(array(said, "content_hash"), known["content_hash"])).sort_by("at")
    return Sample(known, stands[0], verdicts, _guesses(samples, row), said.to_pylist())


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


def neighbours(look: Look, row: int, count: int) -> tuple[int, ...]:
    """The rows of the images that look most alike: of the largest cosine of their features, the nearest first."""
    shards = [look.store.read(name) for name in look.names.features]
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    if not shards or row >= starts[-1]:
        return ()
    home = int(np.searchsorted(starts, row, "right")) - 1
    wanted = np.asarray(shards[home][row - starts[home]], np.float32)
    likeness = np.concatenate([_cosines(shard, wanted) for shard in shards])
    likeness[row] = -np.inf
    nearest = np.argpartition(-likeness, min(count, len(likeness) - 1))[:count]
    return tuple(nearest[np.argsort(-likeness[nearest], kind="stable")].tolist())


def _cosines(shard: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    found = np.empty(len(shard), np.float32)
    for start in range(0, len(shard), _BLOCK):
        block = np.asarray(shard[start : start + _BLOCK], np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        found[start : start + _BLOCK] = block @ wanted / np.maximum(lengths, 1e-9)
    return found
