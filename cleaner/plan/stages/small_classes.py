"""Classes that keep too few images: people keep, remove or merge them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from cleaner.methods import small_classes
from cleaner.plan.issues import small
from cleaner.plan.items import Plan, one
from cleaner.plan.questions import asked_next, may_ask, words_that_hold
from cleaner.plan.so_far import SoFar, judge, stand
from cleaner.plan.stage import Stage
from cleaner.run.answers import newest, on_classes
from cleaner.run.state import Judged
from cleaner.run.steps import Step
from cleaner.run.store import Store
from cleaner.words import Issue, counted

if TYPE_CHECKING:
    from cleaner.plan.runs import Run


class SmallClasses(Stage):
    """Classes with too few images, looked at as a class."""

    title: ClassVar[str] = "small classes"
    gallery: ClassVar[str] = "Dropped with a small class"
    issue: ClassVar[Issue] = Issue.SMALL_CLASS
    by_people: ClassVar[bool] = True

    min_images: int = Field(
        default=50, ge=0, le=1_000_000, description="a class that keeps fewer images is put before people"
    )

    max_asked: int = Field(
        default=200,
        ge=1,
        le=10_000,
        description="small classes put before people at most, those with the fewest images",
    )

    def costs(self, run: "Run", *, predicted: bool) -> Mapping[str, float]:
        return {}

    def settle(self, run: "Run", so_far: SoFar) -> Plan[SoFar]:
        so_far = yield from stand(so_far, self.name)
        inputs, settings = (so_far.manifest, so_far.standing), {"min_images": self.min_images}
        found = yield from one(Step("small_classes", small_classes.small_classes, inputs, settings))
        answers = yield from _said(run)
        round_ = Judged(self.name, 1, before=so_far.standing)
        so_far = yield from judge(so_far, round_, small_classes.verdicts, (*inputs, answers), {})
        return so_far.leaves(self.name, found)

    def settled(self, store: Store, so_far: SoFar) -> str:
        few = counted(store.rows(so_far.tables[self.name]), "class keeps", "classes keep")
        return f"{few} fewer than {self.min_images} images"

    def ask(self, run: "Run", so_far: SoFar) -> Plan[bool]:
        if not may_ask(run, self.name):
            return False
        answers, most = (yield from _said(run)), {"most": self.max_asked}
        inputs = (so_far.tables[self.name], answers)
        batch = yield from one(Step("small_classes-batch", small_classes.asked_about, inputs, most))
        if run.store.rows(batch) == 0:
            return False
        yield asked_next(run, self.name, so_far.manifest, batch)
        return True

    def issues(self, store: Store, so_far: SoFar) -> Iterator[pa.Table]:
        yield small(store.read(so_far.tables[self.name]))

    def summary(self, store: Store, so_far: SoFar) -> Mapping[str, Any]:
        return {"small_classes": store.read(so_far.tables[self.name]).column("label").to_pylist()}


def _said(run: "Run") -> Plan[str]:
    def holding(answers: pa.Table) -> pa.Table:
        return newest(on_classes(answers))

    return (yield from words_that_hold(run, "small_classes-said", small_classes.said_of_classes, holding, {}))
