"""The flow `notify`: tells people what a cleaning has come to, once."""

import json
import logging
import os
from collections.abc import Callable
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
from flows.prefect.attempts import WAITS, attempt
from flows.prefect.schedule import About, Notice

TOLD = "told.json"
"""The file in a run's directory that says what each recipient was told last, of each kind of news."""
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
    """Tell each who wants to hear it, unless they know, what a cleaning of the run in `folder` that `ended` so came to.

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
    facts, told = _facts(ended, folder, noise_above), _read(folder)
    name, link = runtime.deployment.name or folder.name, f"\n{dashboard}" if dashboard else ""
    heard, problems = list[str](), list[ConfigError | ServerError]()
    for to, about in dict.fromkeys((notice.to, about) for notice in notices for about in notice.about):
        known = told.setdefault(to, {})
        if about in facts and _key(facts[about]) != _key(known.get(about, {})):
            subject, body = _SAID[about](name, facts[about], known)
            try:
                _tell(to, subject, body + link)
            except (ConfigError, ServerError) as error:
                # Others hear of it all the same, and only who has not heard is told again.
                problems.append(error)
                continue
            heard.append(subject)
            known[about] = facts[about]
        elif about not in facts and about in _PASSING:
            known.pop(about, None)
        write_json(folder / TOLD, told)
    if problems:
        raise problems[0]
    return Completed(message="; ".join(dict.fromkeys(heard)) or "nothing that anybody wants to hear")


def _facts(ended: State[Any] | None, folder: Path, noise_above: float | None) -> dict[About, dict[str, Any]]:
    """What there is to tell, of each kind that people are told of."""
    if ended is not None and ended.name == WAITS:
        return {"people": {"message": ended.message or ""}}
    if ended is not None and ended.is_failed():
        return {"failed": {"message": ended.message or ""}}
    if not (summary := read_summary(folder)):
        return {}
    noise = summary["label_noise"]
    standing = {"standing": summary["versions"]["standing"], "label_noise": noise}
    facts: dict[About, dict[str, Any]] = {"finished": standing | {count: summary[count] for count in _COUNTS}}
    # Said where it is so whatever is not known of it, and not where it may be so.
    if noise_above is not None and noise["low"] is not None and noise["low"] > noise_above:
        facts["noise"] = standing
    return facts


def _key(fact: dict[str, Any]) -> Any:
    """By what a fact is another than the one that somebody knows."""
    return fact.get("standing", fact.get("message"))


def _needed(name: str, fact: dict[str, Any], known: dict[str, Any]) -> tuple[str, str]:
    return f"{name}: people are needed", fact["message"]


def _failed(name: str, fact: dict[str, Any], known: dict[str, Any]) -> tuple[str, str]:
    return f"{name}: the cleaning failed", fact["message"]


def _finished(name: str, fact: dict[str, Any], known: dict[str, Any]) -> tuple[str, str]:
    before = known.get("finished", {})
    counts = ", ".join(_with_difference(fact[count], before.get(count), what) for count, what in _COUNTS.items())
    return f"{name}: cleaned", f"{counts}; {_noise(fact, before)}"


def _noisy(name: str, fact: dict[str, Any], known: dict[str, Any]) -> tuple[str, str]:
    return f"{name}: more labels are wrong than they may be", _noise(fact, known.get("noise", {}))


def _noise(fact: dict[str, Any], before: dict[str, Any]) -> str:
    known = before["label_noise"]["noise"] if before else None
    was = "" if known is None else f" (last time {percent(known)} %)"
    return f"{wrong_labels(fact['label_noise'])}{was}"


_SAID: dict[About, Callable[[str, dict[str, Any], dict[str, Any]], tuple[str, str]]] = {
    "people": _needed,
    "failed": _failed,
    "finished": _finished,
    "noise": _noisy,
}
"""Of the data set's name, the fact and what somebody knows: what that person is told, a subject and a text."""
_PASSING: set[About] = {"people", "failed"}
"""What is told anew when it has been otherwise meanwhile. Numbers stay: the next ones are compared with them."""


def _with_difference(now: int, before: int | None, what: str) -> str:
    """`1,741 kept (+12)`."""
    return f"{now:,} {what}" + (f" ({now - before:+,})" if before is not None and now != before else "")


def _tell(to: str, subject: str, body: str) -> None:
    """Tell it at the address that the environment variable `to` holds.

    Raises:
        ConfigError: there is no address.
        ServerError: who passes it on refused it, or is away.
    """
    # What Apprise writes down may hold addresses, which are secrets.
    logging.getLogger("apprise").disabled = True
    address, sender = os.environ.get(to), apprise.Apprise()
    if not address or not sender.add(address):
        raise ConfigError(f"{to}: the environment of this process holds no address of that name; set it")
    if not sender.notify(title=subject, body=body):
        raise ServerError(f"{to}: what was to be told was not taken; see whether its address still holds")
    get_run_logger().info(f"told {to}: {subject}")


def _read(folder: Path) -> dict[str, Any]:
    file = folder / TOLD
    try:
        told = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: is damaged ({error}); delete it") from error
    return told if isinstance(told, dict) else {}
