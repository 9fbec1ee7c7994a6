import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cleaner.data.exporters import export as write
from cleaner.data.exporters.csv import Csv
from cleaner.data.exporters.image_folder import ImageFolder
from cleaner.data.exporters.parquet import Parquet
from cleaner.data.scan import QUALITY_COLUMN, scan
from cleaner.data.sources import open_source
from cleaner.errors import InputError, SourceError
from cleaner.run.ledger import fold


def export(exporter, judged, out, **how):
    return write(exporter, judged.standing, judged.manifest, judged.source, out, **how).count


def scanned(path):
    source = open_source(path)
    listing = source.listing()
    manifest = scan(listing, source=source, start=0, stop=len(listing), max_pixels=10**6, workers=1).drop_columns(
        [QUALITY_COLUMN]
    )
    return fold(manifest, []), manifest, source


def encoded(colour, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, kind)
    return file.getvalue()


def clean_labels(judged):
    samples = judged.standing.to_pylist()
    return {s["sample_id"]: s["new_label"] or s["label"] for s in samples if s["action"] != "drop"}


def images_in(out):
    beside = ("classes.csv", ".cleaner-export")
    return [file for file in out.rglob("*") if file.is_file() and file.name not in beside]


def folders(out):
    """The class that each folder stands for."""
    return dict(csv.reader((out / "classes.csv").open(encoding="utf-8", newline="")))


@pytest.mark.parametrize("exporter", [Csv(), Parquet()])
def test_a_table_holds_the_samples_that_stand_with_their_clean_labels(judged, tmp_path, exporter):
    out = tmp_path / "new" / "clean"
    count = export(exporter, judged, out)
    table = pd.read_csv(out) if isinstance(exporter, Csv) else pd.read_parquet(out)
    assert list(table.columns) == ["sample_id", "path", "label", "given_label"]
    assert count == len(table) == 72
    assert dict(zip(table["sample_id"], table["label"], strict=True)) == clean_labels(judged)
    changed = table[table["given_label"].notna()]
    assert len(changed) == 8
    assert (changed["given_label"] != changed["label"]).all()


@pytest.mark.parametrize("exporter", [Csv(), Parquet()])
def test_the_paths_of_a_table_lead_from_where_it_lies_to_the_images(judged, tmp_path, exporter):
    out = tmp_path / "new" / "clean.table"
    export(exporter, judged, out)
    table = pd.read_csv(out) if isinstance(exporter, Csv) else pd.read_parquet(out)
    for path in table["path"]:
        assert path.startswith("..")
        with Image.open(out.parent / path) as image:
            assert image.size == (24, 16)
    export(exporter, judged, out, force=True, absolute=True)
    moved = pd.read_csv(out) if isinstance(exporter, Csv) else pd.read_parquet(out)
    assert all(Path(path).is_absolute() for path in moved["path"])
    assert [(out.parent / path).resolve() for path in table["path"]] == [*map(Path, moved["path"])]


def test_a_folder_of_images_has_no_paths_that_could_be_absolute(judged, tmp_path):
    with pytest.raises(InputError, match="--absolute"):
        export(ImageFolder(), judged, tmp_path / "out", absolute=True)
    assert not (tmp_path / "out").exists()


def test_images_that_lie_in_a_table_come_along_into_a_parquet_and_do_not_fit_into_a_csv(hostile, tmp_path):
    write(Parquet(), *hostile, tmp_path / "clean.parquet")
    again = open_source(tmp_path / "clean.parquet")
    before, after = hostile[2].listing(), again.listing()
    assert after.column("path").equals(before.column("path")) and after.column("label").equals(before.column("label"))
    paths = after.column("path").to_pylist()
    rows = np.arange(len(paths))
    assert list(again.read(rows, paths)) == list(hostile[2].read(rows, paths))
    with pytest.raises(InputError, match="--format parquet or image_folder"):
        write(Csv(), *hostile, tmp_path / "clean.csv")


