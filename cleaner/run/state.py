"""What a run has come to, written by the run as it goes, so that whoever looks needs neither its lock nor its data."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cleaner.errors import CleanerError, RunError, StorageError, WaitsForPeople
from cleaner.run.files import write_json
from cleaner.words import span

FILE = "state.json"
_EVERY = 5.0
"""Seconds between two writes that tell of nothing but progress."""
_SAYABLE, _SAYABLE_AFTER = 0.03, 5.0
"""The share done, and the seconds spent, from which time left can be said."""


class Doing(StrEnum):
    WORKING = "working"
    WAITING = "waiting"
    STOPPED = "stopped"
    FINISHED = "finished"


@dataclass(frozen=True)
class Judged:
    """One round of one stage: the names of its verdicts, of its evidence, and of what stood before it."""

    stage: str
    round: int
    verdicts: str = ""
    before: str = ""
    evidence: str = ""


class Names(BaseModel):
    """The names of the outputs that a run has come to; empty where there is none yet.

    Attributes:
        stamps: of the manifest's files, empty for a source that has none.
        pixel_quality: of how good each image's pixels are.
        features: their shards, in order.
        read_by, features_by: what tells whether a file would be described, and an image embedded, in the same way.
        standing: what stands.
        ledger: the parts that count, the oldest first.
        rounds: the rounds that count, in the order in which they came.
        noise: how many labels are estimated to be wrong.
    """

    manifest: str = ""
    stamps: str = ""
    pixel_quality: str = ""
    features: list[str] = []
    read_by: str = ""
    features_by: str = ""
    duplicates: str = ""
    standing: str = ""
    ledger: list[str] = []
    rounds: list[Judged] = []
    noise: str = ""


class State(BaseModel):
    """One moment of a run.

    Attributes:
        doing: what the command does, or did last.
        words: what it works on, what people have to do, or why it stopped.
        done: about which share of the whole run is done, in [0, 1].
        told: what each part so far came to, a line each.
        names: what is there of it among the steps' outputs.
        pid, host: of the command.
        since, updated: when the command began, and when this was written.
    """

    # What an older version wrote beside this is of no use any more.
    model_config = ConfigDict(extra="ignore")

    doing: Doing = Doing.WORKING
    words: str = "getting ready"
    done: float = 0.0
    told: list[str] = []
    names: Names = Names()
    pid: int
    host: str
    since: datetime
    updated: datetime

    @property
    def ended(self) -> bool:
        """Whether the command that was at work is known to live no more."""
        return self.host == socket.gethostname() and not _lives(self.pid)

    def left(self, now: datetime) -> str:
        """`, about 2 min 05 s left`; empty where it can't be said yet."""
        spent = (now - self.since).total_seconds()
        if self.done < _SAYABLE or spent < _SAYABLE_AFTER:
            return ""
        return f", about {span(spent * (1 - self.done) / self.done)} left"


def read_state(folder: Path) -> State | None:
    """What the run in `folder` has come to; None where no command has worked on it yet.

    Raises:
        RunError: the file is damaged.
    """
    file = folder / FILE
    try:
        return State.model_validate(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None
    except (OSError, ValueError, ValidationError) as error:
        what = " ".join(str(error).split())[:120]
        raise RunError(f"{file}: is damaged ({what}); give the command that worked on it again") from error


@dataclass
class Journal:
    """Writes the state of the run in `folder` as it goes."""

    folder: Path

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        self._state = State(pid=os.getpid(), host=socket.gethostname(), since=now, updated=now)
        with suppress(RunError):
            before = read_state(self.folder)
            self._state.names = before.names if before else Names()
        self._written = 0.0
        self._write()

    def begins(self, words: str, done: float) -> None:
        self._state.words, self._state.done = words, done
        self._write()

    def progressed(self, done: float) -> None:
        self._state.done = max(self._state.done, done)
        if time.monotonic() - self._written > _EVERY:
            self._write()

    def ends(self, told: str) -> None:
        self._state.told.append(told)
        self._write()

    def has(self, names: Names) -> None:
        """What there is by now; what stood when the command began stays in sight until it has come as far again."""
        if names.standing or not self._state.names.standing:
            self._state.names = names

    def leaves(self, doing: Doing, words: str) -> None:
        """The command ends, or waits."""
        self._state.doing, self._state.words = doing, words
        if doing is Doing.FINISHED:
            self._state.done = 1.0
        # Where the disk refuses this too, the reason why the command ends is what a person must hear.
        with suppress(StorageError):
            self._write()

    def _write(self) -> None:
        self._state.updated, self._written = datetime.now(UTC), time.monotonic()
        write_json(self.folder / FILE, self._state.model_dump(mode="json"))


@contextmanager
def leaving(journal: Journal) -> Iterator[None]:
    """Write down how the command ends that works within the block."""
    try:
        yield
    except WaitsForPeople as wait:
        journal.leaves(Doing.WAITING, str(wait))
        raise
    except CleanerError as error:
        journal.leaves(Doing.STOPPED, str(error))
        raise
    except Exception as error:
        journal.leaves(Doing.STOPPED, f"a bug in cleaner ({type(error).__name__})")
        raise
    except BaseException:
        journal.leaves(Doing.STOPPED, "it was interrupted")
        raise
    journal.leaves(Doing.FINISHED, "finished")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # Where Linux says so: a process that has ended and whom nobody has asked for its exit status is none any more.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self").exists()
