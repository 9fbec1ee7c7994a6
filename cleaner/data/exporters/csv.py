"""A CSV file of the clean data set."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow.csv import write_csv

from cleaner.data.exporters import check_file, clean
from cleaner.data.sources import Source
from cleaner.errors import InputError
from cleaner.run.files import write_atomically


@dataclass(frozen=True)
class Csv:
    """UTF-8, comma-separated, text quoted; cells are the data set's own and are not altered for spreadsheets."""

    def export(self, standing: pa.Table, manifest: pa.Table, source: Source, out: Path) -> int:
        check_file(out)
        table = clean(standing, manifest)
        nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
        if nested:
            raise InputError(f"column {', '.join(nested)}: a CSV can't hold lists; use --format parquet")
        write_atomically(out, lambda file: write_csv(table, file))
        return len(table)
