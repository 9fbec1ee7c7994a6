"""A data set that grows or changes where it lies: the same command takes in what is new."""

import os
import shutil
from dataclasses import dataclass, field

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import clean_locally, here, stopped_before
from PIL import Image

from cleaner.data.scan import scan
from cleaner.data.sources.folder import Folder
from cleaner.evidence.features import choose, embed
from cleaner.run.before import Before
from cleaner.run.state import read_state
from cleaner.run.store import Store

pytestmark = pytest.mark.slow

HELD_BACK = 15


def clean(folder, status=0, *words):
    return clean_locally(folder / "images", folder / "run", *words, status=status)


def put_later(images, later, classes=("one", "two")):
    """Move some images of each class away; a function that brings them back."""
    for name in classes:
        (later / name).mkdir(parents=True)
        for file in sorted((images / name).glob("*.png"))[:HELD_BACK]:
            shutil.move(file, later / name / file.name)
    return lambda: shutil.copytree(later, images, dirs_exist_ok=True)


def results(run):
    return {name: (run / name).read_bytes() for name in ("verdicts.parquet", "clean.csv", "manifest.parquet")}


@pytest.fixture
def grown(few_classes, tmp_path):
    """A folder whose images were cleaned, and have grown since."""
    shutil.copytree(few_classes / "images", tmp_path / "images")
    come = put_later(tmp_path / "images", tmp_path / "later")
    clean(tmp_path)
    come()
    return tmp_path


def test_new_images_join_and_all_is_as_if_it_had_been_read_at_once(grown):
    said = clean(grown).stderr
    assert f"since it was read before: {2 * HELD_BACK} new" in said
    clean_locally(grown / "images", grown / "fresh")
    assert results(grown / "run") == results(grown / "fresh")


@dataclass(frozen=True)
class Watched(Folder):
    """A folder that remembers which images were read."""

    seen: list[str] = field(default_factory=list, compare=False)

    def read(self, rows, paths):
        self.seen.extend(paths)
        return super().read(rows, paths)


def test_what_has_not_changed_is_neither_read_nor_embedded_again(grown):
    before = Before.of(grown / "run", read_state(grown / "run").names)
    source = Watched(grown / "images")
    listing = source.listing()
    new = {str(file.relative_to(grown / "later")) for file in (grown / "later").rglob("*.png")}
    span = {"source": source, "start": 0, "stop": len(listing), "workers": 1, "max_pixels": 10**6}
    manifest = scan(listing, **span, before=before)
    unreadable = {sample["path"] for sample in manifest.to_pylist() if sample["problem"]}
    assert set(source.seen) == new | unreadable
    source.seen.clear()
    backbone = choose("pixels", weights=None, image_size=None, manifest=manifest)
    features = embed(manifest, **span, backbone=backbone, before=before)
    assert set(source.seen) <= new
    assert np.array_equal(features, embed(manifest, **span, backbone=backbone))


def test_what_is_gone_or_another_image_now_is_said(grown):
    images = grown / "images"
    files = sorted((images / "four").glob("*.png"))
    files[0].unlink()
    files[1].write_bytes(files[2].read_bytes())
    os.utime(files[1], (1, 1))
    said = clean(grown).stderr
    assert f"since it was read before: {2 * HELD_BACK} new, 1 gone, 1 changed" in said
    manifest = {sample["path"]: sample for sample in pq.read_table(grown / "run" / "manifest.parquet").to_pylist()}
    assert f"four/{files[0].name}" not in manifest
    assert manifest[f"four/{files[1].name}"]["content_hash"] == manifest[f"four/{files[2].name}"]["content_hash"]


def test_an_image_that_moved_to_another_class_keeps_its_features(grown):
    images = grown / "images"
    file = sorted((images / "four").glob("*.png"))[0]
    shutil.move(file, images / "three" / f"moved-{file.name}")
    clean(grown)
    clean_locally(images, grown / "fresh")
    assert results(grown / "run") == results(grown / "fresh")


