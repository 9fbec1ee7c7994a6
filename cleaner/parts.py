"""Finding the parts of a kind: the file's name is what a user writes, the class in it has that name in CamelCase."""

import importlib
import pkgutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from cleaner.errors import ConfigError, nearest

ROOMS = {"sources": "data", "exporters": "data", "predictors": "evidence", "reviewers": "people"}
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


def make(kind: str, name: str, settings: dict[str, Any]) -> Any:
    """The part `name` with `settings`, a frozen dataclass.

    Raises:
        ConfigError: an unknown part, an unknown setting, or a value of the wrong type.
    """
    from pydantic import TypeAdapter, ValidationError

    part = find(kind, name)
    known = [field.name for field in fields(part)]
    wrong = [f"unknown setting {kind}.{name}.{key}{nearest(key, known)}" for key in settings if key not in known]
    if wrong:
        raise ConfigError("; ".join(wrong))
    try:
        return TypeAdapter(part).validate_python(settings)
    except ValidationError as error:
        problems = (
            f"{kind}.{name}.{'.'.join(map(str, p['loc']))} = {p['input']!r}: {p['msg']}" for p in error.errors()
        )
        raise ConfigError("; ".join(problems)) from error
