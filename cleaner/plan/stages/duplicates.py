"""Duplicates: extra copies before anything else, since they would vouch for each other; copies under several labels,
and what is nearly the same, when labels are known."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from cleaner.errors import ConfigError
from cleaner.methods import duplicates
from cleaner.methods.duplicates import Near
from cleaner.plan.issues import leaking, near
from cleaner.plan.items import Ends, Plan, one
from cleaner.plan.so_far import SoFar, judge, stand
from cleaner.plan.stage import Stage
from cleaner.run.state import Judged
from cleaner.run.steps import Step
from cleaner.run.store import Store
from cleaner.words import Issue, counted

if TYPE_CHECKING:
    from cleaner.plan.runs import Run

_SETTLED: dict[Near, str] = {
    "keep": "which stay",
    "one_a_group": "of which one a picture will stay",
    "by_split": "which stay unless another split has them too",
}


class Duplicates(Stage):
    """What counts as the same picture, and what becomes of it."""

    title: ClassVar[str] = "duplicates"
    gallery: ClassVar[str] = ""
    issue: ClassVar[Issue] = Issue.COPY

    similarity: float = Field(
        default=0.8, gt=0, le=1, description="cosine of features from which the pixels of two images are compared"
    )
    near: Near = Field(
        default="keep",
        description="images that are nearly the same, as a burst of photographs or a smaller copy: `keep`: all stay;"
        " `one_a_group`: the one with the likeliest label; `by_split`: where they are in several splits, those of the"
        " test set, or else of the validation set, so that nothing is learnt from that is measured on. What people have"
        " spoken of stays",
    )

    def check(self, run: "Run") -> None:
        if self.near == "by_split" and "split" not in run.source.listing().column_names:
            raise ConfigError(
                "duplicates.near = by_split: the data set has no splits; leave it out, or give a column split"
            )

    def run(self, run: "Run", so_far: SoFar) -> Plan[SoFar]:
        yield so_far.data.outline.begins(self.name, f"looking for {self.title}")
        settings = {"similarity": self.similarity, "max_pixels": run.config.scan.max_pixels}
        resources = {"source": run.source, "workers": run.workers}
        inputs = (so_far.manifest, *so_far.shards)
        twins = yield from one(Step("duplicates", duplicates.duplicates, inputs, settings, resources))
        copies = Judged(self.name, 1)
        so_far = yield from judge(so_far, copies, duplicates.verdicts, (so_far.manifest, twins), {"near": self.near})
        yield Ends(self._what_is_twice(run.store.read(so_far.manifest), run.store.read(twins)))
        return so_far.leaves(self.name, twins)

    def settle(self, run: "Run", so_far: SoFar) -> Plan[SoFar]:
        so_far = yield from stand(so_far, "duplicates-2")
        inputs = (so_far.manifest, so_far.tables[self.name], so_far.standing)
        return (yield from judge(so_far, Judged(self.name, 2), duplicates.settled, inputs, {"near": self.near}))

    def issues(self, store: Store, so_far: SoFar) -> Iterator[pa.Table]:
        known = (store.read(name) for name in (so_far.manifest, so_far.standing, so_far.tables[self.name]))
        manifest, standing, twins = known
        yield near(manifest, standing, twins)
        yield leaking(manifest, standing, twins)

    def summary(self, store: Store, so_far: SoFar) -> Mapping[str, Any]:
        """How many pictures are in more than one split, and the paths of three of them."""
        manifest, twins = store.read(so_far.manifest), store.read(so_far.tables[self.name])
        found = duplicates.leakage(manifest, twins).sort_by([("group", "ascending"), ("row", "ascending")])
        groups = found.column("group").to_pylist()
        paths = manifest.column("path").take(found.column("row")).to_pylist()
        different = list(dict.fromkeys(groups))
        shown = [
            [path for path, group in zip(paths, groups, strict=True) if group == wanted] for wanted in different[:3]
        ]
        return {"leakage": {"pictures": len(different), "examples": shown}}

    def _what_is_twice(self, manifest: pa.Table, twins: pa.Table) -> str:
        found = duplicates.counts(manifest, twins)
        parts = [f"{counted(found.copies, 'extra copy', 'extra copies')}, left out"] if found.copies else []
        if found.elsewhere:
            copies = counted(found.elsewhere, "copy under another label", "copies under other labels")
            parts.append(f"{copies}, to be settled when labels are known")
        if found.near:
            nearly = counted(found.near, "near-duplicate")
            parts.append(f"{nearly} of {counted(found.groups, 'picture')}, {_SETTLED[self.near]}")
        if pictures := pc.count_distinct(duplicates.leakage(manifest, twins).column("group")).as_py():
            parts.append(f"leakage: {counted(pictures, 'picture')} in more than one split")
        return "; ".join(parts) or "no picture is there twice"
