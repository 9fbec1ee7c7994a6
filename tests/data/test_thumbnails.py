import io
import sqlite3

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.data.thumbnails import Thumbnails


@pytest.fixture
def photos(tmp_path):
    for number in range(6):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    source = open_source(tmp_path / "photos")
    manifest = scan(source.listing(), source=source, start=0, stop=6, max_pixels=10**6, workers=1)
    return source, manifest.append_column("row", pa.array(range(6), pa.int32()))


def sides(pictures):
    return [None if picture is None else Image.open(io.BytesIO(picture)).size for picture in pictures]


def test_a_thumbnail_is_made_once_and_served_when_the_image_is_gone(photos, tmp_path):
    source, samples = photos
    store = Thumbnails(tmp_path / "kept.sqlite", side=20)
    some = samples.take([4, 0, 2])
    made = store.of(source, some, max_pixels=10**6)
    assert sides(made) == [(20, 13)] * 3
    for path in some.column("path").to_pylist():
        source.file(path).unlink()
    assert store.of(source, some, max_pixels=10**6) == made
    assert Thumbnails(tmp_path / "other.sqlite").of(source, some, max_pixels=10**6) == [None] * 3


def test_another_image_in_its_place_is_not_shown(photos, tmp_path):
    source, samples = photos
    path = samples.column("path")[0].as_py()
    Image.new("RGB", (9, 9)).save(source.file(path))
    assert Thumbnails(tmp_path / "kept.sqlite").of(source, samples.slice(0, 2), max_pixels=10**6)[0] is None


def test_it_stays_within_its_size_and_forgets_what_was_not_asked_for_the_longest(photos, tmp_path):
    source, samples = photos
    large = Thumbnails(tmp_path / "kept.sqlite", side=40)
    (one,) = large.of(source, samples.slice(0, 1), max_pixels=10**6)
    small = Thumbnails(tmp_path / "kept.sqlite", side=40, most=int(4.5 * len(one)))
    for row in range(6):
        small.of(source, samples.slice(row, 1), max_pixels=10**6)
        small.of(source, samples.slice(5, 1), max_pixels=10**6)
    with sqlite3.connect(small.file) as store:
        kept = {name for (name,) in store.execute("SELECT hash FROM thumbnails")}
    assert len(kept) <= 4
    assert samples.column("content_hash")[5].as_py() in kept


@pytest.mark.parametrize("damage", [b"no database at all", b""])
def test_a_damaged_store_is_done_without(photos, tmp_path, damage):
    source, samples = photos
    store = Thumbnails(tmp_path / "kept.sqlite")
    store.file.write_bytes(damage)
    for _ in range(2):
        assert None not in store.of(source, samples, max_pixels=10**6)
    assert sqlite3.connect(store.file).execute("SELECT count(*) FROM thumbnails").fetchone() == (6,)


def test_a_folder_that_can_not_be_written_is_done_without(photos, tmp_path):
    (tmp_path / "file").write_text("")
    source, samples = photos
    assert None not in Thumbnails(tmp_path / "file" / "kept.sqlite").of(source, samples, max_pixels=10**6)
