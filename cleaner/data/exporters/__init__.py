"""Exporters: each writes the clean data set in one form. An exporter is a frozen dataclass; its file names it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.images import unchanged
from cleaner.data.placing import keep_apart, placed
from cleaner.data.sources import Source
from cleaner.errors import InputError, SourceError
from cleaner.tables import CLEAN, MANIFEST, STANDING, Action, check, text


@dataclass(frozen=True)
class Exported:
    """How many samples were written, and what else there is to say of them, in a line."""

    count: int
    words: str = ""


class Exporter(Protocol):
    """One form of the clean data set; `folder` says whether it is a folder or one file."""

    folder: ClassVar[bool]

    def write(self, table: pa.Table, manifest: pa.Table, source: Source, place: Path) -> str:
        """Write the samples in `table` (CLEAN, then the source's other columns) to `place`: an empty folder, or the
        name of a file that is not there.

        Paths in `table` are the source's for a folder; for a file they lead from where that will lie to the images.

        Returns:
            What else there is to say of it, in a line, or nothing.

        Raises:
            InputError: the form can't hold the samples, or an image is no longer what was scanned.
        """
        ...


def export(
    exporter: Exporter,
    standing: pa.Table,
    manifest: pa.Table,
    source: Source,
    out: Path,
    *,
    force: bool = False,
    absolute: bool = False,
    run: Path | None = None,
) -> Exported:
    """Write the samples that stand, with their clean labels, to `out`; by `force` in place of an earlier export, and in
    a file with `absolute` paths, which hold wherever the file is moved, but not where the images are.

    Raises:
        InputError: `out` is, holds or lies in a folder of the data set's images, or of the `run`; or something lies
            there that is not to be replaced; or the form can't hold the samples, or is a folder, which has no paths.
        StorageError: the disk refused a write.
    """
    keep_apart(out, [run] if run else [], "the run")
    keep_apart(out, [*source.places(), *_originals(manifest, source)], "the data set")
    table = clean(standing, manifest)
    words = []
    if exporter.folder and absolute:
        raise InputError("--absolute: is for a form with paths, which a folder of images is not; leave it out")
    if not exporter.folder:
        table = from_folder(table, source, None if absolute else out.parent)
        words = [how_to_read(table, out)]
    with placed(out, folder=exporter.folder, force=force) as place:
        words = [exporter.write(table, manifest, source, place), *words]
    return Exported(len(table), ", ".join(filter(None, words)))


def _originals(manifest: pa.Table, source: Source) -> set[Path]:
    """The folders in which images lie, and those through which links to images lead."""
    folders: set[Path] = set()
    for path in manifest.column("path").to_pylist():
        file = source.file(path)
        if file is None:
            return set()
        folders.add(file.parent)
        folders.update(link.parent for link in _links(file))
    return folders


def _links(file: Path) -> Iterator[Path]:
    """The files to which a link leads, one after the other."""
    seen: set[Path] = set()
    while file.is_symlink() and file not in seen:
        seen.add(file)
        file = file.parent / file.readlink()
        yield file


def clean(standing: pa.Table, manifest: pa.Table) -> pa.Table:
    """The samples to train on: CLEAN, then the columns the source has besides path and label."""
    stands = pc.not_equal(standing.column("action"), text(Action.DROP))
    standing, manifest = check(standing.filter(stands), STANDING, "standing"), manifest.filter(stands)
    given, new = standing.column("label"), standing.column("new_label")
    columns: dict[str, Any] = {name: standing.column(name) for name in ("sample_id", "path")}
    columns |= {"label": pc.coalesce(new, given), "given_label": pc.if_else(pc.is_valid(new), given, None)}
    columns |= {name: manifest.column(name) for name in manifest.column_names if name not in MANIFEST.names}
    return check(pa.table(columns), CLEAN, "clean")


def from_folder(table: pa.Table, source: Source, folder: Path | None) -> pa.Table:
    """`table` with paths that lead from `folder` to the images, absolute ones without it; unchanged where those lie
    inside a table."""
    paths = table.column("path").to_pylist()
    if not paths or source.file(paths[0]) is None:
        return table
    real = Path(os.path.realpath(folder)) if folder is not None else None
    folders: dict[Path, str] = {}
    found = []
    for path in paths:
        file = Path(str(source.file(path)))
        if file.parent not in folders:
            place = os.path.realpath(file.parent)
            folders[file.parent] = place if real is None else os.path.relpath(place, real)
        found.append((Path(folders[file.parent]) / file.name).as_posix())
    return table.set_column(table.schema.get_field_index("path"), "path", pa.array(found, pa.string()))


def how_to_read(table: pa.Table, out: Path) -> str:
    """What `cleaner clean` wants besides the file `out`, whose paths may lead out of its folder."""
    if not any(path.startswith(("../", "/")) for path in table.column("path").to_pylist()):
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
