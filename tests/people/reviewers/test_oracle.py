import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cleaner.errors import InputError
from cleaner.people.review import batch
from cleaner.people.reviewers.oracle import Oracle
from cleaner.stages.small_classes import small_classes


@pytest.fixture
def asked(judged):
    tables = judged.manifest, judged.standing, judged.evidence, judged.duplicates
    shares = {"share": 0.5, "random_share": 0.0, "doubtful_share": 0.0, "max_samples": 5}
    return batch(*tables, stage="fine", seed=0, **shares)


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
    found = Oracle(truth=file).pull("any", tmp_path, asked, judged.classes).to_pylist()
    assert [f["answer"] for f in found] == ["right", "another", "junk", "junk", "unsure"]
    assert [f["new_label"] for f in found] == [None, other, None, None, None]


def test_a_class_that_nothing_truly_shows_is_removed(judged, tmp_path):
    file = tmp_path / "truth.csv"
    file.write_text("path,label\na,with space\n")
    asked = small_classes(judged.manifest, judged.standing, min_images=1000)
    found = Oracle(truth=file).pull_classes("any", tmp_path, asked).to_pylist()
    assert {f["label"] for f in found if f["answer"] == "keep"} == {"with space"}
    assert len(found) == len(asked)


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
    found = Oracle(truth=file).pull("any", tmp_path, asked, (*judged.classes, "NA")).to_pylist()
    assert found[0]["new_label"] == "NA"
