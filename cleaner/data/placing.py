"""Putting what is exported in its place: nothing but an earlier export is ever replaced.

An export leaves a receipt: which files it wrote, and what was in them. A folder's lies in it, a file's beside it.
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from cleaner.errors import InputError
from cleaner.progress import track
from cleaner.run.files import abandoned, own, storage_error
from cleaner.words import shown

RECEIPT = ".cleaner-export"
_ROWS = pa.schema([("path", pa.binary()), ("content", pa.string())])
_FOLDER = "a folder"
_LONGEST_NAME = 180
"""Bytes; file systems take 255, and the names of what lies beside an export are longer than its own."""


class _Seen(NamedTuple):
    """What tells whether a file is still the one that was looked at."""

    device: int
    inode: int
    size: int
    changed: int
    status: int

    @classmethod
    def of(cls, file: Path) -> "_Seen":
        found = file.lstat()
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class _Earlier(NamedTuple):
    """An earlier export: its files and folders, by their path in it, and what tells that it is still the same."""

    files: dict[str, _Seen]
    folders: list[str]
    itself: _Seen


def keep_apart(out: Path, places: Iterable[Path], what: str) -> None:
    """Raise InputError where `out` is one of `places`, holds one or lies in one.

    Args:
        out: where something is to be written; it need not be there.
        places: files and folders of the data set or of a run.
        what: what they are, for the message: `the data set`.
    """
    place = Path(os.path.realpath(out))
    around = {place, *place.parents}
    for each in places:
        real = Path(os.path.realpath(each))
        if place == real or place in real.parents or (real in around and real.is_dir()):
            raise InputError(f"{out}: would lie in, or replace, {what} {each}; give --out another place")


@contextmanager
def placed(out: Path, *, folder: bool, force: bool) -> Iterator[Path]:
    """A free place in which to write a `folder`, which is there already, or a file; when that is done it becomes `out`.

    What lies at `out` is replaced by `force` only, and only if it is an earlier export and nothing else: each file in
    it stands on the receipt, with the content that it has. It stays until the new one stands; where the process is
    killed in between, it is put back by the next export to `out`.

    Raises:
        InputError: something lies at `out` that is not to be replaced, or has changed meanwhile; it stays as it is.
        StorageError: the disk refused a write.
    """
    given, made = out, []
    try:
        out = _absolute(out)
        made = [parent for parent in out.parents if not parent.exists()]
        partial = _beside(out, "partial")
        try:
            _put_back(out)
            earlier = _earlier(out, given, folder=folder, force=force)
            partial.mkdir(parents=True)
            with (partial / RECEIPT).open("x+b") as receipt:
                own(receipt)
                yield partial if folder else partial / out.name
                if folder:
                    _swap_folder(partial, out, earlier, receipt)
                else:
                    _swap_file(partial / out.name, out, earlier)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            _sweep(out)
            for parent in made:
                with suppress(OSError):  # It holds the export now.
                    parent.rmdir()
    except OSError as error:
        raise storage_error(given, error) from error


def _absolute(out: Path) -> Path:
    """`out` with the links and dots on the way to it resolved, but itself not followed."""
    if out.name in ("", ".."):
        out = Path(os.path.realpath(out))
    if not out.name:
        raise InputError(f"{out}: can't be replaced; give --out another place")
    return Path(os.path.realpath(out.parent)) / out.name


def _called(out: Path) -> str:
    """A name for what lies beside `out`."""
    name = os.fsencode(out.name)
    return out.name if len(name) <= _LONGEST_NAME else hashlib.blake2b(name, digest_size=16).hexdigest()


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f".{_called(out)}.{secrets.token_hex(8)}{RECEIPT}-{what}")


def _receipt_of(out: Path, *, folder: bool) -> Path:
    return out / RECEIPT if folder else out.with_name(f".{_called(out)}{RECEIPT}")


def _left(out: Path, what: str) -> list[Path]:
    """What exports to `out` have left beside it."""
    name = re.compile(rf"\.{re.escape(_called(out))}\.[0-9a-f]{{16}}{re.escape(RECEIPT)}-{what}")
    try:
        return [place for place in out.parent.iterdir() if name.fullmatch(place.name)]
    except OSError:
        return []


def _put_back(out: Path) -> None:
    """Where an export was killed between taking the earlier one away and putting the new one there: the earlier one."""
    for old in _left(out, "old"):
        if not os.path.lexists(out) and abandoned(old / RECEIPT, seconds=0):
            old.replace(out)


def _sweep(out: Path) -> None:
    """Remove what killed exports to `out` have left."""
    for partial in _left(out, "partial"):
        if abandoned(partial / RECEIPT) or (not (partial / RECEIPT).exists() and abandoned(partial)):
            shutil.rmtree(partial, ignore_errors=True)
    for old in _left(out, "old") if os.path.lexists(out) else []:
        if not (old / RECEIPT).exists():
            _remove_folders(old, _walked(old)[1])
        elif abandoned(old / RECEIPT, seconds=0):
            with suppress(OSError, InputError):
                wrote = _read_receipt(old / RECEIPT) or {}
                names, folders = _walked(old)
                seen = {name: _Seen.of(old / name) for name in names}
                same = {name: seen[name] for name in names if _content(old / name) in wrote.get(name, ())}
                _remove_export(old, same, folders)


def _earlier(out: Path, given: Path, *, folder: bool, force: bool) -> _Earlier | None:
    """The earlier export at `out`; None where nothing lies there, or an empty folder.

    Raises:
        InputError: what lies there is not to be replaced.
    """
    receipt = _receipt_of(out, folder=folder)
    kind = "folder" if folder else "file"
    if not os.path.lexists(out) and not folder and os.path.lexists(receipt) and _read_receipt(receipt) is None:
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
    wrote = _read_receipt(receipt) if not out.is_symlink() and out.is_dir() == folder else None
    if wrote is None:
        raise InputError(
            f"{given}: is there already, and is no {kind} that cleaner exported; give --out another name, or remove it"
        )
    if not force:
        raise InputError(f"{given}: is there already; give --out another name, or --force to replace it")
    if folder and Path(os.path.realpath(Path.cwd())).is_relative_to(out):
        raise InputError(f"{given}: is where you are; go to another folder and give the same command again")
    itself = _Seen.of(receipt if folder else out)
    names, folders = _walked(out) if folder else ([out.name], [])
    files, strange = {}, [name for name in folders if _FOLDER not in wrote.get(name, ())]
    for name in track(names, len(names), "files of the earlier export checked"):
        file = out / name if folder else out
        files[name] = _Seen.of(file)  # Before its content is read, so that what is written after that is noticed.
        if name not in wrote or _content(file) not in wrote[name]:
            strange.append(name)
    if strange:
        what = f"holds what no export wrote: {shown(sorted(strange))}" if folder else "was changed since"
        raise InputError(f"{given}: {what}; move that away, or give --out another name")
    return _Earlier(files, folders, itself)


def _read_receipt(file: Path) -> dict[str, set[str]] | None:
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


def _rows(contents: Iterable[tuple[str, str]]) -> pa.Table:
    return pa.Table.from_pylist([{"path": os.fsencode(name), "content": content} for name, content in contents], _ROWS)


def _walked(folder: Path) -> tuple[list[str], list[str]]:
    """The paths of all files in a folder but its receipt, links among them; and of all folders, the deepest first."""
    names: list[str] = []
    folders: list[str] = []
    for place, within, files in os.walk(folder, topdown=False):
        for name in [*files, *within]:
            path = os.path.relpath(Path(place) / name, folder)
            (folders if name in within and not (Path(place) / name).is_symlink() else names).append(path)
    return [name for name in names if name != RECEIPT], folders


def _content(file: Path) -> str:
    """What tells a file's content: its hash, or where a link leads; of what is neither file nor link nothing."""
    if file.is_symlink():
        return f"-> {os.fsencode(file.readlink()).hex()}"
    if not stat.S_ISREG(file.lstat().st_mode):
        return ""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Within it no other export puts anything in its place in `folder`, where the file system has locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check_same(out: Path, itself: Path, earlier: _Earlier | None) -> None:
    """Raise InputError where something has come to lie at `out`, or another export has, while this one was written."""
    there = _Seen.of(itself) if os.path.lexists(itself) else None
    if there != (earlier.itself if earlier else None) or (earlier is None and out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out}: has changed while the export was written, and stays as it is; give it again")


