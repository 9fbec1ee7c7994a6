"""What the command line says of a run's versions."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from cleaner.run.origin import origin_of
from cleaner.run.store import Store
from cleaner.run.versions import TOLD, counts, differences, standing, version_of, versions_of
from cleaner.words import counted
from flows.console import console, say, say_json, table

_SHOWN = 5
_ELSEWHERE = "not in the data"


def show_versions(folder: Path, *, as_json: bool) -> None:
    """The versions of a run, and what each comes to.

    Raises:
        RunError: no run lies in `folder`, or nothing is read yet.
    """
    origin_of(folder)
    versions = versions_of(folder)
    found = list(zip(versions, counts(Store(folder), versions), strict=True))
    if as_json:
        say_json([asdict(version) | asdict(count) for version, count in found])
        return
    columns = ("version", "what it is", "kept", "relabelled", "dropped", "since")
    rows = [
        (each.name, each.words, f"{of.kept:,}", f"{of.relabelled:,}", f"{of.dropped:,}", each.at[:16].replace("T", " "))
        for each, of in found
    ]
    console().print(table(columns, rows))


def show_differences(folder: Path, one: str, other: str, *, as_json: bool) -> None:
    """Which samples stand otherwise in one version than in another.

    Raises:
        InputError: there is no such version.
        RunError: no run lies in `folder`, or nothing is read yet.
    """
    origin_of(folder)
    store = Store(folder)
    before, after = (standing(store, version_of(folder, name), TOLD) for name in (one, other))
    found = differences(before, after).to_pylist()
    if as_json:
        say_json(found)
        return
    out = console()
    kinds = Counter(tuple(_kind(row[name]) for name in ("before", "after")) for row in found)
    say(out, f"{one} and {other}: {counted(len(found), 'image')} of {max(len(before), len(after)):,} stand otherwise")
    for (was, now), count in kinds.most_common():
        of = [row for row in found if (_kind(row["before"]), _kind(row["after"])) == (was, now)][:_SHOWN]
        some = f", {len(of)} of them" if len(of) < count else ""
        say(out, f"{was}, then {now}: {count:,}{some}")
        rows = [(f"  {row['path']}", row["before"] or "", row["after"] or "", row["reason"] or "") for row in of]
        out.print(table(("  image", one, other, "why"), rows))


def _kind(stands: str | None) -> str:
    return _ELSEWHERE if stands is None else stands.partition(" ")[0]
