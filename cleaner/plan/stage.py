"""A stage looks for one kind of noise; its parts are the files of `stages/`."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from cleaner.plan.items import Plan
from cleaner.plan.so_far import SoFar
from cleaner.run.store import Store
from cleaner.settings import Section
from cleaner.words import Issue

if TYPE_CHECKING:
    from cleaner.plan.runs import Run


class Stage(Section):
    """One kind of noise, and what is done about it. Its fields are its settings, in the section of its name.

    All but `run` are asked of a stage only when its turn has been; of one that has no `run` also before that.

    `cleaner/config.py` makes the settings of a run of all stages' sections, so that what a file of a stage imports may
    not import those settings: `Run` is imported for type checkers only.

    Attributes:
        title: what it looks for, in a person's words.
        gallery: the heading over the images that it drops, in the report; empty where they are shown elsewhere.
        issue: the kind of issue that its verdicts find.
        judges_labels: whether its verdicts are on labels: models are asked again about what it drops, which may come
            back. So it is with subclasses of `WrongLabels`, and no others.
        by_people: whether its verdicts are what people decide.
        needs_models: whether it wants models to have predicted all samples.
    """

    title: ClassVar[str]
    gallery: ClassVar[str]
    issue: ClassVar[Issue]
    judges_labels: ClassVar[bool] = False
    by_people: ClassVar[bool] = False
    needs_models: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What a user writes: the name of the part's file."""
        return type(self).__module__.rpartition(".")[2]

    def check(self, run: "Run") -> None:
        """Before anything is written.

        Raises:
            ConfigError: a setting can't be what it is, of this data set.
        """

    def costs(self, run: "Run", *, predicted: bool) -> Mapping[str, float]:
        """About how many milliseconds an image costs on a core: by its name, and a round's by that and a number,
        `coarse-1`. `predicted`: whether a stage before it has had models predict all samples."""
        return {self.name: 0.5}

    def run(self, run: "Run", so_far: SoFar) -> Plan[SoFar]:
        """In its turn among the stages: find, judge, and pass on what came of it."""
        yield from ()
        return so_far

    def settle(self, run: "Run", so_far: SoFar) -> Plan[SoFar]:
        """After the rounds of all stages, of which no models learn any more."""
        yield from ()
        return so_far

    def settled(self, store: Store, so_far: SoFar) -> str:
        """What `settle` came to, in a person's words."""
        return ""

    def ask(self, run: "Run", so_far: SoFar) -> Plan[bool]:
        """When all is settled: whether people were asked about something, and have answered."""
        yield from ()
        return False

    def issues(self, store: Store, so_far: SoFar) -> Iterator[pa.Table]:
        """ISSUES beside what its verdicts dropped or relabelled, which is one anyway: what is worth a look."""
        yield from ()

    def summary(self, store: Store, so_far: SoFar) -> Mapping[str, Any]:
        """What `summary.json` says of it beside its rounds."""
        return {}


def stages_of(run: "Run", so_far: SoFar) -> tuple[Stage, ...]:
    """Those that have something to settle and to say: whose turn has been, or that have none."""
    return tuple(stage for stage in run.config.order if stage.name in so_far.ran or type(stage).run is Stage.run)
