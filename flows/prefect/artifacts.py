"""What Prefect's page shows of a cleaning while it goes on and when it has ended: its artifacts."""

import re
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
from httpx import HTTPError
from prefect import runtime
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from cleaner.run.files import digest
from cleaner.run.finished import CLEAN_CSV, ISSUES, REPORT
from cleaner.runners.telling import Display
from cleaner.stages import title
from cleaner.tables import array
from cleaner.words import ACTIONS, models_worth, wrong_labels

_LONG = 5.0
"""Seconds after which a part is long enough for a bar of its own."""
_EVERY = 1.0
_ADDRESS = re.compile(r"https?://[^\s,;)]+")


def key_of(folder: Path) -> str:
    """What the artifacts of the run in `folder` are called by: the data set's name, or one made of the directory's."""
    if name := runtime.deployment.name:
        return str(name)
    words = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    return f"{words or 'run'}-{digest(str(folder.absolute()))[:6]}"


@dataclass
class Shown:
    """A display that also shows on Prefect's page how far each part is that takes long, and what each round came to."""

    display: Display
    key: str
    _words: str = ""
    _began: float = 0.0
    _bar: UUID | None = None
    _updated: float = 0.0
    _rounds: list[dict[str, Any]] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.display.say(line)

    def begins(self, words: str, done: float) -> None:
        self._words, self._began, self._bar = words, time.monotonic(), None
        self.display.begins(words, done)

    def progressed(self, what: str, count: int, total: int, done: float) -> None:
        self.display.progressed(what, count, total, done)
        now, share = time.monotonic(), 100.0 * count / max(total, 1)
        if now - self._began < _LONG or now - self._updated < _EVERY:
            return
        self._updated = now
        told = f"{self._words}: {count:,} of {total:,} {what}"
        with _as_far_as_it_is_there():
            if self._bar is None:
                made: Any = create_progress_artifact(progress=share, key=f"{self.key}-progress", description=told)
                self._bar = made
            else:
                update_progress_artifact(self._bar, progress=share, description=told)

    def ends(self, told: str) -> None:
        if self._bar is not None:
            with _as_far_as_it_is_there():
                update_progress_artifact(self._bar, progress=100.0, description=told)
            self._bar = None
        self.display.ends(told)

    def close(self) -> None:
        self.display.close()

    def judged(self, verdicts: pa.Table) -> None:
        """A round has come to `verdicts`."""
        if not len(verdicts):
            return
        stage, number = (verdicts.column(name)[0].as_py() for name in ("stage", "round"))
        actions = Counter(array(verdicts, "action").tolist())
        counts = {words: actions[action] for action, words in ACTIONS.items()}
        self._rounds.append({"part": title(stage), "round": number, "images judged": len(verdicts), **counts})
        with _as_far_as_it_is_there():
            create_table_artifact(self._rounds, key=f"{self.key}-rounds", description="what each round came to, so far")


def show_summary(key: str, folder: Path, summary: Mapping[str, Any], dashboard: str | None) -> None:
    """Show what a finished run has come to, and where its results lie."""
    noise, worth = wrong_labels(summary["label_noise"]), models_worth(summary["label_noise"])
    lines = [f"**{worth[:1].upper()}{worth[1:]}.**"] if worth else []
    lines += [
        f"{summary['samples']:,} images of {summary['classes']:,} classes: **{summary['kept']:,} kept,"
        f" {summary['relabelled']:,} relabelled, {summary['dropped']:,} dropped**.",
        f"{noise[:1].upper()}{noise[1:]}.",
        "| | |\n|---|---|",
    ]
    lines[-1] += "".join(f"\n| {what} | `{folder / name}` |" for what, name in _RESULTS.items())
    with _as_far_as_it_is_there():
        create_markdown_artifact("\n\n".join(lines), key=f"{key}-summary", description="what the cleaning came to")
        _link((folder / REPORT).absolute().as_uri(), f"{key}-report", "the report")
        if dashboard:
            _link(dashboard, f"{key}-dashboard", "the dashboard")


_RESULTS = {"the clean data set": CLEAN_CSV, "what is wrong, for people": ISSUES, "the report": REPORT}


def show_waiting(key: str, what: str) -> None:
    """Show what people have to answer, with a link where it says one."""
    with _as_far_as_it_is_there():
        create_markdown_artifact(what, key=f"{key}-people", description="what people have to answer")
        if found := _ADDRESS.search(what):
            _link(found[0], f"{key}-batch", "the questions")


def _link(address: str, key: str, what: str) -> None:
    create_link_artifact(address, link_text=what, description=what, key=key)


def _as_far_as_it_is_there() -> suppress:
    """What is only shown ends no cleaning: the server may be away for a while."""
    return suppress(HTTPError)
