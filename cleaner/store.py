"""One run's directory: named tables and arrays, atomic writes, the lock.

DIR/run.json        what this is a run of
DIR/steps/          every step's output, NAME.parquet or NAME.npy
DIR/ledger/         all verdicts ever (cleaner/ledger.py)
DIR/reviews/        batches put before people
DIR/*.parquet ...   the results
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from cleaner.errors import RunError, RunLocked, StorageError

_DISK_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> Path:
    """Let `write` fill a temporary file beside `path`, then put it in place: a reader sees the old file or the new one, whole.

    Raises:
        StorageError: the disk is full, or refuses the write.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _storage_error(path, error) from error
    return path


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _storage_error(path: Path, error: OSError) -> StorageError:
    if error.errno in _DISK_IS_FULL:
        return StorageError(
            f"{path}: the disk is full ({error.strerror}); free some space and give the same command again"
        )
    return StorageError(
        f"{path}: can't be written ({error.strerror or error}); mend that and give the same command again"
    )


def write_text(path: Path, text: str) -> Path:
    """Atomically write `text` as UTF-8."""
    return write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> Path:
    """Atomically write `value` as indented JSON with a fixed order of keys as given."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, table: pa.Table) -> Path:
    """Atomically write a Parquet file; the same table gives the same bytes."""
    return write_atomically(path, lambda file: pq.write_table(table, file, compression="zstd"))


def digest(*values: Any) -> str:
    """12 hex digits that depend on nothing but `values` (anything JSON can say)."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Store:
    """The directory of one run.

    A name is a step's output, `fine-2-evidence-1f0c9ab3d2e4`; whether it is a table or an array is the step's affair, and a
    name that is there is whole.
    """

    folder: Path

    def _table(self, name: str) -> Path:
        return self.folder / "steps" / f"{name}.parquet"

    def _array(self, name: str) -> Path:
        return self.folder / "steps" / f"{name}.npy"

    def has(self, name: str) -> bool:
        return self._table(name).exists() or self._array(name).exists()

    def read(self, name: str) -> pa.Table | np.ndarray:
        """The table of this name, or the array, memory-mapped read-only.

        Raises:
            RunError: there is no such output.
        """
        if self._array(name).exists():
            return np.load(self._array(name), mmap_mode="r", allow_pickle=False)
        if not self._table(name).exists():
            raise RunError(f"{self.folder}: no step output {name}; give the `cleaner clean` command again to make it")
        return pq.read_table(self._table(name), memory_map=True)

    def write(self, name: str, value: pa.Table | np.ndarray) -> None:
        if isinstance(value, pa.Table):
            write_table(self._table(name), value)
        else:
            write_atomically(self._array(name), lambda file: np.lib.format.write_array(file, value, allow_pickle=False))

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
            message = f"{self.folder}: another cleaner command works on this run; wait for it or end it"
            raise RunLocked(message) from error
        except OSError as error:
            raise _storage_error(self.folder, error) from error
        try:
            self._sweep()
            yield
        finally:
            lock.release()

    def _sweep(self) -> None:
        """Remove what killed writers left half-written."""
        for left in self.folder.rglob(".*.tmp"):
            left.unlink(missing_ok=True)
