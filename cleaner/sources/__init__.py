"""Sources: each reads one form of data set. A source is a frozen dataclass that pickles, its file's name its name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa


class Source(Protocol):
    """A data set as it lies on disk. A row is a sample's position in `listing()`, and so in the manifest."""

    @classmethod
    def accepts(cls, path: Path) -> bool:
        """Whether `path` looks like this source's form; looks at the name and the kind of file only."""
        ...

    @classmethod
    def open(cls, path: Path) -> "Source":
        """Check the whole listing (not the images).

        Raises:
            SourceError: the data set can't be read as one; the message names file, row and remedy.
        """
        ...

    def fingerprint(self) -> str:
        """12 hex digits that change when the listing (paths, labels, sizes) does, and not when the data set moves."""
        ...

    def listing(self) -> pa.Table:
        """`path` and `label` as text, then the source's other columns, in a stable order; images are not read."""
        ...

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        """The encoded images of the ascending `rows`, in order; `paths` are their `path`s in the listing. A file that
        can't be read gives its OSError in its place."""
        ...

    def file(self, path: str) -> Path | None:
        """The file that is the image of the sample with this `path`; None where images lie inside a table."""
        ...
