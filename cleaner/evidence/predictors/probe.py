"""Linear models on frozen features, all folds in one computation."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from cleaner.evidence.crossfit import Task
from cleaner.evidence.projection import principal
from cleaner.threads import one_thread_each

Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Softmax heads and a Gaussian discriminant on frozen features, for each fold, pooled; how is chosen by the
    likelihood of given labels that they did not learn from.

    A round's scheme is how much is learnt from each sample: as much as its label is believed.
    """

    version: ClassVar[int] = 4
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
    power: Annotated[
        float, Field(gt=0, le=100, allow_inf_nan=False, description="that the features are raised to, signs kept")
    ] = 0.5
    passes: Annotated[int, Field(ge=1, le=10_000, description="over the samples to fit the heads")] = 15
    trial: Annotated[
        int, Field(ge=10, le=10_000_000, description="samples at most to choose penalty and sharpness with")
    ] = 20_000
    heads_until: Annotated[
        int,
        Field(
            ge=0,
            le=10**15,
            description="samples times classes up to which softmax heads are fitted; of more the discriminant alone"
            " judges, which costs a hundredth",
        ),
    ] = 30_000_000

    def files(self) -> str:
        return ""

    def evidence(self, task: Task, folds: tuple[int, ...]) -> pa.Table:
        from cleaner.evidence.fitting import Fitting

        learnt = (task.weights > 0) & (task.labels >= 0)
        rows = np.flatnonzero(learnt | (task.predict & np.isin(task.folds, folds)))
        with one_thread_each() as workers:
            project = principal(
                task.features, rows, power=self.power, dimensions=self.dimensions, seed=task.seed, workers=workers
            )
            fitting = Fitting(
                task,
                folds,
                rows,
                project(task.features, rows, workers=workers),
                project.variances,
                penalties=self.penalties,
                passes=self.passes,
                trial=self.trial,
                heads_until=self.heads_until,
                workers=workers,
            )
            return fitting.evidence()
