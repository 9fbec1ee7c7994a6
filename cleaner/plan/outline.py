"""What a person hears of a run: which part begins, how far the whole is, and what came of it."""

from dataclasses import dataclass

from cleaner.plan.runs import Run

_COSTS = {"reading": 3.0, "features": 0.5, "duplicates": 0.5, "image_noise": 0.5, "settling": 0.2, "results": 0.5}
_COST_BY_NETWORK = 12.0
_COST_OF_A_ROUND = 0.4
_COST_OF_JUDGING = 0.05
_COST_OF_TRAINING = 60.0


@dataclass(frozen=True)
class Begins:
    """A part of the run begins: in a person's words, and which shares of the whole run, in [0, 1], are estimated to be
    done before and after it."""

    words: str
    before: float
    after: float


@dataclass(frozen=True)
class Ends:
    """What came of the part that began last, in a person's words."""

    words: str


def outline_of(run: Run, *, by_network: bool) -> dict[str, tuple[float, float]]:
    """Of each part the shares of the run before and after it, by about how many milliseconds an image costs on a core;
    `coarse` and `fine` stand for rounds beyond their caps."""
    costs = dict(_COSTS)
    if by_network:
        costs["features"] = _COST_BY_NETWORK
    for stage in ("coarse", "fine"):
        each = _COST_OF_A_ROUND if run.predictors[stage].folds_together else _COST_OF_TRAINING
        rounds = getattr(run.config, stage).max_rounds
        costs |= {f"{stage}-{number}": each for number in range(1, rounds + 1)} | {stage: 0.0}
    # Junk is judged by what the first round of `coarse` predicts.
    costs["image_noise"] += costs["coarse-1"]
    costs["coarse-1"] = _COST_OF_JUDGING
    order = ["reading", "features", "duplicates", "image_noise", *(name for name in costs if name not in _COSTS)]
    order += ["settling", "results"]
    total, before, found = sum(costs.values()), 0.0, {}
    for name in order:
        found[name] = (before / total, (before + costs[name]) / total)
        before += costs[name]
    return found
