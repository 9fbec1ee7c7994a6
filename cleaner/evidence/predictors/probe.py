"""Softmax heads on frozen features: one a fold, all folds and all tried penalties in one computation."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from cleaner.evidence.crossfit import Task
from cleaner.evidence.projection import principal


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Heads whose penalty and sharpness are chosen by the likelihood of given labels that they did not learn from.

    A round's scheme is the power that the features are raised to.

    Attributes:
        dimensions: principal directions of the features that heads see.
        penalties: tried on the first asked fold; relative to the features' total variance, for `trial` samples (of more
            samples a penalty weighs less, in proportion).
        powers: of the features, round after round.
        passes: over the samples to fit the heads.
        trial: samples at most to choose penalty and sharpness with.
    """

    version: ClassVar[int] = 1
    folds_together: ClassVar[bool] = True

    dimensions: int = 384
    penalties: tuple[float, ...] = (1e-5, 3e-5, 1e-4, 3e-4)
    powers: tuple[float, ...] = (0.5, 0.7)
    passes: int = 25
    trial: int = 20_000
    sharpnesses: tuple[float, ...] = (0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1, 2.5)

    def evidence(self, task: Task, folds: tuple[int, ...]) -> pa.Table:
        from cleaner.evidence.fitting import Fitting

        rows = np.flatnonzero((task.train & (task.labels >= 0)) | (task.predict & np.isin(task.folds, folds)))
        power = self.powers[(task.round - 1) % len(self.powers)]
        project = principal(task.features, rows, power=power, dimensions=self.dimensions, seed=task.seed)
        fitting = Fitting(
            task,
            folds,
            rows,
            project(task.features, rows),
            project.variances,
            penalties=self.penalties,
            sharpnesses=self.sharpnesses,
            passes=self.passes,
            trial=self.trial,
        )
        return fitting.evidence()
