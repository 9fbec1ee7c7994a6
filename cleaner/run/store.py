"""One run's directory: named tables and arrays, the ledger, the lock.

DIR/run.json        what this is a run of
DIR/state.json      what it has come to
DIR/steps/          every step's output, NAME.parquet or NAME.npy, and NAME.cost
DIR/ledger/         the outputs that are verdicts (cleaner/run/ledger.py)
DIR/answers.jsonl   what people said (cleaner/run/answers.py)
DIR/reviews/        batches put before people (cleaner/run/batches.py)
DIR/*               the results
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from cleaner.errors import RunError, RunLocked
from cleaner.run.answers import Answers
from cleaner.run.batches import Batches
from cleaner.run.files import TEMPORARY, read_table, storage_error, sweep, write_atomically, write_table, write_text
from cleaner.run.finished import PROVISIONAL
from cleaner.run.ledger import Ledger
from cleaner.run.state import Doing, read_state


@dataclass(frozen=True)
class Cost:
    """What a step took: seconds, and the most memory, in GB of 2**30 bytes, that its process had meanwhile."""

    seconds: float
    peak_gb: float


@dataclass(frozen=True)
class Output:
    """A step's output that is there: its name, its files, and how many bytes they have."""

    name: str
    files: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)


@dataclass(frozen=True)
class Store:
    """The directory of one run.

    A name is a step's output, `fine-2-evidence-1f0c9ab3d2e4`; whether it is a table or an array is the step's affair,
    and a name that is there is whole.
    """

    folder: Path

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger")

    @property
    def answers(self) -> Answers:
        return Answers(self.folder)

    @property
    def batches(self) -> Batches:
        return Batches(self.folder / "reviews")

    def _file(self, name: str, kind: str) -> Path:
        return self.folder / "steps" / f"{name}.{kind}"

    def has(self, name: str) -> bool:
        return any(self._file(name, kind).exists() for kind in ("parquet", "npy")) or self.ledger.has(name)

    def read(self, name: str) -> Any:
        """The table of this name, or the array, memory-mapped read-only.

        Raises:
            RunError: there is no such output, or it is damaged.
        """
        array, table = self._file(name, "npy"), self._file(name, "parquet")
        try:
            if array.exists():
                return np.load(array, mmap_mode="r", allow_pickle=False)
            if table.exists():
                return read_table(table)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _damaged(array if array.exists() else table, error) from error
        if self.ledger.has(name):
            return self.ledger.read(name)
        raise RunError(f"{self.folder}: no step output {name}; give the `cleaner clean` command again to make it")

    def table(self, name: str) -> Path:
        """The Parquet file of the table of this name; what lies in it never changes.

        Raises:
            RunError: there is no such table.
        """
        file = self.ledger.part(name) or self._file(name, "parquet")
        if not file.exists():
            raise RunError(f"{file}: is missing; give the same `cleaner clean` command again to make it")
        return file

    def rows(self, name: str) -> int:
        """How many rows the table of this name has, in the ledger or not; nothing else of it is read."""
        file = self.ledger.part(name) or self._file(name, "parquet")
        try:
            return pq.read_metadata(file).num_rows
        except (OSError, pa.ArrowException) as error:
            raise _damaged(file, error) from error

    def write(self, name: str, value: pa.Table | np.ndarray) -> None:
        if isinstance(value, pa.Table):
            write_table(self._file(name, "parquet"), value)
        else:
            write = np.lib.format.write_array
            write_atomically(self._file(name, "npy"), lambda file: write(file, value, allow_pickle=False))

    def write_cost(self, name: str, cost: Cost) -> None:
        """Remember what the step took."""
        write_text(self._file(name, "cost"), f"{cost.seconds:.3f} {cost.peak_gb:.3f}\n")

    def cost(self, name: str) -> Cost:
        """What the step took; nothing where that is not known."""
        try:
            seconds, peak = self._file(name, "cost").read_text().split()
            return Cost(float(seconds), float(peak))
        except (OSError, ValueError):
            return Cost(0.0, 0.0)

    def outputs(self) -> list[Output]:
        """All outputs that are there, those of the ledger too, by name."""
        found: dict[str, list[Path]] = {}
        for file in sorted((self.folder / "steps").glob("*.*")):
            if file.suffix in (".parquet", ".npy", ".cost"):
                found.setdefault(file.stem, []).append(file)
        for part in self.ledger.parts():
            found.setdefault(part.stem.partition("-")[2], []).append(part)
        return [Output(name, tuple(files)) for name, files in sorted(found.items())]

    def remove(self, output: Output) -> None:
        """Remove an output that nothing names any more; what tells that it is there goes last."""
        for file in sorted(output.files, key=lambda file: file.suffix != ".cost"):
            file.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against every other process; the lock goes with the process that holds it, however it ends.

        Raises:
            RunLocked: another process holds it.
            StorageError: the directory can't be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            lock.acquire(blocking=False)
        except Timeout as error:
            who = f"another command works on this run{self.who()}; wait for it, or end it"
            raise RunLocked(f"{self.folder}: {who}") from error
        except OSError as error:
            raise storage_error(self.folder, error) from error
        try:
            self._sweep()
            yield
        finally:
            lock.release()

    def who(self) -> str:
        """Who works on the run: ` (process 7 on tower, since 14:02 UTC: reading the images)`; empty where it does not
        say."""
        with suppress(RunError):
            if (state := read_state(self.folder)) and state.doing is Doing.WORKING:
                place = f"process {state.pid} on {state.host}"
                return f" ({place}, since {state.since:%Y-%m-%d %H:%M} UTC: {state.words})"
        return ""

    def _sweep(self) -> None:
        """Remove what killed writers left half-written."""
        within = (self.folder / name for name in ("steps", "ledger", "reviews", PROVISIONAL))
        # Not what lies below `training`: a training has a lock of its own.
        sweep(chain(self.folder.glob(TEMPORARY), *(place.rglob(TEMPORARY) for place in within)))


def _damaged(file: Path, error: Exception) -> RunError:
    what = " ".join(str(error).split())[:120]
    return RunError(
        f"{file}: is damaged ({what}); delete it and give the same `cleaner clean` command again to make it"
    )
