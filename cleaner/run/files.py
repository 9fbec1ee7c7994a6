"""Files that are whole or not there: a reader never sees half a write."""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cleaner.errors import StorageError
from cleaner.tables import text

TEMPORARY = ".*.tmp"
"""The names of files that are being written."""
_YOUNG, _OLD = 60.0, 86_400.0
"""Seconds for which a temporary file is left alone whoever owns it, and after which it is nobody's even where a file
system can't say."""
_DISK_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> Path:
    """Let `write` fill a temporary file beside `path`, then put it in place.

    Raises:
        StorageError: the disk is full, or refuses the write.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            own(file)
            write(file)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise storage_error(path, error) from error
    return path


def own(file: IO[bytes]) -> None:
    """Mark an open file as one that a living process is writing, as long as it is open."""
    with suppress(OSError):  # Some network disks have no locks; age alone tells there.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def abandoned(file: Path, *, seconds: float = _YOUNG) -> bool:
    """Whether the one who wrote `file`, which was `own`ed, lives no more, and that was more than so many seconds ago;
    of a folder, which nobody owns, the second alone."""
    try:
        handle = os.open(file, os.O_RDWR if os.access(file, os.W_OK) and not file.is_dir() else os.O_RDONLY)
    except OSError:
        return False
    try:
        age = time.time() - os.fstat(handle).st_mtime
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return age > seconds
    except BlockingIOError:
        return False
    except OSError:
        return age > _OLD
    finally:
        os.close(handle)


def sweep(files: Iterable[Path]) -> None:
    """Remove those temporary files whose writers live no more."""
    for file in files:
        if abandoned(file):
            file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(path: Path, error: OSError) -> StorageError:
    """What to tell the person whose disk refused `path`."""
    if error.errno in _DISK_IS_FULL:
        return StorageError(
            f"{path}: the disk is full ({error.strerror}); free some space and give the same command again"
        )
    return StorageError(
        f"{path}: can't be written ({error.strerror or error}); mend that and give the same command again"
    )


def write_bytes(path: Path, data: bytes) -> Path:
    """Atomically write `data`."""
    return write_atomically(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> Path:
    """Atomically write `text` as UTF-8."""
    return write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> Path:
    """Atomically write `value` as indented JSON with a fixed order of keys as given."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, table: pa.Table) -> Path:
    """Atomically write a Parquet file; the same table gives the same bytes."""
    return write_atomically(path, lambda file: pq.write_table(table, file, compression="zstd"))


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file, whole or some columns, memory-mapped. (`pyarrow.parquet.read_table` would import pandas, which
    takes a while.)"""
    with pq.ParquetFile(path, memory_map=True) as file:
        return file.read(columns=columns)


def rows_where(path: Path, column: str, value: str) -> pa.Table:
    """The rows of a Parquet file that have `value` in `column`; of the other columns nothing else is read."""
    with pq.ParquetFile(path, memory_map=True) as file:
        found = [file.read_row_group(0).slice(0, 0)] if file.num_row_groups else [file.read()]
        for number in range(file.num_row_groups):
            equal = pc.equal(file.read_row_group(number, columns=[column]).column(column), text(value))
            if pc.any(equal).as_py():
                found.append(file.read_row_group(number).filter(equal))
    return pa.concat_tables(found)


def digest(*values: Any) -> str:
    """12 hex digits that depend on nothing but `values` (anything JSON can say)."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
