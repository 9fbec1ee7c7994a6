"""Who has answered how much, how fast, and how far people agree."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

from cleaner.tables import Answer

Words = list[dict[str, Any]]
"""Rows of SAID."""


@dataclass(frozen=True)
class Person:
    """Attributes: `answers`, on how many images and classes; `seconds`, the median for one, None where nobody knows."""

    by: str
    answers: int
    seconds: float | None


@dataclass(frozen=True)
class Agreement:
    """Two people on the `images` that both have judged: how many they judge alike, and Cohen's kappa (Cohen 1960), None
    where both always say one and the same."""

    people: tuple[str, str]
    images: int
    alike: int
    kappa: float | None


def people(words: Words) -> list[Person]:
    """Everybody who has answered, the busiest first."""
    seconds = defaultdict(list)
    for by, said in _newest(words).items():
        for word in said.values():
            seconds[by].append(word["seconds"])
    found = []
    for by, spent in seconds.items():
        known = [value for value in spent if value is not None]
        found.append(Person(by, len(spent), median(known) if known else None))
    return sorted(found, key=lambda person: (-person.answers, person.by))


def agreements(words: Words) -> list[Agreement]:
    """Each two people who have judged some image both."""
    newest, found = _newest(words), []
    for one, other in combinations(sorted(newest), 2):
        both = [(newest[one][about], newest[other][about]) for about in newest[one].keys() & newest[other].keys()]
        pairs = [(_shown(first), _shown(second)) for first, second in both if first["content_hash"]]
        if pairs:
            alike = sum(first == second for first, second in pairs)
            found.append(Agreement((one, other), len(pairs), alike, _kappa(pairs)))
    return found


def disputed(words: Words) -> list[tuple[tuple[str, str], int]]:
    """What two people took one image for, and how often, the most frequent first."""
    newest, found = _newest(words), Counter[tuple[str, str]]()
    for one, other in combinations(sorted(newest), 2):
        for about in newest[one].keys() & newest[other].keys():
            shown = {_shown(newest[one][about]), _shown(newest[other][about])}
            if len(shown) == 2:
                first, second = sorted(shown)
                found[first, second] += 1
    return sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))


def _newest(words: Words) -> dict[str, dict[str, dict[str, Any]]]:
    """Of each person the newest word on each image or class."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for word in sorted(words, key=lambda word: word["at"]):
        found.setdefault(word["by"], {})[word["content_hash"] or f"class {word['label']}"] = word
    return found


def _shown(word: dict[str, Any]) -> str:
    """What a person takes an image for."""
    if word["answer"] == Answer.RIGHT:
        return str(word["label"])
    return str(word["new_label"] or word["answer"])


def _kappa(pairs: list[tuple[str, str]]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    one, other = zip(*pairs, strict=True)
    return None if len({*one, *other}) == 1 else float(cohen_kappa_score(one, other))
