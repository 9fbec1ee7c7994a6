"""Who has answered how much, how fast, and how far people agree."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

import pyarrow as pa

from cleaner.run.answer_lines import AnswerRows
from cleaner.run.answers import newest, of_each, on_images
from cleaner.tables import ANSWER_LOG, Answer, HowAsked


@dataclass(frozen=True)
class Person:
    """Attributes: `answers`, on how many images and classes; `seconds`, the median for one, None where nobody knows;
    `known`, on how many images that people had decided before, and on how many of these they said the same, `right`."""

    by: str
    answers: int
    seconds: float | None
    known: int
    right: int


@dataclass(frozen=True)
class Agreement:
    """Two people on the `images` that both have judged: how many they judge alike, and Cohen's kappa (Cohen 1960), None
    where both always say one and the same."""

    people: tuple[str, str]
    images: int
    alike: int
    kappa: float | None


def people(answers: AnswerRows) -> list[Person]:
    """Everybody who has answered, the busiest first."""
    seconds = defaultdict(list)
    for by, theirs in _newest(answers).items():
        for answer in theirs.values():
            seconds[by].append(answer["seconds"])
    found, sure = [], on_known(pa.Table.from_pylist(answers, ANSWER_LOG))
    for by, spent in seconds.items():
        timed = [value for value in spent if value is not None]
        right, known = sure.get(by, (0, 0))
        found.append(Person(by, len(spent), median(timed) if timed else None, known, right))
    return sorted(found, key=lambda person: (-person.answers, person.by))


def on_known(answers: pa.Table) -> dict[str, tuple[int, int]]:
    """By person: on how many known images they said what holds of these, and on how many they said anything but that
    they can't tell."""
    holds = {answer["content_hash"]: answer for answer in newest(on_images(answers)).to_pylist()}
    found: dict[str, tuple[int, int]] = {}
    for by, theirs in _newest([answer for answer in answers.to_pylist() if answer["asked"] == HowAsked.KNOWN]).items():
        told = [(answer, holds[content]) for content, answer in theirs.items() if content in holds]
        told = [(answer, known) for answer, known in told if answer["answer"] != Answer.UNSURE]
        found[by] = sum(_agree(answer, known) for answer, known in told), len(told)
    return found


def agreements(answers: AnswerRows) -> list[Agreement]:
    """Each two people who have judged some image both."""
    of, found = _newest(answers), []
    for one, other in combinations(sorted(of), 2):
        both = [(of[one][about], of[other][about]) for about in of[one].keys() & of[other].keys()]
        pairs = [(shown(first), shown(second)) for first, second in both if first["content_hash"]]
        if pairs:
            alike = sum(first == second for first, second in pairs)
            found.append(Agreement((one, other), len(pairs), alike, _kappa(pairs)))
    return found


def agreement_of_all(answers: AnswerRows) -> float | None:
    """Fleiss' kappa (Fleiss 1971) over the images that at least two of more than two people have judged, each image by
    as many as it was; None for fewer people, or where all always say one and the same."""
    of, taken = _newest(answers), defaultdict[str, list[str]](list)
    for theirs in of.values():
        for about, answer in theirs.items():
            if answer["content_hash"]:
                taken[about].append(shown(answer))
    judged = [Counter(counts) for counts in taken.values() if len(counts) > 1]
    whole = sum(judged, Counter[str]())
    total = whole.total()
    if len(of) < 3 or len(whole) < 2:
        return None
    alike = [sum(n * (n - 1) for n in counts.values()) / (counts.total() * (counts.total() - 1)) for counts in judged]
    chance = sum((n / total) ** 2 for n in whole.values())
    return (sum(alike) / len(alike) - chance) / (1 - chance)


def disputed(answers: AnswerRows) -> list[tuple[tuple[str, str], int]]:
    """What two people took one image for, and how often, the most frequent first."""
    of, found = _newest(answers), Counter[tuple[str, str]]()
    for one, other in combinations(sorted(of), 2):
        for about in of[one].keys() & of[other].keys():
            taken_for = {shown(of[one][about]), shown(of[other][about])}
            if len(taken_for) == 2:
                first, second = sorted(taken_for)
                found[first, second] += 1
    return sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))


def _newest(answers: AnswerRows) -> dict[str, dict[str, dict[str, Any]]]:
    """Of each person the newest answer on each image or class."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for about, those in of_each(answers, lambda answer: answer["content_hash"] or f"class {answer['label']}").items():
        for answer in those:
            found.setdefault(answer["by"], {})[about] = answer
    return found


def shown(answer: dict[str, Any]) -> str:
    """What a person takes an image for: a class, or the answer where they name none."""
    if answer["answer"] == Answer.RIGHT:
        return str(answer["label"])
    if answer["answer"] == Answer.WRONG:
        return f"not {answer['label']}"
    return str(answer["new_label"] or answer["answer"])


def _agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two answers on an image can both be true: that it is not of a class agrees with every other class."""
    for answer, against in ((one, other), (other, one)):
        if answer["answer"] == Answer.WRONG and against["answer"] != Answer.WRONG:
            return shown(against) != answer["label"]
    return shown(one) == shown(other)


def _kappa(pairs: list[tuple[str, str]]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    one, other = zip(*pairs, strict=True)
    return None if len({*one, *other}) == 1 else float(cohen_kappa_score(one, other))
