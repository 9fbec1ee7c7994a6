"""Looks whether something has come, images or people's answers, and lets the cleaning of that data set begin.

One process looks for all data sets, at their times. It asks for what is so, not for what has happened: an event that is
lost comes again with the next look.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from prefect.events import emit_event

from cleaner.errors import CleanerError
from cleaner.plan.news import new_answers, new_images
from cleaner.plan.run_checks import NO_REVIEWER
from cleaner.run.origin import read_origin
from cleaner.run.state import Doing, read_state
from cleaner.run.store import Store
from cleaner.words import counted
from flows.prefect.schedule import NEVER, Schedule, after
from flows.reviewed import fetch

_logger = logging.getLogger(__name__)

ANSWERS, IMAGES = "cleaner.answers.complete", "cleaner.images.new"
"""The events, by which the deployment `clean` of the data set is triggered."""


@dataclass(frozen=True)
class Found:
    """What a look came to: in a person's words, and whether the cleaning is to begin by it."""

    words: str
    starts: bool = False


@dataclass(frozen=True)
class Look:
    """What is looked for again and again: of which data set, with which event where something has come, and when."""

    name: str
    folder: Path
    event: str
    when: str
    look: Callable[[Path, Callable[[str], None]], Found | None]


def about(data: str) -> str:
    """The resource that events on the data set of this name are about."""
    return f"cleaner.data.{data}"


def watch(schedule: Schedule, say: Callable[[str], None]) -> None:
    """Look for what `schedule` says, at its times and at the beginning, for ever. `say` hears, once each, what has come
    and what went wrong."""
    zone = ZoneInfo(schedule.timezone)
    looks = [look for look in looks_of(schedule) if look.when != NEVER]
    # A disk that does not answer keeps nobody else waiting.
    threads = [threading.Thread(target=_keep_looking, args=(look, zone, say), daemon=True) for look in looks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def looks_of(schedule: Schedule) -> list[Look]:
    """Everything that is looked for, at whatever times."""
    found = []
    for name, data in schedule.data.items():
        found.append(Look(name, data.run, IMAGES, data.times.ingest, look_for_images))
        if data.reviewer != NO_REVIEWER:
            found.append(Look(name, data.run, ANSWERS, data.times.collect, look_for_answers))
    return found


def _keep_looking(look: Look, zone: ZoneInfo, say: Callable[[str], None]) -> None:
    told = ""
    while True:
        found = _look_once(look, say)
        words = found.words if found else ""
        if words and words != told:
            say(f"{look.name}: {words}")
        told = words
        now = datetime.now(UTC)
        time.sleep((after(now, look.when, zone) - now).total_seconds())


def _look_once(look: Look, say: Callable[[str], None]) -> Found | None:
    try:
        found = look.look(look.folder, lambda line: say(f"{look.name}: {line}"))
    except CleanerError as error:
        return Found(str(error))
    except Exception as error:
        # What nobody has foreseen must not end all looks after it.
        _logger.exception("%s: looking for what has come failed", look.name)
        return Found(f"looking for what has come failed ({type(error).__name__}: {error}); it is looked for again")
    if found and found.starts:
        resource = {"prefect.resource.id": about(look.name), "prefect.resource.name": look.name}
        emit_event(look.event, resource=resource, payload={"why": found.words})
        return Found(f"{found.words}; a cleaning is asked for", starts=True)
    return found


def look_for_answers(folder: Path, heard: Callable[[str], None]) -> Found | None:
    """Store what people have answered; where nothing is missing any more, the cleaning is to go on."""
    if read_origin(folder) is None:
        return None
    run, standing = fetch(folder, heard)
    if why := new_answers(run.store, read_state(folder), standing):
        return Found(why, starts=True)
    missing = sum(batch.missing for batch in standing)
    return Found(f"{counted(missing, 'answer')} missing") if missing else None


def look_for_images(folder: Path, heard: Callable[[str], None]) -> Found | None:
    """Look for images that are new, gone or changed; where some are, the cleaning is to take them in."""
    origin, state = read_origin(folder), read_state(folder)
    if origin is None:
        return Found("none of its images has been read yet", starts=True)
    if state is not None and state.doing is Doing.WORKING and not state.ended:
        return None  # what comes now is looked for when the cleaning has ended
    news = new_images(Store(folder), origin, state)
    if news is None:
        return None
    if news.arriving:
        return Found(f"{news.words}, written within the last minute: more may follow")
    return Found(news.words, starts=True)
