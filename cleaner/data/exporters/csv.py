"""A CSV file of the clean data set."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow.csv import write_csv

from cleaner.data.exporters import Exported, check_file, clean, from_folder, how_to_read
from cleaner.data.sources import Source
from cleaner.errors import InputError
from cleaner.run.files import write_atomically


@dataclass(frozen=True)
class Csv:
    """UTF-8, comma-separated, text quoted; paths lead from the file's folder to the images; cells are the data set's
    own and are not altered for spreadsheets."""

    def export(self, standing: pa.Table, manifest: pa.Table, source: Source, out: Path, *, force: bool) -> Exported:
        check_file(out, force=force)
        table = clean(standing, manifest)
        if len(table) and source.file(table.column("path")[0].as_py()) is None:
            raise InputError(
                "the images lie inside a table; a CSV can't hold them, use --format parquet or image_folder"
            )
        nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
        if nested:
            raise InputError(f"column {', '.join(nested)}: a CSV can't hold lists; use --format parquet")
        table = from_folder(table, source, out.parent)
        write_atomically(out, lambda file: write_csv(table, file))
        return Exported(len(table), how_to_read(table, out))
