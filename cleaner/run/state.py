"""What a run has come to, written by the run as it goes, so that whoever looks needs neither its lock nor its data."""

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cleaner.errors import RunError, StorageError
from cleaner.run.files import write_json

FILE = "state.json"
_EVERY = 5.0
"""Seconds between two writes that tell of nothing but progress."""


class Doing(StrEnum):
    WORKING = "working"
    WAITING = "waiting"
    STOPPED = "stopped"
    FINISHED = "finished"


class State(BaseModel):
    """One moment of a run.

    Attributes:
        doing: what the command does, or did last.
        words: what it works on, what people have to do, or why it stopped.
        done: about which share of the whole run is done, in [0, 1].
        told: what each part so far came to, a line each.
        manifest: the name of the manifest among the steps' outputs; empty before there is one.
        pid, host: of the command.
        since, updated: when the command began, and when this was written.
    """

    model_config = ConfigDict(extra="forbid")

    doing: Doing = Doing.WORKING
    words: str = "getting ready"
    done: float = 0.0
    told: list[str] = []
    manifest: str = ""
    pid: int
    host: str
    since: datetime
    updated: datetime

    @property
    def ended(self) -> bool:
        """Whether the command that was at work is known to live no more."""
        return self.host == socket.gethostname() and not _lives(self.pid)


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
        raise RunError(f"{file}: is damaged ({what}); give the same `cleaner clean` command again") from error


@dataclass
class Journal:
    """Writes the state of the run in `folder` as it goes."""

    folder: Path

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        self._state = State(pid=os.getpid(), host=socket.gethostname(), since=now, updated=now)
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

    def has_manifest(self, name: str) -> None:
        self._state.manifest = name

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
