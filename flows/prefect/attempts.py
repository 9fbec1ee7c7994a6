"""How a flow run attempts its work: once, patiently, and ending in a state that says what it came to."""

import errno
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from prefect import get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Completed, Failed

from cleaner.errors import CleanerError, RunLocked, ServerError, StorageError, WaitsForPeople
from cleaner.words import span

# Names of final states of type Completed: nothing failed, and neither a retry nor an alert is wanted.
WAITS = "WaitsForPeople"
"""People have to answer; the next flow run on the same directory goes on."""
AT_WORK = "AtWorkAlready"
"""Another flow run, or a command, has the same run, and does the work."""
LEFT = "LeftToTheNext"
"""Another flow run of the same deployment was due after it, and does the work of both."""

_MOST_ENDED = 5
"""Times that the process of one flow run may be killed before nobody takes it up again by itself."""
_MAY_PASS = {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ENOLCK, errno.ESTALE, errno.ETIMEDOUT}
"""What a network disk says that is away for a moment."""
_DOES_IT = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.COMPLETED]


def attempt(work: Callable[[], State[Any]], again_after: Iterable[float] = (), *, of_all: bool = True) -> State[Any]:
    """The state in which the flow run ends that does the `work`; `of_all`: the work is that of all flow runs of the
    deployment that are due, so that one is enough.

    What may pass by itself, a server that is away or a disk, is tried again after so many seconds, where nobody sits
    there who would. A mistake of a person ends the run in one line; of a bug the trace is what tells.
    """
    if of_all and (later := _the_next_one()):
        return Completed(name=LEFT, message=f"left to {later}, which was due after it")
    if runtime.flow_run.run_count > _MOST_ENDED:
        why = f"its process was ended {_MOST_ENDED} times; see what ends it (memory?), then start it by hand"
        return Failed(message=why)
    try:
        return _patiently(work, again_after if runtime.deployment.id else ())
    except WaitsForPeople as wait:
        return Completed(name=WAITS, message=str(wait))
    except RunLocked as error:
        return Completed(name=AT_WORK, message=str(error))
    except CleanerError as error:
        return Failed(message=str(error), data=error)


def _patiently(work: Callable[[], State[Any]], again_after: Iterable[float]) -> State[Any]:
    for seconds in again_after:
        try:
            return work()
        except (ServerError, StorageError) as error:
            if isinstance(error, StorageError) and not is_passing(error):
                raise
            get_run_logger().warning(f"{error}; trying again in {span(seconds)}")
        time.sleep(seconds)
    return work()


def is_passing(error: Any) -> bool:
    """Whether an error, or its cause, is one of the surroundings that may be gone the next time."""
    causes = (error, getattr(error, "__cause__", None))
    return any(isinstance(cause, OSError) and cause.errno in _MAY_PASS for cause in causes)


def _the_next_one() -> str:
    """The name of a later flow run of this deployment that is due, or done, already; empty where this is the last one.

    While nobody serves a deployment, what is due piles up, and all of it begins at once when somebody does again. The
    last does the work of all. What a person has started is never left to another.
    """
    if runtime.deployment.id is None:
        return ""
    with get_client(sync_client=True) as client:
        mine = client.read_flow_run(runtime.flow_run.id)
        if not _by_itself(mine) or mine.expected_start_time is None:
            return ""
        span = {"after_": mine.expected_start_time, "before_": datetime.now(UTC)}
        due = FlowRunFilterExpectedStartTime.model_validate(span)
        doing = FlowRunFilterState(type=FlowRunFilterStateType(any_=_DOES_IT))
        found = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[runtime.deployment.id])),
            flow_run_filter=FlowRunFilter(expected_start_time=due, state=doing),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        )
    others = [run for run in found if _by_itself(run) and _after(run, mine)]
    return max(others, key=_order).name if others else ""


def _by_itself(run: FlowRun) -> bool:
    """Whether a schedule or an event made it."""
    return run.auto_scheduled or (run.created_by is not None and run.created_by.type == "AUTOMATION")


def _order(run: FlowRun) -> tuple[datetime, str]:
    return run.expected_start_time or datetime.min.replace(tzinfo=UTC), str(run.id)


def _after(run: FlowRun, mine: FlowRun) -> bool:
    return _order(run) > _order(mine)
