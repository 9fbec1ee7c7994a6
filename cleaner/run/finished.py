"""The files that a finished run leaves: read whole or refused in one line, and withdrawn all together."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cleaner.errors import RunError
from cleaner.run.files import read_table, rows_where, storage_error

SUMMARY = "summary.json"
MANIFEST_FILE = "manifest.parquet"
VERDICTS_FILE = "verdicts.parquet"
CLEAN_PARQUET = "clean.parquet"
CLEAN_CSV = "clean.csv"
ISSUES = "issues.csv"
ISSUES_PARQUET = "issues.parquet"
DUPLICATES_CSV = "duplicates.csv"
QUALITY_PARQUET = "quality.parquet"
REPORT = "report.html"
PROVISIONAL = "provisional"
"""The folder in a run's directory that has the same files, of what stands so far, until the run is finished."""
RESULTS = (
    *(SUMMARY, CLEAN_PARQUET, CLEAN_CSV, ISSUES, ISSUES_PARQUET, DUPLICATES_CSV, QUALITY_PARQUET),
    *(VERDICTS_FILE, REPORT, MANIFEST_FILE),
)
"""What a run leaves: `summary.json` is written last and withdrawn first, so where it is, the others follow from it."""

_AGAIN = "give the same `cleaner clean` command again to write it anew"


def withdraw(folder: Path) -> list[str]:
    """Remove the results in `folder`, so that nobody takes them for those of something else; the names of those there.

    Raises:
        StorageError: one can't be removed.
    """
    there = [name for name in RESULTS if (folder / name).exists()]
    for name in there:
        try:
            (folder / name).unlink()
        except OSError as error:
            raise storage_error(folder / name, error) from error
    if folder.name == PROVISIONAL:
        with suppress(OSError):
            folder.rmdir()
    return there


def read_summary(folder: Path) -> dict[str, Any] | None:
    """What `summary.json` says; None where the run is not finished.

    Raises:
        RunError: it is damaged.
    """
    file = folder / SUMMARY
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        # Asked for first, it could be withdrawn before it is read.
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: is damaged ({error}); {_AGAIN}") from error
    if not isinstance(summary, dict) or not isinstance(summary.get("versions"), dict):
        raise RunError(f"{file}: is no summary of a run; {_AGAIN}")
    return summary


def read_result(folder: Path, name: str, *, sample_id: str | None = None) -> pa.Table:
    """One of the result tables, or of it the row of one sample.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        if sample_id is not None:
            return rows_where(folder / name, "sample_id", sample_id)
        return read_table(folder / name)
    except (OSError, pa.ArrowException) as error:
        raise RunError(_said(folder / name, error)) from error


def damage(folder: Path) -> str:
    """What is wrong with a run's results, as far as sizes and Parquet footers tell; empty if nothing. Provisional ones
    may have no page yet."""
    for name in RESULTS:
        file = folder / name
        if name == REPORT and folder.name == PROVISIONAL and not file.exists():
            continue
        try:
            if file.suffix == ".parquet":
                pq.read_metadata(file)
            elif file.stat().st_size == 0:
                raise OSError("empty")
        except (OSError, pa.ArrowException) as error:
            return _said(file, error)
    return ""


def _said(file: Path, error: Exception) -> str:
    if not file.exists():
        return f"{file}: is missing; {_AGAIN}"
    return f"{file}: is damaged ({' '.join(str(error).split())[:120]}); {_AGAIN}"
