"""The plan of a cleaning: which steps, reading and writing which tables, until when.

A plan yields what is to be done next, a batch of independent steps or one question to people, and looks at what came of
it before it yields more. Who performs them, and where, is the runner's business. A plan that is walked again over the
same directory yields the same steps, so it goes on where it was.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from cleaner.plan.items import Ends, Plan, Reached, Stands
from cleaner.plan.questions import ask_of_images, ask_what_is_open, asked_before, hear_people, surveyed
from cleaner.plan.reading import read, see
from cleaner.plan.so_far import SoFar, stand
from cleaner.plan.stage import stages_of

if TYPE_CHECKING:
    from cleaner.plan.runs import Run


def plan(run: "Run") -> Plan[SoFar]:
    """Yield what is to be done next; whoever performs it comes back for more, and in the end has what stands.

    What people have said counts before anything else in every round. So when they answer, the samples are judged from
    the first round on, and what stands follows from the data, the settings and their newest words alone, in whatever
    order they said them and whichever batch asked.
    """
    data = yield from read(run)
    yield from asked_before(run, data.manifest)
    data = yield from see(run, data)
    asked = True
    while asked:
        so_far = yield from hear_people(run, data)
        for stage in run.config.order:
            so_far = yield from _with_settled(run, stage.run(run, so_far))
            so_far = replace(so_far, ran=(*so_far.ran, stage.name))
        yield data.outline.begins("settling", "settling what stands")
        so_far = yield from settle(run, so_far)
        yield Reached(so_far)
        yield Ends("; ".join(filter(None, [stage.settled(run.store, so_far) for stage in stages_of(run, so_far)])))
        yield Stands(so_far, "after all rounds")
        asked = yield from ask(run, so_far)
    yield data.outline.begins("results", "writing the results")
    return so_far


def settle(run: "Run", so_far: SoFar) -> Plan[SoFar]:
    """What stands after the rounds so far, and how many labels were wrong."""
    so_far = yield from surveyed(run, so_far)
    for stage in stages_of(run, so_far):
        so_far = yield from stage.settle(run, so_far)
    return (yield from stand(so_far, "final"))


def ask(run: "Run", so_far: SoFar) -> Plan[bool]:
    """Whether people were asked, and have answered: first what is open, then about images, then what stages ask."""
    if (yield from ask_what_is_open(run, so_far)) or (yield from ask_of_images(run, so_far)):
        return True
    for stage in stages_of(run, so_far):
        if (yield from stage.ask(run, so_far)):
            return True
    return False


def _with_settled(run: "Run", judging: Plan[SoFar]) -> Plan[SoFar]:
    """The items of a stage; what stands after a round is settled, so that results can be written from it."""
    while True:
        try:
            item = next(judging)
        except StopIteration as end:
            so_far: SoFar = end.value
            return so_far
        if isinstance(item, Stands):
            item = replace(item, so_far=(yield from _not_reached(settle(run, item.so_far))))
        yield item


def _not_reached(settling: Plan[SoFar]) -> Plan[SoFar]:
    """The items by which something is settled for provisional results: the run itself has not come so far."""
    while True:
        try:
            item = next(settling)
        except StopIteration as end:
            so_far: SoFar = end.value
            return so_far
        if not isinstance(item, Reached):
            yield item