def test_columns_of_the_source_go_along(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(4):
        (tmp_path / "photos" / f"{i}.png").write_bytes(encoded((i * 50, 0, 0)))
    rows = [f"photos/{i}.png,{'ab'[i % 2]},shop {i}" for i in range(4)]
    (tmp_path / "set.csv").write_text("\n".join(["path,label,shop", *rows]))
    write(Csv(), *scanned(tmp_path / "set.csv"), tmp_path / "clean.csv")
    assert pd.read_csv(tmp_path / "clean.csv")["shop"].tolist() == [f"shop {i}" for i in range(4)]


@pytest.mark.parametrize("exporter", [Csv(), Parquet()])
def test_a_folder_is_no_name_for_a_file(judged, tmp_path, exporter):
    with pytest.raises(InputError, match="is a folder"):
        export(exporter, judged, tmp_path)


def test_lists_do_not_fit_into_a_csv(judged, tmp_path):
    boxes = pa.array([[1, 2]] * len(judged.manifest))
    with pytest.raises(InputError, match="box: a CSV can't hold lists; use --format parquet"):
        manifest = judged.manifest.append_column("box", boxes)
        write(Csv(), judged.standing, manifest, judged.source, tmp_path / "c.csv")


@pytest.mark.parametrize("copy", [False, True])
def test_an_image_folder_reads_as_the_clean_data_set(judged, tmp_path, copy):
    out = tmp_path / "clean"
    assert export(ImageFolder(copy=copy), judged, out) == 72
    files = [file for file in out.rglob("*.png") if file.is_file()]
    assert all(file.is_symlink() != copy for file in files)
    labels = open_source(out).listing().column("label").to_pylist()
    assert sorted(folders(out)[label] for label in labels) == sorted(clean_labels(judged).values())


def test_an_image_folder_says_whether_it_linked_or_copied(judged, tmp_path):
    tables = judged.standing, judged.manifest, judged.source
    assert "72 links" in write(ImageFolder(), *tables, tmp_path / "a").words
    assert write(ImageFolder(copy=True), *tables, tmp_path / "b").words == "72 copies"


def test_splits_stay_splits(tmp_path):
    for path in ("train/a/1.png", "train/b/2.png", "val/a/3.png"):
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / path).write_bytes(encoded((len(path), 0, ord(path[-5]))))
    standing, manifest, source = scanned(tmp_path / "set")
    write(Csv(), standing, manifest, source, tmp_path / "clean.csv")
    assert pd.read_csv(tmp_path / "clean.csv")["split"].tolist() == ["train", "train", "val"]
    write(ImageFolder(), standing, manifest, source, tmp_path / "out")
    again = open_source(tmp_path / "out").listing().to_pydict()
    assert again == {"path": ["train/a/1.png", "train/b/2.png", "val/a/3.png"], "label": ["a", "b", "a"]} | {
        "split": ["train", "train", "val"]
    }


@pytest.mark.parametrize("exporter", [Parquet(), ImageFolder()])
def test_a_table_whose_rows_were_shuffled_since_is_refused(tmp_path, exporter):
    images = [encoded((i * 20, 0, 0)) for i in range(10)]
    pq.write_table(pa.table({"image": images, "label": list("ab") * 5}), tmp_path / "set.parquet")
    standing, manifest, source = scanned(tmp_path / "set.parquet")
    pq.write_table(pa.table({"image": images[::-1], "label": list("ab") * 5}), tmp_path / "set.parquet")
    with pytest.raises(SourceError, match="0: it has changed since it was scanned"):
        write(exporter, standing, manifest, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("copy", [False, True])
def test_a_file_that_was_replaced_since_is_refused(tmp_path, copy):
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).write_bytes(encoded((len(name), 0, ord(name[0]))))
    tables = scanned(tmp_path / "set")
    (tmp_path / "set" / "b/2.png").write_bytes(encoded((1, 2, 3), "JPEG"))
    with pytest.raises(SourceError, match="changed since it was scanned"):
        write(ImageFolder(copy=copy), *tables, tmp_path / "out")


HOSTILE = ["..", "../../out", "/etc", "a/b", "a", "nul\x00byte", ".", "x" * 300, "back\\slash"]


@pytest.fixture
def hostile(tmp_path):
    """Images inside a table, with paths and labels that want to get out."""
    paths = [*(f"../../{i}.bin" for i in range(len(HOSTILE) - 3)), "same", "same.jpg", "b"]
    images = [encoded((i * 20, 0, 0), "JPEG" if i % 2 else "PNG") for i in range(len(HOSTILE))]
    pictures = [{"bytes": image, "path": path} for image, path in zip(images, paths, strict=True)]
    pq.write_table(pa.table({"image": pictures, "label": HOSTILE}), tmp_path / "set.parquet")
    return scanned(tmp_path / "set.parquet")


def test_nothing_escapes_the_folder_whatever_classes_and_files_are_called(hostile, tmp_path):
    out = tmp_path / "deep" / "er" / "out"
    before = set(tmp_path.rglob("*"))
    assert write(ImageFolder(), *hostile, out).count == len(HOSTILE)
    new = set(tmp_path.rglob("*")) - before - {tmp_path / "deep", tmp_path / "deep" / "er", out}
    assert all(out in path.parents for path in new)
    assert len([path for path in new if path.is_file()]) == len(HOSTILE) + 2
    assert {path.parent.parent for path in images_in(out)} == {out}
    assert sorted(folders(out).values()) == sorted(["label", *hostile[1].column("label").to_pylist()])


def test_images_from_a_table_get_the_suffix_of_their_format(hostile, tmp_path):
    write(ImageFolder(), *hostile, tmp_path / "out")
    for file in images_in(tmp_path / "out"):
        with Image.open(file) as image:
            assert file.suffix == {"PNG": ".png", "JPEG": ".jpg"}[image.format]


def test_files_of_one_name_in_one_class_both_stay(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photo.png").write_bytes(encoded((len(folder), 0, ord(folder))))
    (tmp_path / "set.csv").write_text("path,label\nx/photo.png,a\ny/photo.png,a\ny/z.png,b\n")
    (tmp_path / "y" / "z.png").write_bytes(encoded((9, 9, 9)))
    write(ImageFolder(), *scanned(tmp_path / "set.csv"), tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out" / "a").iterdir()) == ["photo-2.png", "photo.png"]
