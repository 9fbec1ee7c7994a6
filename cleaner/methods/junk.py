"""How likely an image is junk, from how far it is from all others, whether a class claims it, whether its label can be
foretold, what it looks like, and what people have marked: one mixture for all of these, arrays in, arrays out.

Images are of the bulk, far from it but good, or junk. A second camera, or a rare kind of a class, is far too, but its
labels are foretold as those of others are; the labels of junk tell nothing. Where letting what is far be junk explains
its labels no better, nothing is junk.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from cleaner.methods.appearance import Points, appearance, looks, whitening

_STEPS = 100
_FAR = 2.5
_LEAST_CENTRE = 1.5
_PRIOR_SPREAD = 0.25
_NARROWEST = 0.2
_APART = 2.5
_BINS = 10
_BIN_PRIOR = 3.0
_CLAIMED = 0.9
_SHARPENED = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
_LEAST_ERROR, _MOST_ERROR = 0.02, 0.5
LEAST_SHARE = 1e-5
_GAINS = {1.0: 3.0, 0.75: 3.0, 0.5: -3.0}
"""By how many nats junk must explain the labels of what is far better than models that are too sure of it, by the
exponent that these are flattened by."""
_MARK_GAIN = 2.94
_MARKS_REACH = 4.0
_JUDGED_FROM = -3.0
_FLOOR, _CEILING = 0.1, 0.9


@dataclass(frozen=True)
class Seen:
    """What is known of n images beside what they look like.

    Attributes:
        top: float[n, k], the probabilities of the likeliest classes, the highest first.
        given_prob: float[n], that of the given label.
        given: int[n], given class numbers.
        classes: how many classes there are.
        marks: int8[n]: 1 where people have marked junk, 0 where they said that it is none, else -1.
    """

    top: np.ndarray
    given_prob: np.ndarray
    given: np.ndarray
    classes: int
    marks: np.ndarray

    def of(self, rows: np.ndarray) -> "Seen":
        return Seen(self.top[rows], self.given_prob[rows], self.given[rows], self.classes, self.marks[rows])

    @property
    def shares(self) -> np.ndarray:
        """float64[n]: how often each given label is given."""
        counts = np.bincount(self.given, minlength=self.classes)
        return np.maximum(counts[self.given] / max(1, len(self.given)), LEAST_SHARE)

    def foretold(self, exponent: float) -> np.ndarray:
        """float64[n]: how probable the given label is, with predictions to the power of `exponent`; what the likeliest
        classes leave is spread evenly over the others."""
        others = max(1, self.classes - self.top.shape[1])
        rest = np.clip(1 - self.top.sum(1), 0, 1) / others
        total = (self.top**exponent).sum(1) + others * rest**exponent * (self.classes > self.top.shape[1])
        found: np.ndarray = np.clip(self.given_prob, 0, 1) ** exponent / np.maximum(total, 1e-300)
        return found


@dataclass(frozen=True)
class Judged:
    """The probability that each of n images is junk, float64[n]; `free`: without what was marked on it itself."""

    junk: np.ndarray
    free: np.ndarray


@dataclass(frozen=True)
class Found:
    """The probability that each of n images is junk, `prob`, float64[n]; `like_marked`, bool[n]: it comes of what was
    marked, else of how far from all others an image is."""

    prob: np.ndarray
    like_marked: np.ndarray


def mixture(far: np.ndarray, seen: Seen, look: np.ndarray | None = None, *, by_marks: bool = False) -> Judged:
    """The probability of junk, by expectation-maximisation; it never falls with `far`.

    Args:
        far: float[n], how far an image is from all others, by any measure.
        look: float[n], the log ratio of how likely junk and other images look like it; none where that is not known.
        by_marks: `far` is the direction from what is not junk to what people marked as such: junk begins at the marks,
            and those of no junk weigh against there being any. A label that is likelier than in general vetoes.
    """
    nothing = Judged(np.zeros(len(far)), np.zeros(len(far)))
    z, marked = _standard(far), seen.marks
    begun = _begun(z, seen, by_marks=by_marks)
    if begun is None:
        return nothing
    labelling = _labelling(seen)
    known = _Known(z, _ratio(seen, *labelling), _bins(seen.top[:, 0]), np.zeros(len(far)) if look is None else look)
    now = _Mixed(begun, 1.0, np.array([0.9, 0.05, 0.05]), np.full((3, _BINS), 1 / _BINS))
    open_, weight = seen.top[:, 0] < _CLAIMED, np.where(marked < 0, 1.0, 0.5)
    for _ in range(_STEPS):
        free = now.shares(known, open_)
        found = _as_marked(free, marked)
        out = found[:, 1] + found[:, 2]
        parts = np.maximum((weight[:, None] * found).sum(0) / weight.sum(), LEAST_SHARE)
        centre = max(_LEAST_CENTRE, float((out @ z + by_marks * begun) / max(out.sum() + by_marks, 1e-12)))
        spread = max(_NARROWEST, float(np.sqrt((out @ (z - centre) ** 2 + _PRIOR_SPREAD) / (out.sum() + 1))))
        now = _Mixed(centre, spread, parts / parts.sum(), _claims(found, known.bins))
    if now.centre < _APART or not _explains(seen, found, now.parts, labelling, known.likely, by_marks=by_marks):
        return nothing
    junk, alone = found[:, 2], free[:, 2]
    if by_marks:
        foretold = seen.given_prob / seen.shares > np.e
        junk, alone = np.where(foretold & (marked != 1), 0, junk), np.where(foretold, 0, alone)
    return Judged(junk, alone)


@dataclass(frozen=True)
class _Known:
    """Of n images: how far they are in spreads from the middle, how much likelier their labels are if they show a
    class, the bin of their likeliest class's probability, and the log ratio of their looks."""

    z: np.ndarray
    likely: np.ndarray
    bins: np.ndarray
    look: np.ndarray


