"""What the command line says of a run. Every number here is in one of the run's files too.

Looking takes no lock, writes nothing, and needs neither the data set nor what computes features.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table
from rich.text import Text

from cleaner import parts
from cleaner.data.exporters import export as write_export
from cleaner.data.sources import source_at
from cleaner.errors import InputError, RunError
from cleaner.run import versions
from cleaner.run.files import write_bytes, write_table
from cleaner.run.finished import (
    CLEAN_CSV,
    ISSUES_PARQUET,
    MANIFEST_FILE,
    PROVISIONAL,
    REPORT,
    VERDICTS_FILE,
    damage,
    read_result,
    read_summary,
)
from cleaner.run.ledger import fold
from cleaner.run.origin import origin_of
from cleaner.run.state import Doing, State, read_state
from cleaner.run.store import Store
from cleaner.settings import assign
from cleaner.spreadsheets import as_csv
from cleaner.stages import judging_labels, title
from cleaner.tables import VERDICTS, Classes, text
from cleaner.training.kept import Kept, outcome, trainings
from cleaner.words import SCORE, Issue, counted, models_worth, shown, span, wrong_labels
from flows.console import console, plain, say, say_json

_TOP = 10
_COUNTS = {"kept": "positives", "relabelled": "relabelled", "dropped": "dropped"}


def show_summary(folder: Path, seconds: float | None = None) -> None:
    """What a finished run found, where it put it, and what to do next; `seconds` is how long the command took.

    Raises:
        RunError: its summary is missing or damaged.
    """
    out, summary = console(), _summary(folder)
    took = "" if seconds is None else f" in {span(seconds)}"
    counts = ", ".join(f"{summary[name]:,} {name}" for name in ("kept", "relabelled", "dropped"))
    samples = f"{counted(summary['samples'], 'sample')} of {counted(summary['classes'], 'class', 'classes')}"
    say(out, f"{samples}: {counts}{took}")
    if worth := models_worth(summary["label_noise"]):
        say(out, worth)
    for line in _unreadable(summary):
        say(out, line)
    leakage = summary["leakage"]
    if leakage["pictures"]:
        some = "; ".join(" = ".join(paths) for paths in leakage["examples"])
        say(out, f"leakage: {counted(leakage['pictures'], 'picture')} in more than one split, for example {some}")
    out.print(table(("found by", "round", "judged", *_COUNTS), _rounds(summary)))
    say(out, wrong_labels(summary["label_noise"]))
    some_left = summary["kept"] + summary["relabelled"]
    say(out, f"to train on: {folder / CLEAN_CSV} (and clean.parquet)" if some_left else "nothing is left to train on")
    say(out, f"every sample: {folder / VERDICTS_FILE}")
    say(out, f"next: look at the report, {folder / REPORT}, or around: cleaner ui {folder}")


def _summary(folder: Path) -> dict[str, Any]:
    summary = read_summary(folder)
    if summary is None:
        raise RunError(f"{folder}: the run is not finished; see: cleaner status {folder}")
    return summary


def _unreadable(summary: dict[str, Any]) -> Iterable[str]:
    """How many files could not be read, why, and three of them."""
    problems = summary["problems"]
    if problems:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in problems.items())
        some = ", ".join(summary["problem_paths"])
        yield f"{counted(sum(problems.values()), 'unreadable file')}: {reasons}; for example {some}"
    if lost := summary.get("unusable_classes"):
        yield f"{counted(len(lost), 'class', 'classes')} of which no image can be used: {shown(lost)}"


def _rounds(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """The rounds in which anything was judged."""
    return [
        (
            title(entry["stage"]),
            str(entry["round"]),
            *(f"{entry[count]:,}" for count in ("judged", *_COUNTS.values())),
        )
        for entry in summary["stages"]
        if entry["judged"]
    ]


def show_status(folder: Path, *, as_json: bool) -> None:
    """Where a run and its trainings are, and what it waits for.

    Raises:
        RunError: no run lies in `folder`, or its files are damaged.
    """
    origin_of(folder)
    state, summary, trained = read_state(folder), read_summary(folder), trainings(folder)
    if summary is not None and (problem := damage(folder)):
        raise RunError(problem)
    if as_json:
        so_far = read_summary(folder / PROVISIONAL)
        said = {
            **_state(state),
            "summary": summary,
            "provisional": so_far,
            "trainings": [_training(each) for each in trained],
        }
        say_json(said)
        return
    out = console()
    say(out, f"{folder}: {_where(state, 'clean')}")
    if state is not None and state.doing is not Doing.FINISHED:
        for line in state.told:
            say(out, f"  done: {line}")
        if so_far := read_summary(folder / PROVISIONAL):
            say(out, f"provisional, what stands {so_far['provisional']}: {folder / PROVISIONAL / CLEAN_CSV}")
    elif summary is not None:
        show_summary(folder)
    for each in trained:
        say(out, f"{each.folder}: {outcome(each.summary) if each.summary else _where(each.state, 'train')}")


def _state(state: State | None) -> dict[str, Any]:
    said = None if state is None else state.model_dump(mode="json")
    return {"state": said, "ended": bool(state and state.doing is Doing.WORKING and state.ended)}


def _training(kept: Kept) -> dict[str, Any]:
    return {"folder": str(kept.folder), **_state(kept.state), "summary": kept.summary}


def _go_on(command: str) -> str:
    return f"give the same `cleaner {command}` command again to go on"


def _where(state: State | None, command: str) -> str:
    go_on = _go_on(command)
    if state is None:
        return f"nothing is done yet; {go_on}"
    if state.doing is Doing.FINISHED:
        return "finished"
    if state.doing is Doing.WAITING:
        return f"waits for people: {state.words}"
    if state.doing is Doing.STOPPED:
        return f"stopped: {state.words}; {go_on}"
    if state.ended:
        return f"was ended while {state.words}; {go_on}"
    since = state.since.astimezone().strftime("%Y-%m-%d %H:%M")
    return f"at work since {since} (process {state.pid} on {state.host}), {100 * state.done:.0f} % done: {state.words}"


def show_sample(folder: Path, sample: str, *, version: str | None, as_json: bool) -> None:
    """Every verdict on one sample, and what stands, or stood in a version.

    Raises:
        InputError: no such sample or version.
        RunError: no run lies in `folder`, or its files are damaged.
    """
    origin_of(folder)
    summary = read_summary(folder)
    wanted = versions.version_of(folder, version) if version is not None else None
    manifest = Store(folder).read(wanted.manifest) if wanted else _manifest(folder, finished=summary is not None)
    row = row_of(manifest, sample)
    said = manifest.slice(row, 1).to_pylist()[0]
    counted_then = wanted.parts if wanted else summary["versions"]["ledger"] if summary else None
    verdicts = _verdicts(folder, said["sample_id"], counted_then)
    words = _words(folder, said["content_hash"])
    stands: dict[str, Any] | None = None
    if wanted is not None:
        of_it = pa.Table.from_pylist([verdict | {"row": 0} for verdict in verdicts if verdict["counts"]], VERDICTS)
        (stands,) = fold(manifest.slice(row, 1), [of_it.slice(place, 1) for place in range(len(of_it))]).to_pylist()
    elif summary is not None:
        (stands,) = read_result(folder, VERDICTS_FILE, sample_id=said["sample_id"]).to_pylist()
    if as_json:
        everything = {"sample": said, "said": words, "verdicts": verdicts, "stands": stands}
        say_json(everything)
        return
    out = console()
    say(out, f"{said['path']} ({said['sample_id']}), given label {said['label']}")
    if said["problem"]:
        say(out, f"can't be used: {said['problem']}")
    for word in words:
        label = f" {word['new_label']}" if word["new_label"] else ""
        withdrawn = f"; withdrawn by withdrawal {word['withdrawn']}" if word["withdrawn"] else ""
        asked = f"when asked in {word['batch']} ({word['at'][:16]})"
        say(out, f"{word['by']} said {word['answer']}{label} {asked}{withdrawn}")
    told = [verdict for verdict in verdicts if verdict["counts"]]
    for verdict in told:
        say(out, _line(verdict))
    if stands is None:
        say(out, f"the run is not finished; see: cleaner status {folder}")
        return
    if any(verdict["stage"] in judging_labels() for verdict in told):
        say(out, SCORE)
    label = f" as {stands['new_label']}" if stands["new_label"] else ""
    when = "stands" if wanted is None else f"stood in {wanted.name}, {wanted.words}"
    say(out, f"{when}: {stands['action']}{label}, by {stands['by']} ({stands['reason']})")


def _line(verdict: dict[str, Any]) -> str:
    """A verdict, in a line that is as long as its reason is."""
    of = f", round {verdict['round']}" if verdict["round"] else ""
    label = f" as {verdict['new_label']}" if verdict["new_label"] else ""
    score = "" if verdict["score"] is None else f", score {_cell(verdict['score'])}"
    action = verdict["action"] or "nothing changed"
    return f"  {title(verdict['stage'])}{of}: {action}{label}{score}, by {verdict['by']}: {verdict['reason']}"


def _verdicts(folder: Path, sample_id: str, ledger: Sequence[str] | None) -> list[dict[str, Any]]:
    """Every verdict ever; those of the parts of the `ledger` count, and come in the order in which they do."""
    verdicts = Store(folder).ledger.explain(sample_id).to_pylist()
    if ledger is None:
        return [verdict | {"counts": True} for verdict in verdicts]
    place = {name: number for number, name in enumerate(ledger)}
    places = [place.get(verdict["part"].partition("-")[2], -1) for verdict in verdicts]
    order = sorted(range(len(verdicts)), key=lambda number: places[number])
    return [verdicts[number] | {"counts": places[number] >= 0} for number in order]


def _words(folder: Path, content_hash: str | None) -> list[dict[str, Any]]:
    """What people said of a file or its copies, the newest last; `withdrawn`: by which withdrawal, 0 for none."""
    spoken = [word | {"withdrawn": withdrawn} for word, withdrawn in Store(folder).answers.spoken()]
    words = [word for word in spoken if word["content_hash"] is not None and word["content_hash"] == content_hash]
    return sorted(words, key=itemgetter("at"))


def _manifest(folder: Path, *, finished: bool) -> pa.Table:
    if finished:
        return read_result(folder, MANIFEST_FILE)
    state = read_state(folder)
    if state is None or not state.names.manifest:
        raise RunError(f"{folder}: its images are not read yet; {_go_on('clean')}")
    return Store(folder).read(state.names.manifest)


def row_of(manifest: pa.Table, sample: str) -> int:
    """The row of a sample, given by its sample_id or path.

    Raises:
        InputError: there is none.
    """
    for column in ("sample_id", "path"):
        row = pc.index(manifest.column(column), text(sample)).as_py()
        if row >= 0:
            return row
    names = manifest.column("path").to_pylist()
    close = [name for name in names if Path(name).name == Path(sample).name][:3]
    near = close or (get_close_matches(sample, names, n=3) if len(names) < 10_000 else [])
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    raise InputError(f"no sample {sample}{hint}; SAMPLE is a sample_id or a path as in verdicts.parquet")


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
            words = f"; provisional: what stands {_summary(results)['provisional']}"
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
        say(console(stderr=True), f"provisional: what stands {_summary(results)['provisional']}")


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
                [("  " + (row[0] or ""), *map(_cell, row[1:])) for row in rows],
            )
        )


def _write(data: bytes, out: Path | None) -> None:
    if out is not None:
        write_bytes(out, data)
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def table(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
