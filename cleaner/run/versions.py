"""The named versions of a data set: as it was read, after each stage, and as it stood each time people were asked.

A version is a manifest and those parts of the ledger that counted then. Neither is ever changed, or removed while a
version needs it, so every version can be folded again.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cleaner.errors import InputError, RunError, nearest
from cleaner.run.files import storage_error, write_bytes
from cleaner.run.finished import read_summary
from cleaner.run.ledger import Fold, fold
from cleaner.run.state import read_state
from cleaner.run.store import Store
from cleaner.stages import title
from cleaner.tables import Action
from cleaner.words import ACTIONS, counted

FILE = "versions.jsonl"
RAW, CLEAN, JUDGED = "raw", "clean", "judged"


@dataclass(frozen=True)
class Counts:
    """How many samples a version keeps as they are, relabels and drops."""

    kept: int
    relabelled: int
    dropped: int


@dataclass(frozen=True)
class Version:
    """Attributes:
    name: `raw`; the name of a stage, for what stood after it; `judged-1` and so on, for what stood when all was judged
        and people were asked, or the run was finished; `clean`, for what stands at the end.
    words: what it is, in a person's words.
    at: when it came to be, ISO 8601 in UTC; empty where nobody wrote that down.
    manifest: the name of the manifest.
    parts: the parts of the ledger that counted, the oldest first.
    """

    name: str
    words: str
    at: str
    manifest: str
    parts: tuple[str, ...]


def remember(store: Store, manifest: str, parts: Iterable[str], *, spoken: int) -> None:
    """Write down that all was judged, with what people had said of so many images, and this stands; nothing where it
    stood already.

    Raises:
        StorageError: the disk refused the write.
        RunError: the versions of before are damaged.
    """
    known, parts = _judged(store.folder), tuple(parts)
    if known and (known[-1].manifest, known[-1].parts) == (manifest, parts):
        return
    with_people = f"with what people said of {counted(spoken, 'image')}" if spoken else "without people"
    words = f"all judged, {with_people}"
    new = Version(f"{JUDGED}-{len(known) + 1}", words, datetime.now(UTC).isoformat(), manifest, parts)
    lines = [json.dumps(asdict(version), ensure_ascii=False) + "\n" for version in [*known, new]]
    write_bytes(store.folder / FILE, "".join(lines).encode())


def _judged(folder: Path) -> list[Version]:
    file = folder / FILE
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    except OSError as error:
        raise storage_error(file, error) from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict) or entry.keys() != {field.name for field in fields(Version)}:
                raise ValueError("other fields than a version's")
        except ValueError as error:
            raise RunError(f"{file}: line {number}: is damaged ({error}); restore it, or remove that line") from error
        found.append(Version(**entry | {"parts": tuple(entry["parts"])}))
    return found


def versions_of(folder: Path) -> list[Version]:
    """All versions of the run in `folder`, in the order in which they came to be; those of stages are of the newest
    judging.

    Raises:
        RunError: the images are not read yet, or the versions are damaged.
    """
    state, store = read_state(folder), Store(folder)
    if state is None or not state.names.manifest or not store.has(state.names.manifest):
        raise RunError(f"{folder}: its images are not read yet; give the same `cleaner clean` command again to go on")
    manifest, ledger, found = state.names.manifest, tuple(state.names.ledger), _judged(folder)
    stages_of = [judged.stage for judged in state.names.rounds]
    summary = read_summary(folder)
    if summary is not None and "manifest" in summary["versions"]:
        # What a command that finds all done is about to come to again says nothing of what stands.
        manifest, ledger = summary["versions"]["manifest"], tuple(summary["versions"]["ledger"])
        stages_of = [judged["stage"] for judged in summary["stages"]]
    stages: dict[str, Version] = {}
    for number, stage in enumerate(stages_of, 1):
        stages.pop(stage, None)
        stages[stage] = Version(stage, f"after {title(stage)}", "", manifest, ledger[:number])
    raw = Version(RAW, "as it was read", "", manifest, ())
    at = found[-1].at if found else ""
    clean = [Version(CLEAN, "what stands", at, manifest, ledger)] if summary is not None else []
    return [raw, *stages.values(), *found, *clean]


def version_of(folder: Path, name: str) -> Version:
    """The version of a name.

    Raises:
        InputError: there is none.
        RunError: the images are not read yet, or the versions are damaged.
    """
    versions = {version.name: version for version in versions_of(folder)}
    if name not in versions:
        why = "; the run is not finished" if name == CLEAN else nearest(name, list(versions))
        raise InputError(f"{folder}: no version {name}{why}")
    return versions[name]


def standing(store: Store, version: Version, columns: Sequence[str] = ()) -> pa.Table:
    """What stood: STANDING, or of it the sample, its label and some `columns`.

    Raises:
        RunError: a part of it is there no more, or damaged.
    """
    if not columns:
        return fold(store.read(version.manifest), [store.ledger.read(part) for part in version.parts])
    folded = Fold(store.read(version.manifest), columns)
    for part in version.parts:
        folded.add(store.ledger.read(part, ["row", *{"by", "action", *columns}]))
    return folded.standing()


def counts(store: Store, versions: Iterable[Version]) -> Iterator[Counts]:
    """What each version comes to. One that goes on from the one before costs no more than the parts it adds."""
    manifest, parts, folded = "", tuple[str, ...](), None
    for version in versions:
        if folded is None or version.manifest != manifest or version.parts[: len(parts)] != parts:
            folded, parts = Fold(store.read(version.manifest), ["action"]), ()
        for part in version.parts[len(parts) :]:
            folded.add(store.ledger.read(part, ["row", "action", "by"]))
        manifest, parts = version.manifest, version.parts
        yield Counts(*folded.counts())


TOLD = ("action", "new_label", "reason")


def differences(one: pa.Table, other: pa.Table) -> pa.Table:
    """The samples of which something else stands in STANDING `other` than in `one`, in the order of the paths; of these
    the columns TOLD are enough.

    Returns:
        `sample_id`, `path`, `label`, then `before` and `after`, what stands of the sample in a person's words, null
        where it is not in that version's data, and `reason`, the newer version's.
    """
    tables = [_stands(one, "before"), _stands(other, "after")]
    joined = tables[0].join(tables[1].drop_columns(["path", "label"]), "sample_id", join_type="full outer")
    both = tables[1].select(["sample_id", "path", "label"]).rename_columns({"path": "new_path", "label": "new"})
    joined = joined.join(both, "sample_id", join_type="left outer")
    columns = {
        "sample_id": joined.column("sample_id"),
        "path": pc.coalesce(joined.column("path"), joined.column("new_path")),
        "label": pc.coalesce(joined.column("label"), joined.column("new")),
        **{name: joined.column(name) for name in ("before", "after", "reason")},
    }
    differs = pc.not_equal(*(pc.fill_null(joined.column(name), "") for name in ("before", "after")))
    return pa.table(columns).filter(differs).sort_by([("path", "ascending"), ("sample_id", "ascending")])


def _stands(standing: pa.Table, name: str) -> pa.Table:
    words = pc.case_when(
        pc.make_struct(
            pc.equal(standing.column("action"), Action.KEEP.value),
            pc.equal(standing.column("action"), Action.DROP.value),
        ),
        ACTIONS[Action.KEEP],
        ACTIONS[Action.DROP],
        pc.binary_join_element_wise(ACTIONS[Action.RELABEL], "to", pc.fill_null(standing.column("new_label"), ""), " "),
    )
    table = standing.select(["sample_id", "path", "label"]).append_column(name, words)
    return table.append_column("reason", standing.column("reason")) if name == "after" else table