@dataclass(frozen=True)
class _Mixed:
    """A mixture of the bulk, of what is far but good, and of junk: the `centre` and `spread` of the two that are far,
    the shares `parts` of all three, and their `claims`, as `_claims` gives them."""

    centre: float
    spread: float
    parts: np.ndarray
    claims: np.ndarray

    def shares(self, known: _Known, open_: np.ndarray) -> np.ndarray:
        """float64[n, 3]: the probability that an image is of each; junk is none but of those `open_`, bool[n]."""
        z = np.clip(known.z, 0, self.centre)
        bulk, away = -0.5 * z**2, -0.5 * ((z - self.centre) / self.spread) ** 2 - np.log(self.spread)
        places = [bulk + np.log(known.likely), away + np.log(known.likely), np.where(open_, away + known.look, -np.inf)]
        logs = np.stack(places, 1) + np.log(self.parts) + np.log(self.claims[:, known.bins]).T
        found: np.ndarray = np.exp(logs - scipy.special.logsumexp(logs, 1, keepdims=True))
        return found


def _standard(far: np.ndarray) -> np.ndarray:
    """In spreads above the median, of the lower side, which what is far does not blur."""
    if len(far) == 0:
        return far
    low, middle = np.quantile(far, [0.16, 0.5])
    found: np.ndarray = (far - middle) / max(middle - low, 1e-12)
    return found


def _begun(z: np.ndarray, seen: Seen, *, by_marks: bool) -> float | None:
    """Where the mixture's far part begins; None where there is nothing to begin with."""
    marked = seen.marks == 1
    if by_marks:
        return max(_LEAST_CENTRE, float(z[marked].mean())) if marked.any() else None
    far = z > _FAR
    if (far & (seen.top[:, 0] < _CLAIMED)).sum() < 3 and not marked.any():
        return None
    return float(np.median(z[far])) if far.any() else _FAR


def _bins(top: np.ndarray) -> np.ndarray:
    """int64[n]: which tenth."""
    return np.searchsorted(np.quantile(top, np.linspace(0, 1, _BINS + 1)[1:-1]), top, side="right")


