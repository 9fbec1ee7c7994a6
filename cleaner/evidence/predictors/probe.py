"""Softmax heads on frozen features: one a fold, all folds and all tried penalties in one computation."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from cleaner.evidence.crossfit import Task
from cleaner.evidence.projection import principal

Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Softmax heads on frozen features, one a fold; penalty and sharpness are chosen by the likelihood of given labels
    that the heads did not learn from.

    A round's scheme is the power that the features are raised to.
    """

    version: ClassVar[int] = 1
    folds_together: ClassVar[bool] = True

    dimensions: Annotated[
        int, Field(ge=1, le=4096, description="principal directions of the features that heads see")
    ] = 384
    penalties: Annotated[
        tuple[Positive, ...],
        Field(
            min_length=1,
            max_length=50,
            description="tried on the first fold; relative to the features' total variance, for `trial` samples (of"
            " more samples a penalty weighs less, in proportion)",
        ),
    ] = (1e-5, 3e-5, 1e-4, 3e-4)
    powers: Annotated[
        tuple[Positive, ...], Field(min_length=1, max_length=50, description="of the features, round after round")
    ] = (0.5, 0.7)
    passes: Annotated[int, Field(ge=1, le=10_000, description="over the samples to fit the heads")] = 25
    trial: Annotated[
        int, Field(ge=10, le=10_000_000, description="samples at most to choose penalty and sharpness with")
    ] = 20_000
    sharpnesses: Annotated[
        tuple[Positive, ...],
        Field(min_length=1, max_length=50, description="tried on what the heads say: factors of their logits"),
    ] = (0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1, 2.5)

    def files(self) -> str:
        return ""

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
