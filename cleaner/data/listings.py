"""What every source's listing must satisfy, and how a source says that it does not."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.errors import SourceError, known_names, nearest
from cleaner.tables import STAMPS
from cleaner.words import shown

_STEMS = "train|training|trn|val|valid|validation|dev|development|eval|evaluation|test|testing|tst|holdout"
_BESIDE = "data|dataset|set|split|images?|imgs?|photos?|pictures?|files"
_SPLIT = re.compile(
    rf"(?:(?:{_BESIDE})[\W_]*)?(?P<stem>{_STEMS})s?[\W_]*(?:{_BESIDE})?[\W_]*\d{{0,4}}[a-d]?", re.IGNORECASE
)
_SHOWN = 3
_INODES = 2**63 - 1


def split_of(name: str) -> str:
    """The stem of what a split may be called, in lower case: `train` of `Train_data`, `test` of `images-test`, `val` of
    `val2017`; empty where no split is called so."""
    found = _SPLIT.fullmatch(name.strip())
    return found["stem"].lower() if found else ""


Place = Callable[[int], str]
"""Says where a person finds a row of a listing: `line 7`."""


def refuse(where: Path, what: str, places: Sequence[str], remedy: str) -> None:
    """Complain of all `places` at once.

    Raises:
        SourceError: there is at least one; the message shows the first three and tells how many there are.
    """
    if places:
        count = f" ({len(places)} in all)" if len(places) > _SHOWN else ""
        raise SourceError(f"{where}: {what}: {', '.join(places[:_SHOWN])}{count}; {remedy}")


def require_columns(where: Path, found: list[str], wanted: Sequence[str], hint: str = "") -> None:
    """Check that a table has the `wanted` columns, and none twice; the `hint` follows where one is missing.

    Raises:
        SourceError: it has not.
    """
    # A blank before or after a name would not be seen.
    names = [name if name == name.strip() else repr(name) for name in found]
    # Where none is there the first line may hold no names at all, and what resembles one is none.
    some = len(wanted) == 1 or set(wanted) & set(map(str.strip, found))
    close = nearest if some else known_names
    missing = [f"no column {name}{close(name, names)}" for name in wanted if name not in found]
    if missing:
        raise SourceError(f"{where}: {'; '.join(missing)}; it needs the columns {', '.join(wanted)}{hint}")
    twice = sorted({name for name in found if found.count(name) > 1})
    refuse(where, "columns of the same name", twice, "rename all but one")


def require_classes(where: Path, labels: pa.ChunkedArray, hint: str = "") -> None:
    """Check that there is something to tell apart; the `hint` follows where there is one class.

    Raises:
        SourceError: there are no images, or they are of one class.
    """
    names = sorted(name for name in labels.unique().to_pylist() if name)
    if not names:
        raise SourceError(f"{where}: no images; it needs images of at least two classes")
    if len(names) == 1:
        raise SourceError(f"{where}: all images are of one class, {names[0]}; it needs at least two classes{hint}")


def require_labels(where: Path, labels: pa.ChunkedArray, place: Place) -> None:
    """Check that every sample has a label, and that there are two classes at least.

    Raises:
        SourceError: some label is null or blank, or `require_classes` raises.
    """
    remedy = "give each image a label, or remove its row"
    refuse(where, "empty label", [place(row) for row in blank_rows(labels)], remedy)
    require_classes(where, labels)


def blank_rows(texts: pa.ChunkedArray) -> np.ndarray:
    """The rows whose text is null or nothing but white space, ascending."""
    return pc.equal(pc.utf8_trim_whitespace(pc.fill_null(texts, "")), "").to_numpy().nonzero()[0]


def repeated_rows(texts: Sequence[str]) -> list[int]:
    """The rows whose text stands in an earlier row too, ascending."""
    first: dict[str, int] = {}
    return [row for row, text in enumerate(texts) if first.setdefault(text, row) != row]


def as_text(where: Path, table: pa.Table, column: str) -> pa.ChunkedArray:
    """A column of text, numbers or categories as text, nulls kept. "007" stays "007".

    Whole numbers that the Hugging Face metadata of the table names (`ClassLabel`) become those names; a number that has
    no name becomes null.

    Raises:
        SourceError: the values are of a kind that has no text, or are bytes that are no UTF-8.
    """
    values, names = table.column(column), _class_names(table.schema, column)
    try:
        text = pc.cast(_named(values, names) if names else values, pa.string())
        text.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        message = f"{where}: column {column} ({values.type}) can't be read as text"
        raise SourceError(f"{message}; write UTF-8 text or whole numbers") from error
    return text


def as_labels(labels: pa.ChunkedArray | pa.Array) -> Any:
    """Class names as they are compared: without white space around them, and in Unicode's composed form (NFC)."""
    return pc.utf8_normalize(pc.utf8_trim_whitespace(labels), form="NFC")


