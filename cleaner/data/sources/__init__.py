"""Sources: each reads one form of data set. A source is a frozen dataclass that pickles, its file's name its name."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from cleaner import parts
from cleaner.errors import SourceError

Settings = Mapping[str, Mapping[str, Any]]


class Source(Protocol):
    """A data set as it lies on disk. A row is a sample's position in `listing()`, and so in the manifest.

    `form` tells a person what the source takes, `a folder of class folders`; no two sources accept the same path.
    """

    form: ClassVar[str]

    @classmethod
    def accepts(cls, path: Path) -> bool:
        """Whether `path` looks like this source's form; looks at names, kinds of file and Parquet schemas only."""
        ...

    @classmethod
    def open(cls, path: Path, **settings: Any) -> "Source":
        """Check the whole listing (not the images). The `settings` are the source's fields besides the path.

        Raises:
            SourceError: the data set can't be read as one; the message names file, row and remedy.
        """
        ...

    def fingerprint(self, *, moved: bool = False) -> str:
        """12 hex digits that change when the listing does: paths, labels, and what STAMPS say of the files; of a data
        set that may have `moved` only their lengths and whole seconds."""
        ...

    def listing(self) -> pa.Table:
        """`path` and `label` as text, then the source's other columns, in a stable order; images are not read. Labels
        are as `listings.as_labels` makes them."""
        ...

    def stamps(self) -> pa.Table | None:
        """STAMPS of the listing's files, rows as there; None where nothing tells of an image by itself whether it has
        changed."""
        ...

    def notes(self) -> list[str]:
        """Lines for whoever reads the data set: what was left out, what looks like a mistake."""
        ...

    def read(self, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
        """The encoded images of the ascending `rows`, in order; `paths` are their `path`s in the listing. A file that
        can't be read gives its OSError in its place."""
        ...

    def places(self) -> list[Path]:
        """The files and folders that are the data set, beside the images themselves: nothing may be written there."""
        ...

    @property
    def test(self) -> "Source | None":
        """The test set that comes with the data set, whose labels are known to be right; None where there is none."""
        ...

    def file(self, path: str) -> Path | None:
        """The file that is the image of the sample with this `path`; None where images lie inside a table."""
        ...


def form_of(source: Source) -> str:
    """The name of the part that `source` is of."""
    return type(source).__module__.rpartition(".")[2]


def source_at(form: str, path: Path, settings: Settings) -> Source:
    """The source of a form that `open_source` found before, without looking whether the data set is still there."""
    source: Source = parts.find("sources", form)(path, **settings.get(form, {}))
    return source


def open_source(path: Path, settings: Settings = MappingProxyType({})) -> Source:
    """The data set at `path`, by the source that accepts it; `settings` are each source's, by its name.

    Raises:
        SourceError: there is nothing, no source accepts it, or it can't be read as a data set.
    """
    known: dict[str, type[Source]] = {name: parts.find("sources", name) for name in parts.names("sources")}
    forms = "; ".join(source.form for source in known.values())
    try:
        path.stat()
        accepting = next((name for name, source in known.items() if source.accepts(path)), None)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}; give {forms}") from error
    if accepting is None:
        raise SourceError(f"{path}: no data set; give {forms}")
    return known[accepting].open(path, **settings.get(accepting, {}))
