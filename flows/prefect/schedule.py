"""The file of `cleaner serve` and `cleaner deploy`: which data sets are cleaned, when, who is asked and who is told."""

import os
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import apprise
from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError

from cleaner import parts
from cleaner.config import Config
from cleaner.errors import CleanerError, ConfigError
from cleaner.plan.run_checks import NO_REVIEWER
from cleaner.runners.execute import CleanRequest
from cleaner.settings import Section, complaints
from flows.prefect.limits import Limits

NEVER = "never"
_EVERY = re.compile(r"every ([1-9]\d{0,5}) (second|minute|hour|day)s?")
_LONGEST = timedelta(days=366)
_NAMES = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat"
_VALUE = rf"(\d{{1,2}}|{_NAMES})"
_ITEM = rf"(\*(/\d{{1,2}})?|{_VALUE}|{_VALUE}-{_VALUE}(/\d{{1,2}})?)"
_CRON = re.compile(rf"{_ITEM}(,{_ITEM})*( +{_ITEM}(,{_ITEM})*){{4}}", re.IGNORECASE)
"""Cron as everybody knows it, without what some readers add: seconds, `L`, `W`, `#`."""
_DAYS = 2, 4

_Kind = TypeVar("_Kind", bound=BaseModel)

About = Literal["people", "finished", "failed", "noise"]
"""What people are told: that they are needed; that a cleaning has come to something new; that one failed; that more
labels are wrong than `noise_above`."""


def interval(when: str) -> timedelta | None:
    """What `every 10 minutes` says; None for anything else."""
    found = _EVERY.fullmatch(when)
    return timedelta(**{f"{found[2]}s": int(found[1])}) if found else None


def after(moment: datetime, when: str, zone: ZoneInfo) -> datetime:
    """The next moment that `when` says after this one; not for `never`."""
    every = interval(when)
    return moment + every if every else next(CronSim(when, moment.astimezone(zone)))


def plain_cron(when: str) -> tuple[str, bool]:
    """Cron's five fields with nothing in them but `*` and numbers, and whether one of the two kinds of days is enough.

    Readers of cron differ (in what `1-1` is, in whether `*/2` of the days and Mondays means both or either): what is
    given to another one, Prefect's, leaves it nothing to read in its own way.
    """
    cron = CronSim(when, datetime.now(UTC))
    weekdays = {day % 7 for day in cron.weekdays if isinstance(day, int)}
    found = [cron.minutes, cron.hours, cron.days, cron.months, weekdays]
    everything = [range(60), range(24), range(1, 32), range(1, 13), range(7)]
    any_of = [set(whole) <= some for some, whole in zip(found, everything, strict=True)]
    if not cron.day_and and any(any_of[day] for day in _DAYS):
        # Every day of the one kind, or some of the other: every day.
        any_of = [is_any or field in _DAYS for field, is_any in enumerate(any_of)]
    fields = ("*" if is_any else ",".join(map(str, sorted(some))) for some, is_any in zip(found, any_of, strict=True))
    return " ".join(fields), not cron.day_and


def _check_when(when: str) -> str:
    if when == NEVER or (interval(when) or 2 * _LONGEST) <= _LONGEST:
        return when
    if interval(when):
        raise ValueError("wants a year at most")
    if not _CRON.fullmatch(when):
        raise ValueError("wants `every 10 minutes`, the five fields of cron (`0 2 * * *`), or `never`")
    try:
        next(CronSim(when, datetime.now(UTC)))
    except CronSimError as error:
        raise ValueError(f"is no time ({str(error).lower()})") from error
    except StopIteration as error:
        raise ValueError("is a day that never comes") from error
    return when


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ValueError("no time zone; for example Europe/Berlin") from error
    return name


When = Annotated[str, AfterValidator(_check_when)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]


class Times(Section):
    """When something is done: `every 10 minutes`, cron's five fields, or `never`."""

    clean: When = Field(default="0 2 * * *", description="clean, whether or not something has come")
    ingest: When = Field(
        default="every 10 minutes", description="look for images that are new, gone or changed; where some are, clean"
    )
    collect: When = Field(
        default="every 2 minutes", description="fetch what people have answered; when nothing is missing, go on"
    )


class DataSet(Section):
    """One data set that is kept clean."""

    source: Path = Field(description="a folder of class folders, or a CSV or Parquet file")
    run: Path = Field(description="the run's directory")
    reviewer: str = Field(default=NO_REVIEWER, description="who is asked about doubtful images")
    workers: int | None = Field(
        default=None, ge=1, le=1024, description="threads that decode images; one a core unless given"
    )
    times: Times = Times()
    noise_above: float | None = Field(
        default=None, ge=0, le=1, description="the share of wrong labels above which people are told `noise`"
    )
    limits: Limits = Limits()
    config: Config = Field(default=Config(), description="settings of the run, as `cleaner clean --config` reads them")


