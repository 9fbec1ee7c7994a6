"""Wrong labels: one round of the stages `coarse` and `fine` turns evidence into verdicts.

Every sample is judged anew each round, those that were kept too: a negative whose label a better model believes comes
back, and a positive that it doubts goes.
"""

from dataclasses import asdict, fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.evidence.channel import Confusion, Guesses, likelihood
from cleaner.methods.belief import Beliefs, Fit, Gate, believe, fit_of, flag_below, reliability, span
from cleaner.run import ledger
from cleaner.run.ledger import PERSON
from cleaner.run.steps import makes
from cleaner.stages import judging_labels
from cleaner.tables import Action, Answer, Classes, array, matrix
from cleaner.words import counted, percent

COARSE = "coarse"
LEAST_GAIN = 0.002
"""By how much a round must raise the mean log likelihood of a given label, so as not to be refused."""
ACCV = "accv"
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
    said: pa.Table,
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
        said: what people said of images, SAID: beliefs in all labels are corrected by it.
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
    learnt = _learnt(manifest, standing, evidence, classes, policy)
    open_ = _open(standing)[array(evidence, "row")]
    stands = array(standing, "action")[array(evidence, "row")] == Action.KEEP
    who = stage, round, f"model:{by}"
    unlearnt = _unscored(manifest, evidence.filter(pa.array(open_ & ~learnt & stands)), who, _NOT_LEARNT)
    weighed, told = _weighed(manifest, standing, evidence, said, policy)
    beliefs = believe(_guesses(manifest, standing, weighed, classes), told, _row(Fit, fit), _row(Gate, first))
    if beliefs.gate.knowledge == 0 and policy != ACCV:
        untold = _unscored(manifest, evidence.filter(pa.array(open_ & learnt)), who, _NOTHING_KNOWN)
        return pa.concat_tables([untold, unlearnt]).sort_by("row").combine_chunks()
    beliefs = beliefs.of(_open(standing)[array(weighed, "row")])
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
    answers = int((told >= 0).sum())
    judged = _table(manifest, evidence, classes, beliefs, negative, becomes, who, answers)
    return pa.concat_tables([judged, unlearnt]).sort_by("row").combine_chunks()


