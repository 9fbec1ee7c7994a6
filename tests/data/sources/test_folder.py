import importlib
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.data.sources.folder import Folder
from cleaner.errors import SourceError


def put(root, *paths, data=b"bytes"):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def rows(source):
    listing = source.listing()
    return dict(zip(listing.column("path").to_pylist(), listing.column("label").to_pylist(), strict=True))


def problems(source):
    count = len(source.listing())
    found = scan(source.listing(), source=source, start=0, stop=count, max_pixels=10**6, workers=1)
    return found.column("problem").to_pylist()


def read_all(source):
    paths = source.listing().column("path").to_pylist()
    return list(source.read(np.arange(len(paths)), paths))


def test_a_class_is_the_first_folder_on_the_way_as_torchvision_has_it(tmp_path):
    put(tmp_path, "red apple/1.jpg", "梨/2.jpg", "milk/a/b/3.png", "milk/4.png")
    found = rows(open_source(tmp_path))
    assert found == {"milk/4.png": "milk", "milk/a/b/3.png": "milk", "red apple/1.jpg": "red apple", "梨/2.jpg": "梨"}
    importlib.import_module("cleaner.evidence.networks")  # mends torchvision's import beside a torch for CPUs only
    peer = importlib.import_module("torchvision.datasets").ImageFolder(str(tmp_path))
    assert {Path(file).relative_to(tmp_path).as_posix(): peer.classes[number] for file, number in peer.samples} == found


def test_a_deeper_class_depth_makes_classes_of_more_folders(tmp_path):
    put(tmp_path, "fruit/apple/1.jpg", "fruit/pear/x/2.jpg", "fruit/3.jpg")
    source = open_source(tmp_path, {"folder": {"class_depth": 2}})
    assert rows(source) == {"fruit/3.jpg": "", "fruit/apple/1.jpg": "fruit/apple", "fruit/pear/x/2.jpg": "fruit/pear"}
    assert "no label" in problems(source)[0]


def test_folders_of_splits_are_no_classes(tmp_path):
    put(tmp_path, "train/Daisy/1.jpg", "train/Rose/2.jpg", "Val/Daisy/3.jpg", "test/4.jpg", "other/Daisy/5.jpg")
    source = open_source(tmp_path)
    listing = source.listing().to_pydict()
    assert listing["path"] == ["Val/Daisy/3.jpg", "train/Daisy/1.jpg", "train/Rose/2.jpg"]
    assert listing["label"] == ["Daisy", "Daisy", "Rose"]
    assert listing["split"] == ["Val", "train", "train"]
    assert source.notes() == [
        "folders left out: other (beside the splits), test (beside the splits)",
        "read as splits, not as classes: Val, train",
    ]


@pytest.mark.parametrize(
    "tops", [("Training", "Testing"), ("train", "dev"), ("train_data", "test_data"), ("images-train", "images-val2017")]
)
def test_splits_are_known_by_whatever_they_are_called(tmp_path, tops):
    source = open_source(
        put(tmp_path, *(f"{top}/{name}/{number}.jpg" for top in tops for number, name in enumerate("ab")))
    )
    assert set(source.listing().column("split").to_pylist()) == set(tops)
    assert set(rows(source).values()) == {"a", "b"}
    assert f"read as splits, not as classes: {', '.join(sorted(tops))}" in source.notes()


@pytest.mark.parametrize(
    "paths",
    [("train/1.jpg", "test/2.jpg"), ("train/red/1.jpg", "test/blue/2.jpg"), ("Trainset/1.jpg", "Testset/b/2.jpg")],
    ids=["no classes within", "other classes within", "classes in one"],
)
def test_folders_with_the_names_of_splits_that_can_be_none_are_refused(tmp_path, paths):
    with pytest.raises(SourceError, match=r"are called as splits are, but .*rename them"):
        open_source(put(tmp_path, *paths))


