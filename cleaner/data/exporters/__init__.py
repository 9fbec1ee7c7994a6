"""Exporters: each writes the clean data set in one form. An exporter is a frozen dataclass; its file names it."""

from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.sources import Source
from cleaner.errors import InputError
from cleaner.tables import CLEAN, MANIFEST, STANDING, Action, check, text


class Exporter(Protocol):
    def export(self, standing: pa.Table, manifest: pa.Table, source: Source, out: Path) -> int:
        """Write the samples that stand, with their clean labels, to `out`; return how many.

        Raises:
            InputError: something else lies at `out`, or the form can't hold the samples.
            StorageError: the disk refused a write.
        """
        ...


def clean(standing: pa.Table, manifest: pa.Table) -> pa.Table:
    """The samples to train on: CLEAN, then the columns the source has besides path and label."""
    standing = check(standing, STANDING, "standing")
    extra = [name for name in manifest.column_names if name not in MANIFEST.names]
    label = pc.coalesce(standing.column("new_label"), standing.column("label"))
    table = pa.table({"sample_id": standing.column("sample_id"), "path": standing.column("path"), "label": label})
    for name in extra:
        table = table.append_column(manifest.schema.field(name), manifest.column(name))
    stands = pc.not_equal(standing.column("action"), text(Action.DROP))
    return check(table.filter(stands), CLEAN, "clean")


def check_file(out: Path) -> None:
    """Raise InputError where `out` can't be a file; a file that is there is replaced."""
    if out.is_dir():
        raise InputError(f"{out}: is a folder; --out wants the name of a file for this format")
