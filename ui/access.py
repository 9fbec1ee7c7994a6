"""The runs that the dashboard shows, and what one of them has come to now."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cleaner.errors import RunError
from cleaner.run.finished import PROVISIONAL, read_summary
from cleaner.run.origin import Origin, origin_of
from cleaner.run.state import Doing, Names, State, read_state
from cleaner.run.store import Store


@dataclass(frozen=True)
class Look:
    """One look at a run. Nothing is locked or written, and the data set need not be there.

    Attributes:
        place: the folder of runs among which it was found, or its own.
        state: None where no command has worked on it yet.
        summary: None where it is not finished.
        so_far: the summary of what stands until then; None where it is finished, or nothing stands yet.
    """

    folder: Path
    place: Path
    origin: Origin
    state: State | None
    summary: dict[str, Any] | None
    so_far: dict[str, Any] | None

    @property
    def store(self) -> Store:
        return Store(self.folder)

    @property
    def names(self) -> Names:
        return self.state.names if self.state else Names()

    @property
    def working(self) -> bool:
        return self.state is not None and self.state.doing is Doing.WORKING and not self.state.ended

    def tables(self) -> dict[str, str]:
        """The Parquet files of what stands: of `manifest`, `standing`, and of `duplicates` and `evidence` where there
        are any.

        Raises:
            RunError: one is not there yet, or not there any more.
        """
        names = self.names
        if not names.standing:
            raise RunError(_nothing_stands(self))
        evidence = [judged.evidence for judged in names.rounds if judged.evidence]
        wanted = {"manifest": names.manifest, "standing": names.standing, "duplicates": names.duplicates}
        wanted |= {"evidence": evidence[-1] if evidence else ""}
        return {kind: str(self.store.table(name)) for kind, name in wanted.items() if name}


def _nothing_stands(look: Look) -> str:
    if look.working:
        return "No image is judged yet: the run is still reading them. This page fills as it goes on."
    if look.summary is not None:
        return "This run was finished by an older version; give the same `cleaner clean` command again to look at it."
    again = f"`cleaner clean {look.origin.source} --run {look.folder}`"
    return f"No image is judged yet, and nothing works on this run; {again} goes on."


def look_at(folder: Path, place: Path | None = None) -> Look:
    """What lies in `folder` now, one of the runs in `place`.

    Raises:
        RunError: no run, or one whose files are damaged.
    """
    origin, state, summary = origin_of(folder), read_state(folder), read_summary(folder)
    so_far = read_summary(folder / PROVISIONAL) if summary is None else None
    return Look(folder, place or folder, origin, state, summary, so_far)
