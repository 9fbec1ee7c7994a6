"""Receipts of exports: which files one wrote, and what was in them; what lies there now that is the same."""

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cleaner.errors import InputError
from cleaner.progress import track
from cleaner.words import shown

RECEIPT = ".cleaner-export"
_ROWS = pa.schema([("path", pa.binary()), ("content", pa.string())])
_LONGEST_NAME = 180
"""Bytes; file systems take 255, and the names of what lies beside an export are longer than its own."""
FOLDER = "a folder"


class Seen(NamedTuple):
    """What tells whether a file is still the one that was looked at."""

    device: int
    inode: int
    size: int
    changed: int
    status: int

    @classmethod
    def of(cls, file: Path) -> "Seen":
        found = file.lstat()
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Earlier(NamedTuple):
    """An earlier export: its files and folders, by their path in it, and what tells that it is still the same."""

    files: dict[str, Seen]
    folders: list[str]
    itself: Seen


def earlier_export(out: Path, given: Path, *, folder: bool, force: bool) -> Earlier | None:
    """The earlier export at `out`; None where nothing lies there, or an empty folder.

    Raises:
        InputError: what lies there is not to be replaced.
    """
    receipt = receipt_of(out, folder=folder)
    kind = "folder" if folder else "file"
    if not os.path.lexists(out) and not folder and os.path.lexists(receipt) and read_receipt(receipt) is None:
        raise InputError(f"{receipt}: is there already, and no export left it; give --out another name, or remove it")
    if not os.path.lexists(out):
        return None
    if folder and not out.is_symlink() and out.is_dir():
        where = "is a mount point" if out.is_mount() else f"can't be replaced, for you may not write into {out.parent}"
        if out.is_mount() or not os.access(out.parent, os.W_OK):
            raise InputError(f"{given}: {where}; give --out a new folder in it")
        if not any(out.iterdir()):
            return None
    if not folder and out.is_dir():
        raise InputError(f"{given}: is a folder; --out wants the name of a file for this format")
    wrote = read_receipt(receipt) if not out.is_symlink() and out.is_dir() == folder else None
    if wrote is None:
        raise InputError(
            f"{given}: is there already, and is no {kind} that cleaner exported; give --out another name, or remove it"
        )
    if not force:
        raise InputError(f"{given}: is there already; give --out another name, or --force to replace it")
    if folder and Path(os.path.realpath(Path.cwd())).is_relative_to(out):
        raise InputError(f"{given}: is where you are; go to another folder and give the same command again")
    itself = Seen.of(receipt if folder else out)
    names, folders = walked(out) if folder else ([out.name], [])
    files, strange = {}, [name for name in folders if FOLDER not in wrote.get(name, ())]
    for name in track(names, len(names), "files of the earlier export checked"):
        file = out / name if folder else out
        files[name] = Seen.of(file)  # Before its content is read, so that what is written after that is noticed.
        if name not in wrote or content_of(file) not in wrote[name]:
            strange.append(name)
    if strange:
        what = f"holds what no export wrote: {shown(sorted(strange))}" if folder else "was changed since"
        raise InputError(f"{given}: {what}; move that away, or give --out another name")
    return Earlier(files, folders, itself)


def read_receipt(file: Path) -> dict[str, set[str]] | None:
    """Of each file that an export wrote what it may hold; None where there is no receipt."""
    try:
        with file.open("rb") as opened:  # Arrow itself takes no name that is no UTF-8.
            rows = pq.ParquetFile(opened).read().select(_ROWS.names).cast(_ROWS)
    except (OSError, KeyError, pa.ArrowException):
        return None
    wrote: dict[str, set[str]] = {}
    for name, content in zip(*(rows.column(column).to_pylist() for column in _ROWS.names), strict=True):
        wrote.setdefault(os.fsdecode(name), set()).add(content)
    return wrote


def rows_of(contents: Iterable[tuple[str, str]]) -> pa.Table:
    return pa.Table.from_pylist([{"path": os.fsencode(name), "content": content} for name, content in contents], _ROWS)


def walked(folder: Path) -> tuple[list[str], list[str]]:
    """The paths of all files in a folder but its receipt, links among them; and of all folders, the deepest first."""
    names: list[str] = []
    folders: list[str] = []
    for place, within, files in os.walk(folder, topdown=False):
        for name in [*files, *within]:
            path = os.path.relpath(Path(place) / name, folder)
            (folders if name in within and not (Path(place) / name).is_symlink() else names).append(path)
    return [name for name in names if name != RECEIPT], folders


def content_of(file: Path) -> str:
    """What tells a file's content: its hash, or where a link leads; of what is neither file nor link nothing."""
    if file.is_symlink():
        return f"-> {os.fsencode(file.readlink()).hex()}"
    if not stat.S_ISREG(file.lstat().st_mode):
        return ""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def called(out: Path) -> str:
    """A name for what lies beside `out`."""
    name = os.fsencode(out.name)
    return out.name if len(name) <= _LONGEST_NAME else hashlib.blake2b(name, digest_size=16).hexdigest()


def receipt_of(out: Path, *, folder: bool) -> Path:
    return out / RECEIPT if folder else out.with_name(f".{called(out)}{RECEIPT}")
