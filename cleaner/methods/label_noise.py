"""Wrong labels: one round of the stages `coarse` and `fine` turns evidence into verdicts.

Every sample is judged anew each round, those that were kept too: a negative whose label a better model believes comes
back, and a positive that it doubts goes.
"""

from dataclasses import asdict, fields
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.evidence.channel import likelihood
from cleaner.methods.belief import Beliefs, Fit, Gate, believe, fit_of, flag_below, reliability, span
from cleaner.methods.judging import ACCV, guesses_of, is_decided, is_learnt, is_open, weighed_of
from cleaner.methods.reasons import reasons
from cleaner.run import ledger
from cleaner.run.steps import makes
from cleaner.tables import Action, Classes, array, matrix

COARSE = "coarse"
LEAST_GAIN = 0.002
"""By how much a round must raise the mean log likelihood of a given label, so as not to be refused."""
_VOUCHED = 5
RELIABILITY = pa.list_(
    pa.struct({"answers": pa.int64()} | {name: pa.float64() for name in ("believed", "right", "low", "high")})
)
_NOT_LEARNT = "its class was not learnt: no other picture of it is there to learn from"
_NOTHING_KNOWN = "the models can't tell the classes apart"


@makes("verdicts on label noise", version=6)
def verdicts(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    answers: pa.Table,
    fit: pa.Table,
    first: pa.Table,
    *,
    k: int,
    policy: str,
    relabel: float,
    stage: str,
    round: int,
    by: str,
) -> pa.Table:
    """VERDICTS on the rows of `evidence` that no person has decided and no stage before has dropped, rows ascending.

    Args:
        manifest: of the data set.
        standing: what stood when the evidence was made.
        evidence: of this round. Of a sample whose class its models had no sample of nothing is said but that: it stays
            what it was, without a score where it had none.
        answers: what people said of images, ANSWER_LOG: beliefs in all labels are corrected by it.
        fit: as `fit` gives it of this evidence.
        first: the same of the first evidence that the same kind of models gave.
        k: the recipe's; `effective_k` says what it comes to.
        policy: `belief`: where models know nothing of the labels all are kept, without a score. Else negative is, in
            `coarse`, a label that is more likely wrong than right and not among the k most probable, in `fine` one
            believed less than `belief.flag_below`. `accv`: the recipe as it was: a label not among the k most probable;
            after the first round negatives come back, and positives never go.
        relabel: the probability from which another class becomes the label, if models by themselves, the estimated
            noise left aside, find it at least half as probable; else a negative is dropped.
        stage, round, by: as they are to stand in the ledger; `by` is the predictor's name.
    """
    classes = Classes.of(manifest)
    learnt = is_learnt(manifest, standing, evidence, classes, policy)
    open_ = is_open(standing)[array(evidence, "row")]
    stands = array(standing, "action")[array(evidence, "row")] == Action.KEEP
    who = stage, round, f"model:{by}"
    unlearnt = _unscored(manifest, evidence.filter(pa.array(open_ & ~learnt & stands)), who, _NOT_LEARNT)
    weighed, told = weighed_of(manifest, standing, evidence, answers, policy)
    beliefs = believe(guesses_of(manifest, standing, weighed, classes), told, _row(Fit, fit), _row(Gate, first))
    if beliefs.gate.knowledge == 0 and policy != ACCV:
        untold = _unscored(manifest, evidence.filter(pa.array(open_ & learnt)), who, _NOTHING_KNOWN)
        return pa.concat_tables([untold, unlearnt]).sort_by("row").combine_chunks()
    beliefs = beliefs.of(is_open(standing)[array(weighed, "row")])
    evidence = evidence.filter(pa.array(open_ & learnt))
    rows = array(evidence, "row")
    outranked = array(evidence, "given_rank") >= effective_k(k, len(classes.names))
    kept = array(standing, "action")[rows] == Action.KEEP
    if policy == ACCV:
        negative = outranked & ~kept if round > 1 else outranked
    else:
        negative = _disbelieved(beliefs, outranked, stage)
    becomes = negative & (beliefs.other_prob >= relabel) & (_raw(evidence, beliefs.other) >= relabel / 2)
    becomes &= _vouched(standing, rows[~negative], classes)[beliefs.other]
    count = int((told >= 0).sum())
    judged = _table(manifest, evidence, classes, beliefs, negative, becomes, who, count)
    return pa.concat_tables([judged, unlearnt]).sort_by("row").combine_chunks()


