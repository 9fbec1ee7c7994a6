"""The evidence of one task from frozen features: softmax heads and a Gaussian discriminant, pooled as the given labels
find likeliest."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy
import torch

from cleaner.evidence.channel import Guesses, fitted
from cleaner.evidence.crossfit import Task, evidence_table
from cleaner.evidence.discriminant import Linear, OutOfFold
from cleaner.evidence.heads import Heads, Samples, blocks, fit
from cleaner.progress import track
from cleaner.tables import array, matrix
from cleaner.threads import computed

_LOGITS_AT_ONCE = 2**22
_TRIAL_CELLS = 2e6
_CHANNEL_TRIAL = 10_000
_SHRINKAGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_LOG_SHARPNESS = (-5.0, 1.5)


@dataclass(frozen=True)
class Fitting:
    """One task with its points: `rows` are those that are learnt from or asked about, ascending; `workers` threads
    compute, each alone (of a GPU one asks); what the settings mean `cleaner.evidence.predictors.probe` says."""

    task: Task
    folds: tuple[int, ...]
    rows: np.ndarray
    points: np.ndarray
    variances: np.ndarray
    penalties: tuple[float, ...]
    passes: int
    trial: int
    heads_until: int
    workers: int

    def evidence(self) -> pa.Table:
        pool = self._pool()
        size = max(16, _LOGITS_AT_ONCE // self.task.classes)
        asked = self.task.predict[self.rows] & np.isin(self.task.folds[self.rows], self.folds)
        wanted = {fold: part[asked[part]] for fold, part in enumerate(pool.discriminants.parts) if asked[part].any()}
        parts = (
            (part[some], linear)
            for fold, part in wanted.items()
            for linear in (pool.linear(fold),)
            for some in blocks(len(part), size)
        )

        def told(part: tuple[np.ndarray, Linear]) -> pa.Table:
            positions, linear = part
            rows = self.rows[positions].astype(np.int32)
            probs = pool.probs(self, positions, linear).cpu().numpy()
            return evidence_table(rows, self.task.folds[rows], probs, self.task.labels[rows])

        count = sum(-(-len(part) // size) for part in wanted.values())
        found = track(computed(told, parts, workers=self._workers), count, "blocks predicted")
        return pa.concat_tables(found).sort_by("row").combine_chunks()

    @property
    def _workers(self) -> int:
        return self.workers if _device() == "cpu" else 1

    def _pool(self) -> "_Pool":
        discriminants = self._discriminants()
        heads = self._heads() if len(self.rows) * self.task.classes <= self.heads_until else None
        return _Pool.chosen(self, heads, discriminants)

    def _discriminants(self) -> OutOfFold:
        """For each finer fold the discriminant of all other samples."""
        everything = np.arange(len(self.rows))
        weights = np.where(self._learnable(everything), self.task.weights[self.rows], 0).astype(np.float32)
        labels, folds = np.maximum(self._labels(everything), 0), self.task.finer_folds[self.rows]
        points = torch.from_numpy(self.points).to(_device())
        return OutOfFold.of(points, labels, weights, folds, self.task.classes, workers=self._workers)

    def _heads(self) -> Heads:
        penalty = self._best_penalty()
        everything = np.arange(len(self.rows))
        return self._fit(everything, np.array(self.folds), np.full(len(self.folds), penalty))

    def _fold(self, positions: np.ndarray) -> np.ndarray:
        return self.task.folds[self.rows[positions]]

    def _learnable(self, positions: np.ndarray) -> np.ndarray:
        rows = self.rows[positions]
        return (self.task.weights[rows] > 0) & (self.task.labels[rows] >= 0)

    def _trial(self, among: np.ndarray, most: int) -> np.ndarray:
        """The positions of at most `most` of the samples `among`, ascending."""
        positions = np.flatnonzero(among)
        if len(positions) <= most:
            return positions
        random = np.random.default_rng(self.task.seed)
        return np.sort(random.choice(positions, most, replace=False))

    def _best_penalty(self) -> float:
        """The penalty for all samples that gives the first fold's labels the highest likelihood on the trial."""
        learnable = self._learnable(np.arange(len(self.rows)))
        trial = self._trial(learnable, self.trial)
        first = self._fold(trial) == self.folds[0]
        penalties = np.array(self.penalties)
        if first.all() or not first.any():
            return float(np.median(penalties))
        heads = self._fit(trial, np.full(len(penalties), self.folds[0]), penalties)
        judged = trial[first]
        logits = heads.logits(self._points(judged))
        given = self._labels(judged)
        each = computed(
            lambda model: sharpest(logits[:, model], given)[0], range(len(penalties)), workers=self._workers
        )
        losses = list(each)
        return float(penalties[int(np.argmin(losses))] * len(trial) / learnable.sum())

    def _fit(self, positions: np.ndarray, held_out: np.ndarray, penalties: np.ndarray) -> Heads:
        """A head for each entry of `held_out`, by the samples of all other folds."""
        device = _device()
        learns = self._learnable(positions)[:, None] & (self._fold(positions)[:, None] != held_out)
        learns = learns * self.task.weights[self.rows[positions], None]
        labels = torch.from_numpy(np.maximum(self._labels(positions), 0))
        samples = Samples(
            self._points(positions), labels.to(device), torch.from_numpy(learns).to(device), self.task.classes
        )
        variances, weights = torch.from_numpy(self.variances), torch.from_numpy(penalties.astype(np.float32))
        return fit(samples, variances.to(device), weights.to(device), passes=self.passes, workers=self._workers)

    def _labels(self, positions: np.ndarray) -> np.ndarray:
        return self.task.labels[self.rows[positions]].astype(np.int64)

    def _points(self, positions: np.ndarray) -> torch.Tensor:
        whole = len(positions) == len(self.points)
        return torch.from_numpy(self.points if whole else self.points[positions]).to(_device())

    def _by_heads(self, heads: Heads, positions: np.ndarray) -> torch.Tensor:
        """Each sample's logits by the head that did not learn from its fold."""
        logits = torch.empty(len(positions), self.task.classes, device=heads.bias.device)
        fold = self._fold(positions)
        for model, held_out in enumerate(self.folds):
            own = np.flatnonzero(fold == held_out)
            head = Heads(heads.weights[:, model : model + 1], heads.bias[model : model + 1])
            logits[torch.from_numpy(own).to(logits.device)] = head.logits(self._points(positions[own]))[:, 0]
        return logits


