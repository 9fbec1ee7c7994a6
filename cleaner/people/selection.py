"""Which images to ask people about: those of which an answer is expected to change what stands, and some at random.

What an answer is expected to change is what models make of an image, set right by what people's answers to questions of
the same kind have changed so far. Images that are drawn at random tell how many labels are wrong among all others
(`stages.prevalence`); those that are asked about for what they are expected to change tell of themselves alone.
"""

from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.methods import image_noise
from cleaner.methods.label_noise import believed
from cleaner.methods.prevalence import cut, draw, more_shares, shares
from cleaner.people.batch import compose, one_a_file
from cleaner.run.ledger import PERSON
from cleaner.run.steps import makes
from cleaner.stages import judging_labels
from cleaner.tables import GAINS, PROMISE, STRATA, Action, Why, array, check, is_usable

DRAWN = "drawn at random: tells how many labels are wrong"
_BECAUSE = {
    Why.JUNK: "dropped as junk, but not for sure",
    Why.MAYBE_JUNK: "may be junk",
    Why.DOUBTED: "doubted, but not by much",
    Why.KEPT: "kept, but the least sure",
}
_EVEN = 0.5
_DRAWN_FIRST, _DRAWN_LATER = 0.5, 0.1
_PRIOR = 3.0
_PICKED, _PICKED_BEFORE, _NEW = -1, -2, -3


@makes("what answers would change", version=1)
def gains(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    answers: pa.Table,
    fit: pa.Table,
    first: pa.Table,
    junk: pa.Table,
    people: pa.Table,
    *,
    policy: str,
) -> pa.Table:
    """The GAINS of all usable images that models have judged, of those with the same bytes the first; rows ascending.

    Args:
        standing: after the last round.
        evidence, said, fit, first: of that round, as `label_noise.verdicts` wants them.
        junk: as `image_noise.judged` gives it.
        people: VERDICTS of people.
    """
    count = len(manifest)
    action, stage = array(standing, "action"), array(standing, "stage")
    decided = pc.starts_with(standing.column("by"), PERSON).to_numpy()
    right, flagged = believed(manifest, standing, evidence, answers, fit, first, policy=policy)
    judged, likely = ~np.isnan(right), np.zeros(count)
    unmarked = ~array(junk, "marked")
    likely[array(junk, "row")[unmarked]] = array(junk, "prob")[unmarked]
    dropped = ~decided & (action == Action.DROP)
    as_junk = dropped & (stage == image_noise.STAGE)
    kept = np.where(decided, ~flagged, action == Action.KEEP)
    # Of what has no score models know nothing: asking about it because it seems doubtful would be asking at random.
    thought = np.where(judged, right, 1.0)
    why = np.where(kept, np.where(likely > 1 - thought, Why.MAYBE_JUNK, Why.KEPT), Why.DOUBTED)
    gain = np.where(kept, 1 - thought * (1 - likely), np.where(judged, right, 0.0))
    why, gain = np.where(as_junk, Why.JUNK, why), np.where(as_junk, 1 - likely, gain)
    seen, spoken = np.zeros(count, bool), decided.copy()
    seen[array(evidence, "row")], spoken[array(people, "row")] = True, True
    # What other stages have dropped is not brought back by an answer on its label.
    elsewhere = dropped & ~np.isin(stage, (*judging_labels(), image_noise.STAGE))
    rows = np.flatnonzero(one_a_file(manifest, is_usable(manifest) & (seen | as_junk) & ~elsewhere))
    doubt = np.where(judged, 1 - right, _EVEN)[rows]
    found = {
        "row": pa.array(rows, pa.int32()),
        "why": pa.array(why[rows].tolist(), pa.string()),
        "gain": pa.array(np.clip(gain[rows], 0, 1), pa.float32()),
        "doubt": pa.array(doubt, pa.float32(), mask=~seen[rows]),
        "spoken": spoken[rows],
    }
    return check(pa.table(found), GAINS, "what answers would change")


