"""Putting what is exported in its place: nothing but an earlier export is ever replaced.

An export leaves a receipt: which files it wrote, and what was in them. A folder's lies in it, a file's beside it.
"""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cleaner.errors import InputError
from cleaner.progress import track
from cleaner.run.files import abandoned, own, read_table, storage_error, write_table
from cleaner.words import shown

_RECEIPT = ".cleaner-export"
_ROWS = pa.schema([("path", pa.string()), ("content", pa.string())])


class _Seen(NamedTuple):
    """What tells whether a file is still the one that was looked at."""

    device: int
    inode: int
    size: int
    changed: int


def keep_apart(out: Path, folders: Iterable[Path], what: str) -> None:
    """Raise InputError where `out` is one of `folders`, lies in one of them or holds one: files of the data set, or of
    a run.

    Args:
        out: where something is to be written; it need not be there.
        folders: existing folders or files.
        what: what they are, for the message: `the data set`.
    """
    place = Path(os.path.realpath(out))
    around = {place, *place.parents}
    for folder in folders:
        real = Path(os.path.realpath(folder))
        if place == real or place in real.parents or (real in around and real.is_dir()):
            raise InputError(f"{out}: would lie in, or replace, {what} {folder}; give --out another place")


@contextmanager
def placed(out: Path, *, folder: bool, force: bool) -> Iterator[Path]:
    """A free place in which to write a `folder`, which is there already, or a file; when that is done it becomes `out`.

    What lies at `out` is replaced by `force` only, and only if it is an earlier export and nothing else: each file in
    it stands on the receipt, with the content that it has. It stays until the new one stands; where the process is
    killed in between, it is put back by the next export to `out`.

    Raises:
        InputError: something lies at `out` that is not to be replaced; nothing is written then.
        StorageError: the disk refused a write.
    """
    out = out.absolute()
    made = [parent for parent in out.parents if not parent.exists()]
    partial = _beside(out, "partial")
    try:
        _put_back(out)
        old = _replaceable(out, folder=folder, force=force)
        partial.mkdir(parents=True)
        with (partial / _RECEIPT).open("x+b") as receipt:
            own(receipt)
            yield partial if folder else partial / out.name
            if folder:
                _swap_folder(partial, out, old, receipt)
            else:
                _swap_file(partial / out.name, out, old)
    except OSError as error:
        raise storage_error(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        _sweep(out)
        for parent in made:
            with suppress(OSError):  # It holds the export now.
                parent.rmdir()


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f".{out.name}.{secrets.token_hex(8)}{_RECEIPT}-{what}")


def _left(out: Path, what: str) -> list[Path]:
    """What killed exports to `out` have left beside it."""
    start, end = f".{out.name}.", f"{_RECEIPT}-{what}"
    try:
        beside = [place for place in out.parent.iterdir() if place.name.startswith(start) and place.name.endswith(end)]
    except OSError:
        return []
    return [place for place in beside if abandoned(place / _RECEIPT)]


def _put_back(out: Path) -> None:
    """Where an export was killed between taking the earlier one away and putting the new one there: the earlier one."""
    for old in _left(out, "old")[:1]:
        if not os.path.lexists(out):
            old.replace(out)


def _sweep(out: Path) -> None:
    for partial in _left(out, "partial"):
        shutil.rmtree(partial, ignore_errors=True)
    for old in _left(out, "old") if os.path.lexists(out) else []:
        wrote = _read_receipt(old / _RECEIPT) or {}
        with suppress(OSError):
            same = [name for name in _walked(old) if _content(old / name) in wrote.get(name, ())]
            _remove_export(old, {name: _seen(old / name) for name in same})


def _receipt_of(out: Path, *, folder: bool) -> Path:
    return out / _RECEIPT if folder else out.with_name(f".{out.name}{_RECEIPT}")


