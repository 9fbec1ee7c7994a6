"""What a training writes down of how it goes: two tables, TensorBoard's files, and a line an epoch."""

import importlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cleaner.installed import with_extra
from cleaner.progress import note
from cleaner.run.files import write_table
from cleaner.words import span

METRICS, STEPS, BOARD = "metrics.parquet", "steps.parquet", "tensorboard"
METRICS_SCHEMA = pa.schema(
    [
        ("epoch", pa.int32()),
        ("loss", pa.float32()),
        ("validation_loss", pa.float32()),
        ("validation_accuracy", pa.float32()),
        ("lr", pa.float32()),
        ("images_per_second", pa.float32()),
        ("seconds", pa.float32()),
    ]
)
"""A row an epoch, from 1; `lr` is that of its last step, `seconds` its own; NaN where no image is for validation."""
STEPS_SCHEMA = pa.schema([("step", pa.int32()), ("loss", pa.float32()), ("lr", pa.float32())])
"""A row a step of the optimiser, from 0."""


class Log:
    """The log of the training in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, metrics: list[dict[str, Any]], losses: np.ndarray, rates: np.ndarray) -> None:
        """The tables: rows of METRICS_SCHEMA, and of each step its loss and learning rate, float32."""
        write_table(self.folder / METRICS, pa.Table.from_pylist(metrics, METRICS_SCHEMA))
        steps = {"step": np.arange(len(losses)), "loss": losses, "lr": rates}
        write_table(self.folder / STEPS, pa.table(steps).cast(STEPS_SCHEMA))

    def tell(self, row: dict[str, Any], epochs: int, *, validated: bool) -> None:
        """Show a row of the metrics, where TensorBoard reads and to people."""
        if self._board is not None:
            for name, value in row.items():
                self._board.add_scalar(name, value, row["epoch"])
            self._board.flush()
        left = (epochs - row["epoch"]) * row["seconds"]
        parts = [
            f"epoch {row['epoch']} of {epochs}: loss {row['loss']:.3f}",
            *[f"{100 * row['validation_accuracy']:.1f} % of the validation images right"] * validated,
            f"{row['images_per_second']:,.0f} images/s",
            f"learning rate {row['lr']:.2g}",
        ]
        note(", ".join(parts) + (f"; about {span(left)} left" if left else ""))

    @cached_property
    def _board(self) -> Any:
        """Where TensorBoard reads; None where it is not installed."""
        try:
            board = importlib.import_module("torch.utils.tensorboard")
        except ImportError:
            note(f"TensorBoard is not installed ({with_extra('train')}); metrics.parquet has the same numbers")
            return None
        return board.SummaryWriter(str(self.folder / BOARD))