@makes("how far models are to be believed", version=2)
def fit(manifest: pa.Table, standing: pa.Table, evidence: pa.Table, said: pa.Table, *, policy: str) -> pa.Table:
    """One row, a `belief.Fit` and the `belief.Gate` that it comes to, by the evidence of one round; arguments as for
    `verdicts`."""
    weighed, _ = _weighed(manifest, standing, evidence, said, policy)
    found, gate = fit_of(_guesses(manifest, standing, weighed, Classes.of(manifest)))
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
    said: pa.Table,
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
    weighed, told = _weighed(manifest, standing, evidence, said, policy)
    guesses = _guesses(manifest, standing, weighed, Classes.of(manifest))
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
    said: pa.Table,
    fit: pa.Table,
    first: pa.Table,
    *,
    policy: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Of each sample, those that people have answered on among them, how far its label is believed, float64[n], not a
    number where models know nothing of it; and whether it would be flagged, bool[n]. Arguments as for `verdicts`."""
    right, flagged = np.full(len(manifest), np.nan), np.zeros(len(manifest), bool)
    weighed, told = _weighed(manifest, standing, evidence, said, policy)
    guesses = _guesses(manifest, standing, weighed, Classes.of(manifest))
    beliefs = believe(guesses, told, _row(Fit, fit), _row(Gate, first))
    if beliefs.gate.knowledge > 0 or policy == ACCV:
        rows = array(weighed, "row")
        right[rows] = beliefs.right
        flagged[rows] = beliefs.right < flag_below(beliefs.of(_open(standing)[rows]))
    return right, flagged


def _weighed(
    manifest: pa.Table, standing: pa.Table, evidence: pa.Table, said: pa.Table, policy: str
) -> tuple[pa.Table, np.ndarray]:
    """The evidence that says how much noise there is, on what is judged and on what people answered; and what they
    answered, as `believe` wants it."""
    told = told_of(manifest, said)[array(evidence, "row")]
    learnt = _learnt(manifest, standing, evidence, Classes.of(manifest), policy)
    some = learnt & (_open(standing)[array(evidence, "row")] | (told >= 0))
    return evidence.filter(pa.array(some)), told[some]


def told_of(manifest: pa.Table, said: pa.Table) -> np.ndarray:
    """int8: of each sample 1 where people said that its label is right, 0 where that it shows another class, else -1.

    Args:
        said: SAID, of each image one word.
    """
    found = np.full(len(manifest), -1, np.int8)
    which: Any = pc.index_in(manifest.column("content_hash"), value_set=said.column("content_hash").combine_chunks())
    rows = np.flatnonzero(which.is_valid().to_numpy())
    words, labels = said.to_pylist(), manifest.column("label").take(pa.array(rows)).to_pylist()
    for row, number, label in zip(rows.tolist(), which.drop_null().to_pylist(), labels, strict=True):
        word = words[number]
        if word["answer"] in (Answer.RIGHT, Answer.ANOTHER):
            found[row] = label == (word["label"] if word["answer"] == Answer.RIGHT else word["new_label"])
        elif word["answer"] == Answer.WRONG and word["label"] == label:
            found[row] = 0
    return found


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
    some = evidence.filter(pa.array(both & _open(standing)[array(evidence, "row")]))
    found = _row(Fit, fit)
    guesses = _guesses(manifest, standing, some, Classes.of(manifest))
    return likelihood(guesses, found.exponent, found.strength) if len(some) else 0.0


def _learnt(manifest: pa.Table, standing: pa.Table, evidence: pa.Table, classes: Classes, policy: str) -> np.ndarray:
    """bool: whether the models that judged a sample, those of its fold, had one of its given class to learn from."""
    rows, fold = pa.array(array(evidence, "row")), array(evidence, "fold").astype(np.int64)
    given = classes.encode(manifest.column("label").take(rows))
    action = array(standing, "action")[rows]
    renamed = _decided(standing)[rows] & (action == Action.RELABEL)
    taught = np.where(weights(standing, policy)[rows] > 0, given, -1)
    taught[renamed] = classes.encode(standing.column("new_label").take(rows))[renamed]
    folds = int(fold.max(initial=0)) + 1
    counts = np.bincount((taught * folds + fold)[taught >= 0], minlength=len(classes.names) * folds)
    counts = counts.reshape(len(classes.names), folds)
    return counts.sum(1)[given] > counts[given, fold]


def _unscored(manifest: pa.Table, evidence: pa.Table, said: tuple[str, int, str], why: str) -> pa.Table:
    """VERDICTS that keep samples of whose labels nothing can be known."""
    stage, round, by = said
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
    stands = _decided(standing) & (array(standing, "action") != Action.DROP)
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


def weights(standing: pa.Table, policy: str) -> np.ndarray:
    """float32: how much models are to learn from each sample.

    By belief, as far as its label is believed: none is dropped for training, and none relabelled but by people. By the
    recipe, what is kept. Nothing from what is dropped for another reason than its label.
    """
    action, personal = array(standing, "action"), _decided(standing)
    kept, renamed = action == Action.KEEP, personal & (action == Action.RELABEL)
    if policy == ACCV:
        return (kept | renamed).astype(np.float32)
    doubted = ~personal & np.isin(array(standing, "stage"), judging_labels())
    believed = pc.fill_null(standing.column("score"), 1.0).to_numpy()
    return np.where(renamed, 1, np.where(kept | doubted, believed, 0)).astype(np.float32)


def changes(before: pa.Table, verdicts: pa.Table) -> tuple[int, int]:
    """How many samples `verdicts` make positive that were not so in the standing `before`, and how many the reverse."""
    was = array(before, "action")[array(verdicts, "row")] == Action.KEEP
    now = array(verdicts, "action") == Action.KEEP
    return int((now & ~was).sum()), int((was & ~now).sum())


def _open(standing: pa.Table) -> np.ndarray:
    """bool: what no person has decided and no other stage has dropped."""
    elsewhere = (array(standing, "action") == Action.DROP) & ~np.isin(array(standing, "stage"), judging_labels())
    return ~(_decided(standing) | elsewhere)


def _decided(standing: pa.Table) -> np.ndarray:
    return pc.starts_with(standing.column("by"), PERSON).to_numpy()


def _guesses(manifest: pa.Table, standing: pa.Table, evidence: pa.Table, classes: Classes) -> Guesses:
    """Of the labels as they were given: what people relabelled was predicted under its new label."""
    rows, count = array(evidence, "row"), len(classes.names)
    given = classes.encode(manifest.column("label").take(pa.array(rows)))
    if len(rows) == 0:
        return Guesses.of(np.zeros((0, 1), np.int32), np.zeros((0, 1)), given, np.zeros(0), count)
    top_classes, top_probs = matrix(evidence, "top_classes"), matrix(evidence, "top_probs")
    renamed = (_decided(standing) & (array(standing, "action") == Action.RELABEL))[rows]
    others = np.clip(1 - top_probs.sum(1), 0, 1) / max(1, count - top_probs.shape[1])
    given_prob = np.where(renamed, others, array(evidence, "given_prob"))
    return Guesses.of(top_classes, top_probs, given, given_prob, count)


def _table(
    manifest: pa.Table,
    evidence: pa.Table,
    classes: Classes,
    beliefs: Beliefs,
    negative: np.ndarray,
    becomes: np.ndarray,
    said: tuple[str, int, str],
    answers: int,
) -> pa.Table:
    rows, names = array(evidence, "row"), np.array(classes.names, object)
    action = np.where(becomes, Action.RELABEL.value, np.where(negative, Action.DROP.value, Action.KEEP.value))
    stage, round, by = said
    labels = manifest.column("label").take(pa.array(rows))
    return ledger.verdicts(
        manifest,
        rows,
        _reasons(evidence, labels, classes, beliefs.confusion, answers),
        stage=stage,
        by=by,
        round=round,
        action=pa.array(action, pa.string()),
        new_label=pa.array(names[beliefs.other], pa.string(), mask=~becomes),
        score=pa.array(beliefs.right, pa.float32(), mask=np.full(len(rows), beliefs.gate.knowledge == 0)),
    )


def _reasons(
    evidence: pa.Table, labels: pa.ChunkedArray, classes: Classes, confusion: Confusion, answers: int
) -> list[str]:
    """`apple ranks 7th of 80 (p 0.01); pear ranks 1st (p 0.93); of pears about 0.2 % are labelled apple, of apples 97
    %`, in other words; where the given label ranks 1st, the 2nd beside it and nothing of how labels are mistaken."""
    if len(evidence) == 0:
        return []
    given, rank, prob = classes.encode(labels), array(evidence, "given_rank"), array(evidence, "given_prob")
    top, probs = matrix(evidence, "top_classes"), matrix(evidence, "top_probs")
    place = np.where(rank == 0, min(1, top.shape[1] - 1), 0)[:, None]
    rival = np.take_along_axis(top, place, 1)[:, 0]
    columns = [rank, prob, rival, np.take_along_axis(probs, place, 1)[:, 0]]
    columns += [confusion.of(rival, given), confusion.of(given, given)]
    names, count, reasons = classes.names, len(classes.names), []
    corrected = f"; corrected by {counted(answers, 'answer')}" if answers else ""
    for label, rank_, own, other, p, mistaken, right in zip(
        labels.to_pylist(), *map(np.ndarray.tolist, columns), strict=True
    ):
        reason = f"{label} ranks {_ordinal(rank_ + 1)} of {count} (p {own:.2f})"
        if rank_ > 0:
            reason += f"; {names[other]} ranks 1st (p {p:.2f}); about {percent(mistaken)} % of {names[other]}"
            reason += f" and {percent(right)} % of {label} carry this label"
        elif count > 1:
            reason += f"; {names[other]} ranks 2nd (p {p:.2f})"
        reasons.append(reason + corrected)
    return reasons


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
