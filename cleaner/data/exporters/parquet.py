"""A Parquet file of the clean data set."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from cleaner.data.exporters import images_of
from cleaner.data.sources import Source
from cleaner.progress import track
from cleaner.run.files import write_atomically, write_table

_IMAGE = "image"
_GROUP = 500
"""Images in a row group: what is held in memory while they are written."""


@dataclass(frozen=True)
class Parquet:
    """Columns keep the types they have in the source; paths lead from the file's folder to the images, and images that
    lie inside a table come along as bytes."""

    folder: ClassVar[bool] = False

    def write(self, table: pa.Table, manifest: pa.Table, source: Source, place: Path) -> str:
        paths = table.column("path").to_pylist()
        if paths and source.file(paths[0]) is None:
            images = track(images_of(table, manifest, source), len(paths), "images written")
            write_atomically(place, lambda file: _write_with_images(file, table, images))
            return "with the images' bytes"
        write_table(place, table)
        return ""


def _write_with_images(file: object, table: pa.Table, images: Iterator[bytes]) -> None:
    name = _IMAGE
    while name in table.column_names:
        name = f"clean_{name}"
    schema = table.schema.append(pa.field(name, pa.binary()))
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for start in range(0, len(table), _GROUP):
            part = table.slice(start, _GROUP)
            found = list(islice(images, len(part)))
            writer.write_table(part.append_column(schema.field(name), pa.array(found, pa.binary())))
