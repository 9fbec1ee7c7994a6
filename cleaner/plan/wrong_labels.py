"""Wrong labels: the rounds of a stage that judges labels. `coarse` and `fine` are two settings of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from cleaner.methods import judging, label_noise
from cleaner.plan.items import Ends, Plan, Stands, one
from cleaner.plan.label_rounds import Compare, Judge, Predict, label_rounds
from cleaner.plan.predicting import predicted
from cleaner.plan.so_far import End, Models, SoFar, judge, stand
from cleaner.plan.stage import Stage
from cleaner.run.state import Judged
from cleaner.run.steps import Step
from cleaner.tables import Action
from cleaner.words import Issue

if TYPE_CHECKING:
    from cleaner.plan.runs import Run

_COST_OF_A_ROUND, _COST_OF_JUDGING, _COST_OF_TRAINING = 0.4, 0.05, 60.0


class WrongLabels(Stage):
    """One stage of label noise: how a round decides, and until when."""

    gallery: ClassVar[str] = "Dropped for a wrong label"
    issue: ClassVar[Issue] = Issue.WRONG_LABEL
    judges_labels: ClassVar[bool] = True
    needs_models: ClassVar[bool] = True

    k: int = Field(
        ge=1, le=100_000, description="a given label among the k most probable classes makes a sample positive"
    )
    policy: Literal["belief", "accv"] = Field(
        default="belief",
        description="`belief`: a label is judged by the estimated probability that it is right; "
        "`accv`: the recipe's rule alone, top-k membership, and positives stay positive",
    )
    relabel: float = Field(
        default=0.8, gt=0, le=1, description="probability of another class from which it becomes the label"
    )
    max_rounds: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="rounds at most; one that explains the given labels no better than the one before is refused, and"
        " is the last",
    )
    predictor: str = Field(default="probe", description="the part of evidence/predictors that gives the evidence")

    def costs(self, run: "Run", *, predicted: bool) -> Mapping[str, float]:
        each = cost_of_a_round(run, self)
        rounds = {f"{self.name}-{number}": each for number in range(1, self.max_rounds + 1)}
        # What was predicted before is judged in the first round.
        first = {f"{self.name}-1": _COST_OF_JUDGING} if predicted and self._is_first(run) else {}
        return rounds | first | {self.name: 0.0}

    def _is_first(self, run: "Run") -> bool:
        return self.name == first_of(run).name

    def run(self, run: "Run", so_far: SoFar) -> Plan[SoFar]:
        """The rounds, as `label_rounds` wants them, by steps."""
        first, settled = self._begin_with(run, so_far)
        rounds = label_rounds(self, first, settled)
        so_far = replace(so_far, unjudged="")
        wanted, begun = next(rounds), 0
        while True:
            if not isinstance(wanted, Compare) and wanted.number > begun:
                begun = wanted.number
                words = f"looking for {self.title}, round {begun} of at most {self.max_rounds}"
                yield so_far.data.outline.begins(self.name, words, begun)
                so_far = yield from stand(so_far, f"{self.name}-{begun}")
            answer: str | float | int
            match wanted:
                case Predict():
                    answer = yield from predicted(run, so_far, self.name, wanted.number, policy=self.policy)
                case Compare():
                    so_far = yield from self._fitted(so_far, wanted.evidence)
                    last = so_far.judged[-1].evidence
                    fits = so_far.fits[last], wanted.evidence, so_far.fits[wanted.evidence]
                    inputs = (so_far.manifest, so_far.standing, last, *fits)
                    found = yield from one(Step("gain", label_noise.gain, inputs))
                    answer = float(run.store.read(found).column("gain")[0].as_py())
                case Judge():
                    so_far, answer = yield from self._judged(run, so_far, wanted)
                    yield Stands(so_far, f"after round {wanted.number} of looking for {self.title}")
            try:
                wanted = rounds.send(answer)
            except StopIteration as end:
                ended: End = end.value
                if ended.refused:
                    yield Ends("it explained the labels no better, and changes nothing")
                return so_far.ends(self.name, ended)

    def _begin_with(self, run: "Run", so_far: SoFar) -> tuple[str | None, End | None]:
        """The evidence for the first round, where it is there: what nobody has judged by, or what the stage before
        judged by last, if another prediction would be the same; then how that stage ended, where it converged."""
        if so_far.unjudged:
            return so_far.unjudged, None
        before = _before(run, self, so_far)
        alike = before is not None and before.predictor == self.predictor
        if before is None or not alike or judging.ACCV in (before.policy, self.policy):
            return None, None
        ended = so_far.ended[before.name]
        return so_far.labels.evidence, ended if ended.converged else None

    def _judged(self, run: "Run", so_far: SoFar, wanted: Judge) -> Plan[tuple[SoFar, int]]:
        """And how many positives are new."""
        before, evidence = so_far.standing, wanted.evidence
        so_far = yield from self._fitted(so_far, evidence)
        fit, first = so_far.fits[evidence], so_far.firsts[self.predictor]
        settings = {**self.model_dump(exclude={"max_rounds", "predictor"}), "by": self.predictor}
        settings |= {"stage": self.name, "round": wanted.number}
        round_ = Judged(self.name, wanted.number, before=before, evidence=evidence)
        inputs = (so_far.manifest, before, evidence, so_far.answers, fit, first)
        so_far = yield from judge(so_far, round_, label_noise.verdicts, inputs, settings)
        verdicts = run.store.read(so_far.judged[-1].verdicts)
        new, _ = label_noise.changes(run.store.read(before), verdicts)
        yield Ends(f"{_doubted(verdicts):,} doubted" + f", {new:,} taken back" * (wanted.number > 1))
        return replace(so_far, models=Models(evidence, before, self.policy, fit, first)), new

    def _fitted(self, so_far: SoFar, evidence: str) -> Plan[SoFar]:
        """How far the models of this evidence are to be believed, once."""
        if evidence in so_far.fits:
            return so_far
        inputs, settings = (so_far.manifest, so_far.standing, evidence, so_far.answers), {"policy": self.policy}
        fit = yield from one(Step(f"{self.name}-fit", label_noise.fit, inputs, settings))
        firsts = {self.predictor: fit, **so_far.firsts}
        return replace(so_far, fits={**so_far.fits, evidence: fit}, firsts=firsts)


def first_of(run: "Run") -> WrongLabels:
    """The first stage that judges labels."""
    return next(stage for stage in run.config.order if isinstance(stage, WrongLabels))


def _before(run: "Run", stage: WrongLabels, so_far: SoFar) -> WrongLabels | None:
    """The last stage before it that judged labels."""
    before = [each for each in run.config.order if isinstance(each, WrongLabels) and each.name in so_far.ended]
    return before[-1] if before else None


def cost_of_a_round(run: "Run", stage: WrongLabels) -> float:
    """Milliseconds an image on a core, about."""
    return _COST_OF_A_ROUND if run.predictors[stage.name].folds_together else _COST_OF_TRAINING


def _doubted(verdicts: pa.Table) -> int:
    return pc.sum(pc.not_equal(verdicts.column("action"), Action.KEEP.value)).as_py() or 0
