"""`cleaner serve`: registers what a schedule makes, and runs it until it is ended.

The server is the one that PREFECT_API_URL names, or one of our own that ends with the command: an embedded one would
not do, since it has neither schedules nor automations.
"""

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from filelock import FileLock, Timeout
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.runner import Runner
from prefect.states import Crashed, Scheduled

from cleaner.errors import RunLocked
from cleaner.run.store import Store
from flows.prefect.deployments import CLEANING, HEARTBEAT, TAKEN_UP, deployments, register_automations
from flows.prefect.schedule import Schedule
from flows.prefect.watching import watch


def serve_schedule(file: Path, schedule: Schedule, say: Callable[[str], None]) -> None:
    """Register what `schedule`, read from `file`, makes, and run it until SIGINT or SIGTERM.

    Raises:
        RunLocked: another command serves the file.
    """
    lock = FileLock(file.with_name(f".{file.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise RunLocked(f"{file}: another command serves it; end that first") from error
    with lock, _temporary_folder():
        # What is due is due also while nobody serves; it is done once when somebody does again.
        runner = Runner(name="cleaner", pause_on_shutdown=False, limit=None, heartbeat_seconds=HEARTBEAT)
        with get_client(sync_client=True) as client:
            register_automations(client)
            known = [UUID(str(runner.add_deployment(deployment))) for deployment in deployments(schedule)]
            _take_up_dead(client, known)
        say(f"serving {', '.join(schedule.data)}; Ctrl-C ends it")
        threading.Thread(target=watch, args=(schedule, say), daemon=True).start()
        asyncio.run(runner.start())


@contextmanager
def _temporary_folder() -> Iterator[None]:
    """Within it temporary files, also those of the processes that flow runs are, go to a folder of our own: Prefect's
    runners take one that is called alike for all users of a machine, and fail where another has made it."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="cleaner-") as folder:
        os.environ["TMPDIR"], tempfile.tempdir = folder, None
        try:
            yield
        finally:
            del os.environ["TMPDIR"]
            os.environ |= {"TMPDIR": before} if before else {}
            tempfile.tempdir = None


def _take_up_dead(client: SyncPrefectClient, known: list[UUID]) -> None:
    """Take up again the cleanings that a serving of before left at work, and close what else it left so, unless they
    still live: a process outlives whoever started it, if that was killed."""
    at_work = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=known)),
        flow_run_filter=FlowRunFilter(state=at_work),
    )
    for run in found:
        if not _lives(run):
            why = "Whoever served it was ended."
            is_cleaning = any(tag.startswith(f"{CLEANING}-") for tag in run.tags)
            state: State[Any] = Scheduled(name=TAKEN_UP, message=why) if is_cleaning else Crashed(message=why)
            client.set_flow_run_state(run.id, state, force=True)


def _lives(run: FlowRun) -> bool:
    """Whether somebody works on what the flow run works on."""
    try:
        with Store(Path(run.parameters["run_dir"])).locked():
            return False
    except RunLocked:
        return True
