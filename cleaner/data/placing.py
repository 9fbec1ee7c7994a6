"""Putting what is exported in its place: nothing but an earlier export is ever replaced.

An export leaves a receipt: which files it wrote, and what was in them. A folder's lies in it, a file's beside it.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pyarrow.parquet as pq

from cleaner.data.receipts import (
    FOLDER,
    RECEIPT,
    Earlier,
    Seen,
    called,
    content_of,
    earlier_export,
    read_receipt,
    receipt_of,
    rows_of,
    walked,
)
from cleaner.errors import InputError
from cleaner.run.files import abandoned, own, storage_error


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
            earlier = earlier_export(out, given, folder=folder, force=force)
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


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f".{called(out)}.{secrets.token_hex(8)}{RECEIPT}-{what}")


def _left(out: Path, what: str) -> list[Path]:
    """What exports to `out` have left beside it."""
    name = re.compile(rf"\.{re.escape(called(out))}\.[0-9a-f]{{16}}{re.escape(RECEIPT)}-{what}")
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
            _remove_folders(old, walked(old)[1])
        elif abandoned(old / RECEIPT, seconds=0):
            with suppress(OSError, InputError):
                wrote = read_receipt(old / RECEIPT) or {}
                names, folders = walked(old)
                seen = {name: Seen.of(old / name) for name in names}
                same = {name: seen[name] for name in names if content_of(old / name) in wrote.get(name, ())}
                _remove_export(old, same, folders)


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


def _check_same(out: Path, itself: Path, earlier: Earlier | None) -> None:
    """Raise InputError where something has come to lie at `out`, or another export has, while this one was written."""
    there = Seen.of(itself) if os.path.lexists(itself) else None
    if there != (earlier.itself if earlier else None) or (earlier is None and out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out}: has changed while the export was written, and stays as it is; give it again")


def _swap_file(new: Path, out: Path, earlier: Earlier | None) -> None:
    """Let `new` become `out`. The receipt comes before, and names both: an export wrote whichever lies there after a
    kill."""
    content, receipt = content_of(new), receipt_of(out, folder=False)
    written = new.with_name(RECEIPT + "-of-file")
    with _one_at_a_time(out.parent):
        _check_same(out, out, earlier)
        known = {content} | ((read_receipt(receipt) or {}).get(out.name, set()) if earlier else set())
        with written.open("xb") as file:
            pq.write_table(rows_of((out.name, each) for each in sorted(known)), file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(receipt)
        try:
            new.replace(out)
        except BaseException:
            if earlier is None:
                receipt.unlink(missing_ok=True)
            raise


def _swap_folder(new: Path, out: Path, earlier: Earlier | None, receipt: IO[bytes]) -> None:
    """Write the receipt of the folder `new`, and let that become `out`."""
    names, folders = walked(new)
    wrote = [(name, content_of(new / name)) for name in names] + [(name, FOLDER) for name in folders]
    pq.write_table(rows_of(wrote), receipt)
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


def _remove_export(aside: Path, files: dict[str, Seen], folders: list[str]) -> None:
    """Remove the files of an export that have stayed as they were.

    Raises:
        InputError: something was changed or has come to lie among them; it is kept, and the message says where.
    """
    for name, seen in files.items():
        with suppress(OSError):
            if Seen.of(aside / name) == seen:
                (aside / name).unlink()
    if walked(aside)[0]:
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
