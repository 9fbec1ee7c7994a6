"""Print docs/config.md from the code: python docs/settings.py > docs/config.md"""

import json
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

from pydantic.fields import FieldInfo

from cleaner import parts
from cleaner.config import Config
from cleaner.settings import Section
from cleaner.training.recipe import Loss, Network, Optimisation, Phase, Samples
from flows.prefect.limits import Limits
from flows.prefect.schedule import DataSet, Notice, Schedule, Times

Row = tuple[str, str, str]


def page() -> Iterator[str]:
    yield "# Every setting"
    yield "In a TOML file for `--config`, or one by one: `--set fine.k=1`. The recipe's values are the defaults."
    yield "```toml\nseed = 7\n\n[fine]\nmax_rounds = 5\n\n[predictors.probe]\ndimensions = 256\n```"
    yield "## The run"
    yield table(rows(Config, skip=True))
    for name, section in sections().items():
        yield f"## [{name}]\n\n{section.__doc__}"
        yield table(rows(section))
    for kind in ("predictors", "reviewers"):
        for name in parts.names(kind):
            part = parts.find(kind, name)
            yield f"## [{kind}.{name}]\n\n{told(part)}"
            yield table(rows_of_part(part))
    yield "# The file of `cleaner serve` and `cleaner deploy`"
    yield "[Every night](every-night.md) explains it, [an example](cleaner.toml) shows it."
    for title, model in SCHEDULE.items():
        yield f"## {title}\n\n{model.__doc__}"
        yield table(rows(model, but=tuple(SCHEDULE.values())))
    yield "# Recipes of `cleaner train`"
    yield "[Training](training.md) explains them. With `--set` too: `--set optimisation.lr=0.01`."
    for title, model in RECIPE.items():
        yield f"## {title}\n\n{model.__doc__}"
        yield table(rows(model))
    for name in parts.names("augmentations"):
        part = parts.find("augmentations", name)
        yield f'## [[augment]] name = "{name}"\n\n{told(part)}'
        yield table(rows_of_part(part))


def sections() -> dict[str, type[Section]]:
    """Those of a run in the order in which they are used: the stages in theirs, then what people are asked."""
    found = {name: field.annotation for name, field in Config.model_fields.items()}
    of_all = {name: each for name, each in found.items() if isinstance(each, type) and issubclass(each, Section)}
    order = Config().stages
    stages = [*order, *sorted(set(parts.names("stages")) - set(order))]
    before = [name for name in of_all if name not in (*stages, "review")]
    return {name: of_all[name] for name in (*before, *stages, "review")}


OWN_TABLES = ((Schedule, "data"), (Schedule, "notify"), (Optimisation, "phases"))

SCHEDULE = {
    "Above all": Schedule,
    "[data.NAME]": DataSet,
    "[data.NAME.times]": Times,
    "[data.NAME.limits]": Limits,
    "[[notify]]": Notice,
}


RECIPE = {
    "[[networks]]": Network,
    "[samples]": Samples,
    "[loss]": Loss,
    "[optimisation]": Optimisation,
    "[[optimisation.phases]]": Phase,
}


def told(part: type[Any]) -> str:
    """What its docstring says to users: all before the sections for callers."""
    return " ".join((part.__doc__ or "").partition("Raises:")[0].split())


def rows(model: type[Section], *, skip: bool = False, but: tuple[type[Section], ...] = ()) -> Iterator[Row]:
    """The settings of a model; none that are sections of their own, `but`, or, with `skip`, sections at all."""
    for name, field in model.model_fields.items():
        if (model, name) in OWN_TABLES or isinstance(field.default, but):
            continue
        if not (skip and isinstance(field.default, Section | dict)):
            default = "" if field.is_required() else "the recipe" if name == "config" else shown(field.default)
            yield name, default, field.description or ""


def rows_of_part(part: type[Any]) -> Iterator[Row]:
    hints = get_type_hints(part, include_extras=True)
    for field in fields(part):
        (info,) = (info for info in hints[field.name].__metadata__ if isinstance(info, FieldInfo))
        yield field.name, shown(None if field.default is MISSING else field.default), info.description or ""


def shown(default: Any) -> str:
    return "none" if default is None else f"`{as_toml(default)}`"


def as_toml(value: Any) -> str:
    if is_dataclass(value) and not isinstance(value, type):
        return "{" + ", ".join(f"{field.name} = {as_toml(getattr(value, field.name))}" for field in fields(value)) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def table(lines: Iterator[Row]) -> str:
    header = [("setting", "default", "what it is"), ("---",) * 3]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in [*header, *lines])


if __name__ == "__main__":
    sys.stdout.write("\n\n".join(page()) + "\n")
