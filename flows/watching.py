"""The flows that look whether something has come: `collect-reviews` for answers, `ingest` for images.

Where something has, they emit an event, by which the deployment `clean` of the same data set is triggered. Each asks
for what is so, not for what has happened: an event that is lost comes again with the next look.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed

from cleaner.loop.news import new_answers, new_images
from cleaner.run.origin import read_origin
from cleaner.run.state import Doing, read_state
from cleaner.run.store import Store
from cleaner.words import counted
from flows.attempts import attempt
from flows.reviewed import fetch

ANSWERS, IMAGES = "cleaner.answers.complete", "cleaner.images.new"
"""The events."""
STARTS = "StartsCleaning"
"""The name of the final state of a flow run that has found something. Its type is Completed."""


def about(data: str) -> str:
    """The resource that events on the data set of this name are about."""
    return f"cleaner.data.{data}"


def _run_name() -> str:
    what = {"collect-reviews": "answers on", "ingest": "images of"}[runtime.flow_run.flow_name]
    which = runtime.deployment.name or runtime.flow_run.parameters["run_dir"]
    return f"looking for new {what} {which}, {datetime.now(UTC):%H:%M} UTC"


@flow(name="collect-reviews", flow_run_name=_run_name, persist_result=False)
def collect_reviews(run_dir: str) -> State[Any]:
    """Store what people have answered; where nothing is missing any more, let the cleaning go on.

    Args:
        run_dir: the run's directory on the machine that runs this.
    """
    return attempt(lambda: _collect(Path(run_dir)))


def _collect(folder: Path) -> State[Any]:
    if read_origin(folder) is None:
        return Completed(message="no run lies there yet; nobody has been asked anything")
    run, standing = fetch(folder, get_run_logger().info)
    if why := new_answers(run.store, read_state(folder), standing):
        return _start(ANSWERS, why)
    missing = sum(batch.missing for batch in standing)
    return Completed(message=f"{counted(missing, 'answer')} missing" if missing else "nothing new")


@flow(name="ingest", flow_run_name=_run_name, persist_result=False)
def ingest(run_dir: str) -> State[Any]:
    """Look for images that are new, gone or changed; where some are, let the cleaning take them in.

    Args:
        run_dir: the run's directory on the machine that runs this.
    """
    return attempt(lambda: _ingest(Path(run_dir)))


def _ingest(folder: Path) -> State[Any]:
    origin, state = read_origin(folder), read_state(folder)
    if origin is None:
        return _start(IMAGES, "none of its images has been read yet")
    if state is not None and state.doing is Doing.WORKING and not state.ended:
        return Completed(message="the cleaning is at work; what comes now is looked for when it has ended")
    news = new_images(Store(folder), origin, state)
    if news is None:
        return Completed(message="nothing new")
    if news.arriving:
        return Completed(message=f"{news.words}, written within the last minute: more may follow")
    return _start(IMAGES, news.words)


def _start(event: str, why: str) -> State[Any]:
    name = runtime.deployment.name
    if name is None:
        return Completed(message=f"{why}; without a deployment nothing is started by that")
    emit_event(
        event, resource={"prefect.resource.id": about(name), "prefect.resource.name": name}, payload={"why": why}
    )
    return Completed(name=STARTS, message=why)
