"""`cleaner why`: every verdict on one image, and what people said of it."""

from collections.abc import Sequence
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cleaner.errors import InputError, RunError
from cleaner.run import versions
from cleaner.run.finished import (
    MANIFEST_FILE,
    VERDICTS_FILE,
    read_result,
    read_summary,
)
from cleaner.run.ledger import fold
from cleaner.run.origin import origin_of
from cleaner.run.state import read_state
from cleaner.run.store import Store
from cleaner.stages import judging_labels, title
from cleaner.tables import VERDICTS, text
from cleaner.words import SCORE
from flows.console import cell, console, say, say_json
from flows.shown import go_on


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
    known = manifest.slice(row, 1).to_pylist()[0]
    counted_then = wanted.parts if wanted else summary["versions"]["ledger"] if summary else None
    verdicts = _verdicts(folder, known["sample_id"], counted_then)
    answers = _words(folder, known["content_hash"])
    stands: dict[str, Any] | None = None
    if wanted is not None:
        of_it = pa.Table.from_pylist([verdict | {"row": 0} for verdict in verdicts if verdict["counts"]], VERDICTS)
        (stands,) = fold(manifest.slice(row, 1), [of_it.slice(place, 1) for place in range(len(of_it))]).to_pylist()
    elif summary is not None:
        (stands,) = read_result(folder, VERDICTS_FILE, sample_id=known["sample_id"]).to_pylist()
    if as_json:
        everything = {"sample": known, "said": answers, "verdicts": verdicts, "stands": stands}
        say_json(everything)
        return
    out = console()
    say(out, f"{known['path']} ({known['sample_id']}), given label {known['label']}")
    if known["problem"]:
        say(out, f"can't be used: {known['problem']}")
    for answer in answers:
        label = f" {answer['new_label']}" if answer["new_label"] else ""
        withdrawn = f"; withdrawn by withdrawal {answer['withdrawn']}" if answer["withdrawn"] else ""
        asked = f"when asked in {answer['batch']} ({answer['at'][:16]})"
        say(out, f"{answer['by']} said {answer['answer']}{label} {asked}{withdrawn}")
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
    score = "" if verdict["score"] is None else f", score {cell(verdict['score'])}"
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
    spoken = [answer | {"withdrawn": withdrawn} for answer, withdrawn in Store(folder).answers.with_withdrawals()]
    found = [
        answer for answer in spoken if answer["content_hash"] is not None and answer["content_hash"] == content_hash
    ]
    return sorted(found, key=itemgetter("at"))


def _manifest(folder: Path, *, finished: bool) -> pa.Table:
    if finished:
        return read_result(folder, MANIFEST_FILE)
    state = read_state(folder)
    if state is None or not state.names.manifest:
        raise RunError(f"{folder}: its images are not read yet; {go_on('clean')}")
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
