"""Whether something has come that a run has not looked at: images of its data set, or answers of people.

Looking takes no lock, and asks for what is so rather than for what has happened: whoever looks twice hears the same.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.sources import Source, open_source
from cleaner.plan.reviews import BatchStatus
from cleaner.run.origin import Origin
from cleaner.run.state import FILE as STATE
from cleaner.run.state import Doing, State
from cleaner.run.store import Store
from cleaner.tables import STAMPS
from cleaner.words import counted

_ARRIVING = 60.0
"""Seconds since a file was changed last within which others are likely to follow."""
_ANSWERING = 600.0
"""Seconds since somebody has said something last within which they are likely to go on."""


@dataclass(frozen=True)
class Images:
    """What is other in a data set than when a run read it.

    Attributes:
        words: how many files are new, gone and changed, for people.
        arriving: whether files were written within the last minute, so that more may follow.
    """

    words: str
    arriving: bool


def new_images(store: Store, origin: Origin, state: State | None) -> Images | None:
    """What has changed in the data set since the run looked at it last; None where nothing has.

    Raises:
        SourceError: it can't be read any more.
    """
    source = open_source(origin.source, origin.config.sources)
    if source.fingerprint() == origin.fingerprint:
        return None
    now, name = source.stamps(), state.names.stamps if state else ""
    if now is None or not name or not store.has(name) or store.read(name).column_names != now.column_names:
        return Images("it is another than it was", arriving=_written_lately(origin.source, source))
    return _compared(store.read(name), now)


def _written_lately(place: Path, source: Source) -> bool:
    stamps = source.stamps()
    newest = pc.max(stamps.column("changed")).as_py() if stamps is not None else place.stat().st_mtime
    return time.time() - (newest or 0) / (1 if stamps is None else 10**9) < _ARRIVING


def _compared(was: pa.Table, now: pa.Table) -> Images:
    """Two tables of STAMPS."""
    place = pc.index_in(now.column("path"), value_set=was.column("path").combine_chunks())
    both = place.is_valid()
    then = was.take(place.filter(both))
    kept = now.filter(both)
    differs = pa.array([False] * len(kept))
    for name in STAMPS.names[1:]:
        differs = pc.or_(differs, pc.not_equal(kept.column(name).combine_chunks(), then.column(name).combine_chunks()))
    touched = pa.concat_tables([now.filter(pc.invert(both)), kept.filter(differs)])
    changed = pc.sum(differs).as_py() or 0
    counts = {"new": len(now) - len(kept), "gone": len(was) - len(kept), "changed": changed}
    words = ", ".join(f"{counted(count, 'file')} {what}" for what, count in counts.items() if count)
    newest = pc.max(touched.column("changed")).as_py() or 0
    return Images(words or "labels or columns are others", arriving=time.time() - newest / 10**9 < _ARRIVING)


def new_answers(store: Store, state: State | None, standing: list[BatchStatus]) -> str:
    """Why the run is to go on by what people have said, in words; empty where it is not.

    A run that waits goes on when no answer is missing. One that is finished goes on by what was said since, when nobody
    has said anything for ten minutes.
    """
    if state is None or state.doing not in (Doing.WAITING, Doing.FINISHED):
        return ""
    if state.doing is Doing.WAITING:
        return "" if any(batch.missing for batch in standing) else "all that was asked is answered"
    file = store.answers.file
    told_at = file.stat().st_mtime if file.exists() else 0.0
    if told_at <= (store.folder / STATE).stat().st_mtime or time.time() - told_at < _ANSWERING:
        return ""
    return "people have said more since it was finished"
