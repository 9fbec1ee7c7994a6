import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cleaner.data.exporters.csv import Csv
from cleaner.data.exporters.image_folder import ImageFolder
from cleaner.data.exporters.parquet import Parquet
from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.errors import InputError
from cleaner.run.ledger import fold


def export(exporter, judged, out):
    return exporter.export(judged.standing, judged.manifest, judged.source, out)


def scanned(path):
    source = open_source(path)
    listing = source.listing()
    manifest = scan(listing, source=source, start=0, stop=len(listing), max_pixels=10**6, workers=1)
    return fold(manifest, []), manifest, source


def encoded(colour, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, kind)
    return file.getvalue()


def clean_labels(judged):
    samples = judged.standing.to_pylist()
    return {s["path"]: s["new_label"] or s["label"] for s in samples if s["action"] != "drop"}


@pytest.mark.parametrize("exporter", [Csv(), Parquet()])
def test_a_table_holds_the_samples_that_stand_with_their_clean_labels(judged, tmp_path, exporter):
    out = tmp_path / "new" / "clean"
    count = export(exporter, judged, out)
    table = pd.read_csv(out) if isinstance(exporter, Csv) else pd.read_parquet(out)
    assert list(table.columns) == ["sample_id", "path", "label"]
    assert count == len(table) == 72
    assert dict(zip(table["path"], table["label"], strict=True)) == clean_labels(judged)


def test_columns_of_the_source_go_along(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(encoded((i * 50, 0, 0)))
    rows = [f"{i}.png,{'ab'[i % 2]},shop {i}" for i in range(4)]
    (tmp_path / "set.csv").write_text("\n".join(["path,label,shop", *rows]))
    Csv().export(*scanned(tmp_path / "set.csv"), tmp_path / "clean.csv")
    assert pd.read_csv(tmp_path / "clean.csv")["shop"].tolist() == [f"shop {i}" for i in range(4)]


@pytest.mark.parametrize("exporter", [Csv(), Parquet()])
def test_a_folder_is_no_name_for_a_file(judged, tmp_path, exporter):
    with pytest.raises(InputError, match="is a folder"):
        export(exporter, judged, tmp_path)


def test_lists_do_not_fit_into_a_csv(judged, tmp_path):
    boxes = pa.array([[1, 2]] * len(judged.manifest))
    with pytest.raises(InputError, match="box: a CSV can't hold lists; use --format parquet"):
        Csv().export(judged.standing, judged.manifest.append_column("box", boxes), judged.source, tmp_path / "c.csv")


@pytest.mark.parametrize("copy", [False, True])
def test_an_image_folder_reads_as_the_clean_data_set(judged, tmp_path, copy):
    out = tmp_path / "clean"
    assert export(ImageFolder(copy=copy), judged, out) == 72
    files = [file for file in out.rglob("*") if file.is_file()]
    assert all(file.is_symlink() != copy for file in files)
    labels = open_source(out).listing().column("label").to_pylist()
    assert sorted(labels) == sorted(clean_labels(judged).values())


def test_an_image_folder_is_written_whole_or_not_at_all(judged, tmp_path):
    out = tmp_path / "clean"
    (tmp_path / ".clean.cleaner-partial" / "left").mkdir(parents=True)
    export(ImageFolder(), judged, out)
    assert [path.name for path in tmp_path.iterdir()] == ["clean"]
    assert not (out / "left").exists()


def test_what_lies_there_is_never_overwritten(judged, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        export(ImageFolder(), judged, tmp_path)
    with pytest.raises(InputError, match="not empty"):
        export(ImageFolder(), judged, tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


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
    assert ImageFolder().export(*hostile, out) == len(HOSTILE)
    new = set(tmp_path.rglob("*")) - before - {tmp_path / "deep", tmp_path / "deep" / "er", out}
    assert all(out in path.parents for path in new)
    assert len([path for path in new if path.is_file()]) == len(HOSTILE)


def test_images_from_a_table_get_the_suffix_of_their_format(hostile, tmp_path):
    ImageFolder().export(*hostile, tmp_path / "out")
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            with Image.open(file) as image:
                assert file.suffix == {"PNG": ".png", "JPEG": ".jpg"}[image.format]


def test_files_of_one_name_in_one_class_both_stay(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photo.png").write_bytes(encoded((len(folder), 0, ord(folder))))
    (tmp_path / "set.csv").write_text("path,label\nx/photo.png,a\ny/photo.png,a\nz.png,b\n")
    (tmp_path / "z.png").write_bytes(encoded((9, 9, 9)))
    ImageFolder().export(*scanned(tmp_path / "set.csv"), tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out" / "a").iterdir()) == ["photo-2.png", "photo.png"]
