"""`cleaner issues` and `cleaner export`: what a run hands over, finished or so far."""

import json
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cleaner import parts
from cleaner.data.exporters import export as write_export
from cleaner.data.sources import source_at
from cleaner.errors import InputError, RunError
from cleaner.run import versions
from cleaner.run.files import write_bytes, write_table
from cleaner.run.finished import (
    ISSUES_PARQUET,
    MANIFEST_FILE,
    PROVISIONAL,
    VERDICTS_FILE,
    read_result,
    read_summary,
)
from cleaner.run.origin import origin_of
from cleaner.run.state import read_state
from cleaner.run.store import Store
from cleaner.settings import assign
from cleaner.spreadsheets import as_csv
from cleaner.tables import Classes
from cleaner.words import Issue, counted
from flows.console import cell, console, say, table
from flows.shown import summary_of

_TOP = 10


def show_export(
    folder: Path,
    form: str,
    out: Path,
    assignments: list[str],
    *,
    force: bool,
    provisional: bool,
    absolute: bool,
    version: str | None,
) -> None:
    """Export what stands at the end of a run, or `provisional`, so far, or what stood in a `version`, and say how much.

    Raises:
        InputError: the form, its settings, `out` or the version can't be.
        RunError: the run is not finished.
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        assign(settings, assignment)
    exporter = parts.make("exporters", form, settings)
    origin = origin_of(folder)
    words = ""
    if version is not None:
        wanted, store = versions.version_of(folder, version), Store(folder)
        standing, manifest = versions.standing(store, wanted), store.read(wanted.manifest)
        newest = read_state(folder)
        if origin.form == "parquet_images" and newest is not None and wanted.manifest != newest.names.manifest:
            raise InputError(f"{folder}: the images of {version} lay in a table that has changed since")
        words = f"; {wanted.name}: {wanted.words}"
    else:
        results = _newest(folder)
        if results.name == PROVISIONAL:
            if not provisional:
                raise RunError(f"{folder}: the run is not finished; --provisional exports what stands so far")
            words = f"; provisional: what stands {summary_of(results)['provisional']}"
        standing, manifest = (read_result(results, name) for name in (VERDICTS_FILE, MANIFEST_FILE))
    source = source_at(origin.form, origin.source, origin.config.sources)
    done = write_export(exporter, standing, manifest, source, out, force=force, absolute=absolute, run=folder)
    say(console(), f"{counted(done.count, 'sample')}: {out}" + f" ({done.words})" * bool(done.words) + words)


def show_issues(
    folder: Path,
    *,
    kind: Issue | None,
    label: str | None,
    below: float | None,
    top: int | None,
    form: str,
    out: Path | None,
) -> None:
    """What is wrong, or may be, of a run that is finished, or else of what stands so far.

    Raises:
        InputError: no such class, or the form wants a file.
        RunError: no run lies in `folder`, or no round is done yet.
        StorageError: `out` can't be written.
    """
    # What judges images is a large library.
    from cleaner.plan.issues import chosen, counts

    if form == "parquet" and out is None:
        raise InputError("Parquet is no text for a terminal; say where to write it: --out FILE")
    if form == "table" and out is not None:
        raise InputError(f"{out}: say in which form: --format csv, json or parquet")
    origin_of(folder)
    results = _newest(folder)
    every = read_result(results, ISSUES_PARQUET)
    found = chosen(every, kind=kind, label=label, below=below)
    if label is not None and len(found) == 0:
        _require_class(results, label)
    told = list(counts(found))
    if top is not None or form == "table":
        found = pa.concat_tables([found.slice(0, 0), *(chosen(found, kind=of).slice(0, top or _TOP) for of, _ in told)])
    if form == "table":
        _say_issues(found, told)
    elif form == "csv":
        _write(as_csv(found), out)
    elif form == "json":
        _write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.to_pylist()).encode(), out)
    elif out is not None:
        write_table(out, found)
    if results.name == PROVISIONAL:
        say(console(stderr=True), f"provisional: what stands {summary_of(results)['provisional']}")


def _newest(folder: Path) -> Path:
    """Where the results of a run lie, or those so far.

    Raises:
        RunError: there are none.
    """
    if read_summary(folder) is not None:
        return folder
    if read_summary(folder / PROVISIONAL) is not None:
        return folder / PROVISIONAL
    raise RunError(f"{folder}: the run is not finished, and no round is done yet; see: cleaner status {folder}")


def _require_class(results: Path, label: str) -> None:
    names = Classes.of(read_result(results, MANIFEST_FILE)).names
    if label not in names:
        near = get_close_matches(label, names, 1)
        raise InputError(f"{label}: no such class" + f" (did you mean {near[0]}?)" * bool(near))


def _say_issues(found: pa.Table, told: list[tuple[Issue, int]]) -> None:
    out = console()
    if not told:
        say(out, "nothing is wrong, as far as is known")
    for kind, count in told:
        some = found.filter(pc.equal(found.column("kind"), kind))
        more = f", {len(some)} of them" if len(some) < count else ""
        say(out, f"{kind}: {count:,}{more}")
        columns = ("path", "given_label", "suggested_label", "score", "reason")
        rows = zip(*(some.column(name).to_pylist() for name in columns), strict=True)
        out.print(
            table(
                ("  image", "given", "suggested", "score", "why"),
                [("  " + (row[0] or ""), *map(cell, row[1:])) for row in rows],
            )
        )


def _write(data: bytes, out: Path | None) -> None:
    if out is not None:
        write_bytes(out, data)
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
