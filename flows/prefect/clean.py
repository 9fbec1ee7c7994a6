"""The cleaning run as a Prefect flow: the steps of the plan, each a task run. Importing this imports Prefect."""

import logging
import signal
import socket
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound, TerminationSignal
from prefect.states import Completed, Crashed

from cleaner.config import Config
from cleaner.errors import RunLocked, WaitsForPeople
from cleaner.plan.estimate import estimate
from cleaner.plan.run_checks import NO_REVIEWER
from cleaner.plan.runs import Run
from cleaner.run.files import write_text
from cleaner.run.finished import read_summary
from cleaner.run.steps import Step, perform
from cleaner.run.store import Store
from cleaner.runners.execute import Batch, CleanRequest, execute
from cleaner.runners.telling import Display
from flows.console import console, say
from flows.prefect.artifacts import Shown, key_of, show_summary, show_waiting
from flows.prefect.attempts import AT_WORK, LEFT, WAITS, attempt, is_passing
from flows.prefect.devices import a_device
from flows.prefect.limits import Limits, hold_to, sentences
from flows.progress_bar import Lines

FLOW_RUN = "flow_run"
"""The file in a run's directory that says which flow run worked on it last."""
_AGAIN_AFTER = (10.0, 60.0, 300.0)
_ENDS = {
    "Completed": "cleaned",
    WAITS: "waits for people",
    AT_WORK: "somebody else cleans it",
    LEFT: "this cleaning has nothing to do",
}
"""What is said of a cleaning that has ended in a state of this name."""


@dataclass(frozen=True)
class _AtHand:
    """What the command that starts a flow run has already, and a worker has not."""

    run: Run
    display: Display


_at_hand: ContextVar[_AtHand | None] = ContextVar("at_hand", default=None)


def run_on_prefect(request: CleanRequest, run: Run, display: Display) -> None:
    """Carry out the opened `request` as a flow run, in this process.

    Raises:
        WaitsForPeople: answers are missing.
        CleanerError: what the steps raise.
    """
    token = _at_hand.set(_AtHand(run, display))
    try:
        state = clean(
            source=str(request.source.absolute()),
            run_dir=str(request.folder.absolute()),
            config=request.config,
            reviewer=request.reviewer,
            truth=str(request.truth.absolute()) if request.truth else None,
            workers=request.workers,
            return_state=True,
        )
    except TerminationSignal:
        # Prefect has told its server; now the command ends as it does without Prefect.
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        _at_hand.reset(token)
    if state.name == WAITS:
        raise WaitsForPeople(state.message)
    if state.name == AT_WORK:
        raise RunLocked(state.message)
    state.result()


def _flow_run_name() -> str:
    """The data set's name in a schedule, or the directory and its machine: two machines may have the same name."""
    run_dir = f"{runtime.flow_run.parameters['run_dir']} on {socket.gethostname()}"
    return f"cleaning {runtime.deployment.name or run_dir}"


@flow(name="clean", flow_run_name=_flow_run_name, persist_result=False)
def clean(
    source: str,
    run_dir: str,
    config: Config = Config(),  # noqa: B008 - frozen, and so Prefect's form shows the recipe's values
    reviewer: str = NO_REVIEWER,
    truth: str | None = None,
    workers: int | None = None,
    dashboard: str | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> State[Any]:
    """Find the junk images and the wrong labels in a data set.

    Args:
        source: a folder of class folders, or a CSV or Parquet file, on the machine that runs this.
        run_dir: the run's directory there; that of an earlier flow run goes on where it ended.
        config: every threshold, share and cap.
        reviewer: who is asked about doubtful images; none: nobody.
        truth: for the reviewer `oracle`, a table of true labels.
        workers: threads that decode images; none: one a core.
        dashboard: the address of the dashboard, for a link to it.
        limits: what it may take; where any is set, it is estimated first.
    """
    request = CleanRequest(Path(source), Path(run_dir), config, reviewer, Path(truth) if truth else None, workers)
    name = runtime.deployment.name
    if name is not None:
        _say_where_it_is_served(f"{name}: a cleaning begins")
    state = attempt(lambda: _carry_out_by_itself(request, dashboard, limits), _AGAIN_AFTER)
    if name is not None:
        _say_where_it_is_served(f"{name}: {_ENDS.get(str(state.name), 'the cleaning failed')}: {state.message}")
    return state


def _say_where_it_is_served(line: str) -> None:
    """On the terminal, or in the journal, of `cleaner serve` or of the worker, whose child this process is."""
    say(console(stderr=True), line)


def _carry_out_by_itself(request: CleanRequest, dashboard: str | None, limits: Limits) -> State[Any]:
    """A person who gives a command knows what else the machine does; nobody knows what comes by itself."""
    if runtime.deployment.id is None:
        return _carry_out(request, dashboard, limits)
    with a_device(request.folder, get_run_logger().info):
        return _carry_out(request, dashboard, limits)


def _carry_out(request: CleanRequest, dashboard: str | None, limits: Limits) -> State[Any]:
    at_hand = _at_hand.get() or _AtHand(request.open(), Lines(get_run_logger().info))
    folder = at_hand.run.store.folder
    # That each step is completed is seen at the task runs.
    logging.getLogger("prefect.task_runs").setLevel(logging.WARNING)
    if limits.any:
        cost = estimate(at_hand.run)
        get_run_logger().info("; ".join(sentences(cost)))
        hold_to(limits, cost)
    shown = Shown(at_hand.display, key_of(folder))

    def as_tasks(batch: Batch) -> None:
        for step in batch.steps:
            with batch.performing(step):
                made = perform_step.with_options(task_run_name=batch.words(step))(folder, step)
            if step.judges:
                shown.judged(at_hand.run.store.read(made))

    try:
        execute(at_hand.run, as_tasks, shown, begin=partial(_close_killed, folder))
    except WaitsForPeople as wait:
        show_waiting(shown.key, str(wait))
        raise
    show_summary(shown.key, folder, read_summary(folder) or {}, dashboard)
    return Completed(message=f"the clean data set is in {folder}")


def _may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Only a failure of the surroundings, a network disk's, may be gone the next time: the steps are deterministic."""
    return is_passing(state.data)


@task(
    name="step",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[2, 20],
    retry_condition_fn=_may_pass,
)
def perform_step(folder: Path, step: Step) -> str:
    """Perform one step of the run in `folder`; the results stay in the run's store."""
    return perform(Store(folder), step)


def _close_killed(folder: Path) -> None:
    """Say of the flow run before this one on the same directory that it crashed, where it is still called running.

    Nobody said so when its process was killed; and it can't be alive, since this one holds the directory's lock. The
    directory says which it was: names are no identities, two containers may have the same.
    """
    file, mine = folder / FLOW_RUN, str(runtime.flow_run.id)
    before = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    write_text(file, f"{mine}\n")
    if before in ("", mine):
        return
    # A run that another server kept, or a file that somebody wrote into.
    with get_client(sync_client=True) as client, suppress(ObjectNotFound, ValueError):
        state = client.read_flow_run(UUID(before)).state
        if state is not None and state.type is StateType.RUNNING:
            client.set_flow_run_state(UUID(before), Crashed(message="Its process was ended."), force=True)