@makes("how far models are to be believed", version=2)
def fit(manifest: pa.Table, standing: pa.Table, evidence: pa.Table, answers: pa.Table, *, policy: str) -> pa.Table:
    """One row, a `belief.Fit` and the `belief.Gate` that it comes to, by the evidence of one round; arguments as for
    `verdicts`."""
    weighed, _ = weighed_of(manifest, standing, evidence, answers, policy)
    found, gate = fit_of(guesses_of(manifest, standing, weighed, Classes.of(manifest)))
    columns = asdict(found) | asdict(gate)
    return pa.table({name: pa.array([value], pa.float64()) for name, value in columns.items()})


Row = TypeVar("Row", Fit, Gate)


def _row(kind: type[Row], known: pa.Table) -> Row:
    """From what `fit` gives."""
    return kind(**known.select([each.name for each in fields(kind)]).to_pylist()[0])


@makes("how many labels models take for wrong", version=3)
def noise(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    answers: pa.Table,
    fit: pa.Table,
    first: pa.Table,
    *,
    policy: str,
) -> pa.Table:
    """One row of what models make of those labels that they judge; arguments as for `verdicts`.

    The share of wrong ones `noise`, and the shares `low` and `high` between which the models put it: no more than their
    opinion, `people.survey` asks people; none of the three where the models know nothing. What is known of their worth,
    as `belief.Gate` has it: `information` and its `error` in nats, `knowledge`, `gate`, `accuracy`. `corrected`: how
    many answers of people beliefs are corrected by; `reliability`: how they stand to these, as `belief.reliability`.
    """
    weighed, told = weighed_of(manifest, standing, evidence, answers, policy)
    guesses = guesses_of(manifest, standing, weighed, Classes.of(manifest))
    known = _row(Gate, first)
    beliefs = believe(guesses, told, _row(Fit, fit), known)
    shares = dict[str, float | None](noise=None, low=None, high=None)
    if known.knowledge > 0 and len(weighed):
        low, high = span(guesses, beliefs)
        shares = {"noise": beliefs.noise, "low": min(low, beliefs.noise), "high": max(high, beliefs.noise)}
    worth = {"information": known.information, "error": known.error, "knowledge": known.knowledge}
    worth |= {"gate": known.open, "accuracy": known.accuracy}
    columns = {name: pa.array([share], pa.float64()) for name, share in {**shares, **worth}.items()}
    stands = pa.array([reliability(beliefs.alone, told)], RELIABILITY)
    return pa.table({**columns, "corrected": [int((told >= 0).sum())], "reliability": stands})