def _replaceable(out: Path, *, folder: bool, force: bool) -> dict[str, _Seen] | None:
    """The files of the earlier export at `out`; None where nothing lies there, or an empty folder.

    Raises:
        InputError: what lies there is not to be replaced.
    """
    if not os.path.lexists(out):
        return None
    if folder and not out.is_symlink() and out.is_dir() and not any(out.iterdir()):
        return None
    if not folder and out.is_dir():
        raise InputError(f"{out}: is a folder; --out wants the name of a file for this format")
    kind = "folder" if folder else "file"
    wrote = None
    if not out.is_symlink() and out.is_dir() == folder:
        wrote = _read_receipt(_receipt_of(out, folder=folder))
    if wrote is None:
        raise InputError(
            f"{out}: is there already, and is no {kind} that cleaner exported; give --out another name, or remove it"
        )
    if not force:
        raise InputError(f"{out}: is there already; give --out another name, or --force to replace it")
    files = {name: out / name for name in _walked(out)} if folder else {out.name: out}
    checked = track(files.items(), len(files), "files of the earlier export checked")
    strange = sorted(name for name, file in checked if _content(file) not in wrote.get(name, ()))
    if strange:
        what = f"holds what no export wrote: {shown(strange)}" if folder else "was changed since"
        raise InputError(f"{out}: {what}; move that away, or give --out another name")
    return {name: _seen(file) for name, file in files.items()}


def _read_receipt(file: Path) -> dict[str, set[str]] | None:
    """Of each file that an export wrote what it may hold; None where there is no receipt."""
    try:
        rows = read_table(file)
        wrote: dict[str, set[str]] = {}
        for name, content in zip(*(rows.column(column).to_pylist() for column in _ROWS.names), strict=True):
            wrote.setdefault(name, set()).add(content)
        return wrote
    except (OSError, KeyError, pa.ArrowException):
        return None


def _rows(contents: Iterable[tuple[str, str]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(_ROWS.names, row, strict=True)) for row in contents], _ROWS)


def _walked(folder: Path) -> list[str]:
    """The paths of all files in a folder, links among them, but of its receipt."""
    found = []
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [os.path.relpath(Path(place) / name, folder) for name in [*files, *links]]
    return [name for name in found if name != _RECEIPT]


def _content(file: Path) -> str:
    """What tells a file's content: its hash, or where a link leads."""
    if file.is_symlink():
        return f"-> {os.fsencode(file.readlink()).hex()}"
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _seen(file: Path) -> _Seen:
    status = file.lstat()
    return _Seen(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _swap_file(new: Path, out: Path, old: dict[str, _Seen] | None) -> None:
    """Let `new` become `out`. The receipt comes before, and names both: an export wrote whichever lies there after a
    kill."""
    contents = [_content(new)] + ([_content(out)] if old is not None else [])
    if old is None and os.path.lexists(out):
        raise InputError(f"{out}: something has come to lie there meanwhile; give --out another name")
    write_table(_receipt_of(out, folder=False), _rows((out.name, content) for content in contents))
    new.replace(out)


def _swap_folder(new: Path, out: Path, old: dict[str, _Seen] | None, receipt: IO[bytes]) -> None:
    """Write the receipt of the folder `new`, and let that become `out`."""
    pq.write_table(_rows((name, _content(new / name)) for name in _walked(new)), receipt)
    receipt.flush()
    os.fsync(receipt.fileno())
    if old is None:
        new.replace(out)
        return
    aside = _beside(out, "old")
    with _receipt_of(out, folder=True).open("r+b") as held:
        own(held)
        out.replace(aside)
        try:
            new.replace(out)
        except OSError:
            aside.replace(out)
            raise
    _remove_export(aside, old)


def _remove_export(aside: Path, files: dict[str, _Seen]) -> None:
    """Remove the files of an export that have stayed as they were; what has come to lie among them stays."""
    for name, seen in files.items():
        with suppress(FileNotFoundError):
            if _seen(aside / name) == seen:
                (aside / name).unlink()
    if not _walked(aside):
        (aside / _RECEIPT).unlink(missing_ok=True)
    for place, _, _ in os.walk(aside, topdown=False):
        with suppress(OSError):
            Path(place).rmdir()
    if aside.exists():
        raise OSError(errno.ENOTEMPTY, f"it stands, but what was changed in the earlier one meanwhile lies at {aside}")
