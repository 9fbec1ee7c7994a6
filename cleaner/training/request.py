"""What is asked of a training: of one command, and of each network, version and seed that it comes to."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cleaner.training.recipe import Recipe

SPEC = "training.json"
"""The file in a training's folder that says what it is."""


class TrainRequest(BaseModel):
    """What `cleaner train` was asked for, whatever the version and the seed.

    Attributes:
        run: the directory of a finished run.
        name: the recipe's.
        recipe: it.
        test: a data set to measure on; None: what the run's own data set has.
        root: where the images of `test` lie.
        truth: the true labels, for the version `true`, and for a test set that is held out.
        workers: threads that decode.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: Path
    name: str
    recipe: Recipe
    test: Path | None = None
    root: Path | None = None
    truth: Path | None = None
    workers: int

    def specs(self, version: str, seed: int) -> "list[TrainingSpec]":
        """A spec for each network of the recipe."""
        networks = range(len(self.recipe.networks))
        return [TrainingSpec(**dict(self), network=number, version=version, seed=seed) for number in networks]


class TrainingSpec(TrainRequest):
    """It, for one network.

    Attributes:
        network: which of the recipe's networks.
        version: what is learnt from.
        seed: of all randomness.
    """

    network: int
    version: str
    seed: int
