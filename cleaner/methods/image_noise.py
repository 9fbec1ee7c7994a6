"""Images that show nothing of any class, found with or without what people have marked.

The recipe's first stage: of the images that are not three-channel about one in ten was junk; people mark some, a
classifier learns them, whatever it is surer of than a threshold joins them, until nothing new comes. Here what was
found is not learnt from again: two hats marked as junk by mistake became 557 images so.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.evidence.crossfit import Features
from cleaner.evidence.features import ShardedFeatures
from cleaner.evidence.neighbors import directions, groups, mean_of
from cleaner.methods.junk import Found, Seen, probabilities
from cleaner.methods.placeholders import groups_of_junk
from cleaner.run import ledger
from cleaner.run.ledger import MISLABELLED, PEOPLE, PERSON
from cleaner.run.steps import makes
from cleaner.tables import Action, Classes, array, is_usable, matrix
from cleaner.threads import one_thread_each

STAGE = "image_noise"
SEEDS = f"{PERSON}seeds"
UNLIKE_ALL = "unlike all other images"
_RARE = {
    "1": "black and white, as few images here are",
    "L": "grey, as few images here are",
    "LA": "grey and transparent, as few images here are",
    "P": "of few colours, as few images here are",
    "RGBA": "transparent, as few images here are",
    "CMYK": "in printers' colours, as few images here are",
}
_MINORITY = 0.2
_SAMPLE = 20_000
_BLOCK = 8_192
_DIRECTIONS = 64
_POWER_STEPS = 4
_NEAREST = 1e-12
_UNSURE = 0.05
_PLACEHOLDER = 0.9


@makes("verdicts by marks beforehand", version=2)
def seed_verdicts(manifest: pa.Table, *, seeds: dict[str, bool]) -> pa.Table:
    """VERDICTS of people who marked images beforehand: junk is dropped, and so are its copies, the files with the same
    bytes; of an image that is none nothing is decided.

    Args:
        seeds: path -> is junk; a path that is no sample's is left out. Where copies are marked both ways it is junk.
    """
    rows = pc.index_in(pa.array(seeds, pa.string()), value_set=manifest.column("path")).drop_null()
    marked = zip(*(manifest.column(name).take(rows).to_pylist() for name in ("content_hash", "path")), strict=True)
    by_content: dict[str, bool] = {}
    for content, path in marked:
        by_content[content] = by_content.get(content, False) or seeds[path]
    found = pc.index_in(manifest.column("content_hash"), value_set=pa.array(by_content, pa.string()), skip_nulls=True)
    rows = np.flatnonzero(found.is_valid().to_numpy())
    junk = np.array(list(by_content.values()), bool)[found.drop_null().to_numpy()]
    reasons = np.where(junk, "marked as junk", "marked as no junk")
    actions = pa.array(np.full(len(rows), Action.DROP.value), pa.string(), mask=~junk)
    score = pa.array(np.zeros(len(rows), np.float32), mask=~junk)
    return ledger.verdicts(manifest, rows, reasons, stage=STAGE, by=SEEDS, round=0, action=actions, score=score)


@makes("how likely images are junk", version=1)
def judged(
    manifest: pa.Table, standing: pa.Table, evidence: pa.Table, marks: pa.Table, *shards: np.ndarray, seed: int
) -> pa.Table:
    """Of each row of `evidence` that no person but by a mark has decided, and that nothing else has dropped: `row`
    int32; `prob` float64, the probability that it is junk; `far` float64, the logarithm of what the data set's
    principal directions leave of it; `group` int32, of what is nearly equal, or none; `like_marked` bool, whether it is
    judged by what people have marked; `placeholder` bool, whether its group's labels are random; `marked`
    bool, whether people have marked it.

    Args:
        evidence: of the first round.
        marks: as `marks` gives them.
        seed: of the samples that directions and groups are taken from.
    """
    known = np.full(len(manifest), -1, np.int8)
    known[array(marks, "row")] = array(marks, "junk")
    kept = array(standing, "action") == Action.KEEP
    evidence = evidence.filter(pa.array((kept | (known == 1))[array(evidence, "row")]))
    rows, classes = array(evidence, "row"), Classes.of(manifest)
    features = ShardedFeatures(shards)
    seen = Seen(
        matrix(evidence, "top_probs").astype(np.float64) if len(rows) else np.zeros((0, 1)),
        array(evidence, "given_prob").astype(np.float64),
        classes.encode(manifest.column("label").take(pa.array(rows))),
        len(classes.names),
        known[rows],
    )
    group = groups(features, rows, seed=seed)
    by_group = groups_of_junk(group, seen)
    alike = by_group > _PLACEHOLDER
    far = np.log(np.maximum(_distances(features, rows, seed), _NEAREST)).astype(np.float64)
    rest = np.flatnonzero(~alike)
    found = _mixed(features, rows[rest], far[rest], array(evidence, "fold")[rest], seen.of(rest), seed)
    prob, like_marked = np.where(known[rows] == 0, 0.0, 1.0), np.zeros(len(rows), bool)
    unmarked = known[rows][rest] < 0
    prob[rest] = np.where(unmarked, np.maximum(found.prob, by_group[rest]), found.prob)
    like_marked[rest] = found.like_marked
    columns = {"row": rows, "prob": prob, "far": far, "like_marked": like_marked, "placeholder": alike}
    columns["marked"] = known[rows] >= 0
    return pa.table({**columns, "group": pa.array(group, pa.int32(), mask=group < 0)})


@makes("no junk", version=1)
def no_junk(manifest: pa.Table) -> pa.Table:
    """As `judged`, of data in which nobody looks for junk."""
    rows = np.flatnonzero(is_usable(manifest)).astype(np.int32)
    none = np.zeros(len(rows), bool)
    columns = {"row": rows, "prob": np.zeros(len(rows)), "far": np.zeros(len(rows)), "like_marked": none}
    return pa.table({**columns, "placeholder": none, "marked": none, "group": pa.nulls(len(rows), pa.int32())})


def _mixed(features: Features, rows: np.ndarray, far: np.ndarray, fold: np.ndarray, seen: Seen, seed: int) -> Found:
    if len(rows) == 0:
        return Found(np.zeros(0), np.zeros(0, bool))
    middle = mean_of(features, rows)

    def points() -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            yield part, directions(features, rows[part], middle)

    sample = np.sort(np.random.default_rng(seed).permutation(rows)[:_SAMPLE])
    with one_thread_each():
        return probabilities(far, points, directions(features, sample, middle), fold, seen)


@makes("junk candidates", version=3)
def candidates(manifest: pa.Table, judged: pa.Table, *, limit: int) -> pa.Table:
    """Images that may be junk, for people to mark, of those that they have not. Those first of which an answer would
    change most: what is as likely junk as not, of images that are nearly equal one; then half in a rare colour mode,
    half far from all others.

    A mode is rare when less than a fifth of the usable images have it; the farthest of them come first.

    Args:
        judged: as `judged` gives it.
        limit: how many at most.

    Returns:
        `row` int32 and `asked_because`, one row a candidate.
    """
    judged = judged.filter(pc.invert(judged.column("marked")))
    rows, prob = array(judged, "row"), array(judged, "prob")
    group = pc.fill_null(judged.column("group"), -1).to_numpy()
    _, first = np.unique(np.where(group < 0, -1 - np.arange(len(group)), group), return_index=True)
    unsure = np.sort(first[(prob[first] > _UNSURE) & (prob[first] < 1 - _UNSURE)])
    unsure = unsure[np.argsort(np.abs(prob[unsure] - 0.5), kind="stable")][: -(-limit // 2)]
    order = np.argsort(-array(judged, "far"), kind="stable")
    order = order[~np.isin(order, unsure)]
    modes = array(manifest, "mode")
    usable = is_usable(manifest)
    names, counts = np.unique(modes[usable].astype(str), return_counts=True)
    rare = set(names[counts < _MINORITY * usable.sum()]) - {"RGB"}
    left = limit - len(unsure)
    odd = order[np.isin(modes[rows[order]].astype(str), list(rare))][: -(-left // 2)]
    outliers = order[~np.isin(order, odd)][: max(0, min(left - len(odd), len(order) // 20))]
    because = [f"may be junk, with probability {p:.2f}" for p in prob[unsure]]
    because += [_RARE.get(modes[rows[row]], f"rare among these images: mode {modes[rows[row]]}") for row in odd]
    because += [UNLIKE_ALL] * len(outliers)
    asked = rows[np.concatenate([unsure, odd, outliers])].astype(np.int32)
    return pa.table({"row": pa.array(asked, pa.int32()), "asked_because": pa.array(because, pa.string())})


@makes("marks", version=4)
def marks(manifest: pa.Table, *parts: pa.Table) -> pa.Table:
    """What people say is junk or none in `parts` of the ledger, save that they can't tell, or no more than that a label
    is wrong: `row` int32, `junk` bool, rows ascending."""
    known = np.full(len(manifest), -1, np.int8)
    for part in parts:
        personal = pc.starts_with(part.column("by"), PERSON).to_numpy()
        junk = (array(part, "action") == Action.DROP) & np.isin(array(part, "stage"), (STAGE, PEOPLE))
        rows = array(part, "row")
        spoke = part.column("action").is_valid().to_numpy() | (array(part, "by") == SEEDS)
        known[rows[personal & spoke & (array(part, "stage") != MISLABELLED)]] = 0
        known[rows[personal & junk]] = 1
    rows = np.flatnonzero(known >= 0).astype(np.int32)
    return pa.table({"row": rows, "junk": known[rows] == 1})


@makes("verdicts on image noise", version=3)
def verdicts(
    manifest: pa.Table, standing: pa.Table, evidence: pa.Table, judged: pa.Table, *, threshold: float
) -> pa.Table:
    """VERDICTS that drop what is junk with a probability over `threshold`, where nobody has said so; arguments as for
    `judged`, and what it gives."""
    known = pc.index_in(evidence.column("row"), value_set=judged.column("row").combine_chunks()).is_valid().to_numpy()
    evidence = evidence.filter(pa.array(known))
    rows, prob = array(judged, "row"), array(judged, "prob")
    found = (prob > threshold) & (array(standing, "action") == Action.KEEP)[rows] & ~_decided(standing)[rows]
    group = pc.fill_null(judged.column("group"), -1).to_numpy()
    size = np.bincount(group[group >= 0], minlength=1)
    top, probs, names = matrix(evidence, "top_classes"), matrix(evidence, "top_probs"), Classes.of(manifest).names
    like_marked, placeholder = array(judged, "like_marked"), array(judged, "placeholder")
    reasons = []
    for place in np.flatnonzero(found).tolist():
        reason = f"junk with probability {prob[place]:.2f}: "
        if placeholder[place]:
            reason += f"one of {size[group[place]]} images that are nearly equal, under labels as if drawn at random"
        elif like_marked[place]:
            reason += "like what people marked as junk"
        else:
            reason += "unlike all others, and no class claims it"
            reason += f" (most of all {names[top[place, 0]]}, p {probs[place, 0]:.2f})"
        reasons.append(reason)
    belief = pa.array((1 - prob[found]).astype(np.float32))
    return ledger.verdicts(manifest, rows[found], reasons, stage=STAGE, by="rule:image_noise", score=belief)


def _decided(standing: pa.Table) -> np.ndarray:
    found: np.ndarray = pc.starts_with(standing.column("by"), PERSON).to_numpy()
    return found


def _distances(features: Features, rows: np.ndarray, seed: int) -> np.ndarray:
    """float32: what of each of `rows` is left, squared, when the principal directions of a sample are taken away."""
    import torch

    sample = np.sort(np.random.default_rng(seed).permutation(rows)[:_SAMPLE])
    known = features[sample].astype(np.float32)
    few = max(1, min(_DIRECTIONS, len(known) // 4, known.shape[1] // 4))
    middle = known.mean(0, dtype=np.float64).astype(np.float32)
    far = np.empty(len(rows), np.float32)
    with one_thread_each(), torch.random.fork_rng([]):
        torch.manual_seed(seed)
        main = torch.svd_lowrank(torch.from_numpy(known - middle), q=few, niter=_POWER_STEPS)[2].numpy()
        for start in range(0, len(rows), _BLOCK):
            points = features[rows[start : start + _BLOCK]].astype(np.float32) - middle
            far[start : start + len(points)] = (points**2).sum(1) - ((points @ main) ** 2).sum(1)
    return far
