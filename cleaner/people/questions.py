"""The questions of a batch as pages ask them: what is shown, and which key gives which answer."""

from collections.abc import Iterable
from itertools import chain, groupby
from typing import Any

import pyarrow as pa

from cleaner.tables import Answer, ClassAnswer
from cleaner.words import counted

CLASS_COUNTS = ("label", "images", "given", "kept", "gained", "relabelled", "dropped")
"""What a line of a question about a class tells."""

Question = dict[str, Any]
"""What a page draws: `title`, `note`, `picture` (a row, or None), `grid` (rows), `groups` of references (`title`,
`note`, `rows`), `choices` (`key`, `answer`, `text`, `note`, `new_label`), and `lines`, of each sample or class that is
asked about which it is."""


def questions(batch: pa.Table) -> list[Question]:
    """A question for each sample of a BATCH, or for each page where it has pages; for each class of SMALL_CLASSES."""
    if "sample_id" not in batch.column_names:
        return [_of_class(entry) for entry in batch.to_pylist()]
    numbered = list(enumerate(batch.to_pylist(), 1))
    if is_paged(batch):
        return [_of_page(list(page)) for _, page in groupby(numbered, key=lambda each: each[1]["page"])]
    return [_of_sample(number, sample) for number, sample in numbered]


def is_paged(batch: pa.Table) -> bool:
    return "page" in batch.column_names and any(batch.column("page").to_pylist())


def typed(batch: pa.Table) -> dict[str, str]:
    """What is asked for where a class is typed, what answer that is, and what it is where it is the same class."""
    if "sample_id" in batch.column_names:
        return {"ask": "another class: press a, type, Enter", "answer": Answer.ANOTHER, "same": Answer.RIGHT}
    return {"ask": "merge it into: press a, type, Enter", "answer": ClassAnswer.MERGE, "same": ClassAnswer.KEEP}


def above(batch: pa.Table) -> str:
    """What stands above every question."""
    if "sample_id" not in batch.column_names:
        return "class"
    return "mark what does not belong to the class" if is_paged(batch) else "given label"


def references(of: Iterable[Question]) -> Iterable[int]:
    """The rows of all references of the questions."""
    return chain.from_iterable(group["rows"] for question in of for group in question["groups"])


def _of_sample(number: int, sample: dict[str, Any]) -> Question:
    guesses = list(zip(sample["guesses"], sample["guess_probs"], strict=True))
    line = {"number": str(number), "sample_id": sample["sample_id"], "path": sample["path"], "label": sample["label"]}
    line |= {f"guess_{i}": guess for i, guess in enumerate(sample["guesses"], 1)}
    groups = [{"title": sample["label"], "note": "given", "rows": sample["given_references"]}]
    if guesses:
        groups.append({"title": guesses[0][0], "note": "first guess", "rows": sample["guess_references"]})
    choices = [_choice("1", Answer.RIGHT, f"right: {sample['label']}", _percent(sample["given_prob"]))]
    choices += [
        _choice(str(key), Answer.ANOTHER, guess, _percent(prob), guess) for key, (guess, prob) in enumerate(guesses, 2)
    ]
    choices.append(_choice("w", Answer.WRONG, f"not {sample['label']}, but not known what"))
    choices += [_choice("j", Answer.JUNK, "junk: shows no class"), _choice("u", Answer.UNSURE, "can't tell")]
    return {
        "lines": [line | {"asked_because": sample["asked_because"]}],
        "title": sample["label"],
        "note": f"{sample['asked_because']} · {sample['path']}",
        "picture": sample["row"],
        "grid": [],
        "groups": groups,
        "choices": choices,
    }


def _of_page(page: list[tuple[int, dict[str, Any]]]) -> Question:
    """About many numbered samples of one class."""
    samples = [sample for _, sample in page]
    label = samples[0]["label"]
    texts = ("page", "sample_id", "path", "label", "asked_because")
    return {
        "lines": [{"number": str(number)} | {name: str(sample[name]) for name in texts} for number, sample in page],
        "title": label,
        "note": counted(len(page), "image"),
        "picture": None,
        "grid": [sample["row"] for sample in samples],
        "groups": [{"title": label, "note": "what it looks like", "rows": samples[0]["given_references"]}],
        "choices": [
            _choice("Enter", Answer.WRONG, "done: the marked ones do not belong here, all others do"),
            _choice("u", Answer.UNSURE, "can't tell, of the whole page"),
        ],
    }


def _of_class(entry: dict[str, Any]) -> Question:
    return {
        "lines": [{column: str(entry[column]) for column in CLASS_COUNTS}],
        "title": entry["label"],
        "note": f"{entry['images']} images are left of {entry['given']} given",
        "picture": None,
        "grid": [],
        "groups": [{"title": entry["label"], "note": "the surest of its images", "rows": entry["examples"]}],
        "choices": [
            _choice("1", ClassAnswer.KEEP, "keep the class"),
            _choice("2", ClassAnswer.REMOVE, "remove the class and its images"),
        ],
    }


def _choice(key: str, answer: str, text: str, note: str = "", new_label: str = "") -> dict[str, str]:
    return {"key": key, "answer": str(answer), "text": text, "note": note, "new_label": new_label}


def _percent(probability: float | None) -> str:
    return "" if probability is None else f"{100 * probability:.0f} %"
