"""What a plan has come to, passed on from each of its pieces to the next."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cleaner.errors import NothingLeft
from cleaner.plan.items import Plan, Reached, one
from cleaner.plan.outline import Outline
from cleaner.run.ledger import fold
from cleaner.run.state import Judged, Names
from cleaner.run.steps import Step, makes
from cleaner.stages import title
from cleaner.tables import Action


@dataclass(frozen=True)
class End:
    """The rounds are over: whether nothing was left to do, after how many, and why. `refused`: the last evidence was
    not judged."""

    converged: bool
    rounds: int
    why: str
    refused: bool = False


@dataclass(frozen=True)
class Data:
    """The names of what was read of a data set: its listing and its stamps, the manifest, how good the pixels are,
    features in shards; what tells how images were read and embedded, and what by."""

    outline: Outline
    listing: str
    stamps: str
    read_by: str
    manifest: str
    pixel_quality: str
    shards: tuple[str, ...] = ()
    features_by: str = ""
    backbone: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Models:
    """How labels were judged last.

    Attributes:
        evidence: the name of what the models say.
        before: of what stood when they were asked.
        policy: by which labels were judged.
        fit: how far these models are to be believed.
        first: the same of the first evidence that the same kind of models gave.
    """

    evidence: str
    before: str
    policy: str
    fit: str
    first: str


@dataclass(frozen=True)
class SoFar:
    """What the plan has come to, as the names of outputs.

    Attributes:
        data: what was read.
        answers: the words of people that hold on images.
        people: the verdicts that they are.
        judged: the rounds that count, the oldest first: their verdicts are the parts of the ledger that count.
        ended: of each stage with rounds whether it converged, after how many, and why it stopped.
        tables: of each stage what it leaves beside its verdicts.
        standing: what stands.
        ran: the stages whose turn has been.
        unjudged: evidence that no stage has judged labels by; empty where there is none.
        fits, firsts: of each evidence how far its models are to be believed; of each predictor the same of the first
            evidence that it gave.
        models: how labels were judged last; None before that.
        rounds_stand: what stood after all rounds.
        noise: how many labels are estimated to be wrong.
    """

    data: Data
    answers: str = ""
    people: str = ""
    judged: tuple[Judged, ...] = ()
    ended: Mapping[str, End] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    standing: str = ""
    ran: tuple[str, ...] = ()
    unjudged: str = ""
    fits: Mapping[str, str] = field(default_factory=dict)
    firsts: Mapping[str, str] = field(default_factory=dict)
    models: Models | None = None
    rounds_stand: str = ""
    noise: str = ""

    @property
    def manifest(self) -> str:
        return self.data.manifest

    @property
    def shards(self) -> tuple[str, ...]:
        return self.data.shards

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the ledger that count, the oldest first."""
        return tuple(judged.verdicts for judged in self.judged)

    @property
    def labels(self) -> Models:
        """How labels were judged last; some stage does."""
        assert self.models is not None, "the settings have a stage that judges labels"
        return self.models

    def ends(self, stage: str, end: End) -> "SoFar":
        return replace(self, ended={**self.ended, stage: end})

    def leaves(self, stage: str, table: str) -> "SoFar":
        return replace(self, tables={**self.tables, stage: table})

    def names(self) -> Names:
        return Names(
            manifest=self.manifest,
            stamps=self.data.stamps,
            pixel_quality=self.data.pixel_quality,
            read_by=self.data.read_by,
            features_by=self.data.features_by,
            features=list(self.shards),
            duplicates=self.tables.get("duplicates", ""),
            standing=self.standing,
            ledger=list(self.parts),
            rounds=list(self.judged),
            noise=self.noise,
        )


def judge(
    so_far: SoFar,
    judged: Judged,
    function: Callable[..., pa.Table],
    inputs: tuple[str, ...],
    settings: Mapping[str, Any],
    *,
    resources: Mapping[str, Any] | None = None,
) -> Plan[SoFar]:
    """One round of a stage: `function` gives its VERDICTS, a part of the ledger."""
    name = f"{judged.stage}-{judged.round}-verdicts"
    part = yield from one(Step(name, function, inputs, settings, resources or {}, judges=True))
    so_far = replace(so_far, judged=(*so_far.judged, replace(judged, verdicts=part)))
    yield Reached(so_far)
    return so_far


def stand(so_far: SoFar, before: str) -> Plan[SoFar]:
    """What stands after all that was judged so far, `before` something."""
    standing = yield from one(Step(f"{before}-standing", folded, (so_far.manifest, *so_far.parts)))
    return replace(so_far, standing=standing)


def require_some_left(standing: pa.Table) -> None:
    """See whether any image is left to learn from.

    Raises:
        NothingLeft: all are dropped.
    """
    if not pc.all(pc.equal(standing.column("action"), Action.DROP.value)).as_py():
        return
    (most, count), *_ = Counter(standing.column("stage").to_pylist()).most_common(1)
    why = f"{count:,} of {len(standing):,} images were dropped as {title(most)}"
    raise NothingLeft(f"nothing is left to train on: {why}")


@makes("standing", version=1)
def folded(manifest: pa.Table, *parts: pa.Table) -> pa.Table:
    """What stands after `parts`: a step's form of `ledger.fold`."""
    return fold(manifest, list(parts))
