"""Tables of text as people have them: CSV and its relatives, and JSON lines, compressed or not."""

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from cleaner.data.listings import refuse, unreadable
from cleaner.errors import SourceError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
"""Each may be followed by `.gz`."""
_SEPARATORS = (",", ";", "\t", "|")
_LOOKED_AT = 20

# A cell may hold a whole description or an image; Python's own limit is 131,072 characters.
csv.field_size_limit(sys.maxsize)


class Content(NamedTuple):
    """A table of text as it stands in a file: the names of its columns, none where its first line holds no names; its
    rows; and the line on which each ends."""

    names: list[str] | None
    rows: list[list[str | None]]
    lines: Sequence[int]


def kind_of(path: Path) -> str:
    """The suffix that says how the file is written, `.csv`; empty for what is no table of text."""
    name = path.name.lower().removesuffix(".gz")
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def read_bytes(file: Path) -> bytes:
    """The file's bytes, unpacked.

    Raises:
        SourceError: it can't be read.
    """
    try:
        data = file.read_bytes()
        return gzip.decompress(data) if file.name.lower().endswith(".gz") else data
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(file, error) from error


def read_delimited(file: Path, *, separator: str, columns: Sequence[str], wanted: Sequence[str]) -> Content:
    """The table in `file`.

    Args:
        file: its name says of which kind it is.
        separator: between the values of a line; a blank: any white space; empty: whichever of comma, semicolon, tab and
            bar parts the line of names into those `wanted`, or else all lines alike.
        columns: their names, where the first line is known to hold none.
        wanted: names of columns: where one of them stands in the first line, that holds names.

    Raises:
        SourceError: it can't be read, or lines have more or fewer values than others.
    """
    try:
        text = read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}: no UTF-8 after byte {error.start}; save it as CSV in UTF-8") from error
    if kind_of(file) in (".jsonl", ".ndjson"):
        return _json_lines(file, text)
    separator = separator or _separator(text, kind_of(file), wanted)
    records, lines = _records(file, text, separator)
    if not records:
        raise SourceError(f"{file}: empty; it needs a line with the column names path,label and a line an image")
    if columns:
        # Lists without a line of names are written by hand: `path, 3, 1`.
        return _checked(file, list(columns), [[cell.strip() for cell in record] for record in records], lines)
    if set(wanted) & {name.strip() for name in records[0]}:
        return _checked(file, _named(records[0]), records[1:], lines[1:])
    _checked(file, records[0], records[1:], lines[1:])
    return Content(None, [list(record) for record in records], lines)


def _checked(file: Path, names: list[str], records: list[list[str]], lines: list[int]) -> Content:
    ragged = [
        f"line {line} ({len(cells)})" for line, cells in zip(lines, records, strict=True) if len(cells) != len(names)
    ]
    refuse(file, f"lines with other than {len(names)} values", ragged, "quote values that hold a comma")
    return Content(names, [list(record) for record in records], lines)


def _named(names: list[str]) -> list[str]:
    """Columns without a name, such as the index that pandas writes, get one."""
    return [name if name.strip() else f"column_{number}" for number, name in enumerate(names, 1)]


def _records(file: Path, text: str, separator: str) -> tuple[list[list[str]], list[int]]:
    """The lines that are not empty, as cells, and the number of each."""
    reader = csv.reader(_evenly(io.StringIO(text, newline=""), separator), delimiter=separator, strict=True)
    records, lines = [], []
    try:
        for record in filter(None, reader):
            records.append(record)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise SourceError(f"{file}: line {reader.line_num}: {error}; mend the quotes or the line") from error
    return records, lines


def _evenly(lines: Iterable[str], separator: str) -> Iterable[str]:
    """Where a blank stands for any white space, one blank each."""
    return (" ".join(line.split()) for line in lines) if separator == " " else lines


def _separator(text: str, kind: str, wanted: Sequence[str]) -> str:
    head = re.match(rf"(?:[^\n]*\n){{0,{_LOOKED_AT}}}", text + "\n")
    assert head is not None
    order = sorted(_SEPARATORS, key=lambda each: (each == "\t") != (kind == ".tsv"))
    parted = {each: list(filter(None, csv.reader(io.StringIO(head[0], newline=""), delimiter=each))) for each in order}
    for each, records in parted.items():
        if records and set(wanted) <= {name.strip() for name in records[0]}:
            return each
    for each, records in parted.items():
        if len({len(record) for record in records}) == 1 and len(records[0]) > 1:
            return each
    return order[0]


def _json_lines(file: Path, text: str) -> Content:
    rows, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise SourceError(f"{file}: line {number}: no JSON ({error}); write an object a line") from error
        if not isinstance(row, dict):
            raise SourceError(f"{file}: line {number}: no JSON object; write an object a line")
        rows.append(row)
        lines.append(number)
    if not rows:
        raise SourceError(f'{file}: empty; it needs a line an image, {{"path": ..., "label": ...}}')
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Content(names, [[_cell(row.get(name)) for name in names] for row in rows], lines)


def _cell(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def table_of(content: Content, names: Sequence[str]) -> pa.Table:
    """The rows as a table of text."""
    columns = list(zip(*content.rows, strict=True)) if content.rows else [()] * len(names)
    return pa.table([pa.array(column, pa.string()) for column in columns], list(names))
