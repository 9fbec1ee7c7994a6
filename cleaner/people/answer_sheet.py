"""CSV files that people fill in, often with a spreadsheet.

What a spreadsheet does to the file is forgiven; what people mean is never guessed.

A cell that a spreadsheet would run as a formula is written with an apostrophe before it, and read without.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cleaner.errors import AnswerError, nearest
from cleaner.spreadsheets import guarded, unguarded

_MOST_COMPLAINTS = 5
_SEPARATORS = ",;\t"

T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """One row of a sheet: the line of the file it begins on, from 1, and its cells by the columns' lower-case names."""

    number: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "").strip()


class Complaint(Exception):
    """One cell that can't be understood, in words for the person who filled it."""


def sheet_text(columns: tuple[str, ...], rows: list[dict[str, str]]) -> str:
    """A CSV with guarded cells; it begins with the mark by which Excel knows UTF-8."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({column: guarded(cell) for column, cell in row.items()} for row in rows)
    return "\ufeff" + text.getvalue()


def read_sheet(file: Path, needed: tuple[str, ...]) -> list[Line]:
    """The rows that are not blank. UTF-8, UTF-16 and Windows' own encoding, commas, semicolons and tabs are understood,
    and columns in any order.

    Raises:
        AnswerError: no such file, a column of `needed` is missing or there twice, or a line has a cell too many.
    """
    text = _decoded(file)
    head = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    columns = [cell.strip().lower() for cell in next(reader, [])]
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise AnswerError(f"{file}: line 1: two columns are called {', '.join(twice)}; rename or remove one")
    missing = [column for column in needed if column not in columns]
    if missing:
        raise AnswerError(f"{file}: line 1: no column {', '.join(missing)}; give the columns back their names")
    lines, begins = [], reader.line_num + 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if any(cell.strip() for cell in cells[len(columns) :]):
                    what = f"has {len(cells)} cells where line 1 has {len(columns)}"
                    raise AnswerError(
                        f"{file}: line {begins}: {what}; put a cell that holds a {separator!r} into quotes"
                    )
                lines.append(Line(begins, dict(zip(columns, cells, strict=False))))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise AnswerError(f"{file}: line {begins}: is no CSV ({error}); look for a quote too many") from error
    return lines


def _decoded(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise AnswerError(f"{file}: can't be read ({error.strerror}); put the sheet back there") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def understand(file: Path, lines: list[Line], read: Callable[[Line], tuple[str, T] | None]) -> dict[str, T]:
    """What `read` makes of each line, a key and an answer, or nothing where there is no answer yet.

    Raises:
        AnswerError: with up to five complaints, among them a key that is answered twice and differently.
    """
    answers: dict[str, tuple[int, T]] = {}
    complaints = []
    for line in lines:
        try:
            found = read(line)
            if found is not None:
                _add(answers, line, *found)
        except Complaint as complaint:
            complaints.append(f"line {line.number}: {complaint}")
    if complaints:
        more = len(complaints) - _MOST_COMPLAINTS
        told = complaints[:_MOST_COMPLAINTS] + ([f"and {more} more"] if more > 0 else [])
        raise AnswerError(f"{file}: {'; '.join(told)}")
    return {key: answer for key, (_, answer) in answers.items()}


def _add(answers: dict[str, tuple[int, T]], line: Line, key: str, answer: T) -> None:
    before = answers.setdefault(key, (line.number, answer))
    if before[1] != answer:
        raise Complaint(f"{key} is answered differently in line {before[0]}; leave one of the two")


def word(text: str, known: list[str], column: str) -> str:
    """The one of `known` that `text` is, in whatever case; empty where `text` is.

    Raises:
        Complaint: it is none of them.
    """
    lower = text.lower()
    if lower and lower not in known:
        raise Complaint(f"{column} {text!r} is none{nearest(lower, known)}")
    return lower


def class_name(text: str, classes: tuple[str, ...], column: str) -> str:
    """The class that a person means by `text`.

    Raises:
        Complaint: there is no such class, or several that differ in case only.
    """
    plain = unguarded(text)
    for exact in (plain, text):
        if exact in classes:
            return exact
    alike = [name for name in classes if name.strip().casefold() == plain.casefold()]
    if len(alike) != 1:
        raise Complaint(f"{column} {text!r} is {'several classes' if alike else 'no class'}{_near(plain, classes)}")
    return alike[0]


def _near(text: str, classes: tuple[str, ...]) -> str:
    """Like `nearest`, but thousands of classes are not listed."""
    hint = nearest(text, list(classes))
    return hint if len(hint) < 200 else "; copy a name from the columns label or guess_1"
