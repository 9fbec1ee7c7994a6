"""What is written on a terminal: text of the data set is never markup, and a path is never broken or altered."""

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 10_000
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def console(*, stderr: bool = False) -> Console:
    """Where people read; `:100:` stays what it is, and is no picture."""
    stream = sys.stderr if stderr else sys.stdout
    # To a file or another program no line is folded, however wide this terminal is.
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, width=width, emoji=False, markup=False, highlight=False)


def say(where: Console, line: str) -> None:
    where.print(plain(line), soft_wrap=True)


def plain(text: str) -> str:
    """`text` with characters that command a terminal shown as what they are."""
    return _COMMANDS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def say_json(value: Any) -> None:
    """For programs: no console sees it. What stdout's encoding has no letters for is escaped."""
    plain = json.dumps(value, indent=2, default=str, ensure_ascii=False)
    try:
        plain.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        plain = json.dumps(value, indent=2, default=str)
    sys.stdout.write(plain + "\n")


def table(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(each)) for each in row))
    return table


def cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
