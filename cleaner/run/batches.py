"""The batches put before people: `reviews/NAME.parquet`, written before anybody sees one and never changed.

A batch is named by the stage that asks and a number, `review-1`. What is in it stays, whatever settings change.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cleaner.errors import RunError
from cleaner.run.files import read_table, write_table, write_text

REVIEW = "review"
"""What asks about images: `review-1`."""
_FORM = re.compile(r"[a-z_]+-[0-9]+")
_REVIEWER, _DATA, _MANIFEST, _STRATA, _PROMISE = "reviewer", "data", "manifest", "strata", "promise"


def stage_of(name: str) -> str:
    """The stage that asks the batch `name`."""
    return name.rpartition("-")[0]


@dataclass(frozen=True)
class Batches:
    """The batches under `folder`."""

    folder: Path

    def names(self, stage: str = "", data: str = "") -> list[str]:
        """Of all stages or of one, in the order in which they are asked, images before classes; of all data, or of one
        fingerprint."""
        found = [file.stem for file in self.folder.glob("*-*.parquet") if _FORM.fullmatch(file.stem)]
        found.sort(key=lambda name: (stage_of(name) != REVIEW, stage_of(name), self.number(name)))
        names = [name for name in found if stage in ("", stage_of(name))]
        return [name for name in names if not data or self.data(name) in ("", data)]

    @staticmethod
    def number(name: str) -> int:
        """Which batch of its stage it is, from 1."""
        return int(name.rpartition("-")[2])

    def has(self, name: str) -> bool:
        return self._file(name).exists()

    def add(
        self,
        name: str,
        asked: pa.Table,
        *,
        reviewer: str,
        data: str = "",
        manifest: str = "",
        strata: str = "",
        promise: str = "",
    ) -> None:
        """Write down what is about to be put before people: by which reviewer, of the data with which fingerprint, of
        which manifest the rows are, from which STRATA they are drawn, and the PROMISE of what answers change."""
        facts = {_REVIEWER: reviewer, _DATA: data, _MANIFEST: manifest, _STRATA: strata, _PROMISE: promise}
        write_table(self._file(name), asked.replace_schema_metadata(facts))

    def read(self, name: str) -> pa.Table:
        """The BATCH, or the SMALL_CLASSES.

        Raises:
            RunError: it is damaged.
        """
        try:
            return read_table(self._file(name)).replace_schema_metadata()
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(name, error) from error

    def rows(self, name: str) -> int:
        """How many samples or classes are asked about."""
        try:
            return int(pq.read_metadata(self._file(name)).num_rows)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(name, error) from error

    def reviewer(self, name: str) -> str:
        """The part that put it before people."""
        return self._fact(name, _REVIEWER)

    def data(self, name: str) -> str:
        """The fingerprint of the data as they were when it was asked; empty where nobody wrote it down."""
        return self._fact(name, _DATA)

    def manifest(self, name: str) -> str:
        """The name of the manifest whose rows it has; empty where nobody wrote it down."""
        return self._fact(name, _MANIFEST)

    def strata(self, name: str) -> str:
        """The name of the STRATA that it was drawn from; empty where it was not."""
        return self._fact(name, _STRATA)

    def promise(self, name: str) -> str:
        """The name of the PROMISE that it was put before people with; empty where there was none."""
        return self._fact(name, _PROMISE)

    def _fact(self, name: str, key: str) -> str:
        try:
            metadata = pq.read_schema(self._file(name)).metadata or {}
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(name, error) from error
        return str(metadata.get(key.encode(), b"").decode())

    def close(self, name: str) -> None:
        """Wait for no more answers to a batch."""
        write_text(self._closed(name), "")

    def is_closed(self, name: str) -> bool:
        return self._closed(name).exists()

    def _closed(self, name: str) -> Path:
        return self.folder / f"{name}.closed"

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def _damaged(self, name: str, error: Exception) -> RunError:
        what = " ".join(str(error).split())[:120]
        remedy = "restore it from a copy, or delete it: people are then asked anew, and what they said holds"
        return RunError(f"{self._file(name)}: is damaged ({what}); {remedy}")
