"""The flow `notify`: tells people what a cleaning has come to, once."""

import json
import logging
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import apprise
from filelock import FileLock
from prefect import flow, get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed

from cleaner.errors import ConfigError, RunError, ServerError
from cleaner.run.files import write_json
from cleaner.run.finished import read_summary
from cleaner.words import percent, wrong_labels
from flows.attempts import WAITS, attempt
from flows.schedule import About, Notice

TOLD = "told.json"
"""The file in a run's directory that says what people were told last."""
_AGAIN_AFTER = (10.0, 60.0, 300.0)
_COUNTS = {"samples": "images", "kept": "kept", "relabelled": "relabelled", "dropped": "dropped"}


def _run_name() -> str:
    return f"telling people about {runtime.deployment.name or runtime.flow_run.parameters['run_dir']}"


@flow(name="notify", flow_run_name=_run_name, persist_result=False)
def notify(
    flow_run: str,
    run_dir: str,
    notices: list[Notice],
    noise_above: float | None = None,
    dashboard: str | None = None,
) -> State[Any]:
    """Tell people what a cleaning has come to.

    Args:
        flow_run: the id of the cleaning's flow run.
        run_dir: the run's directory on the machine that runs this.
        notices: who is told what; their addresses are in the environment of the process that runs this.
        noise_above: the share of wrong labels above which people are told.
        dashboard: the address of the dashboard, for a link to it.
    """
    return attempt(
        lambda: _notify(flow_run, Path(run_dir), notices, noise_above, dashboard), _AGAIN_AFTER, of_all=False
    )


def _notify(
    flow_run: str, folder: Path, notices: list[Notice], noise_above: float | None, dashboard: str | None
) -> State[Any]:
    with get_client(sync_client=True) as client:
        ended = client.read_flow_run(UUID(flow_run.rpartition(".")[2])).state
    return tell_news(ended, folder, notices, noise_above, dashboard)


def tell_news(
    ended: State[Any] | None, folder: Path, notices: list[Notice], noise_above: float | None, dashboard: str | None
) -> State[Any]:
    """Tell what a cleaning of the run in `folder` that `ended` so came to, unless people know.

    Raises:
        ConfigError: there is no address.
        ServerError: who passes it on refused it, or is away.
    """
    # Of a cleaning that could not even begin there is no run yet.
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{TOLD}.lock"):
        return _tell_news(ended, folder, notices, noise_above, dashboard)


def _tell_news(
    ended: State[Any] | None, folder: Path, notices: list[Notice], noise_above: float | None, dashboard: str | None
) -> State[Any]:
    name = runtime.deployment.name or folder.name
    before, now = _read(folder), dict[str, Any]()
    news: list[tuple[About, str, str]] = []
    if ended is not None and ended.name == WAITS:
        now = {"waits": ended.message}
        if before.get("waits") != ended.message:
            news.append(("people", f"{name}: people are needed", ended.message or ""))
    elif ended is not None and ended.is_failed():
        now = {"failed": ended.message}
        if before.get("failed") != ended.message:
            news.append(("failed", f"{name}: the cleaning failed", ended.message or ""))
    elif summary := read_summary(folder):
        now = {"standing": summary["versions"]["standing"], **{count: summary[count] for count in _COUNTS}}
        now["noise"] = summary["label_noise"]["noise"]
        if before.get("standing") != now["standing"]:
            news += _finished(name, summary, before, now["noise"] > (1.0 if noise_above is None else noise_above))
    told = [_tell(notice, news, dashboard) for notice in notices]
    # Numbers stay until others are there: what comes next is compared with them.
    write_json(folder / TOLD, {key: value for key, value in before.items() if key not in ("waits", "failed")} | now)
    if not any(told):
        return Completed(message="nothing that anybody wants to hear")
    return Completed(message="; ".join(subject for _, subject, _ in news))


def _finished(name: str, summary: dict[str, Any], before: dict[str, Any], noisy: bool) -> list[tuple[About, str, str]]:
    noise = wrong_labels(summary["label_noise"])
    counts = ", ".join(_with_difference(summary[count], before.get(count), what) for count, what in _COUNTS.items())
    was = f" (last time {percent(before['noise'])} %)" if "noise" in before else ""
    news: list[tuple[About, str, str]] = [("finished", f"{name}: cleaned", f"{counts}; {noise}{was}")]
    if noisy:
        news.append(("noise", f"{name}: more labels are wrong than they may be", f"{noise}{was}"))
    return news


def _with_difference(now: int, before: int | None, what: str) -> str:
    """`1,741 kept (+12)`."""
    return f"{now:,} {what}" + (f" ({now - before:+,})" if before is not None and now != before else "")


def _tell(notice: Notice, news: list[tuple[About, str, str]], dashboard: str | None) -> bool:
    """Tell of the news what is wanted; whether there was any.

    Raises:
        ConfigError: there is no address.
        ServerError: who passes it on refused it, or is away.
    """
    wanted = [(subject, body) for about, subject, body in news if about in notice.about]
    if not wanted:
        return False
    # What Apprise writes down may hold addresses, which are secrets.
    logging.getLogger("apprise").disabled = True
    address, sender = os.environ.get(notice.to), apprise.Apprise()
    if not address or not sender.add(address):
        raise ConfigError(f"{notice.to}: the environment of this process holds no address of that name; set it")
    for subject, body in wanted:
        if not sender.notify(title=subject, body=body + (f"\n{dashboard}" if dashboard else "")):
            raise ServerError(f"{notice.to}: what was to be told was not taken; see whether its address still holds")
        get_run_logger().info(f"told {notice.to}: {subject}")
    return True


def _read(folder: Path) -> dict[str, Any]:
    file = folder / TOLD
    try:
        said = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: is damaged ({error}); delete it") from error
    return said if isinstance(said, dict) else {}