def test_a_class_among_others_may_be_called_as_a_split_is_and_it_is_said(tmp_path):
    source = open_source(put(tmp_path, "train/1.jpg", "truck/2.jpg", "test/3.jpg"))
    assert set(rows(source).values()) == {"train", "truck", "test"}
    assert "taken for classes though they are called as splits are: test, train" in source.notes()


@pytest.mark.parametrize("top", ["train", "data"])
def test_one_level_too_high_is_told_with_what_to_do(tmp_path, top):
    put(tmp_path, f"{top}/cat/1.jpg", f"{top}/dog/2.jpg")
    remedy = rf"holds the folders cat, dog: give {tmp_path}/{top}, or --set folder\.class_depth=2"
    with pytest.raises(SourceError, match=f"all images are of one class, {top}.*{remedy}"):
        open_source(tmp_path)
    assert set(rows(open_source(tmp_path / top)).values()) == {"cat", "dog"}


def test_folders_of_the_same_names_within_all_classes_are_said(tmp_path):
    notes = open_source(put(tmp_path, "2019/cat/1.jpg", "2019/dog/2.jpg", "2020/cat/3.jpg", "2020/dog/3.jpg")).notes()
    assert "2019, 2020: taken for classes, though each holds the folders cat, dog" in notes[0]
    assert open_source(put(tmp_path / "fine", "apple/shop 3/1.jpg", "pear/shop 4/2.jpg")).notes() == []


