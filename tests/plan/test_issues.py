"""What is wrong with images, by kind, as people and programs read it."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import here

from cleaner.plan.issues import chosen, counts
from cleaner.tables import ISSUES
from cleaner.words import Issue

pytestmark = pytest.mark.slow


def listed(run, *words, **options):
    return [json.loads(line) for line in here("issues", run, "--format", "json", *words, **options).stdout.splitlines()]


def test_all_that_had_to_go_or_to_change_is_an_issue_and_its_kind_is_why(finished):
    standing = {row["path"]: row for row in pq.read_table(finished / "verdicts.parquet").to_pylist()}
    found = {}
    for issue in listed(finished):
        found.setdefault(issue["path"], []).append(issue)
    gone = {path for path, row in standing.items() if row["action"] != "keep"}
    assert gone <= set(found)
    for path, issues in found.items():
        stage, kinds = standing[path]["stage"], [issue["kind"] for issue in issues]
        if path in gone:
            of = {"image_noise": "junk", "coarse": "wrong label", "fine": "wrong label", "duplicates": "copy"}
            assert of.get(stage, kinds[0]) in kinds
        else:
            assert not {"wrong label", "junk", "copy"} & set(kinds)
    assert {"wrong label", "junk", "unreadable", "copy", "near-duplicate"} <= {kind for kind, _ in _counted(finished)}


def _counted(run):
    return [(kind.value, count) for kind, count in counts(pq.read_table(run / "issues.parquet"))]


def test_the_sheet_for_people_has_the_same_issues_the_worst_of_each_kind_first(finished):
    rows = list(csv.DictReader((finished / "issues.csv").open()))
    assert list(rows[0]) == ["kind", "path", "given_label", "suggested_label", "action", "score", "reason"]
    assert len(rows) == sum(count for _, count in _counted(finished))
    for kind in Issue:
        scores = [float(row["score"]) for row in rows if row["kind"] == kind and row["score"]]
        assert scores == sorted(scores) and all(round(score, 3) == score for score in scores)


def test_the_command_counts_all_and_shows_the_worst_of_each_kind(finished):
    told = here("issues", finished, "--top", 2, COLUMNS="200").stdout
    for kind, count in _counted(finished):
        assert f"{kind}: {count:,}" in told
    lines = told.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("wrong label"))
    worst = listed(finished, "--kind", "wrong label", "--top", 2)
    assert [issue["path"] for issue in worst] == [lines[start + 2].split()[0], lines[start + 3].split()[0]]


def test_issues_are_chosen_by_kind_class_and_score(finished):
    every = listed(finished)
    some = listed(finished, "--kind", "wrong label", "--class", "eight", "--below", 0.05)
    assert some == [
        issue
        for issue in every
        if issue["kind"] == "wrong label"
        and "eight" in (issue["given_label"], issue["suggested_label"])
        and issue["score"] is not None
        and issue["score"] < 0.05
    ]
    assert 0 < len(some) < len(every)


def test_they_are_written_as_csv_and_parquet_and_what_cannot_be_is_refused(finished, tmp_path):
    shown = here("issues", finished, "--format", "csv", "--kind", "junk").stdout
    assert {row["kind"] for row in csv.DictReader(io.StringIO(shown))} == {"junk"}
    here("issues", finished, "--format", "parquet", "--kind", "junk", "--out", tmp_path / "junk.parquet")
    assert pq.read_schema(tmp_path / "junk.parquet").equals(ISSUES)
    assert "--out" in here("issues", finished, "--format", "parquet", status=2).stderr
    assert "--format" in here("issues", finished, "--out", tmp_path / "x.csv", status=2).stderr
    assert "did you mean eight" in here("issues", finished, "--class", "eigt", status=2).stderr
    assert "no run lies here" in here("issues", tmp_path, status=2).stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["junk.parquet"]


def test_groups_of_duplicates_lie_in_a_file_of_their_own(finished):
    rows = list(csv.DictReader((finished / "duplicates.csv").open()))
    assert {"group", "kind", "path", "label", "similarity", "action"} <= set(rows[0])
    groups = [row["group"] for row in rows]
    assert groups == sorted(groups, key=int) and all(groups.count(group) > 1 for group in groups)


def test_of_nothing_there_is_nothing():
    assert list(counts(ISSUES.empty_table())) == []
    assert len(chosen(ISSUES.empty_table(), kind="junk", label="a", below=0.5)) == 0
    small = pa.Table.from_pylist([{"kind": "small class", "given_label": "a"}], ISSUES)
    assert len(chosen(small, label="a")) == 1 and len(chosen(small, below=0.5)) == 0
