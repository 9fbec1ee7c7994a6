"""What the command line says of a run. Every number here is in one of the run's files too.

Looking takes no lock, writes nothing, and needs neither the data set nor what computes features.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cleaner.errors import RunError
from cleaner.run.finished import (
    CLEAN_CSV,
    PROVISIONAL,
    REPORT,
    VERDICTS_FILE,
    damage,
    read_summary,
)
from cleaner.run.origin import origin_of
from cleaner.run.state import Doing, State, read_state
from cleaner.stages import title
from cleaner.training.kept import Kept, outcome, trainings
from cleaner.words import counted, models_worth, shown, span, wrong_labels
from flows.console import console, say, say_json, table

_COUNTS = {"kept": "positives", "relabelled": "relabelled", "dropped": "dropped"}


def show_summary(folder: Path, seconds: float | None = None) -> None:
    """What a finished run found, where it put it, and what to do next; `seconds` is how long the command took.

    Raises:
        RunError: its summary is missing or damaged.
    """
    out, summary = console(), summary_of(folder)
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


def summary_of(folder: Path) -> dict[str, Any]:
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
        status = {
            **_state(state),
            "summary": summary,
            "provisional": so_far,
            "trainings": [_training(each) for each in trained],
        }
        say_json(status)
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
    status = None if state is None else state.model_dump(mode="json")
    return {"state": status, "ended": bool(state and state.doing is Doing.WORKING and state.ended)}


def _training(kept: Kept) -> dict[str, Any]:
    return {"folder": str(kept.folder), **_state(kept.state), "summary": kept.summary}


def go_on(command: str) -> str:
    return f"give the same `cleaner {command}` command again to go on"


def _where(state: State | None, command: str) -> str:
    again = go_on(command)
    if state is None:
        return f"nothing is done yet; {again}"
    if state.doing is Doing.FINISHED:
        return "finished"
    if state.doing is Doing.WAITING:
        return f"waits for people: {state.words}"
    if state.doing is Doing.STOPPED:
        return f"stopped: {state.words}; {again}"
    if state.ended:
        return f"was ended while {state.words}; {again}"
    since = state.since.astimezone().strftime("%Y-%m-%d %H:%M")
    return f"at work since {since} (process {state.pid} on {state.host}), {100 * state.done:.0f} % done: {state.words}"
