"""Tables that people open with a spreadsheet: no cell is run as a formula."""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")


def guarded(cell: str) -> str:
    """`cell` as it is safe in a spreadsheet: an apostrophe stands before what would be run (OWASP, CSV injection)."""
    return "'" + cell if cell.startswith(_RISKY) else cell


def unguarded(cell: str) -> str:
    """The inverse of `guarded`; a cell that a person typed without the apostrophe stays as it is."""
    return cell[1:] if cell.startswith("'") else cell


def as_csv(table: pa.Table) -> bytes:
    """The lines of a CSV for people."""
    out = io.BytesIO()
    pa_csv.write_csv(for_people(table), out)
    return out.getvalue()


def for_people(table: pa.Table) -> pa.Table:
    """`table` with all text guarded, names of columns too."""
    for place, name in enumerate(table.column_names):
        column = table.column(name)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            risky = pc.match_substring_regex(column, f"^[{''.join(_RISKY).replace('-', '')}-]")
            quoted = pc.replace_substring_regex(column, "^", "'", max_replacements=1)
            column = pc.if_else(risky, quoted, column)
        table = table.set_column(place, guarded(name), column)
    return table
