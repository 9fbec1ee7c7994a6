import json
import os
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleaner.data.sources import open_source, parquet_images
from cleaner.errors import SourceError

IMAGES = [f"image {number}".encode() for number in range(100)]
NAMES = ["red apple", "梨", "milk/oat"]


def write(file, *, metadata=None, row_group_size=None, **columns):
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file, row_group_size=row_group_size)
    return file


def as_structs(images):
    return pa.array([{"bytes": image, "path": "x.jpg"} for image in images])


def read_all(source):
    paths = source.listing().column("path").to_pylist()
    return list(source.read(np.arange(len(paths)), paths))


def labels(count):
    return [number % 3 for number in range(count)]


@pytest.mark.parametrize(
    "images",
    [pa.array(IMAGES), pa.array(IMAGES, pa.large_binary()), as_structs(IMAGES)],
    ids=["bytes", "large bytes", "hugging face"],
)
def test_images_are_read_from_the_column_of_bytes(images, tmp_path):
    file = write(tmp_path / "x.parquet", image=images, label=labels(100), more=list(range(100)))
    source = open_source(file)
    assert read_all(source) == IMAGES
    assert source.listing().column_names == ["path", "label", "more"]
    assert source.file("0") is None


def test_without_a_path_column_the_path_is_the_row_number(tmp_path):
    source = open_source(write(tmp_path / "x.parquet", picture=IMAGES[:3], label=labels(3)))
    assert source.listing().to_pydict() == {"path": ["0", "1", "2"], "label": ["0", "1", "2"]}


def test_a_path_column_names_the_samples(tmp_path):
    file = write(tmp_path / "x.parquet", label=["a", "b"], image=IMAGES[:2], path=["p/1.jpg", "/abs.jpg"])
    assert open_source(file).listing().column("path").to_pylist() == ["p/1.jpg", "/abs.jpg"]


def hugging_face(names):
    described = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    return {"huggingface": json.dumps(described)}


def test_hugging_face_class_names_are_used(tmp_path):
    file = write(tmp_path / "x.parquet", metadata=hugging_face(NAMES), image=as_structs(IMAGES[:4]), label=[2, 0, 1, 2])
    assert open_source(file).listing().column("label").to_pylist() == ["milk/oat", "red apple", "梨", "milk/oat"]


def test_a_number_without_a_class_name_is_an_empty_label(tmp_path):
    file = write(tmp_path / "x.parquet", metadata=hugging_face(NAMES), image=IMAGES[:4], label=[2, -1, 1, 3])
    with pytest.raises(SourceError, match="empty label: row 2, row 4"):
        open_source(file)


@pytest.mark.parametrize("metadata", ["no json", "[]", '{"info": null}', '{"info": {"features": {"label": {}}}}'])
def test_other_metadata_leaves_numbers_as_they_are(metadata, tmp_path):
    file = write(tmp_path / "x.parquet", metadata={"huggingface": metadata}, image=IMAGES[:3], label=[2, 0, 1])
    assert open_source(file).listing().column("label").to_pylist() == ["2", "0", "1"]


@given(st.sets(st.integers(0, 99)), st.sampled_from([1, 7, 40, 100]))
@settings(max_examples=40, deadline=None)
def test_any_ascending_rows_are_read_in_order(tmp_path_factory, chosen, row_group_size):
    file = tmp_path_factory.mktemp("rows") / "x.parquet"
    source = open_source(write(file, image=IMAGES, label=labels(100), row_group_size=row_group_size))
    rows = np.array(sorted(chosen), np.int32)
    assert list(source.read(rows, [str(row) for row in rows])) == [IMAGES[row] for row in rows]


def test_a_folder_of_parquet_files_is_one_data_set_in_the_order_of_names(tmp_path):
    write(tmp_path / "b.parquet", image=IMAGES[40:], label=labels(60), row_group_size=25)
    write(tmp_path / "a.parquet", image=IMAGES[:40], label=labels(40))
    (tmp_path / "README.md").write_text("about")
    source = open_source(tmp_path)
    assert read_all(source) == IMAGES
    assert list(source.read(np.array([39, 40, 99]), [])) == [IMAGES[39], IMAGES[40], IMAGES[99]]


def test_a_null_image_is_an_empty_one(tmp_path):
    images = pa.array([{"bytes": None, "path": "x"}, {"bytes": b"y", "path": None}, None])
    assert read_all(open_source(write(tmp_path / "x.parquet", image=images, label=labels(3)))) == [b"", b"y", b""]


