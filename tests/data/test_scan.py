from functools import partial
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cleaner.data.images import resized
from cleaner.data.scan import QUALITY_COLUMN, load, sample_id, scan
from cleaner.data.sources import open_source
from cleaner.errors import SourceError
from cleaner.progress import listening
from cleaner.tables import MANIFEST

LIMIT = 10_000


def png(shade: int, size: tuple[int, int] = (12, 8)) -> bytes:
    stream = BytesIO()
    Image.new("L", size, shade).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def source(tmp_path):
    """Forty images, of which row 3 is empty, row 5 is text and row 7 a bomb; image n is of the shade n."""
    images = [png(shade) for shade in range(40)]
    images[3], images[5], images[7] = b"", b"some text", png(0, (200, 200))
    columns = {"image": images, "label": [n % 2 for n in range(40)], "mode": ["theirs"] * 40, "split": ["train"] * 40}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet", row_group_size=7)
    return open_source(tmp_path / "x.parquet")


def scanned(source, start=0, stop=40):
    return scan(source.listing(), source=source, start=start, stop=stop, max_pixels=LIMIT, workers=2)


def test_a_manifest_has_the_facts_of_each_image_and_the_listings_other_columns(source):
    manifest = scanned(source)
    assert manifest.schema.names == [*MANIFEST.names, "source_mode", "split", QUALITY_COLUMN]
    row = manifest.slice(20, 1).to_pylist()[0]
    assert (row["path"], row["label"], row["width"], row["height"], row["mode"]) == ("20", "0", 12, 8, "L")
    assert (row["bytes"], row["problem"], row["source_mode"]) == (len(png(20)), None, "theirs")


def test_an_image_that_cannot_be_used_has_a_problem(source):
    problems = scanned(source).column("problem").to_pylist()
    assert {n: problem for n, problem in enumerate(problems) if problem} == {
        3: "empty file",
        5: "no image",
        7: f"more than {LIMIT:,} pixels: the setting scan.max_pixels, if it is meant",
    }


def test_shards_are_the_whole_manifest(source):
    whole = scanned(source)
    assert pa.concat_tables([scanned(source, 0, 13), scanned(source, 13, 26), scanned(source, 26, 40)]) == whole


def test_a_column_never_takes_the_name_of_another(tmp_path):
    columns = {"image": [png(0), png(1)], "label": ["a", "b"], "width": [1, 2], "source_width": [3, 4]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    manifest = scan(source.listing(), source=source, start=0, stop=2, max_pixels=LIMIT, workers=1)
    assert manifest.column("width").to_pylist() == [12, 12]
    assert manifest.column("source_width").to_pylist() == [3, 4]
    assert manifest.column("source_source_width").to_pylist() == [1, 2]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(9))
    (tmp_path / "a/2.png").symlink_to("nowhere")
    source = open_source(tmp_path)
    manifest = scan(source.listing(), source=source, start=0, stop=3, max_pixels=LIMIT, workers=2)
    lost = manifest.slice(1, 1).to_pylist()[0]
    assert (lost["path"], lost["bytes"], lost["content_hash"]) == ("a/2.png", None, None)
    assert lost["problem"] == "can't be read: No such file or directory"


def test_a_sample_id_depends_on_the_path_alone():
    assert sample_id("a/梨.jpg") == sample_id("a/梨.jpg") != sample_id("b/梨.jpg")
    assert len(sample_id("x")) == 16


def test_scanning_tells_how_far_it_is(source):
    heard = []
    with listening(lambda *told: heard.append(told)):
        scanned(source, 30, 40)
    assert heard[0] == ("images scanned", 0, 10)
    assert heard[-1] == ("images scanned", 10, 10)


def test_images_are_loaded_in_order(source):
    rows = np.array([0, 1, 8, 20, 39], np.int32)
    images = list(load(source, scanned(source), rows, read=partial(resized, side=6, max_pixels=LIMIT), workers=3))
    assert [image.shape for image in images] == [(6, 6, 3)] * 5
    assert [int(image[0, 0, 0]) for image in images] == rows.tolist()


def test_loading_may_stop_early(source):
    images = load(
        source,
        scanned(source),
        np.arange(8, 40, dtype=np.int32),
        read=partial(resized, side=6, max_pixels=LIMIT),
        workers=2,
    )
    assert next(images)[0, 0, 0] == 8
    images.close()


def test_an_image_that_was_lost_after_the_scan_is_named(source):
    with pytest.raises(SourceError, match=r"^5: could be read when .*no image.*put the image back"):
        list(
            load(
                source,
                scanned(source),
                np.array([4, 5], np.int32),
                read=partial(resized, side=6, max_pixels=LIMIT),
                workers=2,
            )
        )
