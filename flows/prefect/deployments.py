"""What a schedule makes of the flows: deployments, and the automations by which what was killed is taken up again."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import Flow
from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture, ResourceSpecification
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.schedules import Cron, Interval
from prefect.schedules import Schedule as Clock
from prefect.types.entrypoint import EntrypointType

from flows.prefect.attempts import WAITS
from flows.prefect.clean import clean
from flows.prefect.notify import notify
from flows.prefect.schedule import NEVER, DataSet, Schedule, interval, notices_of, plain_cron
from flows.prefect.watching import ANSWERS, IMAGES, about

OURS, CLEANING = "cleaner", "cleaning"
"""Tags: the one of all our deployments; and how that of a data set's cleanings begins, which are taken up again when
their process was killed, and told of when they have ended."""
TAKEN_UP = "TakenUpAgain"
"""The name of the state of a flow run that is to go on after its process was killed."""
HEARTBEAT = 30
"""Seconds between two signs of life of a flow run."""
_DEAD_AFTER = timedelta(seconds=3 * HEARTBEAT)
_BEGINS_WITHIN = timedelta(minutes=5)
"""A process that begins a flow run imports for seconds, on a busy machine for a minute."""
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
"""From where intervals are counted, so that a schedule that is registered anew does not begin anew."""


def deployments(schedule: Schedule) -> list[RunnerDeployment]:
    """One deployment for each flow of each data set."""
    return [deployment for name, data in schedule.data.items() for deployment in _of(name, data, schedule)]


def _of(name: str, data: DataSet, schedule: Schedule) -> Iterator[RunnerDeployment]:
    where, zone = {"run_dir": str(data.run)}, schedule.timezone
    order = {
        "source": str(data.source),
        "config": data.config.model_dump(mode="json", exclude_defaults=True),
        "reviewer": data.reviewer,
        "workers": data.workers,
        "dashboard": schedule.dashboard,
        "limits": data.limits.model_dump(mode="json"),
    }
    comes = DeploymentEventTrigger(
        name=f"clean {name} when images or answers have come",
        expect={ANSWERS, IMAGES},
        match=ResourceSpecification({"prefect.resource.id": about(name)}),
    )
    tags = [f"{CLEANING}-{name}"]
    yield _deployed(clean, name, where | order, when=_clock(data.times.clean, zone), trigger=comes, tags=tags)
    if notices := notices_of(name, schedule):
        told = {
            "notices": [notice.model_dump(mode="json") for notice in notices],
            "noise_above": data.noise_above,
            "dashboard": schedule.dashboard,
        }
        ended = DeploymentEventTrigger(
            name=f"tell people about {name} when a cleaning has ended",
            expect={f"prefect.flow-run.{state}" for state in ("Completed", "Failed", WAITS)},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=_tagged(f"{CLEANING}-{name}"),
            parameters={"flow_run": "{{ event.resource.id }}"},
        )
        yield _deployed(notify, name, where | told, trigger=ended)


def _deployed(
    flow: Flow[Any, Any],
    name: str,
    parameters: dict[str, Any],
    *,
    when: Sequence[Clock] = (),
    trigger: DeploymentEventTrigger | None = None,
    tags: Sequence[str] = (),
) -> RunnerDeployment:
    return RunnerDeployment.from_flow(
        flow,
        name=name,
        description=(flow.description or "").partition("\n")[0],
        parameters=parameters,
        schedules=list(when),
        triggers=[trigger] if trigger else [],
        tags=[OURS, *tags],
        # Whoever carries it out has cleaner installed; no code travels.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _clock(when: str, zone: str) -> list[Clock]:
    if when == NEVER:
        return []
    if every := interval(when):
        return [Interval(every, anchor_date=_BEGAN)]
    fields, day_or = plain_cron(when)
    return [Cron(fields, timezone=zone, day_or=day_or)]


def automations() -> list[AutomationCore]:
    """A flow run that gives no sign of life for a while, or never begins, has crashed; a cleaning that has crashed is
    taken up again."""
    return [
        _crashed_when_silent(
            "cleaner: mark dead runs as crashed",
            "A flow run whose process has died: its machine stopped, or it was killed.",
            {"prefect.flow-run.Running", "prefect.flow-run.heartbeat"},
            _DEAD_AFTER,
            "Its process stopped sending heartbeats.",
        ),
        _crashed_when_silent(
            "cleaner: mark runs that never started as crashed",
            "A flow run that was submitted but never started: its worker ended, or could not reach the server.",
            {"prefect.flow-run.Pending"},
            _BEGINS_WITHIN,
            "It was submitted, but never started.",
        ),
        AutomationCore(
            name="cleaner: restart crashed cleanings",
            description="The same flow run goes on where it was, at most five times.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Crashed"},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related=_tagged(f"{CLEANING}-*"),
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            actions=[_becomes(StateType.SCHEDULED, TAKEN_UP, "Its process was ended.")],
        ),
    ]


def _crashed_when_silent(name: str, description: str, after: set[str], within: timedelta, why: str) -> AutomationCore:
    return AutomationCore(
        name=name,
        description=description,
        trigger=EventTrigger(
            after=after,
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_tagged(OURS),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[_becomes(StateType.CRASHED, "Crashed", why)],
    )


def _tagged(tag: str) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"})


def _becomes(state: StateType, name: str, why: str) -> ChangeFlowRunState:
    # Not forced: of a flow run that was short the last event may come before the first, and what has ended has ended.
    return ChangeFlowRunState(state=state, name=name, message=why, force=False)


def register_automations(client: SyncPrefectClient) -> None:
    """Make the automations of this name be what they are here, each once."""
    for automation in automations():
        known = [one.id for one in client.read_automations_by_name(automation.name) if one.id]
        for one_too_many in known[1:]:
            client.delete_automation(one_too_many)
        if known:
            client.update_automation(known[0], automation)
        else:
            client.create_automation(automation)