def test_of_several_columns_of_bytes_image_is_taken(tmp_path):
    source = open_source(write(tmp_path / "x.parquet", mask=IMAGES[3:6], image=IMAGES[:3], label=labels(3)))
    assert read_all(source) == IMAGES[:3]
    assert source.listing().column_names == ["path", "label"]


BAD = {
    "unclear": (
        {"a": IMAGES[:2], "b": IMAGES[:2], "label": [0, 1]},
        r"not clear which .*: a, b\); name it image",
    ),
    "no label": ({"image": IMAGES[:2], "labels": [0, 1]}, r"no column label \(did you mean labels\?\)"),
    "one class": ({"image": IMAGES[:2], "label": [1, 1]}, "all images are of one class, 1"),
    "no images": ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "no images"),
    "null label": ({"image": IMAGES[:3], "label": [0, None, 1]}, "empty label: row 2; give each image a label"),
    "null path": ({"image": IMAGES[:2], "label": [0, 1], "path": ["x", None]}, "empty path: row 2"),
    "same path": ({"image": IMAGES[:2], "label": [0, 1], "path": ["x", "x"]}, "the same path again: row 2"),
}


@pytest.mark.parametrize(("columns", "complaint"), BAD.values(), ids=BAD)
def test_a_parquet_that_is_no_data_set_says_why(columns, complaint, tmp_path):
    with pytest.raises(SourceError, match=complaint):
        open_source(write(tmp_path / "x.parquet", **columns))


def test_parquet_files_of_different_columns_say_so(tmp_path):
    write(tmp_path / "a.parquet", image=IMAGES[:2], label=[0, 1])
    write(tmp_path / "b.parquet", image=IMAGES[:2], label=[0, 1], more=[1, 2])
    with pytest.raises(SourceError, match="differ in their columns"):
        open_source(tmp_path)


def test_the_fingerprint_changes_with_labels_and_images_and_stays_when_the_file_moves(tmp_path):
    def of(name, **columns):
        file = write(tmp_path / name, **columns)
        os.utime(file, (1, 1))
        return open_source(file).fingerprint(moved=True)

    first = of("x.parquet", image=IMAGES[:3], label=[0, 1, 2])
    assert of("moved.parquet", image=IMAGES[:3], label=[0, 1, 2]) == first
    assert of("y.parquet", image=IMAGES[:3], label=[0, 2, 1]) != first
    assert of("z.parquet", image=[*IMAGES[:2], b"longer"], label=[0, 1, 2]) != first


def test_the_source_pickles(tmp_path):
    source = open_source(write(tmp_path / "x.parquet", image=IMAGES[:3], label=labels(3)))
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301


def test_who_reads_on_where_it_stopped_decodes_nothing_twice(tmp_path, monkeypatch):
    count = 500
    images = [bytes([n % 251]) * 50 for n in range(count)]
    pq.write_table(pa.table({"image": images, "label": list("ab") * (count // 2)}), tmp_path / "x.parquet")
    source, decoded = open_source(tmp_path / "x.parquet"), []
    batches = parquet_images._batches
    monkeypatch.setattr(parquet_images, "_batches", lambda group: (decoded.append(b) or b for b in batches(group)))
    for start in range(0, count, 45):
        rows = np.arange(start, min(start + 45, count))
        assert list(source.read(rows, [str(row) for row in rows])) == [images[row] for row in rows]
    assert sum(map(len, decoded)) == count
    assert list(source.read(np.array([3, 400]), ["3", "400"])) == [images[3], images[400]]
    again = source.read(np.arange(10), [])
    assert [next(again), *source.read(np.arange(2), []), *again] == [images[n] for n in (0, 0, 1, *range(1, 10))]
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301


def test_files_that_are_called_as_splits_are_splits_also_in_a_repository_of_hugging_face_s(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("# a data set")
    for part, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")):
        write(tmp_path / "data" / f"{name}.parquet", image=IMAGES[3 * part : 3 * part + 3], label=labels(3))
    for place in (tmp_path, tmp_path / "data"):
        source = open_source(place)
        assert source.listing().column("split").to_pylist() == ["test"] * 3 + ["train"] * 6
        assert source.notes() == ["read as splits: test, train"]
        assert read_all(source) == [*IMAGES[6:9], *IMAGES[:6]]


@pytest.mark.parametrize("names", [("train-1", "part-2"), ("train-00000-of-00002", "train-00001-of-00002")])
def test_files_of_other_names_are_no_splits(tmp_path, names):
    for name in names:
        write(tmp_path / f"{name}.parquet", image=IMAGES[:3], label=labels(3))
    assert "split" not in open_source(tmp_path).listing().column_names
