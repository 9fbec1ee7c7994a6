"""What every room may ask about stages, which are parts of the plan; of names in the files of a run."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from cleaner import parts

SCAN = "scan"
"""Files that can't be read are found as they are read."""
PEOPLE = "people"
RESERVED = frozenset({SCAN, PEOPLE, "raw", "clean", "judged", "provisional"})
"""What else than a stage verdicts and versions are named by."""
_TITLES = {SCAN: "unreadable files", PEOPLE: "people", "review": "junk and wrong labels"}


def title(name: str) -> str:
    """What it looks for, in a person's words; the name itself of a stage that this installation does not have."""
    stage = _known(name)
    return _TITLES.get(name, name) if stage is None else str(stage.title)


def named(name: str) -> str:
    """The title with a capital letter."""
    words = title(name)
    return words[:1].upper() + words[1:]


@cache
def judging_labels() -> tuple[str, ...]:
    """The stages whose verdicts are on labels: what they drop is judged anew in each round, and may come back."""
    return tuple(name for name in parts.names("stages") if parts.find("stages", name).judges_labels)


def issue(name: str) -> str:
    """The kind of issue of what a stage drops; empty of a stage that this installation does not have."""
    stage = _known(name)
    return "" if stage is None else str(stage.issue)


def gallery(name: str) -> str:
    """The heading over the images that a stage drops; empty where they are shown elsewhere."""
    if name == PEOPLE:
        # Of an image that has a wrong label only, they say so of the stage that looks for such.
        return gallery("image_noise")
    stage = _known(name)
    return "" if stage is None else str(stage.gallery)


def in_order(judged: Iterable[str], found: Iterable[str] = ()) -> list[str]:
    """The names of stages in the order in which they judged first, what was found while reading before and what people
    said after them; of `found` those too that are none of the run's, by which people may have spoken."""
    between = dict.fromkeys(name for name in (*judged, *sorted(found)) if name not in (SCAN, PEOPLE))
    return [SCAN, *between, PEOPLE]


@cache
def _known(name: str) -> type[Any] | None:
    return parts.find("stages", name) if name in parts.names("stages") else None