def doubtful_labels(labels: pa.ChunkedArray) -> list[str]:
    """Lines about class names that look like a mistake."""
    names = sorted(name for name in labels.unique().to_pylist() if name)
    lists = [name for name in names if _is_list(name, set(names))]
    notes = [f"labels that look like lists, each taken for one class: {shown(lists)}"] if lists else []
    return notes + look_alikes(labels)


def _is_list(name: str, names: set[str]) -> bool:
    parts = [part.strip() for part in name.split(",")]
    return bool(re.search(r"\S[|;]\s*\S", name) or name.startswith("[")) or (len(parts) > 1 and set(parts) <= names)


def look_alikes(labels: pa.ChunkedArray) -> list[str]:
    """A line about class names that differ in nothing but case and white space, if there are any."""
    counts = {entry["values"]: entry["counts"] for entry in labels.value_counts().to_pylist() if entry["values"]}
    alike: dict[str, list[str]] = {}
    for name in sorted(counts):
        alike.setdefault("".join(name.casefold().split()), []).append(f"{name} ({counts[name]:,})")
    groups = [" and ".join(names) for names in alike.values() if len(names) > 1]
    if not groups:
        return []
    more = f", and {len(groups) - _SHOWN:,} more" if len(groups) > _SHOWN else ""
    what = "taken for different classes though they differ in case or white space only"
    return [f"{what}: {', '.join(groups[:_SHOWN])}{more}; rename them where they are one"]


def _class_names(schema: pa.Schema, column: str) -> list[str] | None:
    if not pa.types.is_integer(schema.field(column).type):
        return None
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        names = described["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) and names else None


def _named(numbers: pa.ChunkedArray, names: list[str]) -> pa.ChunkedArray:
    known = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, len(names)))
    return pc.take(pa.chunked_array([pa.array(names, pa.string())]), pc.if_else(known, numbers, None))


class Stamp(NamedTuple):
    """What STAMPS says of a file besides its path; -1 where it can't be looked at."""

    size: int
    changed: int
    touched: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result | None) -> "Stamp":
        if status is None:
            return cls(-1, -1, -1, -1)
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _INODES)

    @property
    def kept(self) -> tuple[int, int]:
        """What stays when the file is moved or copied with its time: its length, and the whole second."""
        return self.size, self.changed // 10**9


def stamped(paths: Sequence[str], stamps: Iterable[Stamp]) -> pa.Table:
    """STAMPS."""
    columns = list(zip(*stamps, strict=True)) or [()] * len(Stamp._fields)
    return pa.table([paths, *map(list, columns)], STAMPS)


def facts_of(stamps: Iterable[Stamp], *, moved: bool) -> bytes:
    """For a fingerprint: of `moved` files only what stays."""
    return np.array([stamp.kept if moved else stamp for stamp in stamps], np.int64).tobytes()


def fingerprint(listing: pa.Table, *more: bytes) -> str:
    """12 hex digits of a listing's paths and labels, and of what else tells the data set from others."""
    columns = (listing.column(name).to_pylist() for name in ("path", "label"))
    text = "\0".join(chain.from_iterable(columns)).encode()
    return hashlib.blake2b(b"\0".join((text, *more)), digest_size=6).hexdigest()


def unreadable(file: Path, error: Exception) -> SourceError:
    """The complaint of a file or folder that can't be read."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    if any(sign in reason for sign in ("magic bytes not found", "Parquet file size is")):
        return SourceError(f"{file}: is no Parquet file, or not the whole of one; fetch or write it again")
    return SourceError(f"{file}: can't be read ({reason}); mend it or its permissions")
