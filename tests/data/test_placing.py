"""Nothing but an earlier export is ever replaced, and that only when the new one stands."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cleaner.data import receipts
from cleaner.data.exporters import export
from cleaner.data.exporters.csv import Csv
from cleaner.data.exporters.image_folder import ImageFolder
from cleaner.data.exporters.parquet import Parquet
from cleaner.data.placing import keep_apart, placed
from cleaner.data.scan import QUALITY_COLUMN, scan
from cleaner.data.sources import open_source
from cleaner.errors import InputError
from cleaner.run.ledger import fold

FORMS = [Csv(), Parquet(), ImageFolder(), ImageFolder(copy=True)]


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def place_folder(out, *, force=False, **files):
    with placed(out, folder=True, force=force) as place:
        for name, content in files.items():
            (place / name).write_text(content)


def place_file(out, content, *, force=False):
    with placed(out, folder=False, force=force) as place:
        place.write_text(content)


def tables(judged):
    return judged.standing, judged.manifest, judged.source


@pytest.fixture
def listed(tmp_path, judged):
    """A table of paths beside the folder of its images."""
    listing = judged.source.listing()
    lines = []
    (tmp_path / "photos").mkdir()
    for number, path in enumerate(listing.column("path").to_pylist()[:40]):
        (tmp_path / "photos" / f"{number}.png").write_bytes(judged.source.file(path).read_bytes())
        lines.append(f"photos/{number}.png,{'ab'[number % 2]}")
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    source = open_source(tmp_path / "list.csv")
    listing = source.listing()
    manifest = scan(listing, source=source, start=0, stop=len(listing), max_pixels=10**6, workers=1).drop_columns(
        [QUALITY_COLUMN]
    )
    return fold(manifest, []), manifest, source


def test_a_place_that_cannot_be_replaced_as_a_whole_is_refused_before_anything_is_written():
    with pytest.raises(InputError, match="/proc: is a mount point; give --out a new folder in it"):
        place_folder(Path("/proc"), one="1")


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_an_earlier_export_is_replaced_by_force_only(judged, tmp_path, form):
    out = tmp_path / "clean"
    export(form, *tables(judged), out)
    with pytest.raises(InputError, match=r"is there already.*--force"):
        export(form, *tables(judged), out)
    for _ in range(2):
        export(form, *tables(judged), out, force=True)
    assert {path.name for path in tmp_path.iterdir()} - {".clean.cleaner-export"} == {"clean"}


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_what_no_export_wrote_stays_whatever_is_said(judged, tmp_path, form):
    out = tmp_path / "mine"
    if form.folder:
        out.mkdir()
        (out / "classes.csv").write_text("folder,label\n")
        (out / "photo.jpg").write_text("mine")
    else:
        out.write_text("mine")
    before = names(tmp_path)
    with pytest.raises(InputError, match=r"no (folder|file) that cleaner exported"):
        export(form, *tables(judged), out, force=True)
    assert names(tmp_path) == before


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_an_export_in_which_somebody_worked_is_not_replaced(judged, tmp_path, form):
    out = tmp_path / "clean"
    export(form, *tables(judged), out)
    changed = next(path for path in out.rglob("*.png")) if form.folder else out
    changed.unlink()
    changed.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holds what no export wrote: .*png; move|was changed since"):
        export(form, *tables(judged), out, force=True)
    assert changed.read_bytes() == b"mine"


def test_a_file_that_was_put_into_an_export_is_named_and_stays(tmp_path):
    place_folder(tmp_path / "clean", a="1")
    (tmp_path / "clean" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt; move that away"):
        place_folder(tmp_path / "clean", force=True, a="2")
    assert (tmp_path / "clean" / "notes.txt").read_text() == "mine" and (tmp_path / "clean" / "a").read_text() == "1"


def test_what_is_put_into_an_export_while_the_next_one_is_written_stays(tmp_path):
    out = tmp_path / "clean"
    place_folder(out, a="1", b="1")
    with pytest.raises(InputError, match=r"lies at .*clean\..*-earlier"), placed(out, folder=True, force=True) as new:
        (new / "a").write_text("2")
        (out / "notes.txt").write_text("mine")
        (out / "b").write_text("edited")
    assert (out / "a").read_text() == "2"
    (kept,) = tmp_path.glob("clean.*-earlier")
    assert names(kept) == ["b", "notes.txt"]
    out.rename(tmp_path / "away")
    place_folder(out, a="3")
    assert (kept / "b").read_text() == "edited"


def test_a_file_that_is_edited_while_the_next_export_is_written_stays(tmp_path):
    place_file(tmp_path / "c.csv", "1")
    with (
        pytest.raises(InputError, match=r"changed while .*stays as it is"),
        placed(tmp_path / "c.csv", folder=False, force=True) as new,
    ):
        new.write_text("2")
        (tmp_path / "c.csv").write_text("mine")
    assert (tmp_path / "c.csv").read_text() == "mine"


@pytest.mark.parametrize("folder", [True, False])
def test_what_is_written_while_an_earlier_export_is_checked_stays(tmp_path, monkeypatch, folder):
    out = tmp_path / "clean"
    place_folder(out, a="1") if folder else place_file(out, "1")
    content, mine = receipts.content_of, out / "a" if folder else out

    def then_edited(file):
        found = content(file)
        if file == mine:
            file.write_text("mine")
        return found

    monkeypatch.setattr(receipts, "content_of", then_edited)
    with pytest.raises(InputError):
        place_folder(out, force=True, a="2") if folder else place_file(out, "2", force=True)
    assert "mine" in [file.read_text() for file in tmp_path.rglob("[ac]*") if file.is_file()]


@pytest.mark.parametrize("folder", [True, False])
def test_of_two_exports_at_once_to_one_place_the_second_is_refused(tmp_path, folder):
    out = tmp_path / "clean"
    write = place_folder if folder else lambda out, *, a, force=False: place_file(out, a, force=force)
    for force in (False, True):
        with pytest.raises(InputError, match="changed while"), placed(out, folder=folder, force=force) as place:
            (place / "a" if folder else place).write_text("second")
            write(out, a="first", force=force)
        assert (out / "a" if folder else out).read_text() == "first"
    write(out, a="third", force=True)
    assert {path.name for path in tmp_path.iterdir()} - {".clean.cleaner-export"} == {"clean"}


def test_what_is_neither_file_nor_link_is_named_and_stays(tmp_path):
    place_folder(tmp_path / "clean", a="1")
    os.mkfifo(tmp_path / "clean" / "pipe")
    (tmp_path / "clean" / "empty").mkdir()
    with pytest.raises(InputError, match="holds what no export wrote: empty, pipe"):
        place_folder(tmp_path / "clean", force=True, a="2")


def test_what_other_exports_of_a_like_name_left_is_not_touched(tmp_path):
    other = tmp_path / ".clean.v2.0123456789abcdef.cleaner-export-old"
    place_folder(tmp_path / "made", a="v2")
    (tmp_path / "made").rename(other)
    os.utime(other / ".cleaner-export", (0, 0))
    place_folder(tmp_path / "clean", a="1")
    place_folder(tmp_path / "clean", a="2", force=True)
    assert (other / "a").read_text() == "v2"
    with pytest.raises(InputError, match="--force"):
        place_folder(tmp_path / "clean.v2", a="3")
    assert (tmp_path / "clean.v2" / "a").read_text() == "v2"


ODD = ["blank name", "käse", "new\nline", "[ab]*?", ".hidden", "-dash", "\udcff", "n" * 250]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("folder", [True, False])
def test_any_name_that_a_file_may_have_is_one_for_an_export(tmp_path, name, folder):
    for content in "12":
        if folder:
            place_folder(tmp_path / name, a=content, force=True)
        else:
            place_file(tmp_path / name, content, force=True)
    assert (tmp_path / name / "a" if folder else tmp_path / name).read_text() == "2"


def test_a_file_of_the_receipt_s_name_is_not_overwritten(tmp_path):
    (tmp_path / ".c.csv.cleaner-export").write_text("mine")
    with pytest.raises(InputError, match="no export left it"):
        place_file(tmp_path / "c.csv", "1")
    assert names(tmp_path) == [".c.csv.cleaner-export"]


def test_ctrl_c_at_the_swap_puts_the_earlier_export_back(tmp_path, monkeypatch):
    place_folder(tmp_path / "clean", a="1")
    replace = Path.replace

    def interrupted(self, target):
        if self.name.endswith("-partial"):
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place_folder(tmp_path / "clean", a="2", force=True)
    assert names(tmp_path) == ["clean", "clean/.cleaner-export", "clean/a"]
    assert (tmp_path / "clean" / "a").read_text() == "1"


def test_an_export_from_within_itself_is_refused(tmp_path, monkeypatch):
    place_folder(tmp_path / "clean", a="1")
    monkeypatch.chdir(tmp_path / "clean")
    with pytest.raises(InputError, match="is where you are"):
        place_folder(Path(), a="2", force=True)


@pytest.mark.parametrize("form", FORMS, ids=repr)
@pytest.mark.parametrize("out", ["photos", "photos/clean", "."])
def test_nothing_is_written_where_the_images_of_a_table_lie(listed, tmp_path, form, out):
    (tmp_path / "photos" / "classes.csv").write_text("the team's own")
    before = names(tmp_path)
    with pytest.raises(InputError, match=r"would lie in, or replace, the data set .*(photos|list\.csv)"):
        export(form, *listed, tmp_path / out, force=True)
    assert names(tmp_path) == before


def test_nothing_is_written_where_links_to_images_lead_or_a_run_lies(tmp_path, judged):
    real = tmp_path / "elsewhere" / "photos"
    real.mkdir(parents=True)
    (tmp_path / "linked").mkdir()
    paths = judged.source.listing().column("path").to_pylist()[:8]
    for number, path in enumerate(paths):
        (real / f"{number}.png").write_bytes(judged.source.file(path).read_bytes())
        (tmp_path / "linked" / f"{number}.png").symlink_to(real / f"{number}.png")
    rows = [f"linked/{number}.png,{'ab'[number % 2]}" for number in range(8)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    source = open_source(tmp_path / "list.csv")
    manifest = scan(source.listing(), source=source, start=0, stop=8, max_pixels=10**6, workers=1).drop_columns(
        [QUALITY_COLUMN]
    )
    for out in (real, real.parent, real / "clean"):
        with pytest.raises(InputError, match=r"the data set"):
            export(ImageFolder(), fold(manifest, []), manifest, source, out, force=True)
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match=r"the run"):
        export(Csv(), fold(manifest, []), manifest, source, tmp_path / "run" / "clean.csv", run=tmp_path / "run")


def test_an_export_that_is_a_run_s_own_source_is_not_replaced_by_it(judged, tmp_path):
    images = [judged.source.file(path).read_bytes() for path in judged.manifest.column("path").to_pylist()[:8]]
    source = tmp_path / "clean.parquet"
    place_file(source, "")
    pq.write_table(pa.table({"image": images, "label": ["a", "b"] * 4}), source)
    opened = open_source(source)
    manifest = scan(opened.listing(), source=opened, start=0, stop=8, max_pixels=10**6, workers=1).drop_columns(
        [QUALITY_COLUMN]
    )
    for out in (source, tmp_path):
        with pytest.raises(InputError, match="the data set"):
            export(Parquet(), fold(manifest, []), manifest, opened, out, force=True)


def test_no_export_goes_into_the_folder_that_a_data_manifest_describes(tmp_path):
    for name in ("a/1", "a/2", "b/3", "b/4"):
        (tmp_path / "data" / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (int(name[-1]), 0, 0)).save(tmp_path / "data" / "train" / f"{name}.png")
    (tmp_path / "set.toml").write_text('name = "set"\nlicence = "none"\nget = "nowhere"\n[train]\nat = "train"\n')
    source = open_source(tmp_path / "set.toml", {"data_manifest": {"root": tmp_path / "data"}})
    manifest = scan(source.listing(), source=source, start=0, stop=4, max_pixels=10**6, workers=1).drop_columns(
        [QUALITY_COLUMN]
    )
    for out in ("data/train/clean", "data/train", "set.toml"):
        with pytest.raises(InputError, match="the data set"):
            export(ImageFolder(copy=True), fold(manifest, []), manifest, source, tmp_path / out, force=True)


def test_apart_is_apart_through_links_and_dots(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for out in ("link", "data/../data", "link/new", "."):
        with pytest.raises(InputError):
            keep_apart(tmp_path / out, [tmp_path / "data"], "the data set")
    keep_apart(tmp_path / "data-2", [tmp_path / "data"], "the data set")


def test_a_link_is_no_export_though_it_leads_to_one(tmp_path):
    place_folder(tmp_path / "clean", a="1")
    (tmp_path / "link").symlink_to(tmp_path / "clean")
    with pytest.raises(InputError, match=r"no folder that cleaner exported"):
        place_folder(tmp_path / "link", force=True, a="2")


def test_a_failed_export_leaves_the_earlier_one_and_nothing_else(tmp_path):
    place_folder(tmp_path / "clean", a="1")
    before = names(tmp_path)
    with pytest.raises(InputError, match=r"no"), placed(tmp_path / "clean", folder=True, force=True) as place:
        (place / "a").write_text("2")
        raise InputError("no")
    with pytest.raises(InputError, match=r"no"), placed(tmp_path / "deep" / "new", folder=True, force=False):
        raise InputError("no")
    assert names(tmp_path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from cleaner.data.placing import placed
out, folder, left = Path(sys.argv[1]), sys.argv[2] == "folder", int(sys.argv[3])
beside = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "shutil.rmtree"}
def count(event, words):
    global left
    if event in beside and any(str(out.parent) in str(word) for word in words):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
with placed(out, folder=folder, force=True) as place:
    if folder:
        (place / "sub").mkdir()
        (place / "a").write_text("2")
    else:
        place.write_text("2")
"""


