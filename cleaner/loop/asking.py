"""Putting a batch before people, and storing what they answer before anything is made of it."""

from dataclasses import dataclass

import pyarrow as pa

from cleaner.errors import AnswerError, WaitsForPeople
from cleaner.loop.runs import Run
from cleaner.people.review import answers_to_verdicts
from cleaner.people.reviewers import Reviewer
from cleaner.run.files import digest
from cleaner.run.ledger import ANSWERS_PART
from cleaner.stages.small_classes import removals
from cleaner.tables import Classes
from cleaner.words import STAGES


@dataclass(frozen=True)
class Ask:
    """A question to people: the output that is the batch, and the stage and round that want it answered.

    Each pull that brings anything new becomes a part of the ledger; the newest holds all answers so far.

    Attributes:
        batch: the name of a BATCH, or of SMALL_CLASSES where `standing` is given.
        manifest: the name of the manifest.
        standing: for small classes: the name of what stood when they were found.
    """

    batch: str
    manifest: str
    stage: str
    round: int
    standing: str | None = None

    @property
    def prefix(self) -> str:
        """What the names of the answers' parts in the ledger begin with."""
        return f"{self.stage}-{self.round}{ANSWERS_PART}{self.batch.rpartition('-')[2]}-"


def ask_people(run: Run, ask: Ask) -> None:
    """Put the batch before people unless it is there already, and store the answers so far.

    Raises:
        AnswerError: an answer can't be understood.
        WaitsForPeople: answers are missing; those that are there are stored.
    """
    assert run.reviewer is not None, "a plan asks only where there is a reviewer"
    asked = run.store.read(ask.batch)
    if ask.standing is None:
        answers, verdicts = _ask_about_samples(run, run.reviewer, ask, asked)
    else:
        answers, verdicts = _ask_about_classes(run, run.reviewer, ask, asked, run.store.read(ask.standing))
    _store(run, ask, answers, verdicts)
    if missing := len(asked) - len(answers):
        todo = run.reviewer.todo(ask.batch, run.store.reviews)
        raise WaitsForPeople(f"{STAGES[ask.stage]}: {missing:,} of {len(asked):,} answers are missing; {todo}")


def unanswered(run: Run, ask: Ask) -> int:
    """How many answers are missing, by what is stored."""
    parts = run.store.ledger.names(ask.prefix)
    answered = int(parts[-1].split("-")[-2]) if parts else 0
    return run.store.rows(ask.batch) - answered


def _ask_about_samples(run: Run, reviewer: Reviewer, ask: Ask, asked: pa.Table) -> tuple[pa.Table, pa.Table]:
    manifest, folder = run.store.read(ask.manifest), run.store.reviews
    names = Classes.of(manifest).names
    reviewer.push(asked, ask.batch, folder, source=run.source, manifest=manifest, classes=names)
    answers = reviewer.pull(ask.batch, folder, asked, names)
    return answers, answers_to_verdicts(answers, manifest, stage=ask.stage, round=ask.round)


def _ask_about_classes(
    run: Run, reviewer: Reviewer, ask: Ask, asked: pa.Table, standing: pa.Table
) -> tuple[pa.Table, pa.Table]:
    manifest, folder = run.store.read(ask.manifest), run.store.reviews
    reviewer.push_classes(asked, ask.batch, folder, source=run.source, manifest=manifest)
    answers = reviewer.pull_classes(ask.batch, folder, asked, manifest)
    return answers, removals(asked, answers, manifest, standing, round=ask.round)


def _store(run: Run, ask: Ask, answers: pa.Table, verdicts: pa.Table) -> None:
    content = digest(answers.to_pylist())
    parts = run.store.ledger.names(ask.prefix)
    if parts and ask.standing is None:
        _refuse_lost(run.store.ledger.read(parts[-1]), answers)
    if not parts or not parts[-1].endswith(content):
        run.store.ledger.append(f"{ask.prefix}{len(parts) + 1}-{len(answers)}-{content}", verdicts)


def _refuse_lost(stored: pa.Table, answers: pa.Table) -> None:
    lost = set(stored.column("sample_id").to_pylist()) - set(answers.column("sample_id").to_pylist())
    if lost:
        what = f"{len(lost)} answers that were given before are gone, of sample {min(lost)} for one"
        raise AnswerError(f"{what}; put them back, or answer unsure where you no longer know")