class Notice(Section):
    """Somebody who is told."""

    to: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="the environment variable that holds an address as Apprise takes it: of Slack, mail, a webhook",
    )
    about: list[About] = Field(
        default=["people", "finished", "failed", "noise"], min_length=1, description="what they are told"
    )
    data: list[str] = Field(default=[], description="of which data sets; of all unless given")


class Schedule(Section):
    """Everything that `cleaner serve` does."""

    timezone: Annotated[str, AfterValidator(_check_zone)] = Field(
        default="UTC", description="the time zone of all times of day"
    )
    data: dict[Name, DataSet] = Field(min_length=1, description="the data sets, by their names")
    dashboard: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="where `cleaner ui` shows the runs, for links to it: http://127.0.0.1:8501",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="of Prefect's page, where a server is started; 4200 if it is free",
    )
    notify: list[Notice] = Field(default=[], description="who is told")


def read_schedule(file: Path, *, elsewhere: Callable[[str], None] | None = None) -> Schedule:
    """What `file` says. Paths are meant from the folder in which it lies, and made absolute. All that it names is
    looked at: data sets, reviewers, parts, addresses.

    Args:
        file: the file.
        elsewhere: the work is done on other machines; hears of what does not lie on this one, and can't be looked at.

    Raises:
        ConfigError: with everything that is wrong in one message.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: can't be read ({error.strerror}); give a TOML file of data sets") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: no valid TOML ({error})") from error
    wrong: list[str] = []
    try:
        Schedule.model_validate(content)
    except ValidationError as error:
        wrong += complaints(Schedule, error)
    # What is right by itself is looked at all the same: mistakes are told all at once.
    place = file.absolute().parent
    data = dict(_right_ones(content.get("data"), DataSet, place))
    notices = dict(_right_ones(content.get("notify"), Notice, place))
    wrong += _wrong_names(content.get("data"), data, notices, elsewhere)
    if wrong:
        raise ConfigError(f"{file}: {'; '.join(wrong)}")
    return Schedule.model_validate(content | {"data": data, "notify": list(notices.values())})


def _right_ones(content: Any, kind: type[_Kind], place: Path) -> Iterator[tuple[Any, _Kind]]:
    """Those entries of a table, or of a list, that are of this kind, with absolute paths, by their names or numbers."""
    for name, entry in (
        content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    ):
        with suppress(ValidationError):
            yield name, kind.model_validate(_from(place, kind.model_validate(entry)))


def _from(folder: Path, value: Any) -> Any:
    """The settings `value`, as mappings, with paths that are absolute."""
    if isinstance(value, BaseModel):
        return {name: _from(folder, getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: _from(folder, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_from(folder, inner) for inner in value]
    return Path(os.path.normpath(folder / value)) if isinstance(value, Path) else value


def _wrong_names(
    content: Any, data: dict[str, DataSet], notices: dict[int, Notice], elsewhere: Callable[[str], None] | None
) -> Iterator[str]:
    """What is wrong with what is named, of that which is right in itself."""
    for number, notice in notices.items():
        if isinstance(content, dict) and (unknown := sorted(set(notice.data) - set(content))):
            yield f"notify.{number}.data: no data set {', '.join(unknown)}"
        if not elsewhere and (problem := _wrong_address(notice.to)):
            yield f"notify.{number}.to: {problem}"
    seen: dict[Path, str] = {}
    for name, of in data.items():
        if (other := seen.setdefault(of.run.resolve(), name)) != name:
            yield f"data.{name}: it has the same run as {other}; each data set needs its own"
        elif elsewhere and not of.source.exists():
            elsewhere(f"{name}: {of.source} does not lie on this machine; it is not looked at")
        else:
            order = request_of(of)
            if elsewhere and of.reviewer in parts.names("reviewers"):
                # Where the server is that asks people is known to the machines that do the work.
                order = replace(order, reviewer=NO_REVIEWER)
            try:
                order.open()
            except CleanerError as error:
                yield f"data.{name}: {error}"


def _wrong_address(name: str) -> str:
    address = os.environ.get(name)
    if address is None:
        return f"the environment variable {name} is not set"
    # The address itself is a secret.
    return "" if apprise.Apprise().add(address) else f"{name} holds no address that Apprise takes, such as slack://..."


def notices_of(name: str, schedule: Schedule) -> list[Notice]:
    """Who is told of the data set of this name."""
    return [notice for notice in schedule.notify if not notice.data or name in notice.data]


def request_of(data: DataSet) -> CleanRequest:
    return CleanRequest(data.source, data.run, data.config, data.reviewer, None, data.workers)
