"""The ledger: every verdict ever, append-only; what stands is a fold over it.

One part is one step's verdicts, `ledger/000007-fine-2-verdicts-1f0c9ab3d2e4.parquet`; the number
says in which order parts came. A part is never changed, and removed only if no version of the data set needs it, so
every one of them can be folded again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.errors import RunError
from cleaner.run.files import read_table, rows_where, write_table
from cleaner.tables import STANDING, VERDICTS, Action, array, check, is_usable, text

_FOLDED = ("action", "new_label", "by", "stage", "round", "reason", "score")
PERSON = "person:"
PEOPLE = "people"
"""The stage of verdicts that are what people said of a sample."""
MISLABELLED = "fine"
"""The stage of verdicts of people that say no more than that the label is wrong: it may be junk or not."""


@dataclass(frozen=True)
class Ledger:
    """The parts under `folder`."""

    folder: Path

    def parts(self) -> list[Path]:
        """All parts, the oldest first."""
        return sorted(self.folder.glob("[0-9]*-*.parquet"))

    def part(self, name: str) -> Path | None:
        """The file of the part `name`; None where there is none."""
        return next((part for part in self.parts() if part.stem.partition("-")[2] == name), None)

    def has(self, name: str) -> bool:
        return self.part(name) is not None

    def append(self, name: str, verdicts: pa.Table) -> Path:
        """Add `verdicts` as the part `name`; a name that is there already is left as it is."""
        there = self.part(name)
        if there is not None:
            return there
        table = check(verdicts, VERDICTS, f"verdicts {name}")
        parts = self.parts()
        number = int(parts[-1].name.partition("-")[0]) + 1 if parts else 1
        return write_table(self.folder / f"{number:06d}-{name}.parquet", table)

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The verdicts of one part, or of them some columns.

        Raises:
            RunError: there is no such part, or it is damaged.
        """
        part = self.part(name)
        if part is None:
            raise RunError(f"{self.folder}: no part {name}; the ledger was changed from outside, restore it")
        return _read(part, partial(read_table, columns=columns))

    def explain(self, sample_id: str) -> pa.Table:
        """Every verdict on one sample in the order they came, with the `part` each stands in.

        Raises:
            RunError: a part is damaged.
        """
        found = [_read(part, partial(rows_where, column="sample_id", value=sample_id)) for part in self.parts()]
        named = [
            table.append_column("part", pa.repeat(text(part.stem), len(table)))
            for table, part in zip(found, self.parts(), strict=True)
            if len(table)
        ]
        return pa.concat_tables(named) if named else VERDICTS.append(pa.field("part", pa.string())).empty_table()


def _read(part: Path, read: Callable[[Path], pa.Table] = read_table) -> pa.Table:
    try:
        return read(part)
    except (OSError, pa.ArrowException) as error:
        remedy = "delete it and give the same `cleaner clean` command again"
        raise RunError(f"{part}: is damaged ({' '.join(str(error).split())[:120]}); {remedy}") from error


def verdicts(
    manifest: pa.Table,
    rows: np.ndarray,
    reasons: Iterable[str] | pa.Array,
    *,
    stage: str,
    by: str,
    round: int = 1,
    action: Action | pa.Array = Action.DROP,
    new_label: pa.Array | None = None,
    score: pa.Array | None = None,
) -> pa.Table:
    """VERDICTS on some rows of the manifest: a reason for each, and one `action` for all or one for each."""
    count = len(rows)
    columns = {
        "row": pa.array(rows, pa.int32()),
        "sample_id": manifest.column("sample_id").take(pa.array(rows, pa.int32())),
        "stage": pa.repeat(stage, count),
        "round": pa.repeat(pa.scalar(round, pa.int32()), count),
        "action": pa.repeat(action.value, count) if isinstance(action, Action) else action,
        "new_label": pa.nulls(count, pa.string()) if new_label is None else new_label,
        "score": pa.nulls(count, pa.float32()) if score is None else score,
        "by": pa.repeat(by, count),
        "reason": reasons if isinstance(reasons, pa.Array) else pa.array(reasons, pa.string()),
    }
    return check(pa.table(columns), VERDICTS, f"verdicts of {stage}")


def fold(manifest: pa.Table, parts: list[pa.Table]) -> pa.Table:
    """What stands after `parts` (oldest first): a STANDING table, one row a sample.

    The last verdict counts, save that no model's verdict outranks a person's. A sample without verdicts is kept; one
    with a problem is dropped for it; a verdict without an action (a person who can't tell) changes nothing.
    """
    folded = Fold(manifest)
    for part in parts:
        folded.add(part)
    return folded.standing()


class Fold:
    """What stands after the parts added so far, as `fold` has it; or of that some `columns` alone, of which the parts
    then need no more than these, `row` and `by`."""

    def __init__(self, manifest: pa.Table, columns: Sequence[str] = _FOLDED) -> None:
        n = len(manifest)
        usable = is_usable(manifest)
        first: dict[str, Callable[[], np.ndarray]] = {
            "action": lambda: np.where(usable, Action.KEEP.value, Action.DROP.value).astype(object),
            "new_label": lambda: np.full(n, None, object),
            "by": lambda: np.full(n, "rule:scan", object),
            "stage": lambda: np.full(n, "scan", object),
            "round": lambda: np.zeros(n, np.int32),
            "reason": lambda: np.where(usable, "no stage has judged it", array(manifest, "problem")).astype(object),
            "score": lambda: np.full(n, np.nan, np.float32),
        }
        self._manifest = manifest
        self._stands = {name: first[name]() for name in columns}
        self._by_person = np.zeros(n, bool)

    def add(self, part: pa.Table) -> None:
        """Let newer VERDICTS count."""
        personal = pc.starts_with(part.column("by"), PERSON).to_numpy()
        counts = part.column("action").is_valid().to_numpy() & (personal | ~self._by_person[array(part, "row")])
        verdicts = part.filter(pa.array(counts))
        rows = array(verdicts, "row")
        for name, values in self._stands.items():
            given = array(verdicts, name)
            if name == "score":
                scored = ~np.isnan(given)
                values[rows[scored]] = given[scored]
            else:
                values[rows] = given
        self._by_person[array(part, "row")[personal & counts]] = True

    def counts(self) -> tuple[int, int, int]:
        """How many samples are kept as they are, relabelled and dropped."""
        actions = self._stands["action"]
        kept, relabelled = (int((actions == action.value).sum()) for action in (Action.KEEP, Action.RELABEL))
        return kept, relabelled, len(actions) - kept - relabelled

    def standing(self) -> pa.Table:
        """STANDING, one row a sample, or of it the columns that were asked for."""
        table = self._manifest.select(["sample_id", "path", "label"])
        for name, values in self._stands.items():
            mask = np.isnan(values) if name == "score" else None
            table = table.append_column(STANDING.field(name), pa.array(values, STANDING.field(name).type, mask=mask))
        return check(table, STANDING, "standing") if set(STANDING.names) == set(table.column_names) else table
