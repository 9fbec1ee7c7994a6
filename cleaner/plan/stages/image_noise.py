"""Junk images, by the first evidence there is and what people have marked."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from cleaner.errors import ConfigError
from cleaner.methods import image_noise
from cleaner.plan.issues import outliers
from cleaner.plan.items import Ends, Plan, one
from cleaner.plan.predicting import predicted
from cleaner.plan.so_far import End, SoFar, judge, stand
from cleaner.plan.stage import Stage
from cleaner.plan.wrong_labels import cost_of_a_round, first_of
from cleaner.run.state import Judged
from cleaner.run.steps import Step
from cleaner.run.store import Store
from cleaner.tables import Action
from cleaner.words import Issue, counted

if TYPE_CHECKING:
    from cleaner.plan.runs import Run

_COST = 0.5


class ImageNoise(Stage):
    """Images that show nothing of any class."""

    title: ClassVar[str] = "junk images"
    gallery: ClassVar[str] = "Dropped as junk"
    issue: ClassVar[Issue] = Issue.JUNK
    needs_models: ClassVar[bool] = True

    seeds: Path | None = Field(default=None, description="a CSV with path,junk (1 or 0) that people have marked")
    threshold: float = Field(default=0.9, gt=0, lt=1, description="probability of junk above which an image is noise")

    def check(self, run: "Run") -> None:
        unknown = sorted(run.seeds.keys() - set(run.source.listing().column("path").to_pylist())) if run.seeds else []
        if unknown:
            where = f"image_noise.seeds = {self.seeds}"
            raise ConfigError(f"{where}: {len(unknown)} paths are no samples of the data set, the first: {unknown[0]}")

    def costs(self, run: "Run", *, predicted: bool) -> Mapping[str, float]:
        return {self.name: _COST + (0 if predicted else cost_of_a_round(run, first_of(run)))}

    def run(self, run: "Run", so_far: SoFar) -> Plan[SoFar]:
        yield so_far.data.outline.begins(self.name, f"looking for {self.title}")
        evidence = so_far.models.evidence if so_far.models is not None else so_far.unjudged
        if not evidence:
            first = first_of(run)
            so_far = yield from stand(so_far, "first")
            evidence = yield from predicted(run, so_far, first.name, 1, policy=first.policy)
            so_far = replace(so_far, unjudged=evidence)
        marks = yield from one(Step("image_noise-marks", image_noise.marks, (so_far.manifest, *so_far.parts)))
        so_far = yield from stand(so_far, "image_noise")
        known = so_far.manifest, so_far.standing, evidence
        step = Step("image_noise", image_noise.judged, (*known, marks, *so_far.shards), {"seed": run.config.seed})
        junk = yield from one(step)
        round_, settings = Judged(self.name, 1, before=so_far.standing), {"threshold": self.threshold}
        so_far = yield from judge(so_far, round_, image_noise.verdicts, (*known, junk), settings)
        dropped = pc.equal(run.store.read(so_far.judged[-1].verdicts).column("action"), Action.DROP.value)
        found, marked = pc.sum(dropped).as_py() or 0, pc.sum(run.store.read(marks).column("junk")).as_py() or 0
        why = f"{found:,} found" + f", with {counted(marked, 'image')} that people marked to learn from" * (marked > 0)
        yield Ends(why)
        return so_far.leaves(self.name, junk).ends(self.name, End(True, 1, why))

    def issues(self, store: Store, so_far: SoFar) -> Iterator[pa.Table]:
        yield outliers(store.read(so_far.standing), store.read(so_far.tables[self.name]))
