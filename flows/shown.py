"""What the command line says of a run. Every number here is in one of the run's files too."""

import json
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cleaner import parts
from cleaner.config import assign
from cleaner.errors import InputError, RunError, RunLocked, nearest
from cleaner.loop.asking import Ask
from cleaner.loop.results import SUMMARY
from cleaner.loop.rounds import Item, done, plan
from cleaner.loop.runs import Run, reopen


def show_summary(folder: Path) -> None:
    """What a finished run found, and where it put it."""
    console = Console()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    console.print(
        f"{summary['samples']:,} samples, {summary['classes']:,} classes: {summary['kept']:,} kept,"
        f" {summary['relabelled']:,} relabelled, {summary['dropped']:,} dropped",
        highlight=False,
    )
    console.print(_table(("stage", "round", "judged", "kept", "relabelled", "dropped"), _rounds(summary)))
    _say(console, f"to train on: {folder / 'clean.csv'} (and clean.parquet)")
    _say(console, f"every sample: {folder / 'verdicts.parquet'}")
    _say(console, f"look at the report: {folder / 'report.html'}")


def _rounds(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    counts = ("judged", "positives", "relabelled", "dropped")
    return [
        (entry["stage"], str(entry["round"]), *(f"{entry[count]:,}" for count in counts)) for entry in summary["stages"]
    ]


def show_status(folder: Path) -> None:
    """Where a run is, and what it waits for.

    Raises:
        RunError: no run lies in `folder`.
    """
    run = reopen(folder)
    missing = _first_missing(run)
    console = Console()
    if _at_work(run):
        _say(console, f"{folder}: a command works on it")
    if isinstance(missing, Ask):
        todo = run.reviewer.todo(missing.batch, run.store.reviews) if run.reviewer else ""
        _say(console, f"{folder}: waits for people at {missing.stage}, round {missing.round}: {todo}")
    elif missing is not None:
        names = ", ".join(step.name for step in missing if not done(run, step))
        _say(console, f"{folder}: next comes {names}; give the same `cleaner clean` command again")
    elif (folder / SUMMARY).exists():
        _say(console, f"{folder}: finished")
        show_summary(folder)
    else:
        _say(console, f"{folder}: only the results are to be written; give the same `cleaner clean` command again")


def _first_missing(run: Run) -> Item | None:
    """The first item of the plan with something to do."""
    return next((item for item in plan(run) if not _is_done(run, item)), None)


def _is_done(run: Run, item: Item) -> bool:
    return done(run, item) if isinstance(item, Ask) else all(done(run, step) for step in item)


def _at_work(run: Run) -> bool:
    try:
        with run.store.locked():
            return False
    except RunLocked:
        return True


def show_sample(folder: Path, sample: str) -> None:
    """Every verdict on one sample, and what stands.

    Raises:
        InputError: no such sample.
    """
    run = reopen(folder)
    manifest = _manifest(run)
    row = _row_of(manifest, sample)
    said = manifest.slice(row, 1).to_pylist()[0]
    console = Console()
    _say(console, f"{said['path']} ({said['sample_id']}), given label {said['label']}")
    if said["problem"]:
        _say(console, f"can't be used: {said['problem']}")
    verdicts = run.store.ledger.explain(said["sample_id"]).to_pylist()
    columns = ("stage", "round", "action", "new_label", "score", "by", "reason")
    console.print(_table(columns, [tuple(_cell(verdict[column]) for column in columns) for verdict in verdicts]))
    if (folder / SUMMARY).exists():
        _say(console, _standing(folder, said["sample_id"]))
    else:
        _say(console, "the run is not finished; see: cleaner status")


def _manifest(run: Run) -> pa.Table:
    reached = takewhile(lambda item: _is_done(run, item), plan(run))
    for item in reached:
        for step in item if isinstance(item, list) else []:
            if step.name == "manifest":
                return run.store.read(step.output)
    raise RunError(f"{run.store.folder}: its images are not read yet; give the same `cleaner clean` command again")


def _row_of(manifest: pa.Table, sample: str) -> int:
    for column in ("sample_id", "path"):
        row = pc.index(manifest.column(column), sample).as_py()
        if row >= 0:
            return row
    names = manifest.column("path").to_pylist()
    close = [name for name in names if Path(name).name == Path(sample).name][:3]
    hint = f" (did you mean {', '.join(close)}?)" if close else nearest(sample, names) if len(names) < 10_000 else ""
    raise InputError(f"no sample {sample}{hint}; SAMPLE is a sample_id or a path as in verdicts.parquet")


def _standing(folder: Path, sample_id: str) -> str:
    (stands,) = pq.read_table(folder / "verdicts.parquet", filters=[("sample_id", "=", sample_id)]).to_pylist()
    label = f" as {stands['new_label']}" if stands["new_label"] else ""
    return f"stands: {stands['action']}{label}, by {stands['by']} ({stands['reason']})"


def show_export(folder: Path, form: str, out: Path, assignments: list[str]) -> None:
    """Export what stands at the end of a run, and say how much.

    Raises:
        InputError: the run is not finished, or the form, its settings or `out` can't be.
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        assign(settings, assignment)
    exporter = parts.make("exporters", form, settings)
    run = reopen(folder)
    files = [folder / name for name in ("verdicts.parquet", "manifest.parquet")]
    if not (folder / SUMMARY).exists():
        raise RunError(f"{folder}: the run is not finished; see: cleaner status {folder}")
    count = exporter.export(*(pq.read_table(file) for file in files), run.source, out)
    _say(Console(), f"{count:,} samples: {out}")


def _table(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _say(console: Console, line: str) -> None:
    """Text of the data set is never markup, and a path is never broken."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
