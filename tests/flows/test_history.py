"""Versions of a data set: what stood then is what they give, however the run has gone on."""

import csv
import json
import shutil

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from command import clean_locally, here
from sheets import answer

from cleaner.run.store import Store
from cleaner.run.versions import FILE, differences, standing, version_of

pytestmark = pytest.mark.slow

ASKING = ("--reviewer", "sheet", "--set", "review.first=6", "--set", "review.batches=1")


def listed(run):
    return {version["name"]: version for version in json.loads(here("versions", run, "--json").stdout)}


def test_what_stood_when_people_were_asked_is_there_when_they_have_answered(demo, tmp_path):
    run = tmp_path / "run"
    clean_locally(demo / "images", run, *ASKING, status=3)
    then = pq.read_table(run / "provisional" / "verdicts.parquet")
    exported = here("export", run, "--format", "csv", "--out", tmp_path / "then.csv", "--provisional").stdout
    assert "judged-1" in listed(run) and "clean" not in listed(run)
    assert "the run is not finished" in here("versions", run, "raw", "clean", status=2).stderr
    answer(run / "reviews" / "review-1.csv", 99, "junk")
    clean_locally(demo / "images", run, *ASKING)
    assert standing(Store(run), version_of(run, "judged-1")).equals(then)
    known = listed(run)
    assert [name for name in known if name.startswith("judged")] == ["judged-1", "judged-2"]
    spoken = {word["content_hash"] for word in Store(run).answers.rows() if word["content_hash"]}
    assert f"with what people said of {len(spoken)} images" in known["judged-2"]["words"]
    summary = json.loads((run / "summary.json").read_text())
    for name in ("kept", "relabelled", "dropped"):
        assert known["clean"][name] == known["judged-2"][name] == summary[name]
    assert known["raw"]["kept"] == summary["usable"]
    # Exported, asked about and told apart as they stood.
    here("export", run, "--format", "csv", "--out", tmp_path / "now.csv", "--version", "judged-1")
    assert (tmp_path / "now.csv").read_bytes() == (tmp_path / "then.csv").read_bytes(), exported
    with (tmp_path / "now.csv").open() as file:
        kept = {row["sample_id"] for row in csv.DictReader(file)}
    changed = json.loads(here("versions", run, "judged-1", "judged-2", "--json").stdout)
    clean = {row["sample_id"] for row in pq.read_table(run / "clean.parquet").to_pylist()}
    moved = {row["sample_id"] for row in changed if "dropped" in (row["before"], row["after"])}
    assert moved == kept ^ clean and len(moved) > 0
    asked = next(row for row in changed if row["after"] == "dropped")
    said = here("why", run, asked["sample_id"], "--version", "judged-1").stdout
    assert f"stood in judged-1, all judged, without people: {asked['before'].partition(' ')[0][:2]}" in said
    assert "dropped: " in here("versions", run, "judged-1").stdout
    # The same again is no other version, and another setting makes one.
    clean_locally(demo / "images", run, *ASKING)
    assert [*listed(run)] == [*known]
    clean_locally(demo / "images", run, *ASKING, "--set", "duplicates.similarity=0.9999", status=None)
    assert "judged-3" in listed(run)


def test_versions_that_are_not_there_are_named_and_damage_is_told(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    for words in (("versions", run, "rwa"), ("why", run, "x", "--version", "rwa")):
        assert "no version rwa (did you mean raw?)" in here(*words, status=2).stderr
    out = tmp_path / "out.csv"
    said = here("export", run, "--format", "csv", "--out", out, "--version", "judged-9", status=2).stderr
    assert "no version judged-9 (did you mean judged-1?)" in said and not out.exists()
    (run / FILE).write_text('{"name": "judged-1"}\n')
    assert f"{FILE}: line 1: is damaged" in " ".join(here("versions", run, status=2).stderr.split())


def test_what_differs_names_what_is_new_and_gone():
    def stood(*rows):
        columns = ("sample_id", "path", "label", "action", "new_label", "reason")
        return pyarrow.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows])

    one = stood(
        ("1", "a", "x", "keep", None, "r"), ("2", "b", "x", "relabel", "y", "r"), ("3", "c", "x", "drop", None, "r")
    )
    other = stood(
        ("1", "a", "x", "keep", None, "s"), ("2", "b", "x", "relabel", "z", "s"), ("4", "d", "x", "drop", None, "new")
    )
    assert [
        (row["path"], row["before"], row["after"], row["reason"]) for row in differences(one, other).to_pylist()
    ] == [
        ("b", "relabelled to y", "relabelled to z", "s"),
        ("c", "dropped", None, None),
        ("d", None, "dropped", "new"),
    ]
