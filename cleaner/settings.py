"""Settings: models that never change once made and know every key, and what is said of wrong ones."""

import tomllib
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from cleaner.errors import ConfigError, complaint, nearest


class Section(BaseModel):
    """Settings that never change once made, and that know every key."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def assign(settings: dict[str, Any], assignment: str) -> None:
    """Set in `settings` what `a.b=value` says.

    Raises:
        ConfigError: it is no assignment.
    """
    key, equals, value = assignment.partition("=")
    if not equals:
        raise ConfigError(f"--set {assignment}: wants a.b=value, for example --set fine.k=1")
    *sections, name = key.strip().split(".")
    for section in sections:
        settings = settings.setdefault(section, {})
        if not isinstance(settings, dict):
            raise ConfigError(f"--set {assignment}: {section} is a value, not a section")
    settings[name] = _value(value.strip())


def _value(text: str) -> Any:
    """A TOML value where `text` is one, else the text itself: `fine.k=1` and `features.backbone=resnet18` both work."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def complaints(model: type[BaseModel], error: ValidationError) -> list[str]:
    """What is wrong with settings that should have made a `model`, a line for each mistake."""
    return [_complaint(model, problem) for problem in error.errors()]


def _complaint(model: type[BaseModel], problem: Any) -> str:
    if not problem["loc"]:
        return str(problem["msg"]).removeprefix("Value error, ")
    *sections, name = (str(part) for part in problem["loc"])
    key = ".".join([*sections, name])
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] != "extra_forbidden":
        return f"{key} {complaint(problem)}"
    return f"unknown setting {key}{nearest(name, _fields(model, sections))}"


def _fields(model: Any, sections: list[str]) -> list[str]:
    """The names that the section may hold to which `sections` lead, through mappings and lists too."""
    for section in sections:
        named = isinstance(model, type) and issubclass(model, BaseModel)
        if named:
            model = model.model_fields[section].annotation
        else:
            # Of a mapping the values, of a tuple `tuple[X, ...]` its items.
            model = [each for each in get_args(model) if each is not ...][-1]
    return list(model.model_fields)
