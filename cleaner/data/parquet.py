"""Parquet files that are a data set, or hold one's images."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cleaner.data.listings import unreadable

SYSTEM_FOLDERS = re.compile(
    r"@eaDir|@tmp|@Recycle|@Recently-Snapshot|#recycle|#snapshot|\$RECYCLE\.BIN|RECYCLE[RD]|System Volume Information"
    r"|lost\+found|__MACOSX|Network Trash Folder|Temporary Items|TheVolumeSettingsFolder|found\.\d{3}|__pycache__",
    re.IGNORECASE,
)
"""Folders that file systems, network storage and archivers make, but for the hidden ones, which begin with a dot."""


def parquet_files(path: Path) -> list[Path]:
    """`path` itself if it is a Parquet file; the sorted Parquet files in it if it is a folder without folders, or those
    in its only folder, `data`, as a repository of Hugging Face's has them."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".parquet" else []
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    folders = [entry for entry in entries if entry.is_dir() and not SYSTEM_FOLDERS.fullmatch(entry.name)]
    found = sorted(entry for entry in entries if entry.suffix.lower() == ".parquet" and entry.is_file())
    if [folder.name for folder in folders] == ["data"] and not found:
        return parquet_files(folders[0])
    return [] if folders else found


def bytes_columns(file: Path) -> dict[str, str]:
    """The columns of a Parquet file that may hold encoded images, each with where in it the bytes are.

    Such a column is of bytes, or a Hugging Face `struct<bytes, path>`. A file that can't be read has none.
    """
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowInvalid):
        return {}
    fields = [field for field in schema if field.name not in ("path", "label")]
    plain = {field.name: field.name for field in fields if _holds_bytes(field.type)}
    nested = {field.name: f"{field.name}.bytes" for field in fields if _is_image_struct(field.type)}
    return plain | nested


def _holds_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_image_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)


def read_parquet(file: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file's columns.

    Raises:
        SourceError: it is none, or can't be read.
    """
    try:
        return pq.read_table(file, columns=columns, partitioning=None)
    except (OSError, pa.ArrowInvalid) as error:
        raise unreadable(file, error) from error


def footer(file: Path) -> bytes:
    """A Parquet file's metadata: schema, sizes, statistics and places of all columns."""
    with file.open("rb") as stream:
        stream.seek(-8, os.SEEK_END)
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(-8 - length, os.SEEK_END)
        return stream.read(length)
