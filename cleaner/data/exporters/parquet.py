"""A Parquet file of the clean data set."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cleaner.data.exporters import check_file, clean
from cleaner.data.sources import Source
from cleaner.run.files import write_table


@dataclass(frozen=True)
class Parquet:
    """Columns keep the types they have in the source."""

    def export(self, standing: pa.Table, manifest: pa.Table, source: Source, out: Path) -> int:
        check_file(out)
        table = clean(standing, manifest)
        write_table(out, table)
        return len(table)
