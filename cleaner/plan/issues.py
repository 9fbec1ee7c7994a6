"""What is wrong with images, or may be, by kind: dropped or relabelled, or kept but worth a look."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.methods import duplicates
from cleaner.run.ledger import PEOPLE
from cleaner.stages import issue, judging_labels
from cleaner.tables import ISSUES, QUALITY, Action, array, check
from cleaner.words import Issue

DOUBTFUL = 0.8
_MAY_BE_JUNK = 0.5
_DIGITS = 3


def issues_of(manifest: pa.Table, standing: pa.Table, twins: pa.Table, others: Iterable[pa.Table]) -> pa.Table:
    """The ISSUES, kind by kind, the worst of each first; an image may have several.

    Args:
        twins: DUPLICATES.
        others: the ISSUES of what stays, as stages find them.
    """
    parts = [_not_as_it_was(manifest, standing, twins), _doubtful(standing), *others]
    found = pa.concat_tables(parts)
    order = {kind: place for place, kind in enumerate(Issue)}
    place = pa.array([order[Issue(kind)] for kind in found.column("kind").to_pylist()], pa.int32())
    sorted_ = found.append_column("place", place).sort_by(
        [("place", "ascending"), ("score", "ascending"), ("path", "ascending")]
    )
    return check(sorted_.drop_columns("place").combine_chunks(), ISSUES, "issues")


def _rows(standing: pa.Table, rows: np.ndarray, kind: Issue | pa.Array, **other: pa.Array) -> pa.Table:
    """ISSUES of some rows as they stand, but for what `other` says."""
    some = standing.take(pa.array(rows, pa.int64()))
    known = {name: some.column(name) for name in ("path", "sample_id", "action", "reason")}
    known |= {"given_label": some.column("label"), "suggested_label": some.column("new_label")}
    known["score"] = pc.round(some.column("score").cast(pa.float64()), _DIGITS)
    known["kind"] = pa.repeat(kind.value, len(rows)) if isinstance(kind, Issue) else kind
    known |= {"group": pa.nulls(len(rows), pa.int32())} | other
    return pa.table([known[field.name] for field in ISSUES], ISSUES)


def _not_as_it_was(manifest: pa.Table, standing: pa.Table, twins: pa.Table) -> pa.Table:
    action, stage = array(standing, "action"), array(standing, "stage")
    problem = manifest.column("problem").is_valid().to_numpy()
    rows = np.flatnonzero((action != Action.KEEP) | problem)
    kind = np.full(len(standing), Issue.WRONG_LABEL, object)
    for name in np.unique(stage[rows].astype(str)).tolist():
        kind[stage == name] = issue(name) or Issue.WRONG_LABEL
    kind[(action == Action.DROP) & (stage == PEOPLE)] = Issue.JUNK
    kind[problem] = Issue.UNREADABLE
    group = np.full(len(standing), -1, np.int32)
    group[array(twins, "row")] = array(twins, "group")
    copies = np.where(kind == Issue.COPY, group, -1)[rows]
    kinds = pa.array([str(each) for each in kind[rows]], pa.string())
    return _rows(standing, rows, kinds, group=pa.array(copies, pa.int32(), mask=copies < 0))


def _doubtful(standing: pa.Table) -> pa.Table:
    score = pc.fill_null(standing.column("score"), 1.0).to_numpy()
    kept = (array(standing, "action") == Action.KEEP) & np.isin(array(standing, "stage"), judging_labels())
    return _rows(standing, np.flatnonzero(kept & (score < DOUBTFUL)), Issue.DOUBTFUL)


def outliers(standing: pa.Table, junk: pa.Table) -> pa.Table:
    likely = junk.filter(pc.and_(pc.greater(junk.column("prob"), _MAY_BE_JUNK), pc.invert(junk.column("marked"))))
    kept = array(standing, "action")[array(likely, "row")] == Action.KEEP
    likely = likely.filter(pa.array(kept))
    prob = array(likely, "prob")
    other = {
        "score": pa.array(np.round(1 - prob, _DIGITS), pa.float64()),
        "reason": pa.array([f"may be junk, with probability {each:.2f}" for each in prob], pa.string()),
    }
    return _rows(standing, array(likely, "row"), Issue.OUTLIER, **other)


def poor(standing: pa.Table, verdicts: pa.Table, found: pa.Table) -> pa.Table:
    """The rows of `verdicts` on quality, whatever became of them, but for those that were dropped for it; the score is
    the lowest of QUALITY."""
    stage, action = array(standing, "stage"), array(standing, "action")
    kinds = {name: issue(name) for name in set(stage.tolist())}
    dropped_so = np.array([kinds[name] == Issue.POOR_QUALITY for name in stage], bool) & (action == Action.DROP)
    verdicts = verdicts.filter(pa.array(~dropped_so[array(verdicts, "row")]))
    rows = array(verdicts, "row")
    scores = np.stack([array(found, field.name)[rows] for field in QUALITY if pa.types.is_floating(field.type)])
    lowest = np.nanmin(scores, axis=0).astype(np.float64) if len(rows) else np.zeros(0)
    score = pa.array(np.round(lowest, _DIGITS), pa.float64())
    return _rows(standing, rows, Issue.POOR_QUALITY, score=score, reason=verdicts.column("reason"))


def near(manifest: pa.Table, standing: pa.Table, twins: pa.Table) -> pa.Table:
    other = twins.filter(pc.equal(twins.column("kind"), duplicates.NEAR))
    other = other.filter(pc.not_equal(other.column("row"), other.column("original")))
    other = other.filter(pa.array(array(standing, "action")[array(other, "row")] != Action.DROP))
    originals = manifest.column("path").take(other.column("original")).to_pylist()
    reasons = [
        f"looks like {path} ({like:.3f})" for path, like in zip(originals, array(other, "similarity"), strict=True)
    ]
    columns = {"reason": pa.array(reasons, pa.string()), "group": other.column("group").combine_chunks()}
    columns["score"] = pa.nulls(len(other), pa.float64())
    return _rows(standing, array(other, "row"), Issue.NEAR, **columns)


def leaking(manifest: pa.Table, standing: pa.Table, twins: pa.Table) -> pa.Table:
    leaking = duplicates.leakage(manifest, twins)
    groups = leaking.column("group").to_pylist()
    splits = manifest.column("split").take(leaking.column("row")).to_pylist() if groups else []
    of: dict[int, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        of.setdefault(group, set()).add(str(split))
    reasons = [f"the same picture is in {' and '.join(sorted(of[group]))}" for group in groups]
    columns = {"reason": pa.array(reasons, pa.string()), "group": leaking.column("group").combine_chunks()}
    columns["score"] = pa.nulls(len(leaking), pa.float64())
    return _rows(standing, array(leaking, "row"), Issue.LEAKAGE, **columns)


def small(small: pa.Table) -> pa.Table:
    """A row a class."""
    count = len(small)
    known = {field.name: pa.nulls(count, field.type) for field in ISSUES}
    known["kind"] = pa.repeat(Issue.SMALL_CLASS.value, count)
    known["given_label"] = small.column("label")
    images = small.column("images").to_pylist()
    known["reason"] = pa.array([f"{each:,} images are left of this class" for each in images], pa.string())
    return pa.table([known[field.name] for field in ISSUES], ISSUES)


def duplicates_of(manifest: pa.Table, standing: pa.Table, twins: pa.Table) -> pa.Table:
    """The groups of pictures that are there more than once, a row a file."""
    rows = twins.column("row")
    found = {name: twins.column(name) for name in ("group", "kind")}
    found |= {name: manifest.column(name).take(rows) for name in ("path", "label")}
    if "split" in manifest.column_names:
        found["split"] = manifest.column("split").take(rows)
    found["similarity"] = pc.round(twins.column("similarity").cast(pa.float64()), _DIGITS)
    found["action"] = standing.column("action").take(rows)
    return pa.table(found).sort_by([("group", "ascending"), ("path", "ascending")])


def chosen(
    issues: pa.Table, *, kind: str | None = None, label: str | None = None, below: float | None = None
) -> pa.Table:
    """The ISSUES of one kind, of one class (as given, or as suggested), with a score below a threshold."""
    if kind is not None:
        issues = issues.filter(pc.equal(issues.column("kind"), kind))
    if label is not None:
        either = (
            pc.fill_null(pc.equal(issues.column(name), label), False) for name in ("given_label", "suggested_label")
        )
        issues = issues.filter(pc.or_(*either))
    if below is not None:
        issues = issues.filter(pc.fill_null(pc.less(issues.column("score"), below), False))
    return issues


def counts(issues: pa.Table) -> Iterator[tuple[Issue, int]]:
    """How many there are of each kind."""
    found = dict(zip(*(each.to_pylist() for each in pc.value_counts(issues.column("kind")).flatten()), strict=True))
    yield from ((kind, found[kind]) for kind in Issue if kind in found)
