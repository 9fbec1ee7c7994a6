"""A CSV file of the clean data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pyarrow.csv import write_csv

from cleaner.data.sources import Source
from cleaner.errors import InputError
from cleaner.run.files import write_atomically


@dataclass(frozen=True)
class Csv:
    """UTF-8, comma-separated, text quoted; paths lead from the file's folder to the images; cells are the data set's
    own and are not altered for spreadsheets."""

    folder: ClassVar[bool] = False

    def write(self, table: pa.Table, manifest: pa.Table, source: Source, place: Path) -> str:
        if len(table) and source.file(table.column("path")[0].as_py()) is None:
            raise InputError(
                "the images lie inside a table; a CSV can't hold them, use --format parquet or image_folder"
            )
        nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
        if nested:
            raise InputError(f"column {', '.join(nested)}: a CSV can't hold lists; use --format parquet")
        write_atomically(place, lambda file: write_csv(table, file))
        return ""
