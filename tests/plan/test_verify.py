"""Files that were replaced unnoticed: of the same length and time; and on file systems that keep no times at all."""

import os

import pytest
from PIL import Image

from cleaner.config import Config
from cleaner.data.listings import Stamp
from cleaner.data.sources import open_source
from cleaner.plan.news import new_images
from cleaner.plan.runs import remember
from cleaner.run.before import Before
from cleaner.run.origin import origin_of
from cleaner.run.state import read_state
from cleaner.run.store import Store
from cleaner.runners.execute import CleanRequest, read_again
from cleaner.runners.local import execute_here
from flows.progress_bar import Lines

FAST = {"features": {"backbone": "pixels"}, "coarse": {"max_rounds": 1}, "fine": {"max_rounds": 1}}
OLD = (10**9, 1_700_000_000 * 10**9)


@pytest.fixture
def photos(tmp_path):
    """Images of one length, all changed in the same second."""
    for number, name in enumerate(("red", "green", "blue")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            colour = [10 * i, 5 * i, 100]
            colour[number] = 255
            file = tmp_path / "photos" / name / f"{i}.bmp"
            Image.new("RGB", (12, 12), tuple(colour)).save(file)
            os.utime(file, ns=OLD)
    rows = [f"photos/{name}/{i}.bmp,{name}" for name in ("red", "green", "blue") for i in range(8)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    return tmp_path


def swap(photos, one="red/1.bmp", other="green/2.bmp"):
    """What unpacking an archive does: each file is another one, of the length and the time of the one before."""
    for path, content in [
        (one, (photos / "photos" / other).read_bytes()),
        (other, (photos / "photos" / one).read_bytes()),
    ]:
        new = photos / "photos" / f"{path}.new"
        new.write_bytes(content)
        os.utime(new, ns=OLD)
        new.replace(photos / "photos" / path)


def carry_out(photos, source, *, verify=False, folder="run", only_begun=False):
    told = []
    run = CleanRequest(photos / source, photos / folder, Config.model_validate(FAST)).open()
    if verify:
        run = read_again(run, Lines(told.append))
    if only_begun:
        remember(run)
    else:
        execute_here(run, Lines(told.append))
    return "\n".join([*told, *run.notes])


def results(run):
    return {name: (run / name).read_bytes() for name in ("manifest.parquet", "verdicts.parquet", "clean.csv")}


@pytest.mark.parametrize("source", ["photos", "list.csv"])
def test_files_of_the_same_length_and_second_are_told_from_those_before(photos, source):
    carry_out(photos, source)
    store, state = Store(photos / "run"), read_state(photos / "run")
    before, origin = open_source(photos / source), origin_of(photos / "run")
    assert new_images(store, origin, state) is None
    known = before.fingerprint(), before.fingerprint(moved=True)
    swap(photos)
    now = open_source(photos / source)
    assert now.fingerprint() != known[0] and now.fingerprint(moved=True) == known[1]
    assert (Before.of(photos / "run", state.names).unchanged(now.stamps()) < 0).sum() == 2
    assert new_images(store, origin, state).words == "2 files changed"
    assert "2 changed" in carry_out(photos, source)
    carry_out(photos, source, folder="fresh")
    assert results(photos / "run") == results(photos / "fresh")


@pytest.mark.parametrize("killed", [False, True])
def test_where_a_file_system_keeps_nothing_all_is_read_again_when_that_is_asked(photos, monkeypatch, killed):
    monkeypatch.setattr(Stamp, "of", classmethod(lambda cls, status: cls(1, 1, 1, 1)))
    carry_out(photos, "photos")
    assert "all 24 images are what they were" in carry_out(photos, "photos", verify=True)
    swap(photos)
    before = results(photos / "run")
    carry_out(photos, "photos")
    assert results(photos / "run") == before
    said = carry_out(photos, "photos", verify=True, only_begun=killed)
    assert "2 images changed unnoticed: green/2.bmp, red/1.bmp" in said
    carry_out(photos, "photos")
    carry_out(photos, "photos", folder="fresh")
    assert results(photos / "run") == results(photos / "fresh") != before
    assert "all 24 images are what they were" in carry_out(photos, "photos", verify=True)


def test_a_data_set_that_was_copied_with_its_times_goes_on_and_is_read_again(photos, tmp_path):
    carry_out(photos, "photos")
    before = results(photos / "run")
    (photos / "photos").rename(photos / "moved")
    for file in (photos / "moved").rglob("*.bmp"):
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
        os.utime(file, ns=OLD)
    carry_out(photos, "moved")
    assert results(photos / "run") == before
