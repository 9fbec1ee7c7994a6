"""The trainings that a run has, for whoever only looks: no network and no data set is opened."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cleaner.errors import RunError
from cleaner.run.state import State, read_state

FOLDER = "training"
"""Of a run's directory, where its trainings are kept."""
SUMMARY, PREDICTIONS = "summary.json", "test.parquet"


@dataclass(frozen=True)
class Kept:
    """One training: where it lies, how far it is, and what it came to; None where it is not at its end."""

    folder: Path
    state: State
    summary: dict[str, Any] | None


def trainings(run: Path) -> list[Kept]:
    """Those of a run's directory, by name.

    Raises:
        RunError: a file is damaged.
    """
    folders = sorted((run / FOLDER).glob("*/"))
    found = [(folder, read_state(folder)) for folder in folders]
    return [Kept(folder, state, read_summary(folder)) for folder, state in found if state is not None]


def read_summary(folder: Path) -> dict[str, Any] | None:
    """What the training in `folder` came to; None where it is not at its end.

    Raises:
        RunError: the file is damaged.
    """
    file = folder / SUMMARY
    try:
        summary = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: is damaged ({error}); delete it, and give the same command again") from error
    if summary is not None and not isinstance(summary, dict):
        raise RunError(f"{file}: is no summary of a training; delete it, and give the same command again")
    return summary


def outcome(summary: dict[str, Any]) -> str:
    """What a training came to, in a sentence."""
    right = f"{100 * summary['accuracy']:.1f} % of {summary['test']['images']:,} test images right"
    # Older ones kept the last.
    epoch, epochs = summary.get("epoch", summary["epochs"]), summary["epochs"]
    kept = f"; epoch {epoch} of {epochs} was the best" if epoch != epochs else ""
    return f"{right}, {100 * summary['mean_class_accuracy']:.1f} % as a mean of classes{kept}"