def _swap_file(new: Path, out: Path, earlier: _Earlier | None) -> None:
    """Let `new` become `out`. The receipt comes before, and names both: an export wrote whichever lies there after a
    kill."""
    content, receipt = _content(new), _receipt_of(out, folder=False)
    written = new.with_name(RECEIPT + "-of-file")
    with _one_at_a_time(out.parent):
        _check_same(out, out, earlier)
        known = {content} | ((_read_receipt(receipt) or {}).get(out.name, set()) if earlier else set())
        with written.open("xb") as file:
            pq.write_table(_rows((out.name, each) for each in sorted(known)), file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(receipt)
        try:
            new.replace(out)
        except BaseException:
            if earlier is None:
                receipt.unlink(missing_ok=True)
            raise


def _swap_folder(new: Path, out: Path, earlier: _Earlier | None, receipt: IO[bytes]) -> None:
    """Write the receipt of the folder `new`, and let that become `out`."""
    names, folders = _walked(new)
    wrote = [(name, _content(new / name)) for name in names] + [(name, _FOLDER) for name in folders]
    pq.write_table(_rows(wrote), receipt)
    receipt.flush()
    os.fsync(receipt.fileno())
    with _one_at_a_time(out.parent):
        _check_same(out, out / RECEIPT, earlier)
        if earlier is None:
            new.replace(out)
            return
        aside = _beside(out, "old")
        with _opened(out / RECEIPT) as held:
            own(held)
            try:
                out.replace(aside)
                new.replace(out)
            except BaseException:
                if not os.path.lexists(out) and aside.exists():
                    aside.replace(out)
                raise
            _remove_export(aside, earlier.files, earlier.folders)


def _opened(receipt: Path) -> IO[bytes]:
    try:
        return receipt.open("r+b")
    except PermissionError:
        return receipt.open("rb")


def _remove_export(aside: Path, files: dict[str, _Seen], folders: list[str]) -> None:
    """Remove the files of an export that have stayed as they were.

    Raises:
        InputError: something was changed or has come to lie among them; it is kept, and the message says where.
    """
    for name, seen in files.items():
        with suppress(OSError):
            if _Seen.of(aside / name) == seen:
                (aside / name).unlink()
    if _walked(aside)[0]:
        visible = aside.with_name(aside.name.removeprefix(".").replace(f"{RECEIPT}-old", "-earlier"))
        (aside / RECEIPT).unlink(missing_ok=True)
        aside.replace(visible)
        raise InputError(f"the export stands; what was changed in the earlier one meanwhile lies at {visible}")
    _remove_folders(aside, folders)


def _remove_folders(aside: Path, folders: list[str]) -> None:
    """Remove what is left of an export: folders without files, then the receipt."""
    with suppress(OSError):
        for name in folders:
            (aside / name).rmdir()
        (aside / RECEIPT).unlink(missing_ok=True)
        aside.rmdir()
