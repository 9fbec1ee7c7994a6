"""Putting a batch before people, and storing what they answer before anything is made of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from cleaner.errors import AnswerError, CleanerError, ConfigError, ServerError, WaitsForPeople
from cleaner.people.disagreement import majority
from cleaner.people.reviewers import ReviewBatch
from cleaner.plan.items import Ask
from cleaner.run.answer_lines import AnswerRows, WithWithdrawals, in_utc
from cleaner.run.answers import Answers, of_each
from cleaner.run.batches import REVIEW, stage_of
from cleaner.stages import title
from cleaner.tables import ANSWER_LOG, Answer, HowAsked
from cleaner.words import counted, promised

if TYPE_CHECKING:
    from cleaner.plan.runs import Run

UNASKED = "dashboard"
"""What answers that no batch asked for are stored under, as somebody who looks at an image gives them."""


def ask_people(run: "Run", ask: Ask, say: Callable[[str], None]) -> None:
    """Put the batch before people unless it is there already, and store the answers so far.

    An answer holds until another one is given: who takes one back answers that nobody can tell.

    Raises:
        AnswerError: an answer can't be understood.
        WaitsForPeople: answers are missing; those that are there are stored.
    """
    assert run.reviewer is not None, "a plan asks only where there is a reviewer"
    batches = run.store.batches
    if not batches.has(ask.name):
        assert ask.output is not None, "a batch of before is there"
        facts = {"reviewer": run.origin.reviewer, "data": run.origin.fingerprint, "manifest": ask.manifest}
        facts |= {"strata": ask.strata, "promise": ask.promise}
        batches.add(ask.name, run.store.read(ask.output), **facts)
    hear(run, ask, say, push=ask.waits)
    if (missing := unanswered(run, ask)) and ask.waits:
        stage, todo = title(stage_of(ask.name)), run.reviewer.todo(ask.name, batches.folder)
        of, more = sum(wanted(run, ask.name).values()), _more(run)
        after = f"; at most {counted(more, 'batch', 'batches')} may come after it" if more else ""
        promised_ = f"; {promised(promise)}" if (promise := promise_of(run, ask.name)) else ""
        raise WaitsForPeople(f"{stage}: {missing:,} of {of:,} answers are missing; {todo}{after}{promised_}")


def promise_of(run: "Run", name: str) -> dict[str, Any] | None:
    """The row of PROMISE that a batch was put before people with; None where there is none."""
    promise = run.store.batches.promise(name)
    return run.store.read(promise).to_pylist()[0] if promise and run.store.has(promise) else None


def hear(
    run: "Run", ask: Ask, say: Callable[[str], None], *, push: bool = False, since: datetime | None = None
) -> None:
    """Store what people have answered so far, or since, to a batch that was put before them; `push` completes that
    before.

    What is answered or closed does not wait for a server that is down, or a project that somebody tidied away.

    Raises:
        AnswerError: an answer can't be understood.
        ServerError: the server of a batch that is waited for is down, or fails.
    """
    spared: tuple[type[CleanerError], ...] = ()
    if not ask.waits:
        spared = (AnswerError, ConfigError, ServerError)
    elif unanswered(run, ask) == 0:
        spared = (ConfigError, ServerError)
    try:
        if push:
            _push(run, ask)
        _store(run, ask, say, since)
        if ask.waits and _disputed(run, _held(run.store.answers.rows(), ask.name)):
            _push(run, ask)
    except spared as error:
        say(f"{ask.name}: its answers can't be looked at again, those of before hold: {error}")


def _push(run: "Run", ask: Ask) -> None:
    assert run.reviewer is not None, "who asks can push"
    batch = _review_batch(run, ask)
    if _of_samples(batch.asked):
        people = wanted(run, ask.name)
        column = pa.array([people[sample] for sample in batch.asked.column("sample_id").to_pylist()], pa.int32())
        asked = batch.asked.set_column(batch.asked.column_names.index("people"), "people", column)
        run.reviewer.push(replace(batch, asked=asked), run.source)
    else:
        run.reviewer.push_classes(batch, run.source)


def _review_batch(run: "Run", ask: Ask) -> ReviewBatch:
    batches = run.store.batches
    return ReviewBatch(
        name=ask.name,
        folder=batches.folder,
        asked=batches.read(ask.name),
        manifest=_manifest(run, ask),
        more=_more(run),
    )


def _manifest(run: "Run", ask: Ask) -> pa.Table:
    """The manifest whose rows the batch has: the data set may have grown since it was asked."""
    name = run.store.batches.manifest(ask.name)
    found: pa.Table = run.store.read(name if run.store.has(name) else ask.manifest)
    return found


def _more(run: "Run") -> int:
    """How many batches of images may yet be asked, at most."""
    return max(0, run.config.review.batches - len(run.store.batches.names(REVIEW, run.origin.fingerprint)))


def take_answers(run: "Run", name: str, answers: pa.Table, manifest: pa.Table) -> None:
    """Store ANSWERS or CLASS_ANSWERS to the batch `name` that people have just given. What they say already is no news:
    it comes twice where nobody heard that it had arrived.

    Args:
        manifest: the manifest, or its rows of the samples that the batch asks about.
    """
    asked = run.store.batches.read(name)
    rows = _stored(name, answers, manifest, asked) if _of_samples(asked) else _stored_on_classes(name, answers)

    def news(spoken: WithWithdrawals) -> AnswerRows:
        known = _held([row for row, withdrawn in spoken if not withdrawn], name)
        is_said = [any(_same(old, row) for old in known.get(_about(row), [])) for row in rows]
        return [] if all(is_said) else _rows(rows)

    run.store.answers.append_news(news)


def take_unasked(stored: Answers, sample: Mapping[str, Any], answer: Answer, new_label: str | None, *, by: str) -> None:
    """Store what somebody says of an image about which no batch asked them. What they said of it last is no news.

    Args:
        sample: its `sample_id`, `content_hash` and `label`, as the manifest has them.
    """
    row = {name: sample[name] for name in ("sample_id", "content_hash", "label")}
    row |= {"batch": UNASKED, "answer": answer.value, "new_label": new_label, "by": by, "asked": HowAsked.ONCE.value}

    def news(spoken: WithWithdrawals) -> AnswerRows:
        held = _held([old for old, withdrawn in spoken if not withdrawn], UNASKED).get(_about(row), [])
        return [] if any(_same(old, row) for old in held) else _rows([row])

    stored.append_news(news)


def _store(run: "Run", ask: Ask, say: Callable[[str], None], since: datetime | None) -> None:
    assert run.reviewer is not None, "who asks can hear"
    name, batch = ask.name, _review_batch(run, ask)
    if _of_samples(batch.asked):
        answers = _stored(name, run.reviewer.pull(batch, say, since=since), batch.manifest, batch.asked)
    else:
        answers = _stored_on_classes(name, run.reviewer.pull_classes(batch, say, since=since))
    known: dict[str, AnswerRows] = {}
    holding: set[str] = set()

    def news(spoken: WithWithdrawals) -> AnswerRows:
        # Within the lock: somebody else may be fetching the same answers. What is withdrawn is no news either: the
        # reviewer still has it.
        for answer, withdrawn in spoken:
            if answer["batch"] == name:
                known.setdefault(_about(answer), []).append(answer)
                holding.update([] if withdrawn else [_about(answer)])
        return _rows([answer for answer in answers if _is_new(known.get(_about(answer), []), answer)])

    run.store.answers.append_news(news)
    if since is None and (gone := holding - {_about(answer) for answer in answers}):
        what = f"{counted(len(gone), 'answer')} to {name} that were given before are there no more"
        say(f"{what}, on {min(gone)} for one; they hold all the same, until another is given")


def unanswered(run: "Run", ask: Ask, answers: AnswerRows | None = None) -> int:
    """How many answers are missing, by what is stored; `answers`: all of that, or of the batch, where it is at hand."""
    if ask.output is not None and not run.store.batches.has(ask.name):
        return run.store.rows(ask.output)
    stored = run.store.answers.rows() if answers is None else answers
    held = _held(stored, ask.name)
    return sum(max(0, people - len(held.get(about, []))) for about, people in wanted(run, ask.name, stored).items())


def wanted(run: "Run", name: str, answers: AnswerRows | None = None) -> dict[str, int]:
    """How many people each sample or class of a batch wants: one more where they disagree and a third is asked; nobody
    beside one who has answered for the other too. `answers` as for `unanswered`."""
    asked = run.store.batches.read(name)
    if not _of_samples(asked):
        return dict.fromkeys(asked.column("label").to_pylist(), 1)
    columns = (asked.column(column).to_pylist() for column in ("sample_id", "people"))
    held, people = (
        _held(run.store.answers.rows() if answers is None else answers, name),
        dict(zip(*columns, strict=True)),
    )
    for about, those in held.items():
        if people.get(about, 1) > 1 and any(answer["asked"] == HowAsked.ONCE for answer in those):
            people[about] = len(those)
    return people | dict.fromkeys(_disputed(run, held), 3)


def _disputed(run: "Run", held: dict[str, AnswerRows]) -> list[str]:
    """The samples about which two people were asked, and disagree, where a third is asked then."""
    if run.config.review.disagreement != "third":
        return []
    return [
        about
        for about, those in held.items()
        if all(answer["asked"] == HowAsked.SEVERAL for answer in those) and (len(those) > 2 or majority(those) is None)
    ]


def _of_samples(asked: pa.Table) -> bool:
    """Whether this is a BATCH, and not SMALL_CLASSES."""
    return "sample_id" in asked.column_names


def _stored(batch: str, answers: pa.Table, manifest: pa.Table, asked: pa.Table) -> list[dict[str, Any]]:
    """ANSWERS to a BATCH as ANSWER_LOG, of what each image is and was labelled."""
    wanted = manifest.filter(pc.is_in(manifest.column("sample_id"), value_set=answers.column("sample_id")))
    of = {sample["sample_id"]: sample for sample in wanted.select(["sample_id", "content_hash", "label"]).to_pylist()}
    how = {
        sample: (HowAsked.KNOWN if known is not None else HowAsked.SEVERAL if people > 1 else HowAsked.ONCE).value
        for sample, known, people in zip(
            *(asked.column(column).to_pylist() for column in ("sample_id", "known", "people")), strict=True
        )
    }
    # A reviewer may know better who was asked than the batch does.
    rows = [{name: value for name, value in answer.items() if value is not None} for answer in answers.to_pylist()]
    return [{"batch": batch, **of[answer["sample_id"]], "asked": how[answer["sample_id"]], **answer} for answer in rows]


def _stored_on_classes(batch: str, answers: pa.Table) -> list[dict[str, Any]]:
    return [{"batch": batch, **answer} for answer in answers.to_pylist()]


def _about(answer: dict[str, Any]) -> str:
    """What, within its batch, an answer is about: a sample or a class."""
    return str(answer.get("sample_id") or answer["label"])


def _held(answers: AnswerRows, batch: str) -> dict[str, AnswerRows]:
    """Of one batch what people say of each sample or class, of each person one answer."""
    return of_each([answer for answer in answers if answer["batch"] == batch], _about)


def _rows(answers: list[dict[str, Any]]) -> AnswerRows:
    rows: AnswerRows = pa.Table.from_pylist(answers, ANSWER_LOG).to_pylist()
    return rows


def _is_new(known: AnswerRows, answer: dict[str, Any]) -> bool:
    """Whether an answer is not among the `known` ones. Where nobody knows when it was given, whether it differs from
    the same person's newest one."""
    if answer.get("at"):
        moment = in_utc(answer["at"])
        return not any(_same(old, answer) and old["at"] == moment for old in known)
    mine = sorted((old for old in known if old["by"] == answer.get("by")), key=itemgetter("at"))
    return not mine or not _same(mine[-1], answer)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    alike = all(one.get(name) == other.get(name) for name in ("answer", "new_label", "by"))
    return alike and (one.get("asked") or HowAsked.ONCE) == (other.get("asked") or HowAsked.ONCE)
