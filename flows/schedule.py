"""The file of `cleaner serve` and `cleaner deploy`: which data sets are cleaned, when, who is asked and who is told."""

import os
import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import apprise
from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError, field_validator

from cleaner.config import Config, Section, complaints
from cleaner.errors import CleanerError, ConfigError
from cleaner.loop.runs import NO_REVIEWER
from flows.limits import Limits
from flows.runner import Order

NEVER = "never"
_EVERY = re.compile(r"every ([1-9]\d*) (second|minute|hour|day)s?")

About = Literal["people", "finished", "failed", "noise"]
"""What people are told: that they are needed; that a cleaning has come to something new; that one failed; that more
labels are wrong than `noise_above`."""


def interval(when: str) -> timedelta | None:
    """What `every 10 minutes` says; None for anything else."""
    found = _EVERY.fullmatch(when)
    return timedelta(**{f"{found[2]}s": int(found[1])}) if found else None


def _check_when(when: str) -> str:
    if when != NEVER and interval(when) is None:
        try:
            CronSim(when, datetime.now(UTC))
        except CronSimError as error:
            raise ValueError("wants `every 10 minutes`, the five fields of cron (`0 2 * * *`), or `never`") from error
    return when


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, ZoneInfoNotFoundError) as error:
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
    notify: list[Notice] = Field(default=[], description="who is told")

    @field_validator("data")
    @classmethod
    def _runs_differ(cls, data: dict[str, DataSet]) -> dict[str, DataSet]:
        seen: dict[Path, str] = {}
        for name, of in data.items():
            if (other := seen.setdefault(of.run, name)) != name:
                raise ValueError(f"{other} and {name} have the same run; each data set needs its own")
        return data


def read_schedule(file: Path) -> Schedule:
    """What `file` says, its paths made absolute: they are meant from the folder in which it lies.

    Raises:
        ConfigError: with everything that is wrong in one message.
    """
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: can't be read ({error.strerror}); give a TOML file of data sets") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: no valid TOML ({error})") from error
    try:
        schedule = Schedule.model_validate(said)
    except ValidationError as error:
        raise ConfigError(f"{file}: {'; '.join(complaints(Schedule, error))}") from error
    return Schedule.model_validate(_from(file.absolute().parent, schedule))


def _from(folder: Path, value: Any) -> Any:
    """The settings `value`, as mappings, with paths that are absolute."""
    if isinstance(value, BaseModel):
        return {name: _from(folder, getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: _from(folder, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_from(folder, inner) for inner in value]
    return folder / value if isinstance(value, Path) else value


def notices_of(name: str, schedule: Schedule) -> list[Notice]:
    """Who is told of the data set of this name."""
    return [notice for notice in schedule.notify if not notice.data or name in notice.data]


def order_of(data: DataSet) -> Order:
    return Order(data.source, data.run, data.config, data.reviewer, None, data.workers)


def check(file: Path, schedule: Schedule, *, elsewhere: Callable[[str], None] | None = None) -> None:
    """Look at everything that `schedule`, read from `file`, names: data sets, reviewers, parts, addresses.

    Args:
        elsewhere: the work is done on other machines; hears of what does not lie on this one, and can't be looked at.

    Raises:
        ConfigError: with everything that is wrong in one message.
    """
    wrong = [] if elsewhere else list(_wrong_addresses(schedule))
    for number, notice in enumerate(schedule.notify):
        if unknown := sorted(set(notice.data) - set(schedule.data)):
            wrong.append(f"notify.{number}.data: no data set {', '.join(unknown)}")
    for name, data in schedule.data.items():
        if elsewhere and not data.source.exists():
            elsewhere(f"{name}: {data.source} does not lie on this machine; it is not looked at")
            continue
        try:
            order_of(data).open()
        except CleanerError as error:
            wrong.append(f"data.{name}: {error}")
    if wrong:
        raise ConfigError(f"{file}: {'; '.join(wrong)}")


def _wrong_addresses(schedule: Schedule) -> Iterator[str]:
    for number, notice in enumerate(schedule.notify):
        address = os.environ.get(notice.to)
        if address is None:
            yield f"notify.{number}.to: the environment variable {notice.to} is not set"
        elif not apprise.Apprise().add(address):
            # The address itself is a secret.
            yield f"notify.{number}.to: {notice.to} holds no address that Apprise takes, such as slack://..."
