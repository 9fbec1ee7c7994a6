"""`cleaner deploy`: registers what a schedule makes on a Prefect server, for workers to carry out."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from cleaner.errors import InputError
from cleaner.run.files import write_text
from flows.prefect.deployments import HEARTBEAT, deployments, register_automations
from flows.prefect.schedule import Schedule
from flows.prefect.watching import watch

_HEAD = """# Made by: cleaner deploy {file} --yaml {out}
# For `prefect deploy --all`. `cleaner deploy` also makes the work pool, and the automations by which what was killed is
# taken up again; give it once.
"""


def deploy_schedule(schedule: Schedule, pool: str, say: Callable[[str], None]) -> None:
    """Register the deployments of `schedule` for the workers of the work pool `pool`, and the automations."""
    with get_client(sync_client=True) as client:
        _make_pool(client, pool)
        register_automations(client)
        found = list(_for(pool, schedule))
        for deployment in found:
            deployment.apply()
    names = ", ".join(f"{deployment.flow_name}/{deployment.name}" for deployment in found)
    say(f"deployed {names}")
    say(f"on each machine that is to work: prefect worker start --pool {pool}")


def watch_here(schedule: Schedule, say: Callable[[str], None]) -> None:
    """Look for what comes to those data sets of `schedule` that lie on this machine, for ever.

    Raises:
        InputError: none of them does.
    """
    here = {name: data for name, data in schedule.data.items() if data.source.exists()}
    if not here:
        raise InputError("none of the data sets lies on this machine; give --watch where they do")
    say(f"looking for what comes to {', '.join(here)}; Ctrl-C ends it")
    watch(schedule.model_copy(update={"data": here}), say)


def write_yaml(file: Path, schedule: Schedule, pool: str, out: Path) -> None:
    """Write the deployments of `schedule`, read from `file`, as a prefect.yaml."""
    content = {"pull": [], "deployments": [_said(deployment) for deployment in _for(pool, schedule)]}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    write_text(out, _HEAD.format(file=file.name, out=out.name) + text)


def _for(pool: str, schedule: Schedule) -> Iterator[RunnerDeployment]:
    for deployment in deployments(schedule):
        deployment.work_pool_name = pool
        deployment.job_variables = {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT)}}
        yield deployment


def _make_pool(client: SyncPrefectClient, pool: str) -> None:
    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=pool, type=ProcessWorker.type, base_job_template=template))


def _said(deployment: RunnerDeployment) -> dict[str, Any]:
    clocks = [clock.schedule for clock in deployment.schedules or [] if clock.schedule is not None]
    return {
        "name": deployment.name,
        "entrypoint": deployment.entrypoint,
        "description": deployment.description,
        "tags": deployment.tags,
        "parameters": deployment.parameters,
        "schedules": [clock.model_dump(mode="json", exclude_none=True) for clock in clocks],
        "triggers": [_said_of(trigger) for trigger in deployment.triggers],
        "work_pool": {"name": deployment.work_pool_name, "job_variables": deployment.job_variables},
    }


def _said_of(trigger: Any) -> dict[str, Any]:
    values: dict[str, Any] = trigger.model_dump(mode="json", exclude_unset=True)
    in_order = {name: sorted(value) if isinstance(value, list) else value for name, value in values.items()}
    return {"type": "event", **in_order}
