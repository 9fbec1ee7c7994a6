"""Decoded images, kept by their content: never other pixels than decoding gives, whatever becomes of the files."""

import os
import threading

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from cleaner.data import scan as scans
from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.errors import StorageError
from cleaner.progress import listening
from cleaner.training import pixels as kept
from cleaner.training.pixels import Decoded, Decoding, learnt_from, measured_on
from cleaner.training.preprocessing import Preprocessing

SIDE = 12
SHOWN = Preprocessing(16, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "_PIECE", 7)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def decoded(monkeypatch):
    """How many images are decoded, one after the other."""
    counts, load = [], kept.load

    def counted(source, manifest, rows, **settings):
        counts.append(len(rows))
        return load(source, manifest, rows, **settings)

    monkeypatch.setattr(kept, "load", counted)
    return counts


def photos(root, numbers):
    for number in numbers:
        (root / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number % 2}" / f"{number:03}.png")
    return opened(root)


def opened(root):
    source = open_source(root)
    listing = source.listing()
    return source, scan(listing, source=source, start=0, stop=len(listing), max_pixels=10**6, workers=1)


def learnt(source, manifest, rows=None, *, keep=True):
    rows = np.arange(len(manifest)) if rows is None else rows
    return learnt_from(source, manifest, rows, side=SIDE, workers=1, keep=keep)


def plain(source, manifest):
    """Decoded each time."""
    return learnt(source, manifest, keep=False)(np.arange(len(manifest)))


def files(tmp_path, kind="pixels"):
    return sorted((tmp_path / "cache").rglob(f"*.{kind}"))


def test_what_is_kept_is_what_decoding_gives_in_any_order(tmp_path):
    source, manifest = photos(tmp_path / "photos", range(30))
    expected = plain(source, manifest)
    found = learnt(source, manifest)
    assert isinstance(found, Decoded) and len(files(tmp_path)) == 5
    for rows in (np.arange(30), np.array([29, 3, 3, 17, 0]), np.random.default_rng(0).permutation(30)):
        assert np.array_equal(found(rows), expected[rows])
    shown = measured_on(source, manifest, np.arange(30), SHOWN, workers=1, keep=True)
    assert shown(np.array([4])).shape == (1, 16, 16, 3)


def test_an_image_more_is_one_to_decode_and_another_name_none(tmp_path, decoded):
    source, manifest = photos(tmp_path / "photos", range(30))
    learnt(source, manifest)
    source, manifest = photos(tmp_path / "photos", [30])
    (tmp_path / "photos" / "1" / "001.png").rename(tmp_path / "photos" / "1" / "999.png")
    source, manifest = opened(tmp_path / "photos")
    found = learnt(source, manifest)
    assert decoded == [30, 1]
    assert np.array_equal(found(np.arange(31)), plain(source, manifest))


def test_versions_share_what_is_decoded(tmp_path, decoded):
    source, manifest = photos(tmp_path / "photos", range(30))
    learnt(source, manifest, np.arange(0, 20))
    found = learnt(source, manifest, np.arange(10, 30))
    assert decoded == [20, 10]
    assert np.array_equal(found(np.arange(10, 30)), plain(source, manifest)[10:])


def test_copies_of_a_file_are_decoded_once(tmp_path, decoded):
    photos(tmp_path / "photos", range(8))
    data = (tmp_path / "photos" / "0" / "002.png").read_bytes()
    for name in ("0/a.png", "1/b.png"):
        (tmp_path / "photos" / name).write_bytes(data)
    source, manifest = opened(tmp_path / "photos")
    found = learnt(source, manifest)
    assert decoded == [8]
    assert np.array_equal(found(np.arange(10)), plain(source, manifest))


