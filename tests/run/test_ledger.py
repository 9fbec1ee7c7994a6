import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleaner.errors import CleanerError, RunError
from cleaner.run.ledger import Ledger, fold
from cleaner.tables import MANIFEST, VERDICTS, check

N = 5


def manifest(problems=(None,) * N) -> pa.Table:
    n = len(problems)
    columns = {
        "sample_id": [f"id{i}" for i in range(n)],
        "path": [f"cat/{i}.png" for i in range(n)],
        "label": ["cat"] * n,
        "width": [8] * n,
        "height": [8] * n,
        "mode": ["RGB"] * n,
        "bytes": [100] * n,
        "content_hash": [str(i) for i in range(n)],
        "problem": list(problems),
    }
    return pa.table(columns).cast(MANIFEST)


def verdict(row, action="drop", by="model:probe", score=0.25, new_label=None, stage="fine", round=1):
    return {
        "row": row,
        "sample_id": f"id{row}",
        "stage": stage,
        "round": round,
        "action": action,
        "new_label": new_label,
        "score": score,
        "by": by,
        "reason": f"{by} says {action}",
    }


def part(*verdicts) -> pa.Table:
    return pa.Table.from_pylist(list(verdicts), schema=VERDICTS)


def parts_by(*judges: str):
    verdicts = st.builds(
        verdict,
        row=st.integers(0, N - 1),
        action=st.sampled_from(["keep", "relabel", "drop", None]),
        by=st.sampled_from(judges),
        score=st.one_of(st.none(), st.floats(0, 1, width=32)),
    )
    return st.lists(verdicts, max_size=6).map(lambda rows: part(*rows))


parts = st.lists(parts_by("model:probe", "rule:duplicates") | parts_by("person:ana", "person:bo"), max_size=6)


def expected(rows: list[dict]) -> dict:
    """The rule of the ledger, said for one sample without arrays."""
    stands = {"action": "keep", "by": "rule:scan", "score": None}
    for said in rows:
        outranked = stands["by"].startswith("person:") and not said["by"].startswith("person:")
        if said["action"] is None or outranked:
            continue
        score = stands["score"] if said["score"] is None else said["score"]
        stands = {"action": said["action"], "by": said["by"], "score": score}
    return stands


@given(parts)
@settings(max_examples=150, deadline=None)
def test_what_stands_follows_from_the_verdicts_one_by_one(parts):
    standing = fold(manifest(), parts).to_pylist()
    for row, stands in enumerate(standing):
        said = [verdict for table in parts for verdict in table.to_pylist() if verdict["row"] == row]
        wanted = expected(said)
        assert {key: stands[key] for key in wanted} == wanted


@given(parts)
@settings(max_examples=30, deadline=None)
def test_what_was_written_is_what_is_read_and_folding_it_again_changes_nothing(tmp_path_factory, parts):
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    for number, table in enumerate(parts):
        ledger.append(f"part-{number}", table)
    read = [ledger.read(f"part-{number}") for number in range(len(parts))]
    assert fold(manifest(), read).equals(fold(manifest(), parts))


def test_a_part_that_is_there_is_never_written_again(tmp_path):
    ledger = Ledger(tmp_path)
    first = ledger.append("fine-1", part(verdict(0)))
    before = first.read_bytes()
    assert ledger.append("fine-1", part(verdict(1))) == first
    assert first.read_bytes() == before
    assert len(ledger.parts()) == 1


def test_parts_keep_the_order_in_which_they_came(tmp_path):
    ledger = Ledger(tmp_path)
    for name in ("zebra", "apple", "mango"):
        ledger.append(name, part(verdict(0)))
    assert [path.name.partition("-")[2] for path in ledger.parts()] == [
        "zebra.parquet",
        "apple.parquet",
        "mango.parquet",
    ]


def test_every_verdict_on_a_sample_is_told_in_order(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.append("coarse-1", part(verdict(1, "keep"), verdict(2, "drop")))
    ledger.append("fine-1", part(verdict(1, "drop")))
    assert ledger.explain("id1").column("action").to_pylist() == ["keep", "drop"]
    assert ledger.explain("id4").num_rows == 0


def test_a_sample_that_can_not_be_read_is_dropped_for_its_problem():
    standing = fold(manifest([None, "truncated"]), []).to_pylist()
    assert [row["action"] for row in standing] == ["keep", "drop"]
    assert standing[1]["reason"] == "truncated"


def test_a_part_without_the_columns_of_verdicts_is_refused(tmp_path):
    with pytest.raises(CleanerError, match="no column row"):
        Ledger(tmp_path).append("odd", pa.table({"x": [1]}))
    assert Ledger(tmp_path).parts() == []


def test_a_missing_part_says_what_happened(tmp_path):
    with pytest.raises(RunError, match="the ledger was changed from outside"):
        Ledger(tmp_path).read("gone")


def test_columns_are_checked_at_the_door():
    wrong = manifest().set_column(3, "width", pa.array(["wide"] * N))
    with pytest.raises(CleanerError, match="table m"):
        check(wrong, MANIFEST, "m")