@dataclass(frozen=True)
class _Pool:
    """Heads and discriminants together: a log-linear pool.

    Attributes:
        heads: None where there are too many samples and classes for them.
        shrinkage: of the discriminants.
        head_weight, weight: what the heads' and the discriminants' logits are multiplied by, and then added.
    """

    heads: Heads | None
    discriminants: OutOfFold
    shrinkage: float
    head_weight: float = 0.0
    weight: float = 1.0

    @classmethod
    def chosen(cls, fitting: Fitting, heads: Heads | None, discriminants: OutOfFold) -> "_Pool":
        """What the given labels of a trial find likeliest; the share by their likelihood under the noise channel: both
        kinds learn what is wrong by some rule, and the plain likelihood would praise whichever learns more of it."""
        task = fitting.task
        among = task.predict & np.isin(task.folds, fitting.folds) & (task.labels >= 0)
        trial = fitting._trial(among[fitting.rows], min(fitting.trial, int(_TRIAL_CELLS / task.classes)))
        if not len(trial):
            return cls(heads, discriminants, _SHRINKAGES[0])
        labels, workers = fitting._labels(trial), fitting._workers
        tried = torch.empty(len(_SHRINKAGES), len(trial), task.classes, device=_device())

        def judge(fold: int) -> None:
            own = np.flatnonzero(np.isin(trial, discriminants.parts[fold], assume_unique=True))
            if not len(own):
                return
            at, discriminant = torch.from_numpy(own).to(tried.device), discriminants.without(fold)
            points = fitting._points(trial[own])
            for logits, found in zip(tried, discriminant.tried(points, _SHRINKAGES), strict=True):
                logits[at] = found

        for _ in computed(judge, range(len(discriminants.parts)), workers=workers):
            """Each fold's logits go to their place."""
        found = list(computed(lambda logits: sharpest(logits, labels), tried, workers=workers))
        best = min(range(len(found)), key=lambda place: found[place][0])
        sharpness, shrinkage = found[best][1], _SHRINKAGES[best]
        if heads is None:
            return cls(heads, discriminants, shrinkage, weight=sharpness)
        by_heads, by_discriminant = fitting._by_heads(heads, trial), tried[best]
        _, head_sharpness = sharpest(by_heads, labels)
        some = slice(None, None, -(-len(trial) // _CHANNEL_TRIAL))

        def judged(share: float) -> tuple[float, float, float]:
            weights = (1 - share) * head_sharpness, share * sharpness
            pooled = weights[0] * by_heads + weights[1] * by_discriminant
            _, after = sharpest(pooled, labels)
            probs = torch.softmax(pooled[some] * after, 1).cpu().numpy()
            return fitted(guesses_of(probs, labels[some])).likelihood, weights[0] * after, weights[1] * after

        _, head_weight, weight = max(computed(judged, _SHARES, workers=workers))
        return cls(heads, discriminants, shrinkage, head_weight, weight)

    def linear(self, fold: int) -> Linear:
        """The part of the discriminant that did not learn from a fold of `discriminants`."""
        return self.discriminants.without(fold).linear(self.shrinkage, self.weight)

    def probs(self, fitting: Fitting, positions: np.ndarray, linear: Linear) -> torch.Tensor:
        """float32 len(positions) x classes, of samples that `linear` did not learn from."""
        logits = linear.logits(fitting._points(positions))
        if self.heads is not None:
            logits.add_(fitting._by_heads(self.heads, positions), alpha=self.head_weight)
        return torch.softmax(logits, 1)


def guesses_of(probs: np.ndarray, labels: np.ndarray) -> Guesses:
    """From float32 n x classes probabilities and the given class numbers."""
    rows = np.arange(len(labels), dtype=np.int32)
    told = evidence_table(rows, np.zeros(len(labels), np.int8), probs, labels)
    columns = matrix(told, "top_classes"), matrix(told, "top_probs"), labels, array(told, "given_prob")
    return Guesses.of(*columns, probs.shape[1])


def sharpest(logits: torch.Tensor, labels: np.ndarray) -> tuple[float, float]:
    """The lowest mean log loss of n x classes logits times a number, and that number."""
    wanted = torch.from_numpy(np.asarray(labels, np.int64)).to(logits.device)

    def loss(exponent: float) -> float:
        return torch.nn.functional.cross_entropy(logits * float(np.exp(exponent)), wanted).item()

    found = scipy.optimize.minimize_scalar(loss, bounds=_LOG_SHARPNESS, method="bounded", options={"xatol": 0.02})
    return float(found.fun), float(np.exp(found.x))


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