def test_what_was_decoded_before_a_kill_is_not_decoded_again(tmp_path, monkeypatch, decoded):
    source, manifest = photos(tmp_path / "photos", range(30))
    write, turns = kept.write_table, []

    def killed(file, table):
        turns.append(file)
        if len(turns) == 3:
            raise KeyboardInterrupt
        return write(file, table)

    monkeypatch.setattr(kept, "write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        learnt(source, manifest)
    # The third piece has its pixels, and no table yet.
    assert len(files(tmp_path)) == 3 and len(files(tmp_path, "parquet")) == 2
    found = learnt(source, manifest)
    assert decoded == [30, 16]
    assert np.array_equal(found(np.arange(30)), plain(source, manifest))


@pytest.mark.parametrize("damage", ["cut", "gone", "zeros", "one byte"])
def test_a_damaged_file_gives_the_pixels_all_the_same(tmp_path, damage):
    source, manifest = photos(tmp_path / "photos", range(30))
    expected = plain(source, manifest)
    learnt(source, manifest)
    file = files(tmp_path)[2]
    data = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(data[:-100])
    elif damage == "zeros":
        file.write_bytes(bytes(len(data)))
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    found = learnt(source, manifest)
    for _ in range(2):
        assert np.array_equal(found(np.arange(30)), expected)


def test_a_full_disk_is_said_and_images_are_decoded_each_time(tmp_path, monkeypatch):
    source, manifest = photos(tmp_path / "photos", range(30))

    def full(file, data):
        raise StorageError(f"{file}: no space left on device")

    monkeypatch.setattr(kept, "write_bytes", full)
    said = []
    with listening(lambda *_: None, said.append):
        found = learnt(source, manifest)
    assert isinstance(found, Decoding) and "no space left on device): they are decoded each time" in said[0]
    assert np.array_equal(found(np.arange(30)), plain(source, manifest))


def disk(monkeypatch, tmp_path, total):
    """A disk of so many bytes, on which nothing else lies."""

    def usage(folder):
        used = sum(file.stat().st_size for file in files(tmp_path))
        return type("Usage", (), {"total": total, "free": total - used})

    monkeypatch.setattr(kept.shutil, "disk_usage", usage)


def test_where_room_is_short_what_was_not_used_for_the_longest_goes(tmp_path, monkeypatch, decoded):
    image = SIDE * SIDE * 3
    old, new = (photos(tmp_path / name, numbers) for name, numbers in (("old", range(21)), ("new", range(100, 121))))
    disk(monkeypatch, tmp_path, 36 * image / 0.95)
    learnt(*old)
    for number, listed in enumerate(files(tmp_path, "parquet")):
        os.utime(listed, (1000 + number, 1000 + number))
    longest = files(tmp_path, "parquet")[0]
    found = learnt(*new)
    assert isinstance(found, Decoded) and not longest.exists() and len(files(tmp_path)) == 5
    assert np.array_equal(found(np.arange(21)), plain(*new))
    assert learnt(*new)(np.arange(2)).shape == (2, SIDE, SIDE, 3)
    assert decoded[:2] == [21, 21] and decoded[-1] == 0


def test_where_there_is_no_room_at_all_nothing_is_removed(tmp_path, monkeypatch):
    old = photos(tmp_path / "old", range(7))
    learnt(*old)
    disk(monkeypatch, tmp_path, 20 * SIDE * SIDE * 3)
    said = []
    with listening(lambda *_: None, said.append):
        found = learnt(*photos(tmp_path / "new", range(100, 130)))
    assert isinstance(found, Decoding) and said[0].startswith("no room to keep ")
    assert len(files(tmp_path)) == 1


def test_two_at_once_decode_everything_once(tmp_path, decoded):
    source, manifest = photos(tmp_path / "photos", range(30))
    found = []
    threads = [threading.Thread(target=lambda: found.append(learnt(source, manifest))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(decoded) == 30
    assert all(np.array_equal(each(np.arange(30)), plain(source, manifest)) for each in found)


def test_an_image_that_changed_since_it_was_scanned_is_told(tmp_path):
    source, manifest = photos(tmp_path / "photos", range(4))
    other = manifest.set_column(
        manifest.column_names.index("content_hash"), "content_hash", pa.array(["0" * 64] + [None] * 3, pa.string())
    )
    with pytest.raises(scans.SourceError):
        learnt(source, other, np.array([0]))
