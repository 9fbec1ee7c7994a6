"""Removing what nothing names any more: outputs of judgings that others have taken the place of.

What stays: all that the last plan that came to its end went through, so that the same command finds its work done; the
manifest and the ledger of every version; what batches were drawn from; the map.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from cleaner.errors import RunError
from cleaner.evidence.map import map_step
from cleaner.plan.runs import Run
from cleaner.run.files import storage_error, write_json
from cleaner.run.finished import read_summary
from cleaner.run.state import read_state
from cleaner.run.store import Store
from cleaner.run.versions import versions_of

FILE = "needed.json"
_DEAR = ("features-", "scan-")
"""What takes long to make: it stays until somebody asks for the room, since settings come back."""


@dataclass(frozen=True)
class Pruned:
    """How many outputs were removed, or would be, and how many bytes they have."""

    outputs: int
    bytes: int


def remember_needed(store: Store, standing: str, outputs: Iterable[str]) -> None:
    """Write down the outputs that a plan which came to its end, at what stands, went through.

    Raises:
        StorageError: the disk refused the write.
    """
    write_json(store.folder / FILE, {"standing": standing, "outputs": sorted({*outputs})})


def prune(run: Run, *, dear: bool, replaced: Iterable[str] = (), dry: bool = False) -> Pruned:
    """Remove the outputs of a finished run that nothing names any more.

    Args:
        dear: also features and facts of images that other settings or earlier states of the data set made, which take
            long to make.
        replaced: outputs that go although they took long to make, since what is needed has all that they have.
        dry: remove nothing, and tell what would be.

    Raises:
        RunError: the run is not finished: whoever goes on with it may need all of it.
        StorageError: something can't be removed.
    """
    store = run.store
    needed = _needed(run)
    gone = [output for output in store.outputs() if output.name not in needed]
    if not dear:
        old = {*replaced}
        gone = [output for output in gone if output.name in old or not output.name.startswith(_DEAR)]
    found = Pruned(len(gone), sum(output.bytes for output in gone))
    if not dry:
        for output in gone:
            try:
                store.remove(output)
            except OSError as error:
                raise storage_error(store.folder, error) from error
    return found


def _needed(run: Run) -> set[str]:
    store = run.store
    file, state = store.folder / FILE, read_state(store.folder)
    summary = read_summary(store.folder)
    try:
        kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: is damaged ({error}); give the same `cleaner clean` command again") from error
    known = isinstance(kept, dict) and summary is not None and kept.get("standing") == summary["versions"]["standing"]
    if not known or state is None or not isinstance(kept.get("outputs"), list):
        again = "give the same `cleaner clean` command again, which removes by itself what it needs no more"
        raise RunError(
            f"{store.folder}: is not finished, or by an older version, and may need all that it has; {again}"
        )
    needed = {str(name) for name in kept["outputs"]}
    names = state.names
    needed |= {names.manifest, names.stamps, names.pixel_quality, names.duplicates, names.standing, names.noise}
    needed |= {*names.features, *names.ledger}
    for judged in names.rounds:
        needed |= {judged.verdicts, judged.before, judged.evidence}
    for version in versions_of(store.folder):
        needed |= {version.manifest, *version.parts}
    for batch in store.batches.names():
        of = store.batches
        needed |= {of.manifest(batch), of.strata(batch), of.promise(batch)}
    needed.add(map_step(names.manifest, names.features, seed=run.config.seed).output)
    return needed
