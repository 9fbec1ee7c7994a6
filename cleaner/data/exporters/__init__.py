"""Exporters: each writes the clean data set in one form. An exporter is a frozen dataclass; its file names it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.images import unchanged
from cleaner.data.sources import Source
from cleaner.errors import InputError, SourceError
from cleaner.tables import CLEAN, MANIFEST, STANDING, Action, check, text


@dataclass(frozen=True)
class Exported:
    """How many samples were written, and what else there is to say of them, in a line."""

    count: int
    words: str = ""


class Exporter(Protocol):
    def export(self, standing: pa.Table, manifest: pa.Table, source: Source, out: Path, *, force: bool) -> Exported:
        """Write the samples that stand, with their clean labels, to `out`; what lies there is replaced by `force` only.

        Raises:
            InputError: something lies at `out`, or the form can't hold the samples.
            StorageError: the disk refused a write.
        """
        ...


def clean(standing: pa.Table, manifest: pa.Table) -> pa.Table:
    """The samples to train on: CLEAN, then the columns the source has besides path and label."""
    stands = pc.not_equal(standing.column("action"), text(Action.DROP))
    standing, manifest = check(standing.filter(stands), STANDING, "standing"), manifest.filter(stands)
    given, new = standing.column("label"), standing.column("new_label")
    columns: dict[str, Any] = {name: standing.column(name) for name in ("sample_id", "path")}
    columns |= {"label": pc.coalesce(new, given), "given_label": pc.if_else(pc.is_valid(new), given, None)}
    columns |= {name: manifest.column(name) for name in manifest.column_names if name not in MANIFEST.names}
    return check(pa.table(columns), CLEAN, "clean")


def from_folder(table: pa.Table, source: Source, folder: Path) -> pa.Table:
    """`table` with paths that lead from `folder` to the images; unchanged where those lie inside a table."""
    paths = table.column("path").to_pylist()
    if not paths or source.file(paths[0]) is None:
        return table
    real = Path(os.path.realpath(folder))
    folders: dict[Path, str] = {}
    found = []
    for path in paths:
        file = Path(str(source.file(path)))
        if file.parent not in folders:
            folders[file.parent] = os.path.relpath(os.path.realpath(file.parent), real)
        found.append((Path(folders[file.parent]) / file.name).as_posix())
    return table.set_column(table.schema.get_field_index("path"), "path", pa.array(found, pa.string()))


def how_to_read(table: pa.Table, out: Path) -> str:
    """What `cleaner clean` wants besides the file `out`, whose paths may lead out of its folder."""
    if not any(path.startswith("../") for path in table.column("path").to_pylist()):
        return ""
    folders = {Path(path).parent for path in table.column("path").to_pylist()}
    folder = out.parent.resolve()
    root = os.path.commonpath([folder, *(os.path.normpath(folder / each) for each in folders)])
    return f"to clean it again: cleaner clean {out} --root {root} --run DIR"


def images_of(table: pa.Table, manifest: pa.Table, source: Source) -> Iterator[bytes]:
    """The encoded images of the samples in `table`, in order.

    Raises:
        SourceError: one can't be read, or is not what was scanned.
    """
    rows: Any = pc.index_in(table.column("sample_id"), value_set=manifest.column("sample_id").combine_chunks())
    rows = rows.to_numpy().astype(np.int64)
    paths = table.column("path").to_pylist()
    hashes = manifest.column("content_hash").take(pa.array(rows)).to_pylist()
    for path, image in zip(paths, unchanged(source.read(rows, paths), hashes), strict=True):
        if isinstance(image, OSError):
            raise SourceError(f"{path}: {image.strerror or image}; mend the data set, or clean it anew in a new run")
        yield image


def check_file(out: Path, *, force: bool) -> None:
    """Raise InputError where `out` can't be a file, or one is there and is not to be replaced."""
    if out.is_dir():
        raise InputError(f"{out}: is a folder; --out wants the name of a file for this format")
    if out.exists() and not force:
        raise InputError(f"{out}: is there already; give --out another name, or --force to replace it")
