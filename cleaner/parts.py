"""Finding the parts of a kind: the file's name is what a user writes, the class in it has that name in CamelCase."""

import importlib
import pkgutil
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from cleaner.errors import ConfigError, complaint, nearest

ROOMS = {
    "sources": "data",
    "exporters": "data",
    "predictors": "evidence",
    "reviewers": "people",
    "augmentations": "training",
    "stages": "plan",
}
"""The room of each kind."""


def names(kind: str) -> list[str]:
    """The names of all parts of `kind` (`sources`, `predictors`, ...), sorted; none of them is imported."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / ROOMS[kind] / kind)]))


def find(kind: str, name: str) -> type[Any]:
    """The class of a part.

    Raises:
        ConfigError: there is no such part; the message names those there are.
    """
    known = names(kind)
    if name not in known:
        raise ConfigError(f"no {kind.removesuffix('s')} {name}{nearest(name, known)}")
    module = importlib.import_module(f"cleaner.{ROOMS[kind]}.{kind}.{name}")
    return getattr(module, "".join(word.capitalize() for word in name.split("_")))


def check(kind: str, name: str, settings: dict[str, Any]) -> type[Any]:
    """The class of the part `name`, of which these are settings, as far as each can be judged by itself: a part that is
    not used need not have all.

    Raises:
        ConfigError: an unknown part, or unknown settings and impossible values, all in one message.
    """
    from pydantic import TypeAdapter, ValidationError

    part = find(kind, name)
    hints = get_type_hints(part, include_extras=True)
    known = [field.name for field in fields(part)]
    wrong = [f"unknown setting {kind}.{name}.{key}{nearest(key, known)}" for key in settings if key not in known]
    for key in filter(known.__contains__, settings):
        try:
            TypeAdapter(hints[key]).validate_python(settings[key])
        except ValidationError as error:
            where = f"{kind}.{name}.{key}"
            wrong += [f"{'.'.join(map(str, (where, *each['loc'])))} {complaint(each)}" for each in error.errors()]
    if wrong:
        raise ConfigError("; ".join(wrong))
    return part


def make(kind: str, name: str, settings: dict[str, Any]) -> Any:
    """The part `name` with `settings`, a frozen dataclass.

    Raises:
        ConfigError: as `check`, or a setting is missing.
    """
    from pydantic import TypeAdapter, ValidationError

    part = check(kind, name, settings)
    try:
        return TypeAdapter(part).validate_python(settings)
    except ValidationError as error:
        missing = ", ".join(f"{kind}.{name}.{'.'.join(map(str, each['loc']))}" for each in error.errors())
        raise ConfigError(f"{missing}: must be set") from error