@makes("strata", version=2)
def strata(
    manifest: pa.Table,
    gains: pa.Table,
    candidates: pa.Table,
    *before: pa.Table,
    count: int,
    least: float,
    factors: dict[str, float],
    drawn: tuple[str, ...],
) -> pa.Table:
    """The STRATA from which images are drawn at random, and those that are asked about for their own sake.

    At first a third of these is what may be junk, a third what is doubted, a third what is kept, since nobody knows
    which pays; later all of which an answer is expected to change something. One that was drawn before, and would be
    asked about now for its own sake, stands for itself as they do: those drawn are then still drawn from what is left.

    Args:
        candidates: as `image_noise.candidates` gives it, for the first batch.
        before: the manifest and the STRATA of the batch before, if there is one: their strata are kept, and images that
            came since are one more.
        count: of questions at most; of a first batch, no more than a tenth of all images, the random half among them.
        least: the gain from which a later batch asks about an image.
        factors: of each kind what gains are multiplied by, as `factors` has it.
        drawn: the content hashes of the images that were drawn at random before.
    """
    rows, gain = array(gains, "row"), _weighed(gains, factors)
    unspoken = ~array(gains, "spoken")
    asked_of = gains.column("doubt").is_valid().to_numpy()
    doubt = pc.fill_null(gains.column("doubt"), _EVEN).to_numpy().astype(np.float64)
    stratum = np.full(len(rows), _NEW)
    if before:
        contents = manifest.column("content_hash").take(gains.column("row")).combine_chunks()
        then, old = before
        place = pc.index_in(contents, value_set=then.column("content_hash").take(old.column("row")).combine_chunks())
        there = place.is_valid().to_numpy(zero_copy_only=False)
        stratum[there] = array(old, "stratum")[place.drop_null().to_numpy()]
        stratum[stratum == _PICKED] = _PICKED_BEFORE
        pays = np.flatnonzero(unspoken & (stratum != _PICKED_BEFORE) & (gain >= least))
        pays = pays[np.argsort(-gain[pays], kind="stable")][:count]
        again = ~unspoken & pc.is_in(contents, value_set=pa.array(drawn, pa.string())).to_numpy(zero_copy_only=False)
        picked = again & (stratum >= 0) & (gain >= gain[pays].min(initial=np.inf))
        picked[pays] = True
        new = (stratum == _NEW) & asked_of & ~picked
        stratum[new] = array(old, "stratum").max(initial=-1) + 1
    else:
        size = _first_size(gains, count)
        # Gains are of the first image with its bytes, candidates of any.
        wanted = manifest.column("content_hash").take(candidates.column("row")).combine_chunks()
        contents = manifest.column("content_hash").take(gains.column("row")).combine_chunks()
        junk = pc.index_in(wanted, value_set=contents).drop_null().to_numpy()
        picked = _first_picked(gain, gains, junk, size - ceil(_DRAWN_FIRST * size))
        rest = asked_of & ~picked & unspoken
        stratum[rest] = cut(doubt[rest], size)
    stratum[picked] = _PICKED
    there = stratum != _NEW
    found = {"row": rows[there], "stratum": stratum[there].astype(np.int8), "doubt": doubt[there].astype(np.float32)}
    return check(pa.table(found), STRATA, "strata")


def _weighed(gains: pa.Table, factors: dict[str, float]) -> np.ndarray:
    why = gains.column("why").combine_chunks().dictionary_encode()
    of = np.array([factors.get(name, 1.0) for name in why.dictionary.to_pylist()] or [1.0])
    weighed: np.ndarray = np.clip(array(gains, "gain") * of[why.indices.to_numpy()], 0, 1)
    return weighed


def _first_size(gains: pa.Table, count: int) -> int:
    return min(count, ceil((~array(gains, "spoken")).sum() / 10))


