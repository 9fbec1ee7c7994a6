"""Everything cleaner raises on purpose.

    CleanerError                  exit status 1
    ├── InputError                exit status 2: the person can mend it; nothing was written
    │   ├── SourceError           the data set can't be read as one
    │   ├── ConfigError           an unknown or impossible setting
    │   ├── RunError              the run directory is no run, or a run of something else
    │   ├── RunLocked             another command works on the run
    │   ├── WeightsError          a backbone or its weights can't be had
    │   └── AnswerError           a review's answers can't be understood
    ├── StorageError              the disk refused a write
    ├── ServerError               a server is down, or fails
    ├── ImageProblem              an image can't be used; the message is its short reason, a manifest's `problem`
    └── WaitsForPeople            exit status 3: not a failure; people have something to answer

A message says what is wrong, where, and what to do, in one line for the person who made the mistake.
"""

import re
from difflib import get_close_matches
from typing import Any, ClassVar

_NAMED = 20


class CleanerError(Exception):
    """The root of the tree; `exit_status` is what the command ends with."""

    exit_status: ClassVar[int] = 1


class InputError(CleanerError):
    exit_status = 2


class SourceError(InputError):
    pass


class ConfigError(InputError):
    pass


class RunError(InputError):
    pass


class RunLocked(InputError):
    pass


class WeightsError(InputError):
    pass


class AnswerError(InputError):
    pass


class StorageError(CleanerError):
    pass


class ServerError(CleanerError):
    pass


class NothingLeft(CleanerError):
    """A cleaning was carried out, and has dropped every image."""


class ImageProblem(CleanerError):
    pass


class WaitsForPeople(CleanerError):
    exit_status = 3


def nearest(wrong: str, known: list[str]) -> str:
    """` (did you mean X?)`, or ` (known: ...)` when nothing known is near `wrong`; of many known names the first."""
    close = get_close_matches(wrong, known, n=1)
    return f" (did you mean {close[0]}?)" if close else known_names(wrong, known)


def known_names(_wrong: str, known: list[str]) -> str:
    """` (known: ...)`, of many the first."""
    more = f" and {len(known) - _NAMED:,} more" if len(known) > _NAMED else ""
    return f" (known: {', '.join(sorted(known)[:_NAMED])}{more})"


_IN_WORDS = (
    ("^Input should", "should"),
    ("^(Dictionary|List|Tuple|Set) should", "should"),
    (" after validation, not 0$", ""),
    ("a valid (dictionary|list|tuple)", r"a \1"),
    ("dictionary( or instance of .*)?", "table"),
    ("^Input is not a valid path.*", "should be a path"),
)
"""Of pydantic's words, and the words of whoever writes a TOML file."""


def complaint(problem: Any) -> str:
    """What pydantic says of one wrong value, one of `ValidationError.errors()`: `= 0: should be greater than 0`."""
    message = problem["msg"].removeprefix("Value error, ")
    for theirs, ours in _IN_WORDS:
        message = re.sub(theirs, ours, message)
    # A whole table is no value that anybody looks for.
    value = "" if isinstance(problem["input"], (dict, list, tuple)) else f"= {problem['input']!r}"
    return f"{value}: {message[:1].lower()}{message[1:]}"
