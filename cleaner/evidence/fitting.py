"""Heads for one task: a head a fold, with the penalty and the sharpness that the given labels find likeliest."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from cleaner.evidence.crossfit import Task, evidence_table
from cleaner.evidence.heads import Heads, Samples, blocks, fit, log_loss
from cleaner.progress import track

_LOGITS_AT_ONCE = 2**22


@dataclass(frozen=True)
class Fitting:
    """One task with its points: `rows` are those that are learnt from or asked about, ascending; what the settings
    mean `cleaner.evidence.predictors.probe` says."""

    task: Task
    folds: tuple[int, ...]
    rows: np.ndarray
    points: np.ndarray
    variances: np.ndarray
    penalties: tuple[float, ...]
    sharpnesses: tuple[float, ...]
    passes: int
    trial: int

    def evidence(self) -> pa.Table:
        penalty = self._best_penalty()
        held_out = np.array(self.folds)
        positions = np.arange(len(self.rows))
        heads = self._fit(positions, held_out, np.full(len(self.folds), penalty))
        sharpness = self._best_sharpness(heads)
        asked = np.flatnonzero(self.task.predict[self.rows] & np.isin(self._fold(positions), held_out))
        size = max(16, _LOGITS_AT_ONCE // self.task.classes)
        parts = track(blocks(len(asked), size), -(-len(asked) // size), "predicting")
        probs: Iterator[np.ndarray] = (
            torch.softmax(self._out_of_fold(heads, asked[part]) * sharpness, 1).cpu().numpy() for part in parts
        )
        found = self.rows[asked].astype(np.int32)
        return evidence_table(found, self.task.folds[found], probs, self.task.labels[found])

    def _fold(self, positions: np.ndarray) -> np.ndarray:
        return self.task.folds[self.rows[positions]]

    def _learnable(self, positions: np.ndarray) -> np.ndarray:
        rows = self.rows[positions]
        return self.task.train[rows] & (self.task.labels[rows] >= 0)

    def _trial(self, among: np.ndarray) -> np.ndarray:
        """The positions of at most `trial` of the samples `among`, ascending."""
        positions = np.flatnonzero(among)
        if len(positions) <= self.trial:
            return positions
        random = np.random.default_rng(self.task.seed)
        return np.sort(random.choice(positions, self.trial, replace=False))

    def _best_penalty(self) -> float:
        """The penalty for all samples that gives the first fold's labels the highest likelihood on the trial."""
        learnable = self._learnable(np.arange(len(self.rows)))
        trial = self._trial(learnable)
        first = self._fold(trial) == self.folds[0]
        penalties = np.array(self.penalties)
        if first.all() or not first.any():
            return float(np.median(penalties))
        heads = self._fit(trial, np.full(len(penalties), self.folds[0]), penalties)
        judged = trial[first]
        logits = heads.logits(self._points(judged))
        losses = [self._sharpest(logits[:, model], judged)[0] for model in range(len(penalties))]
        return float(penalties[int(np.argmin(losses))] * len(trial) / learnable.sum())

    def _best_sharpness(self, heads: Heads) -> float:
        asked = np.isin(self._fold(np.arange(len(self.rows))), self.folds)
        trial = self._trial(self._learnable(np.arange(len(self.rows))) & asked)
        return self._sharpest(self._out_of_fold(heads, trial), trial)[1] if len(trial) else 1.0

    def _sharpest(self, logits: torch.Tensor, positions: np.ndarray) -> tuple[float, float]:
        """The lowest log loss, and the sharpness that gives it."""
        labels = self._labels(positions)
        return min((log_loss(logits, labels, sharpness), sharpness) for sharpness in self.sharpnesses)

    def _fit(self, positions: np.ndarray, held_out: np.ndarray, penalties: np.ndarray) -> Heads:
        """A head for each entry of `held_out`, by the samples of all other folds."""
        device = _device()
        learns = self._learnable(positions)[:, None] & (self._fold(positions)[:, None] != held_out)
        labels = torch.from_numpy(np.maximum(self._labels(positions), 0))
        samples = Samples(
            self._points(positions), labels.to(device), torch.from_numpy(learns).to(device), self.task.classes
        )
        variances, weights = torch.from_numpy(self.variances), torch.from_numpy(penalties.astype(np.float32))
        return fit(samples, variances.to(device), weights.to(device), passes=self.passes)

    def _labels(self, positions: np.ndarray) -> np.ndarray:
        return self.task.labels[self.rows[positions]].astype(np.int64)

    def _points(self, positions: np.ndarray) -> torch.Tensor:
        whole = len(positions) == len(self.points)
        return torch.from_numpy(self.points if whole else self.points[positions]).to(_device())

    def _out_of_fold(self, heads: Heads, positions: np.ndarray) -> torch.Tensor:
        """Each sample's logits by the head that did not learn from its fold."""
        logits = torch.empty(len(positions), self.task.classes, device=heads.bias.device)
        fold = self._fold(positions)
        for model, held_out in enumerate(self.folds):
            own = np.flatnonzero(fold == held_out)
            head = Heads(heads.weights[:, model : model + 1], heads.bias[model : model + 1])
            logits[torch.from_numpy(own).to(logits.device)] = head.logits(self._points(positions[own]))[:, 0]
        return logits


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
