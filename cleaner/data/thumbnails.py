"""Small pictures of samples: made when they are asked for, and kept on disk."""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from cleaner.data.images import thumbnail, unchanged
from cleaner.data.sources import Source
from cleaner.errors import ImageProblem, SourceError
from cleaner.tables import array
from cleaner.threads import threaded

_THREADS = 4
_WAIT = 10.0
"""Seconds for which another process may hold the file."""


def thumbnails(source: Source, samples: pa.Table, sides: Iterable[int], *, max_pixels: int) -> Iterator[bytes | None]:
    """JPEG bytes of each sample, at most its side in pixels; None where it can't be read any more, or is another image
    now.

    Args:
        samples: `row`, ascending, `path` and `content_hash`.
        max_pixels: images of more are not opened.
    """
    paths, hashes = (samples.column(name).to_pylist() for name in ("path", "content_hash"))
    read = unchanged(_read(source, np.asarray(array(samples, "row"), np.int64), paths), hashes)
    sized = zip(read, sides, strict=True)
    return threaded(partial(_thumbnail, max_pixels=max_pixels), sized, workers=_THREADS)


def _read(source: Source, rows: np.ndarray, paths: list[str]) -> Iterator[bytes | OSError]:
    """The images, with an OSError for each that is left where the data set as a whole can't be read any more."""
    given = 0
    try:
        for data in source.read(rows, paths):
            given += 1
            yield data
    except (OSError, SourceError) as error:
        yield from [OSError(str(error))] * (len(rows) - given)


def _thumbnail(sized: tuple[bytes | OSError, int], max_pixels: int) -> bytes | None:
    image, side = sized
    if isinstance(image, OSError):
        return None
    try:
        return thumbnail(image, side=side, max_pixels=max_pixels)
    except ImageProblem:
        return None


@dataclass(frozen=True)
class Thumbnails:
    """A store of thumbnails in one SQLite file, by the images' contents, for any number of data sets and processes. All
    of it can be made again: a file that is damaged or can't be written is done without.

    Attributes:
        file: need not be there yet.
        side: of the square into which each fits, in pixels.
        most: bytes; what was not asked for the longest makes room.
    """

    file: Path
    side: int = 176
    most: int = 2**30

    def of(self, source: Source, samples: pa.Table, *, max_pixels: int) -> list[bytes | None]:
        """As `thumbnails` gives them, each made only once; `samples` in any order."""
        hashes = samples.column("content_hash").to_pylist()
        found = self._read({known for known in hashes if known})
        missing = [place for place, known in enumerate(hashes) if known and known not in found]
        if missing:
            some = samples.take(pa.array(missing)).sort_by("row")
            made = thumbnails(source, some, [self.side] * len(some), max_pixels=max_pixels)
            new = {
                known: jpeg for known, jpeg in zip(some.column("content_hash").to_pylist(), made, strict=True) if jpeg
            }
            self._write(new)
            found |= new
        return [found.get(known) for known in hashes]

    def _read(self, hashes: set[str]) -> dict[str, bytes]:
        marks = ",".join("?" * len(hashes))
        try:
            with closing(self._open()) as store, store:
                found = store.execute(
                    f"SELECT hash, jpeg FROM thumbnails WHERE side = ? AND hash IN ({marks})", (self.side, *hashes)
                ).fetchall()
                seen = ((time.time(), self.side, key) for key, _ in found)
                store.executemany("UPDATE thumbnails SET seen = ? WHERE side = ? AND hash = ?", seen)
        except (sqlite3.Error, OSError):
            return {}
        return dict(found)

    def _write(self, made: dict[str, bytes]) -> None:
        rows = [(key, self.side, jpeg, time.time()) for key, jpeg in made.items()]
        try:
            with closing(self._open()) as store, store:
                store.executemany("INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?, ?)", rows)
                (size,) = store.execute("SELECT coalesce(sum(length(jpeg)), 0) FROM thumbnails").fetchone()
                if size > self.most:
                    oldest = (
                        "SELECT rowid FROM thumbnails ORDER BY seen LIMIT (SELECT 1 + count(*) / 4 FROM thumbnails)"
                    )
                    store.execute(f"DELETE FROM thumbnails WHERE rowid IN ({oldest})")
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):
                self.file.unlink(missing_ok=True)
        except OSError:
            pass

    def _open(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        store = sqlite3.connect(self.file, timeout=_WAIT)
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("PRAGMA synchronous=OFF")
        columns = "hash TEXT, side INTEGER, jpeg BLOB, seen REAL, PRIMARY KEY (hash, side)"
        store.execute(f"CREATE TABLE IF NOT EXISTS thumbnails ({columns})")
        return store
