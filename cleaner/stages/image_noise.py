"""Images that show nothing of any class: a binary classifier grows from what people have marked.

The recipe's first stage: of the images that are not three-channel about one in ten was junk; people mark some, a
classifier learns them, whatever it is surer of than a threshold joins them, until nothing new comes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.evidence.crossfit import Features, assign_folds, keys_of
from cleaner.evidence.features import ShardedFeatures
from cleaner.evidence.neighbors import directions, mean_of
from cleaner.run.ledger import MISLABELLED, PEOPLE, PERSON
from cleaner.run.steps import makes
from cleaner.stages.calibration import outliers, probabilities
from cleaner.stages.references import pictures
from cleaner.tables import VERDICTS, Action, Classes, array, check, matrix
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
_UNMARKED = 20_000
_BLOCK = 8_192
_DIRECTIONS = 64
_POWER_STEPS = 4
_STRENGTH = 0.3
_CLAIMED = 0.9


@makes("verdicts by marks beforehand", version=2)
def seed_verdicts(manifest: pa.Table, *, seeds: dict[str, bool]) -> pa.Table:
    """VERDICTS of people who marked images beforehand: junk is dropped, and so are its copies, the files with the same
    bytes; of an image that is none nothing is decided.

    Args:
        seeds: path -> is junk; a path that is no sample's is left out. Where copies are marked both ways it is junk.
    """
    rows = pc.index_in(pa.array(seeds, pa.string()), value_set=manifest.column("path")).drop_null()
    marked = zip(*(manifest.column(name).take(rows).to_pylist() for name in ("content_hash", "path")), strict=True)
    said: dict[str, bool] = {}
    for content, path in marked:
        said[content] = said.get(content, False) or seeds[path]
    found = pc.index_in(manifest.column("content_hash"), value_set=pa.array(said, pa.string()), skip_nulls=True)
    rows = np.flatnonzero(found.is_valid().to_numpy())
    junk = np.array(list(said.values()), bool)[found.drop_null().to_numpy()]
    reasons = np.where(junk, "marked as junk", "marked as no junk")
    actions = pa.array(np.full(len(rows), Action.DROP.value), pa.string(), mask=~junk)
    return _verdicts(manifest, rows, 0, actions, pa.array(np.zeros(len(rows)), mask=~junk), SEEDS, reasons)


@makes("junk candidates", version=2)
def candidates(manifest: pa.Table, *shards: np.ndarray, limit: int, seed: int) -> pa.Table:
    """Images that may be junk, for people to mark: half in a rare colour mode, half far from all others.

    A mode is rare when less than a fifth of the usable images have it; the farthest of them come first. How far an
    image is, is what of its features the data set's 64 principal directions do not explain.

    Args:
        limit: how many at most.
        seed: of the sample that the directions are taken from.

    Returns:
        `row` int32 and `asked_because`, one row a candidate.
    """
    features = ShardedFeatures(shards)
    usable = np.flatnonzero(manifest.column("problem").is_null().to_numpy())
    far = _distances(features, usable, seed)
    order = usable[np.argsort(-far, kind="stable")]
    modes = array(manifest, "mode")
    names, counts = np.unique(modes[usable].astype(str), return_counts=True)
    rare = set(names[counts < _MINORITY * len(usable)]) - {"RGB"}
    odd = order[np.isin(modes[order].astype(str), list(rare))][: -(-limit // 2)]
    outliers = order[~np.isin(order, odd)][: max(0, min(limit - len(odd), len(order) // 20))]
    because = [_RARE.get(modes[row], f"rare among these images: mode {modes[row]}") for row in odd]
    because += [UNLIKE_ALL] * len(outliers)
    rows = np.concatenate([odd, outliers]).astype(np.int32)
    return pa.table({"row": pa.array(rows, pa.int32()), "asked_because": pa.array(because, pa.string())})


@makes("marks", version=3)
def marks(manifest: pa.Table, *parts: pa.Table) -> pa.Table:
    """What is known to be junk or none after `parts` of the ledger: `row` int32, `junk` bool, rows ascending.

    What people say counts, save that they can't tell, or no more than that a label is wrong; what a model of this stage
    dropped is junk to the next.
    """
    known = np.full(len(manifest), -1, np.int8)
    for part in parts:
        personal = pc.starts_with(part.column("by"), PERSON).to_numpy()
        junk = (array(part, "action") == Action.DROP) & np.isin(array(part, "stage"), (STAGE, PEOPLE))
        rows = array(part, "row")
        said = part.column("action").is_valid().to_numpy() | (array(part, "by") == SEEDS)
        known[rows[personal & said & (array(part, "stage") != MISLABELLED)]] = 0
        known[rows[junk]] = 1
    rows = np.flatnonzero(known >= 0).astype(np.int32)
    return pa.table({"row": rows, "junk": known[rows] == 1})


@makes("verdicts on image noise", version=2)
def verdicts(
    manifest: pa.Table,
    marks: pa.Table,
    twins: pa.Table,
    *shards: np.ndarray,
    round: int,
    threshold: float,
    folds: int,
    seed: int,
) -> pa.Table:
    """VERDICTS that drop every unmarked image which a classifier that did not see it holds for junk.

    Args:
        marks: as `marks` gives them; without junk among them nothing is dropped.
        threshold: the probability of junk above which an image is dropped. With 30 shop photos and 30 junk photos
            marked among 3,000, of which 200 were junk, 0.9 found 95 to 98 % of the rest, and 2 to 4 % of what it found
            were shop photos; where the marks do not set junk apart from the rest it drops nothing.
    """
    features = ShardedFeatures(shards)
    rows = np.flatnonzero(manifest.column("problem").is_null().to_numpy())
    known = np.full(len(manifest), -1, np.int8)
    known[array(marks, "row")] = array(marks, "junk")
    fold = assign_folds(known.astype(np.int32), pictures(len(manifest), twins), keys_of(manifest, seed), folds=folds)
    scores = _Learning(features, rows, known, fold, seed).scores(folds)
    judged = ~np.isnan(scores)
    prob = np.zeros(len(rows))
    prob[judged] = probabilities(scores[judged], known[rows][judged])
    found = (known[rows] < 0) & (prob > threshold)
    reasons = [f"junk with probability {p:.2f}" for p in prob[found]]
    actions = pa.array([Action.DROP.value] * len(reasons), pa.string())
    belief = pa.array((1 - prob[found]).astype(np.float32))
    return _verdicts(manifest, rows[found], round, actions, belief, "model:logistic_regression", reasons)


@makes("verdicts on unmarked junk", version=1)
def unclaimed(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    marks: pa.Table,
    *shards: np.ndarray,
    threshold: float,
    seed: int,
) -> pa.Table:
    """VERDICTS that drop the images that are unlike all others and that no class claims, where nobody has marked junk.

    How far an image is from all others is what the data set's principal directions leave of it, in spreads above the
    median of its logarithm; a class claims it where models that did not see it are sure of one. A rare class of its own
    kind is as far out, but claimed.

    Args:
        evidence: of the first round.
        marks: as `marks` gives them; where junk is among them the classifier finds more, and where people called most
            of what is far and unclaimed no junk, they are believed.
        threshold: the probability of junk above which an image is dropped. With 0.9, and 0.5 to 8 % of other photos
            among groceries and among CIFAR-10, 67 to 92 % of these were found, at most 7 of 5,000 good images lost, and
            none where there was no junk.
        seed: of the sample that the directions are taken from.
    """
    rows = array(evidence, "row")
    known = np.full(len(manifest), -1, np.int8)
    known[array(marks, "row")] = array(marks, "junk")
    usable = np.flatnonzero(manifest.column("problem").is_null().to_numpy())
    top, probs = matrix(evidence, "top_classes"), matrix(evidence, "top_probs")
    prob = np.zeros(len(rows))
    if not (known == 1).any() and len(rows):
        far = np.full(len(manifest), np.nan)
        far[usable] = np.log(np.maximum(_distances(ShardedFeatures(shards), usable, seed), 1e-12))
        prob = outliers(far[rows], open_=probs[:, 0] < _CLAIMED, good=known[rows] == 0)
    decided = pc.starts_with(standing.column("by"), PERSON).to_numpy()
    kept = array(standing, "action") == Action.KEEP
    found = (prob > threshold) & kept[rows] & ~decided[rows]
    names = Classes.of(manifest).names
    told = zip(prob[found].tolist(), top[found, 0].tolist(), probs[found, 0].tolist(), strict=True)
    reasons = [
        f"junk with probability {p:.2f}: unlike all others, and no class claims it (most of all {names[c]}, p {q:.2f})"
        for p, c, q in told
    ]
    actions = pa.array([Action.DROP.value] * len(reasons), pa.string())
    belief = pa.array((1 - prob[found]).astype(np.float32))
    return _verdicts(manifest, rows[found], 1, actions, belief, "rule:image_noise", reasons)


@dataclass(frozen=True)
class _Learning:
    """What a round learns from: `known` is 1 for junk, 0 for none, -1 where nobody has said, and so taken for none."""

    features: Features
    rows: np.ndarray
    known: np.ndarray
    fold: np.ndarray
    seed: int

    def scores(self, folds: int) -> np.ndarray:
        """How like junk each of `rows` looks to a classifier that did not see its fold; float64, no probability, and no
        number where there is no such classifier."""
        import sklearn.linear_model  # noqa: F401  # Loaded before its threads are held.

        middle = mean_of(self.features, self.rows)
        found = np.full(len(self.rows), np.nan)
        with one_thread_each():
            for number in range(folds):
                asked = np.flatnonzero(self.fold[self.rows] == number)
                model = self._model(number, middle)
                for start in range(0, len(asked) if model else 0, _BLOCK):
                    block = asked[start : start + _BLOCK]
                    points = directions(self.features, self.rows[block], middle)
                    found[block] = model.decision_function(points * points.shape[1] ** 0.5)
        return found

    def _model(self, number: int, middle: np.ndarray) -> Any:
        """A logistic regression on all folds but `number`; None where they have one kind only.

        Its penalty is so strong that it does little more than to compare with the mean of what is marked: with a few
        tens of marks among thousands a weaker one learns the marked images by heart.
        """
        from sklearn.linear_model import LogisticRegression

        learnt = self._sample(self.rows[self.fold[self.rows] != number])
        junk = self.known[learnt] == 1
        if junk.all() or not junk.any():
            return None
        points = directions(self.features, learnt, middle)
        model = LogisticRegression(C=_STRENGTH / len(learnt), class_weight="balanced", max_iter=1_000)
        return model.fit(points * points.shape[1] ** 0.5, junk)

    def _sample(self, rows: np.ndarray) -> np.ndarray:
        """All that is marked, and of the rest at most 20,000; ascending."""
        marked, rest = rows[self.known[rows] >= 0], rows[self.known[rows] < 0]
        drawn = np.random.default_rng(self.seed).permutation(rest)[:_UNMARKED]
        return np.sort(np.concatenate([marked, drawn]))


def _distances(features: Features, rows: np.ndarray, seed: int) -> np.ndarray:
    """float32: what of each of `rows` is left, squared, when the principal directions of a sample are taken away."""
    import torch

    sample = np.sort(np.random.default_rng(seed).permutation(rows)[:_UNMARKED])
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


def _verdicts(
    manifest: pa.Table,
    rows: np.ndarray,
    round: int,
    actions: pa.Array,
    scores: pa.Array,
    by: str,
    reasons: Iterable[str],
) -> pa.Table:
    count = len(rows)
    columns = {
        "row": pa.array(rows, pa.int32()),
        "sample_id": manifest.column("sample_id").take(pa.array(rows)),
        "stage": pa.repeat(STAGE, count),
        "round": pa.repeat(round, count),
        "action": actions,
        "new_label": pa.nulls(count, pa.string()),
        "score": scores,
        "by": pa.repeat(by, count),
        "reason": pa.array(reasons, pa.string()),
    }
    return check(pa.table(columns), VERDICTS, STAGE)