def _first_picked(gain: np.ndarray, gains: pa.Table, junk: np.ndarray, count: int) -> np.ndarray:
    """bool: `count` images, a third of each kind, the rest of whatever promises most; `junk`, the places of those that
    may be junk, in order."""
    unspoken, why = ~array(gains, "spoken"), array(gains, "why")
    order = np.argsort(-gain, kind="stable")
    order = order[unspoken[order] & (gain[order] > 0)]
    picked = np.zeros(len(gain), bool)
    for kind in (junk[unspoken[junk]], *(order[why[order] == kind] for kind in (Why.DOUBTED, Why.KEPT))):
        picked[kind[: count // 3]] = True
    left = order[~picked[order]]
    picked[left[: count - picked.sum()]] = True
    return picked


@makes("review batch", version=7)
def batch(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    duplicates: pa.Table,
    answers: pa.Table,
    gains: pa.Table,
    candidates: pa.Table,
    strata: pa.Table,
    *before: pa.Table,
    count: int,
    factors: dict[str, float],
    known_share: float,
    overlap: float,
    seed: int,
) -> pa.Table:
    """The BATCH of what `strata` picks, the most that is expected of an answer first, and of what is drawn at random
    from them; the latter, and images that people know, stand at random among the others.

    Args:
        answers: ANSWER_LOG, as `meaning.said_of_images` gives it.
        before, count, factors: as for `strata`.
        known_share: images on which people have decided, as a share of the batch.
        overlap: share of the batch that two people are asked about.
        seed: of what is drawn, and where.
    """
    places, drawn = chosen(gains, strata, first=not before, count=count, factors=factors, seed=seed)
    some = gains.take(pa.array(places))
    reasons = dict(zip(*(candidates.column(name).to_pylist() for name in ("row", "asked_because")), strict=True))
    because = [
        DRAWN if at_random else reasons.get(row, _BECAUSE[Why(kind)])
        for row, kind, at_random in zip(*(some.column(name).to_pylist() for name in ("row", "why")), drawn, strict=True)
    ]
    facts = {"why": some.column("why"), "gain": some.column("gain"), "drawn": drawn}
    tables = manifest, standing, evidence, duplicates, answers
    settings: dict[str, Any] = {"known_share": known_share, "overlap": overlap, "seed": seed}
    return compose(*tables, array(some, "row"), because, facts, **settings)


def chosen(
    gains: pa.Table, strata: pa.Table, *, first: bool, count: int, factors: dict[str, float], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The places in `gains` of what a batch asks about, and which of them were drawn at random, bool, the last ones."""
    place = np.searchsorted(array(gains, "row"), array(strata, "row"))
    expected, unspoken = _weighed(gains, factors)[place], ~array(gains, "spoken")[place]
    stratum, doubt = array(strata, "stratum"), array(strata, "doubt").astype(np.float64)
    pays = np.flatnonzero((stratum == _PICKED) & unspoken)
    pays = pays[np.argsort(-expected[pays], kind="stable")]
    left = np.flatnonzero((stratum >= 0) & unspoken)
    known = stratum[left], doubt[left]
    if len(left) == 0:
        wanted = np.zeros(0, np.int64)
    elif first:
        wanted = shares(*known, ceil(_DRAWN_FIRST * _first_size(gains, count)))
    else:
        wanted = more_shares(*known, ceil(_DRAWN_LATER * len(pays)))
    drawn = left[draw(stratum[left], wanted, seed=seed)]
    return place[np.concatenate([pays, drawn])], np.arange(len(pays) + len(drawn)) >= len(pays)


@makes("what a batch promises", version=1)
def promise(gains: pa.Table, batch: pa.Table, *, factors: dict[str, float]) -> pa.Table:
    """One row, PROMISE: how many of the answers to a BATCH are expected to overturn a verdict, and which share of what
    is kept is expected not to be right before and after them."""
    gain, why = _weighed(gains, factors), array(gains, "why")
    kept = np.isin(why, (Why.MAYBE_JUNK, Why.KEPT)) & ~array(gains, "spoken")
    told = batch.filter(batch.column("known").is_null())
    asked = np.isin(array(gains, "row"), array(told, "row"))
    wrong, left = gain[kept].sum(), gain[kept & ~asked].sum()
    of = max(1, int(np.isin(why, (Why.MAYBE_JUNK, Why.KEPT)).sum()))
    found = {"answers": [int(asked.sum())], "changes": [float(gain[asked].sum())]}
    return check(pa.table(found | {"before": [float(wrong / of)], "after": [float(left / of)]}), PROMISE, "promise")


def factors(worths: list[dict[str, tuple[int, float]]]) -> dict[str, float]:
    """Of each kind of question how many of the answers so far have changed something, beside how many were expected to;
    drawn to 1 as if three more had done as they were expected to.

    Args:
        worths: of each batch so far, by `Why`, how many changed something, and how many were expected to.
    """
    found = {}
    for kind in Why:
        changed, expected = (sum(each.get(kind, (0, 0.0))[part] for each in worths) for part in (0, 1))
        if expected:
            found[kind.value] = round((changed + _PRIOR) / (expected + _PRIOR), 6)
    return found
