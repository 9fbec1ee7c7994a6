"""What a run had read of its data set before that grew or changed: what is the same is not read again."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.run.state import Names
from cleaner.run.store import Store
from cleaner.tables import STAMPS


@dataclass(frozen=True)
class Before:
    """The outputs `names` of the run in `folder`; what every shard asks for is read once."""

    folder: Path
    names: Names

    @classmethod
    def of(cls, folder: Path, names: Names) -> "Before | None":
        """None where there is nothing, or where some of it is there no more."""
        store = Store(folder)
        wanted = (names.manifest, names.stamps, names.pixel_quality, *names.features)
        return cls(folder, names) if names.features and all(map(store.has, wanted)) else None

    @cached_property
    def manifest(self) -> pa.Table:
        found: pa.Table = Store(self.folder).read(self.names.manifest)
        return found

    @cached_property
    def _stamps(self) -> pa.Table:
        found: pa.Table = Store(self.folder).read(self.names.stamps)
        return found

    @cached_property
    def pixel_quality(self) -> pa.Table:
        found: pa.Table = Store(self.folder).read(self.names.pixel_quality)
        return found

    def shards(self) -> list[np.ndarray]:
        """Of the features of the manifest's rows."""
        return [Store(self.folder).read(name) for name in self.names.features]

    def unchanged(self, stamps: pa.Table) -> np.ndarray:
        """int64: of each file of STAMPS its row in the manifest of before where all that they say of it is as it was
        then, else -1."""
        old = self._stamps
        if not set(STAMPS.names) <= set(old.column_names):  # An older version wrote down less.
            return np.full(len(stamps), -1, np.int64)
        place = pc.index_in(stamps.column("path"), value_set=old.column("path").combine_chunks())
        rows = pc.fill_null(place, -1).to_numpy().astype(np.int64)
        known = rows >= 0
        for name in STAMPS.names[1:]:
            was, now = old.column(name).to_numpy(), stamps.column(name).to_numpy()
            known &= was[rows] == now if len(was) else False
        # A file that could not be looked at has no time by which to know it.
        return np.where(known & (stamps.column("changed").to_numpy() >= 0), rows, -1)