def test_killed_while_it_takes_in_what_is_new_the_same_command_goes_on(grown):
    words = ("clean", grown / "images", "--run", grown / "run", "--runner", "local")
    process = stopped_before("coarse-1-evidence", *words)
    process.kill()
    process.communicate()
    clean(grown)
    clean_locally(grown / "images", grown / "fresh")
    assert results(grown / "run") == results(grown / "fresh")


def test_a_table_grows_too(few_classes, tmp_path):
    images = few_classes / "images"
    lines = [f"{file.relative_to(images)},{file.parent.name}" for file in sorted(images.rglob("*.png"))]
    table = images.parent / f"{tmp_path.name}.csv"
    settings = ("--root", images.parent)
    for name, some in (("run", lines[40:]), ("run", lines), ("fresh", lines)):
        table.write_text("path,label\n" + "\n".join(f"images/{line}" for line in some))
        done = clean_locally(table, tmp_path / name, *settings)
        if some is lines and name == "run":
            assert "since it was read before: 40 new" in done.stderr
    assert results(tmp_path / "run") == results(tmp_path / "fresh")


def test_another_folder_is_no_grown_one(grown):
    shutil.copytree(grown / "images", grown / "other")
    (next((grown / "other" / "one").glob("*.png"))).unlink()
    done = here("clean", grown / "other", "--run", grown / "run", "--runner", "local", status=2)
    assert "it is a run of" in done.stderr


def test_a_batch_of_before_keeps_its_images_and_people_are_asked_of_the_new_ones_too(few_classes, tmp_path):
    shutil.copytree(few_classes / "images", tmp_path / "images")
    come = put_later(tmp_path / "images", tmp_path / "later")
    asking = ("--reviewer", "desk", "--set", "review.first=4", "--set", "review.least_gain=0")
    clean(tmp_path, 3, *asking)
    store = Store(tmp_path / "run")
    come()
    assert "junk and wrong labels" in clean(tmp_path, 3, *asking).stderr
    assert store.batches.names() == ["review-1"]
    batch, manifest = store.batches.read("review-1"), store.read(store.batches.manifest("review-1"))
    assert manifest.take(batch["row"])["sample_id"].to_pylist() == batch["sample_id"].to_pylist()
    store.batches.close("review-1")
    clean(tmp_path, 3, *asking)
    assert store.batches.manifest("review-1") != store.batches.manifest("review-2")
    assert store.batches.names() == ["review-1", "review-2"]
    known = store.read(store.batches.manifest("review-2"))
    strata = store.read(store.batches.strata("review-2"))
    new = set(known["content_hash"].to_pylist()) - set(manifest["content_hash"].to_pylist())
    among = set(known["content_hash"].take(strata["row"]).to_pylist())
    assert new and len(new & among) > len(new) / 2


def test_what_it_will_take_is_told_before_and_nothing_is_written(demo, tmp_path):
    before = set(demo.iterdir())
    told = here("clean", demo / "images", "--estimate").stdout.splitlines()
    count = sum(file.is_file() for file in (demo / "images").rglob("*"))
    assert told[0] == f"{count:,} images of 10 classes"
    assert "by 60 images on this machine" in told[1]
    assert set(demo.iterdir()) == before


def test_of_what_has_grown_only_what_is_new_is_to_be_read(grown):
    told = here("clean", grown / "images", "--run", grown / "run", "--estimate").stdout.splitlines()
    assert told[0].endswith(f", {2 * HELD_BACK} of them yet to be read")
    assert (grown / "run" / "summary.json").exists()


@pytest.mark.parametrize(("image", "status"), [(True, 0), (False, 2)])
def test_a_handful_of_images_can_be_estimated_unless_none_can_be_used(tmp_path, image, status):
    for name in ("one", "two"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            file = tmp_path / "images" / name / f"{number}.png"
            if image:
                Image.new("RGB", (20, 20), (100 * number, 9, 9)).save(file)
            else:
                file.write_bytes(b"no image")
    told = here("clean", tmp_path / "images", "--run", tmp_path / "run", "--estimate", status=status)
    if image:
        assert told.stdout.startswith("4 images of 2 classes\n")
    else:
        assert "none of the 4 images that were looked at can be used, the first: " in told.stderr
