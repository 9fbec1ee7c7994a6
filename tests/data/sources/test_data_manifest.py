"""Data manifests: data sets read as their publishers ship them, in miniature."""

import io
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import here
from PIL import Image

from cleaner.data.sources import open_source
from cleaner.errors import SourceError

SHIPPED = Path(__file__).parents[3] / "data_manifests"


def picture(shade: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 255 - shade, 9)).save(stream, "JPEG")
    return stream.getvalue()


def put(root: Path, *paths: str) -> None:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(picture(number))


def write(root: Path, name: str, *lines: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n")


def opened(name: str, root: Path):
    return open_source(SHIPPED / f"{name}.toml", {"data_manifest": {"root": root}})


def rows(source):
    return [(row["path"], row["label"]) for row in source.listing().to_pylist()]


def images(source):
    listing = source.listing()
    return list(source.read(np.arange(len(listing)), listing.column("path").to_pylist()))


def test_every_shipped_one_says_how_to_get_what_is_not_there(tmp_path):
    names = {file.stem for file in SHIPPED.glob("*.toml")}
    assert names >= {"digits", "accv2020_webfg", "products10k", "cifar10n", "grocery", "clothing1m", "webvision"}
    for name in names:
        with pytest.raises(SourceError, match=r"does not lie in .* \(no .*\); .* or give --root"):
            opened(name, tmp_path)


def test_class_folders(tmp_path):
    put(tmp_path, "train/00000/a.jpg", "train/00001/b.jpg", "test/c.jpg")
    source = opened("accv2020_webfg", tmp_path)
    assert rows(source) == [("00000/a.jpg", "00000"), ("00001/b.jpg", "00001")]
    assert source.test is None
    assert source.unlabelled == tmp_path / "test"
    assert "ACCV 2020 WebFG has 557,169 images to train, here are 2" in source.notes()
    assert all(image[:2] == b"\xff\xd8" for image in images(source))


def test_a_csv_with_other_columns_and_images_elsewhere(tmp_path):
    put(tmp_path, "train/1.jpg", "train/2.jpg", "test/9.jpg", "test/8.jpg")
    write(tmp_path, "train.csv", "name,class,group", "1.jpg,0,5", "2.jpg,1,6")
    write(tmp_path, "test_kaggletest.csv", "name,class,group,Usage", "9.jpg,1,6,Public", "8.jpg,0,5,Private")
    source = opened("products10k", tmp_path)
    assert rows(source) == [("1.jpg", "0"), ("2.jpg", "1")]
    assert source.listing().column("group").to_pylist() == ["5", "6"]
    assert source.file("1.jpg") == tmp_path / "train" / "1.jpg"
    assert rows(source.test) == [("9.jpg", "1"), ("8.jpg", "0")]
    assert len(images(source.test)) == 2
    with pytest.raises(SourceError, match="names no unlabelled images"):
        _ = source.unlabelled


def test_lists_without_a_header_and_a_table_of_names(tmp_path):
    put(tmp_path, "train/Fruit/a.jpg", "train/Fruit/b.jpg", "test/c.jpg", "test/d.jpg")
    header = "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int)"
    write(tmp_path, "classes.csv", header, "Golden-Delicious,0,Apple,0", "Avocado,1,Avocado,1")
    write(tmp_path, "train.txt", "train/Fruit/a.jpg, 0, 0", "train/Fruit/b.jpg, 1, 1")
    write(tmp_path, "test.txt", "test/c.jpg, 1, 1", "test/d.jpg, 0, 0")
    source = opened("grocery", tmp_path)
    assert rows(source) == [("train/Fruit/a.jpg", "Golden-Delicious"), ("train/Fruit/b.jpg", "Avocado")]
    assert source.listing().column("group").to_pylist() == ["0", "1"]
    assert rows(source.test) == [("test/c.jpg", "Avocado"), ("test/d.jpg", "Golden-Delicious")]


def test_lists_of_keys_and_names_by_line(tmp_path):
    put(tmp_path, *(f"images/{name}.jpg" for name in "abcd"))
    write(tmp_path, "category_names_eng.txt", "T-Shirt", "Down Coat")
    write(tmp_path, "noisy_label_kv.txt", "images/a.jpg 0", "images/b.jpg 1", "images/c.jpg 1")
    write(tmp_path, "noisy_train_key_list.txt", "images/c.jpg", "images/a.jpg")
    write(tmp_path, "clean_label_kv.txt", "images/b.jpg 0", "images/c.jpg 0", "images/d.jpg 1")
    write(tmp_path, "clean_test_key_list.txt", "images/b.jpg", "images/d.jpg")
    source = opened("clothing1m", tmp_path)
    assert rows(source) == [("images/a.jpg", "T-Shirt"), ("images/c.jpg", "Down Coat")]
    assert rows(source.test) == [("images/b.jpg", "T-Shirt"), ("images/d.jpg", "Down Coat")]
    assert images(source) == [picture(0), picture(2)]
    assert len(source.stamps()) == 2


def test_a_list_in_another_folder_than_the_images(tmp_path):
    put(tmp_path, "google/q1/a.jpg", "google/q2/b.jpg", "val_images_256/v1.jpg", "val_images_256/v2.jpg")
    write(tmp_path, "info/train_filelist_google.txt", "google/q1/a.jpg 0", "google/q2/b.jpg  1")
    write(tmp_path, "info/val_filelist.txt", "v1.jpg 1", "v2.jpg 0")
    source = opened("webvision", tmp_path)
    assert rows(source) == [("google/q1/a.jpg", "0"), ("google/q2/b.jpg", "1")]
    assert rows(source.test) == [("v1.jpg", "1"), ("v2.jpg", "0")]


def test_image_bytes_with_a_choice_of_labels(tmp_path):
    table = pa.table(
        {"image": [picture(1), picture(2)], "clean_label": [0, 3], "aggre_label": [3, 4], "random_label1": [5, 6]}
    )
    pq.write_table(table, tmp_path / "cifar10n_train.parquet")
    pq.write_table(table, tmp_path / "cifar10_test.parquet")
    source = opened("cifar10n", tmp_path)
    assert rows(source) == [("0", "cat"), ("1", "deer")]
    assert rows(source.test) == [("0", "airplane"), ("1", "cat")]
    assert images(source) == [picture(1), picture(2)]


OWN = """
name = "Mine"
licence = "mine"
get = "ask me"
[train]
at = "all.csv"
where = {fold = "a"}
split = "fold"
"""


def test_rows_are_chosen_and_the_source_travels_to_other_processes(tmp_path):
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    write(tmp_path, "all.csv", "path,label,fold", "1.jpg,x,a", "2.jpg,y,b", "3.jpg,y,a")
    (tmp_path / "mine.toml").write_text(OWN)
    source = open_source(tmp_path / "mine.toml")
    assert rows(source) == [("1.jpg", "x"), ("3.jpg", "y")]
    assert source.listing().column("split").to_pylist() == ["a", "a"]
    there = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own
    assert images(there) == [picture(0), picture(2)]
    assert there.fingerprint(moved=True) == source.fingerprint(moved=True)
    before = source.fingerprint()
    write(tmp_path, "all.csv", "path,label,fold", "1.jpg,y,a", "2.jpg,y,b", "3.jpg,x,a")
    assert open_source(tmp_path / "mine.toml").fingerprint() != before


def test_everything_wrong_with_one_is_told_at_once(tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text('name = "x"\nlicense = "y"\nget = "z"\n[train]\natt = "a"\n')
    with pytest.raises(SourceError) as error:
        open_source(file)
    for part in ("license (did you mean licence?)", "licence is missing", "train.at is missing", "train.att"):
        assert part in str(error.value)


@pytest.mark.parametrize("path", ["../elsewhere.csv", "/etc/passwd"])
def test_paths_stay_under_the_root(tmp_path, path):
    file = tmp_path / "wrong.toml"
    file.write_text(OWN.replace("all.csv", path))
    with pytest.raises(SourceError, match="lead out of root"):
        open_source(file)


def test_a_label_without_a_name_is_refused(tmp_path):
    put(tmp_path, "1.jpg", "2.jpg")
    write(tmp_path, "all.csv", "path,label,fold", "1.jpg,0,a", "2.jpg,7,a")
    (tmp_path / "mine.toml").write_text(OWN.replace("[train]", 'classes = ["zero", "one"]\n[train]'))
    with pytest.raises(SourceError, match="labels without a name in classes: row 2"):
        open_source(tmp_path / "mine.toml")


@pytest.mark.slow
def test_the_command_cleans_what_one_describes(demo, tmp_path):
    run = tmp_path / "run"
    words = ("--root", demo, "--run", run, "--runner", "local", "--set", "features.backbone=pixels")
    here("clean", SHIPPED / "digits.toml", *words)
    kept = (run / "clean.csv").read_text().splitlines()
    assert "sample_id,path,label" in kept[0].replace('"', "")
    path = Path(kept[1].split(",")[1].strip('"'))
    assert (run / path).is_file()