@pytest.mark.parametrize("folder", [True, False])
def test_an_export_that_is_killed_anywhere_loses_nothing_and_leaves_nothing(tmp_path, folder):
    killed, out = 0, tmp_path / "clean"
    file = out / "a" if folder else out
    while True:
        place_folder(out, a="1", force=True) if folder else place_file(out, "1", force=True)
        command = [sys.executable, "-c", KILLED, str(out), "folder" if folder else "file", str(killed)]
        if subprocess.run(command, check=False).returncode == 0:
            break
        killed += 1
        for left in tmp_path.rglob("*"):
            os.utime(left, (0, 0), follow_symlinks=False)
        with pytest.raises(InputError, match="--force to replace it"):
            place_folder(out, a="3") if folder else place_file(out, "3")
        assert file.read_text() in ("1", "2")
    assert killed > 5
    place_folder(out, a="3", force=True) if folder else place_file(out, "3", force=True)
    assert {path.name for path in tmp_path.iterdir()} - {".clean.cleaner-export"} == {"clean"}


def test_the_places_of_living_exports_are_not_swept(tmp_path):
    with placed(tmp_path / "clean", folder=True, force=False) as one:
        (one / "a").write_text("1")
        os.utime(one / ".cleaner-export", (0, 0))
        with pytest.raises(InputError, match=r"no"), placed(tmp_path / "clean", folder=True, force=False):
            raise InputError("no")
        assert one.is_dir()
    assert (tmp_path / "clean" / "a").read_text() == "1"