def _as_marked(free: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The same where what is marked is what it was marked as."""
    found = free.copy()
    found[marks == 1] = (0, 0, 1)
    none = marks == 0
    found[none, 2] = 0
    found[none] /= np.maximum(found[none].sum(1, keepdims=True), 1e-300)
    return found


def _labelling(seen: Seen) -> tuple[float, float]:
    """The exponent of predictions, and the share of labels given at random, under which the given ones are
    likeliest."""
    best = (-np.inf, 1.0, _LEAST_ERROR)
    for exponent in _SHARPENED:
        likely = seen.foretold(exponent)
        error = 0.1
        for _ in range(30):
            random = error * seen.shares
            error = float(np.clip((random / ((1 - error) * likely + random)).mean(), _LEAST_ERROR, _MOST_ERROR))
        best = max(best, (float(np.log((1 - error) * likely + error * seen.shares).mean()), exponent, error))
    return best[1:]


def _ratio(seen: Seen, exponent: float, error: float) -> np.ndarray:
    """float64[n]: how much likelier the given label is for an image that shows a class than for junk."""
    return (1 - error) * seen.foretold(exponent) / seen.shares + error


def _claims(found: np.ndarray, bin_: np.ndarray) -> np.ndarray:
    """float64[3, bins]: how often the likeliest class's probability lies in each bin, of the bulk, of what is far, and
    of junk: the surer a model is, the less often it is junk."""
    bulk = np.bincount(bin_, found[:, 0], _BINS) + 1e-9
    bulk /= bulk.sum()
    far, junk = (np.bincount(bin_, found[:, number], _BINS) + _BIN_PRIOR * bulk for number in (1, 2))
    falling = scipy.optimize.isotonic_regression(junk / bulk, weights=bulk, increasing=False).x * bulk
    return np.stack([bulk, far / far.sum(), falling / falling.sum()])


def _explains(
    seen: Seen,
    found: np.ndarray,
    parts: np.ndarray,
    labelling: tuple[float, float],
    likely: np.ndarray,
    *,
    by_marks: bool,
) -> bool:
    """Whether junk among what is far explains its labels better than models that are too sure of it."""
    exponent, error = labelling
    weight, part = found[:, 1] + found[:, 2], parts[2] / (parts[1] + parts[2])
    marks = _MARK_GAIN * float(weight[seen.marks == 1].sum())
    if by_marks:
        marks -= _MARK_GAIN * float(weight[seen.marks == 0].sum())
    with_junk = np.log(part + (1 - part) * likely)
    for flattened, least in _GAINS.items():
        gain = weight @ (with_junk - np.log(_ratio(seen, exponent * flattened, error)))
        if gain + marks < least:
            return False
    return True


def shift(free: np.ndarray, marks: np.ndarray) -> float:
    """By how much, at most 0, log odds of junk are to be moved for the marks to be likeliest: where people call most of
    what is taken for junk none, they are believed."""
    odds = scipy.special.logit(np.clip(free, 1e-12, 1 - 1e-12))
    judged = (marks >= 0) & (odds > _JUDGED_FROM)
    if not judged.any():
        return 0.0
    called_junk = marks[judged] == 1

    def loss(moved: float) -> float:
        prob = _FLOOR + (_CEILING - _FLOOR) * scipy.special.expit(odds[judged] + moved)
        return float(-np.log(np.where(called_junk, prob, 1 - prob)).sum() + moved**2 / 8)

    return float(scipy.optimize.minimize_scalar(loss, bounds=(-30, 0), method="bounded").x)


def probabilities(far: np.ndarray, points: Points, sample: np.ndarray, fold: np.ndarray, seen: Seen) -> Found:
    """The probability that each image is junk; what is marked is what it was marked as.

    Args:
        far: float[n], the logarithm of what the data set's principal directions leave of an image.
        points: as for `appearance`, unit directions of the features.
        sample: float32[m, d], some of these, drawn at random.
        fold: int[n], equal for images that are one picture.
    """
    marks = seen.marks
    sure = np.where(marks >= 0, marks, 0).astype(float)
    weights = np.where(marks >= 0, sure, mixture(far, seen).junk)
    found = [mixture(far, seen, looks(appearance(points, weights, fold), weights))]
    if count := int((marks == 1).sum()):
        thought = found[0].junk
        reach = min(1.0, _MARKS_REACH * count / max(thought[marks < 0].sum(), 1e-12))
        weights = np.where(marks >= 0, sure, reach * thought)
        along = appearance(points, weights, fold, whitening(sample, count))
        if not np.isnan(along).all():
            along = np.where(np.isnan(along), np.nanmedian(along), along)
            found.append(mixture(along, seen, by_marks=True))
    moved = shift(np.max([each.free for each in found], 0), marks)
    moved_to = [scipy.special.expit(scipy.special.logit(np.clip(each.junk, 0, 1)) + moved) for each in found]
    return Found(np.where(marks >= 0, sure, np.max(moved_to, 0)), np.argmax(moved_to, 0) == 1)
