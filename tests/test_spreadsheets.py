import csv
import io

import pyarrow as pa
import pytest

from cleaner.spreadsheets import as_csv, guarded, unguarded


@pytest.mark.parametrize("cell", ["=cmd()", "+1", "-1", "@sum", "\tx", "\rx", "'quoted"])
def test_no_cell_and_no_name_of_a_column_starts_a_formula(cell):
    table = pa.table({"path": [cell, "plain", None], "score": [-0.5, 1.0, None], cell: ["a=b", "c", "-"]})
    header, first, second, third = csv.reader(io.StringIO(as_csv(table).decode(), newline=""))
    assert header == ["path", "score", guarded(cell)]
    assert first == [f"'{cell}", "-0.5", "a=b"] and second == ["plain", "1", "c"] and third == ["", "", "'-"]
    assert unguarded(guarded(cell)) == cell


def test_an_empty_table_and_other_columns_stay(tmp_path):
    table = pa.table({"n": pa.array([], pa.int64()), "text": pa.array([], pa.large_string())})
    assert as_csv(table) == b'"n","text"\n'
