import csv
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import NASTY, pages_of

from cleaner.errors import InputError
from cleaner.methods.small_classes import small_classes
from cleaner.people.reviewers.oracle import Oracle


@pytest.fixture
def asked(judged):
    return judged.batch(count=5)


def truth_for(asked, other):
    samples = asked.to_pylist()
    labels = [samples[0]["label"], other, "", "no class of the data set"]
    return pa.table({"path": [s["path"] for s in samples[:4]], "label": labels}), samples


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_oracle_answers_what_is_true(judged, asked, tmp_path, form):
    samples = asked.to_pylist()
    other = next(name for name in judged.classes if name != samples[1]["label"])
    truth, samples = truth_for(asked, other)
    file = tmp_path / f"truth.{form}"
    truth.to_pandas().to_csv(file, index=False) if form == "csv" else pq.write_table(truth, file)
    found = Oracle(truth=file).pull(judged.asking(asked, tmp_path), print).to_pylist()
    assert [f["answer"] for f in found] == ["right", "another", "junk", "junk", "unsure"]
    assert [f["new_label"] for f in found] == [None, other, None, None, None]


def test_in_pages_the_oracle_marks_what_does_not_belong(judged, asked, tmp_path):
    truth, _ = truth_for(asked, next(name for name in judged.classes if name != asked.column("label")[1].as_py()))
    truth.to_pandas().to_csv(tmp_path / "truth.csv", index=False)
    paged = pages_of(judged, asked)
    found = Oracle(truth=tmp_path / "truth.csv").pull(judged.asking(paged, tmp_path), print).to_pylist()
    said = {answer["sample_id"]: answer["answer"] for answer in found}
    wanted = dict(zip(asked.column("sample_id").to_pylist(), ["right", *["wrong"] * 3, "unsure"], strict=True))
    assert said == wanted and {answer["new_label"] for answer in found} == {None}


def test_a_class_is_removed_that_nothing_truly_shows_of_which_the_oracle_knows_a_sample(judged, tmp_path):
    first = {sample["label"]: sample["path"] for sample in judged.manifest.to_pylist()}
    wrong, right, *unknown = judged.classes
    file = tmp_path / "truth.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([("path", "label"), (first[wrong], right), (first[right], right)])
    asked = small_classes(judged.manifest, judged.standing, min_images=1000)
    found = Oracle(truth=file).pull_classes(judged.asking(asked, tmp_path), print).to_pylist()
    assert {f["label"]: f["answer"] for f in found} == {wrong: "remove", right: "keep"} | dict.fromkeys(unknown, "keep")


def test_a_truth_that_covers_nothing_is_refused_with_an_example_of_both_sides(judged, tmp_path):
    file = tmp_path / "truth.csv"
    file.write_text("path,label\nelsewhere/1.png,with space\n")
    listing = judged.source.listing()
    with pytest.raises(
        InputError, match=rf"covers none of the data set's 81 samples.*elsewhere/1\.png.*{re.escape(NASTY)}/00"
    ):
        Oracle(truth=file).check(listing)


@pytest.mark.parametrize("key", ["path", "sample_id"])
def test_a_truth_that_covers_a_part_says_how_much(judged, tmp_path, key):
    known = judged.manifest.slice(0, 7).select([key, "label"])
    pq.write_table(known, tmp_path / "truth.parquet")
    assert "covers 7 of 81 samples" in Oracle(truth=tmp_path / "truth.parquet").check(judged.source.listing())
    pq.write_table(judged.manifest.select([key, "label"]), tmp_path / "whole.parquet")
    assert Oracle(truth=tmp_path / "whole.parquet").check(judged.source.listing()) == ""


def test_a_truth_that_is_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        Oracle(truth=tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("file,label\na,b\n", "wants the columns path"),
        ("path,label\na,b\na,c\n", "path a has two different labels"),
        ("", "can't be read as a table"),
    ],
)
def test_a_truth_that_is_none_is_refused_before_anything_begins(tmp_path, content, complaint):
    file = tmp_path / "truth.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=complaint):
        Oracle(truth=file)


def test_a_missing_truth_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        Oracle(truth=tmp_path / "none.csv")


def test_names_that_look_like_missing_values_and_numbers_stay_text(judged, asked, tmp_path):
    path = asked.column("path")[0].as_py()
    file = tmp_path / "truth.csv"
    file.write_text(f"path,label\n{path},NA\nother,007\n")
    labels = ["NA", *judged.manifest.column("label").to_pylist()[1:]]
    place = judged.manifest.column_names.index("label")
    manifest = judged.manifest.set_column(place, "label", pa.array(labels))
    batch = replace(judged.asking(asked, tmp_path), manifest=manifest)
    found = Oracle(truth=file).pull(batch, print).to_pylist()
    assert found[0]["new_label"] == "NA"


def test_what_is_missing_of_an_oracle_was_withdrawn_and_it_says_what_brings_it_back(tmp_path):
    (tmp_path / "truth.csv").write_text("path,label\na,b\n")
    said = Oracle(truth=tmp_path / "truth.csv").todo("review-1", tmp_path)
    assert "`cleaner review RUN --withdraw withdrawal=N` takes a withdrawal back, and `--close` waits no more" in said