SYSTEMS = ("@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "lost+found", "@Recycle")


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("place", ["", "a/"])
def test_what_systems_put_beside_images_is_no_class_and_no_image(tmp_path, name, place):
    put(tmp_path, "a/1.jpg", "b/2.jpg", f"{place}{name}/1.jpg/SYNOPHOTO_THUMB_M.jpg", f"{place}{name}/old/deleted.jpg")
    source = open_source(tmp_path)
    assert rows(source) == {"a/1.jpg": "a", "b/2.jpg": "b"}
    assert source.notes() == [f"folders left out: {place}{name} (a system's)"]


def test_classes_without_an_image_are_named(tmp_path):
    put(tmp_path, "a/1.jpg", "b/2.jpg", "notes/read.txt")
    (tmp_path / "empty").mkdir()
    assert open_source(tmp_path).notes() == ["classes without an image, left out: empty, notes"]
    put(tmp_path / "split", "train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/b/1.jpg")
    (tmp_path / "split" / "train" / "c").mkdir()
    assert "classes without an image, left out: c" in open_source(tmp_path / "split").notes()


def test_what_is_left_out_and_what_looks_like_one_class_is_told(tmp_path):
    put(tmp_path, "Daisy/1.jpg", "daisy /2.jpg", " Daisy/3.jpg", "rose/4.jpg", "rose/.cache/5.jpg")
    left_out, alike = open_source(tmp_path).notes()
    assert left_out == "folders left out: rose/.cache (hidden)"
    assert "Daisy (2) and daisy (1)" in alike


def test_the_listing_is_sorted_and_read_in_order(tmp_path):
    for name in ("b/2", "a/9", "a/10", "b/1"):
        put(tmp_path, name, data=name.encode())
    source = open_source(tmp_path)
    assert list(rows(source)) == ["a/10", "a/9", "b/1", "b/2"]
    assert read_all(source) == [b"a/10", b"a/9", b"b/1", b"b/2"]
    assert list(source.read(np.array([1, 3]), ["a/9", "b/2"])) == [b"a/9", b"b/2"]
    assert source.file("a/9").read_bytes() == b"a/9"


def test_hidden_files_and_what_lies_beside_images_are_left_out(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.jpg", "a/.DS_Store", ".git/x.jpg", "a/Thumbs.db", "a/notes.TXT", "README.md", "l.csv")
    assert list(rows(open_source(tmp_path))) == ["a/1.jpg", "b/1.jpg"]


def test_other_files_are_samples_whatever_their_name(tmp_path):
    put(tmp_path, "a/1", "a/film.mp4", "b/1.jpg")
    assert list(rows(open_source(tmp_path))) == ["a/1", "a/film.mp4", "b/1.jpg"]


def test_an_image_beside_the_class_folders_is_a_sample_that_cannot_be_read(tmp_path):
    source = open_source(put(tmp_path, "a/1.jpg", "b/1.jpg", "stray.jpg"))
    assert rows(source)["stray.jpg"] == ""
    assert "no label" in problems(source)[2]


def test_a_link_to_a_file_is_followed_and_a_broken_one_gives_its_error(tmp_path):
    put(tmp_path, "store/1.jpg", "data/a/2.jpg")
    (tmp_path / "data/b").mkdir()
    (tmp_path / "data/b/1.jpg").symlink_to(tmp_path / "store/1.jpg")
    (tmp_path / "data/b/9.jpg").symlink_to(tmp_path / "store/none.jpg")
    source = open_source(tmp_path / "data")
    assert list(rows(source)) == ["a/2.jpg", "b/1.jpg", "b/9.jpg"]
    assert read_all(source)[:2] == [b"bytes", b"bytes"]
    assert isinstance(read_all(source)[2], FileNotFoundError)


def test_links_around_in_circles_end(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self")
    assert [path for path in rows(open_source(tmp_path)) if "up" in path] == []


def test_a_pipe_among_the_images_is_left_out(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    os.mkfifo(tmp_path / "a/pipe.jpg")
    assert len(rows(open_source(tmp_path))) == 2


def test_a_name_that_is_no_utf8_is_shown_with_escapes_and_cannot_be_read(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    try:
        (tmp_path / "b" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    source = open_source(tmp_path)
    (tmp_path / "b" / "caf\\xe9.jpg").write_bytes(b"y")
    source = open_source(tmp_path)
    assert list(rows(source))[2:] == ["b/caf\\xe9.jpg", "b/caf\\xe9.jpg (no UTF-8)"]
    assert read_all(source)[2] == b"y"
    assert isinstance(read_all(source)[3], OSError)


@pytest.mark.parametrize("kind", [pytest.param(shutil.move, id="moved"), pytest.param(shutil.copytree, id="copied")])
def test_the_fingerprint_stays_when_the_data_set_is(kind, tmp_path):
    put(tmp_path, "old/a/1.jpg", "old/b/1.jpg")
    before = open_source(tmp_path / "old").fingerprint(moved=True)
    kind(tmp_path / "old", tmp_path / "new")
    assert open_source(tmp_path / "new").fingerprint(moved=True) == before
    assert len(before) == 12


@pytest.mark.parametrize("path", ["a/2.jpg", "c/1.jpg", "b/1.jpg"])
def test_the_fingerprint_changes_with_files_and_sizes(path, tmp_path):
    before = open_source(put(tmp_path, "a/1.jpg", "b/1.jpg")).fingerprint()
    assert open_source(put(tmp_path, path, data=b"longer than before")).fingerprint() != before


def test_a_folder_pickles(tmp_path):
    source = open_source(put(tmp_path, "a/1.jpg", "b/1.jpg"))
    again = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert again == source
    assert again.listing() == source.listing()


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        ([], "no images"),
        (["a/notes.txt", "b/table.csv"], "no images"),
        (["a/1.jpg", "a/2.jpg"], "all images are of one class, a; it needs at least two classes"),
        (["1.jpg", "2.jpg"], "images without a class: 1.jpg, 2.jpg; put each into a folder"),
        (["1.jpg", "2.jpg", "3.jpg", "4.jpg"], r"1.jpg, 2.jpg, 3.jpg \(4 in all\)"),
    ],
    ids=["nothing", "no images", "one class", "no class", "no class, many"],
)
def test_a_folder_that_is_no_data_set_says_why(paths, complaint, tmp_path):
    with pytest.raises(SourceError, match=complaint):
        open_source(put(tmp_path, *paths))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_says_so(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(SourceError, match="b: can't be read"):
            Folder.open(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o700)