def believed(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    answers: pa.Table,
    fit: pa.Table,
    first: pa.Table,
    *,
    policy: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Of each sample, those that people have answered on among them, how far its label is believed, float64[n], not a
    number where models know nothing of it; and whether it would be flagged, bool[n]. Arguments as for `verdicts`."""
    right, flagged = np.full(len(manifest), np.nan), np.zeros(len(manifest), bool)
    weighed, told = weighed_of(manifest, standing, evidence, answers, policy)
    guesses = guesses_of(manifest, standing, weighed, Classes.of(manifest))
    beliefs = believe(guesses, told, _row(Fit, fit), _row(Gate, first))
    if beliefs.gate.knowledge > 0 or policy == ACCV:
        rows = array(weighed, "row")
        right[rows] = beliefs.right
        flagged[rows] = beliefs.right < flag_below(beliefs.of(is_open(standing)[rows]))
    return right, flagged


@makes("what a round explains", version=3)
def gain(
    manifest: pa.Table,
    standing: pa.Table,
    before: pa.Table,
    fit_before: pa.Table,
    now: pa.Table,
    fit_now: pa.Table,
) -> pa.Table:
    """One row: `gain` float64, by how much the mean log likelihood of a given label rises from one round's evidence to
    the next one's, each by its fit, with how labels are then estimated to be mistaken; of the samples that both judge,
    and that no person has decided."""
    one = _likelihood(manifest, standing, before, now, fit_before)
    other = _likelihood(manifest, standing, now, before, fit_now)
    return pa.table({"gain": pa.array([other - one], pa.float64())})


def _likelihood(manifest: pa.Table, standing: pa.Table, evidence: pa.Table, other: pa.Table, fit: pa.Table) -> float:
    """Of `evidence` on the rows that `other` has too."""
    both = pc.is_in(evidence.column("row"), value_set=other.column("row").combine_chunks()).to_numpy()
    some = evidence.filter(pa.array(both & is_open(standing)[array(evidence, "row")]))
    found = _row(Fit, fit)
    guesses = guesses_of(manifest, standing, some, Classes.of(manifest))
    return likelihood(guesses, found.exponent, found.strength) if len(some) else 0.0


def _unscored(manifest: pa.Table, evidence: pa.Table, who: tuple[str, int, str], why: str) -> pa.Table:
    """VERDICTS that keep samples of whose labels nothing can be known."""
    stage, round, by = who
    rows, reasons = array(evidence, "row"), pa.repeat(why, len(evidence))
    return ledger.verdicts(manifest, rows, reasons, stage=stage, by=by, round=round, action=Action.KEEP)


def _raw(evidence: pa.Table, classes: np.ndarray) -> np.ndarray:
    """The probability that the models give to one class of each sample; 0 for one that they do not name."""
    if len(evidence) == 0:
        return np.zeros(0)
    return np.where(matrix(evidence, "top_classes") == classes[:, None], matrix(evidence, "top_probs"), 0).max(1)


def _vouched(standing: pa.Table, positives: np.ndarray, classes: Classes) -> np.ndarray:
    """bool: of each class whether five images vouch for it: the rows `positives` with the label that they were given,
    and what people decided. Of fewer a model knows too little to give their label to others."""
    stands = is_decided(standing) & (array(standing, "action") != Action.DROP)
    stands[positives] = True
    labels = pc.coalesce(standing.column("new_label"), standing.column("label")).filter(pa.array(stands))
    found = classes.encode(labels)
    return np.bincount(found[found >= 0], minlength=len(classes.names)) >= _VOUCHED


def _disbelieved(beliefs: Beliefs, outranked: np.ndarray, stage: str) -> np.ndarray:
    if stage == COARSE:
        return outranked & (beliefs.right < min(0.5, flag_below(beliefs)))
    return beliefs.right < flag_below(beliefs)


def effective_k(k: int, classes: int) -> int:
    """`k`, at most a twentieth of the classes and at least 1: among few classes most wrong labels are in the top 5."""
    return max(1, min(k, classes // 20))


def changes(before: pa.Table, verdicts: pa.Table) -> tuple[int, int]:
    """How many samples `verdicts` make positive that were not so in the standing `before`, and how many the reverse."""
    was = array(before, "action")[array(verdicts, "row")] == Action.KEEP
    now = array(verdicts, "action") == Action.KEEP
    return int((now & ~was).sum()), int((was & ~now).sum())


def _table(
    manifest: pa.Table,
    evidence: pa.Table,
    classes: Classes,
    beliefs: Beliefs,
    negative: np.ndarray,
    becomes: np.ndarray,
    who: tuple[str, int, str],
    answers: int,
) -> pa.Table:
    rows, names = array(evidence, "row"), np.array(classes.names, object)
    action = np.where(becomes, Action.RELABEL.value, np.where(negative, Action.DROP.value, Action.KEEP.value))
    stage, round, by = who
    labels = manifest.column("label").take(pa.array(rows))
    return ledger.verdicts(
        manifest,
        rows,
        reasons(evidence, labels, classes, beliefs.confusion, answers),
        stage=stage,
        by=by,
        round=round,
        action=pa.array(action, pa.string()),
        new_label=pa.array(names[beliefs.other], pa.string(), mask=~becomes),
        score=pa.array(beliefs.right, pa.float32(), mask=np.full(len(rows), beliefs.gate.knowledge == 0)),
    )
