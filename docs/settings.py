"""Print docs/config.md from the code: python docs/settings.py > docs/config.md"""

import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields

from pydantic.fields import FieldInfo

from cleaner import parts
from cleaner.config import Config, Section


def page() -> Iterator[str]:
    yield "# Every setting"
    yield "In a TOML file for `--config`, or one by one: `--set fine.k=1`. The recipe's values are the defaults."
    yield "```toml\nseed = 7\n\n[fine]\nmax_rounds = 5\n\n[predictors.probe]\ndimensions = 256\n```"
    yield "## The run"
    yield table(rows(Config, skip=True))
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            said = section.__doc__ or section.__mro__[1].__doc__
            yield f"## [{name}]\n\n{said}"
            yield table(rows(section))
    for kind in ("predictors", "reviewers"):
        for name in parts.names(kind):
            yield from of_part(kind, name)


def rows(model: type[Section], *, skip: bool = False) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        if not (skip and not isinstance(field.default, int)):
            yield name, default(field), field.description or ""


def default(field: FieldInfo) -> str:
    return "" if field.default is None else f"`{field.default}`"


def of_part(kind: str, name: str) -> Iterator[str]:
    part = parts.find(kind, name)
    settings = [(field.name, f"`{field.default}`", "") for field in fields(part) if field.default is not MISSING]
    yield f"## [{kind}.{name}]\n\n{(part.__doc__ or '').strip()}"
    if settings:
        yield table((setting, value) for setting, value, _ in settings)


def table(lines: Iterator[tuple[str, ...]]) -> str:
    found = list(lines)
    header = ("setting", "default", "what it is")[: len(found[0])]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ("---",) * len(header), *found])


if __name__ == "__main__":
    sys.stdout.write("\n\n".join(page()) + "\n")
