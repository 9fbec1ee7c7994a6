"""What the command line says of reviews, and going on with the run when people have answered."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cleaner.errors import InputError, RunError
from cleaner.people.agreement import Person, agreement_of_all, agreements, disputed, people
from cleaner.plan.asking import Ask, hear
from cleaner.plan.reviews import BatchStatus, batches_of
from cleaner.plan.runs import Run, reopen
from cleaner.run.answer_lines import Withdrawal
from cleaner.run.state import read_state
from cleaner.runners.execute import CleanRequest
from cleaner.words import counted, span
from flows.console import console, say, say_json, table
from flows.explained import row_of

_SHOWN, _DIGITS = 10, 10
_WITHDRAWN = {"by": "NAME", "batch": "NAME", "image": "SAMPLE", "class": "NAME", "withdrawal": "NUMBER"}
_LATE = timedelta(minutes=10)


def fetch(
    folder: Path, heard: Callable[[str], None], *, since: datetime | None = None
) -> tuple[Run, list[BatchStatus]]:
    """Store what people have answered, all of it or what is newer than `since`; how the batches stand now.

    Raises:
        RunError: no run lies in `folder`.
        AnswerError: an answer can't be understood.
    """
    run = reopen(folder)
    names = run.store.batches.names()
    if names and run.reviewer is not None:
        manifest = _manifest(folder)
        for name in names:
            hear(run, Ask(name, manifest, waits=not run.store.batches.is_closed(name)), heard, since=since)
    return run, batches_of(run)


def _manifest(folder: Path) -> str:
    state = read_state(folder)
    if state is None or not state.names.manifest:
        raise RunError(f"{folder}: its images are not read yet; give the same `cleaner clean` command again to go on")
    return state.names.manifest


def close(run: Run, standing: list[BatchStatus]) -> list[str]:
    """Wait for no more answers; the names of the batches that lacked some."""
    names = [batch.name for batch in standing if batch.missing]
    for name in names:
        run.store.batches.close(name)
    return names


def meant(folder: Path, wanted: list[str]) -> dict[str, Any]:
    """Which answers, or which withdrawal, is meant by all that is `wanted`, as a Withdrawal says it: each `by=NAME`,
    `batch=NAME`, `image=SAMPLE`, `class=NAME` or `withdrawal=NUMBER`.

    Raises:
        InputError: nothing can be meant by that.
        RunError: no run lies in `folder`.
    """
    store = reopen(folder).store
    which: dict[str, Any] = {}
    for condition in wanted:
        name, sign, value = condition.partition("=")
        is_number = value.isdecimal() and len(value) < _DIGITS
        if name not in _WITHDRAWN or not sign or not value or (name == "withdrawal" and not is_number):
            forms = ", ".join(f"{name}={form}" for name, form in _WITHDRAWN.items())
            raise InputError(f"--withdraw {condition[:80]}: is none of {forms}")
        if name == "image":
            manifest = store.read(_manifest(folder))
            sample = manifest.slice(row_of(manifest, value), 1).to_pylist()[0]
            if sample["content_hash"] is None:
                raise InputError(f"--withdraw {condition}: can't be read, so nobody can have spoken of it")
            name, value = "content_hash", sample["content_hash"]
        name = "label" if name == "class" else name
        if name in which:
            raise InputError(f"--withdraw {condition}: another {condition.partition('=')[0]} is given; give each once")
        which[name] = int(value) if name == "withdrawal" else value
    if "withdrawal" in which and len(which) > 1:
        raise InputError("--withdraw withdrawal=NUMBER goes alone")
    return which


def withdraw(folder: Path, which: dict[str, Any]) -> str:
    """Take back what is `meant`. What was done, in words.

    Raises:
        InputError: there is no such answer that holds; nothing is written.
    """
    done = reopen(folder).store.answers.withdraw(which)
    if "withdrawal" in which:
        what = f"withdrawal {which['withdrawal']} is taken back"
    else:
        what = f"{counted(done.answers, 'answer')} withdrawn"
    return (
        f"{what}, as withdrawal {done.number}; what stands follows with the next `cleaner clean`, which asks again"
        f" where a batch is not closed. To undo: cleaner review {folder} --withdraw withdrawal={done.number}"
    )


def request_of(run: Run) -> CleanRequest:
    """What was asked for last, to be asked for again."""
    origin = run.origin
    return CleanRequest(origin.source, run.store.folder, origin.config, origin.reviewer, origin.truth)


def wait_until_answered(folder: Path, heard: Callable[[str], None], *, every: float) -> None:
    """Fetch answers each `every` seconds until none is missing."""
    told, since = -1, None
    while True:
        run, standing = fetch(folder, heard, since=since)
        missing = sum(batch.missing for batch in standing)
        # Where nothing has come all is looked at: an old answer may stand where it was not looked for.
        since = _shortly_before_the_newest(run) if missing != told else None
        if missing == 0:
            return
        if missing != told:
            heard(f"{counted(missing, 'answer')} missing; looking again every {span(every)}")
            told = missing
        time.sleep(every)


def _shortly_before_the_newest(run: Run) -> datetime | None:
    """A moment before which all that was said has arrived, also of what took long to be written."""
    moments = [datetime.fromisoformat(answer["at"]) for answer in run.store.answers.rows()]
    return max(moments) - _LATE if moments else None


def show(run: Run, standing: list[BatchStatus], *, as_json: bool) -> None:
    """Batches, people, and where they disagree."""
    out, answers = console(), run.store.answers.rows()
    busy, agreed, pairs, fleiss = people(answers), agreements(answers), disputed(answers), agreement_of_all(answers)
    if as_json:
        everything: dict[str, Any] = {
            "batches": [asdict(batch) | {"missing": batch.missing} for batch in standing],
            "people": [asdict(person) for person in busy],
            "agreement": [asdict(agreement) for agreement in agreed],
            "agreement_of_all": fleiss,
            "disputed": [{"classes": list(classes), "images": count} for classes, count in pairs],
            "withdrawals": [asdict(each) for each in run.store.answers.withdrawals()],
        }
        say_json(everything)
        return
    if not standing:
        say(out, f"{run.store.folder}: nobody has been asked anything yet")
        return
    rows = [(b.name, b.asks, f"{b.asked:,}", f"{b.answered:,}", _waits(b)) for b in standing]
    out.print(table(("batch", "about", "asked", "answered", ""), rows))
    if busy:
        shown = [(p.by, f"{p.answers:,}", _pace(p.seconds), _accuracy(p)) for p in busy]
        out.print(table(("who", "answers", "pace", "of known images right"), shown))
    for batch in standing:
        for line in _told(batch):
            say(out, line)
    for two in agreed:
        kappa = "" if two.kappa is None else f", kappa {two.kappa:.2f}"
        say(out, f"{' and '.join(two.people)} agree on {two.alike:,} of {counted(two.images, 'image')}{kappa}")
    if fleiss is not None:
        say(out, f"all together: kappa {fleiss:.2f} (Fleiss)")
    for classes, count in pairs[:_SHOWN]:
        say(out, f"taken for {' and for '.join(classes)}: {counted(count, 'image')}")
    for each in run.store.answers.withdrawals():
        say(out, _withdrawn(each))
    for batch in standing:
        if batch.missing and run.reviewer is not None:
            say(out, f"{batch.name}: {run.reviewer.todo(batch.name, run.store.batches.folder)}")


def _waits(batch: BatchStatus) -> str:
    return "closed" if batch.closed else f"{batch.missing:,} missing" if batch.missing else "done"


def _withdrawn(each: Withdrawal) -> str:
    names = {"content_hash": "of the image with content", "label": "of class", "by": "by", "batch": "in"}
    if "withdrawal" in each.which:
        what = f"takes back withdrawal {each.which['withdrawal']}"
    else:
        what = f"{counted(each.answers, 'answer')} {' '.join(f'{names[name]} {of}' for name, of in each.which.items())}"
    return f"withdrawal {each.number} ({each.at[:16]}): {what}" + ("" if each.holds else "; taken back")


def _told(batch: BatchStatus) -> Iterator[str]:
    """What the answers to a batch were worth."""
    found = batch.worth
    if found is None or found.answers == 0:
        return
    line = f"{batch.name}: {found.changes:,} of {counted(found.answers, 'answer')} overturned a verdict"
    line += f", {batch.promised:.0f} were expected to"
    if found.drawn_answers:
        line += f"; of {found.drawn_answers:,} drawn at random {found.drawn_changes:,}"
    yield line


def _accuracy(person: Person) -> str:
    return f"{person.right:,} of {person.known:,}" if person.known else ""


def _pace(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s an image, {3600 / max(seconds, 0.1):,.0f} an hour"
