"""Nothing but an earlier export is ever replaced, and that only when the new one stands."""

import os
import signal
import subprocess
import sys

import pytest

from cleaner.data.exporters import export
from cleaner.data.exporters.csv import Csv
from cleaner.data.exporters.image_folder import ImageFolder
from cleaner.data.exporters.parquet import Parquet
from cleaner.data.placing import keep_apart, placed
from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.errors import InputError, StorageError
from cleaner.run.ledger import fold

FORMS = [Csv(), Parquet(), ImageFolder(), ImageFolder(copy=True)]


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def place_folder(out, *, force=False, **files):
    with placed(out, folder=True, force=force) as place:
        for name, content in files.items():
            (place / name).write_text(content)


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
    manifest = scan(listing, source=source, start=0, stop=len(listing), max_pixels=10**6, workers=1)
    return fold(manifest, []), manifest, source


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
    place_folder(out, a="1")
    with (
        pytest.raises(StorageError, match=r"lies at .*cleaner-export-old"),
        placed(out, folder=True, force=True) as new,
    ):
        (new / "a").write_text("2")
        (out / "notes.txt").write_text("mine")
    assert (out / "a").read_text() == "2"
    (kept,) = tmp_path.glob(".clean.*-old")
    assert names(kept) == [".cleaner-export", "notes.txt"]


@pytest.mark.parametrize("form", FORMS, ids=repr)
@pytest.mark.parametrize("out", ["photos", "photos/clean", "."])
def test_nothing_is_written_where_the_images_of_a_table_lie(listed, tmp_path, form, out):
    (tmp_path / "photos" / "classes.csv").write_text("the team's own")
    before = names(tmp_path)
    with pytest.raises(InputError, match=r"would lie in, or replace, the data set .*photos"):
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
    manifest = scan(source.listing(), source=source, start=0, stop=8, max_pixels=10**6, workers=1)
    for out in (real, real.parent, real / "clean"):
        with pytest.raises(InputError, match=r"the data set"):
            export(ImageFolder(), fold(manifest, []), manifest, source, out, force=True)
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match=r"the run"):
        export(Csv(), fold(manifest, []), manifest, source, tmp_path / "run" / "clean.csv", run=tmp_path / "run")


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


KILLED_AT_THE_SWAP = """
import os, signal, sys
from pathlib import Path
from cleaner.data.placing import placed
out, calls = Path(sys.argv[1]), []
real = Path.replace
def replace(self, target):
    if self.parent == out.parent:
        calls.append(self)
        if len(calls) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
Path.replace = replace
with placed(out, folder=True, force=True) as place:
    (place / "a").write_text("2")
"""


@pytest.mark.parametrize("renames", [1, 2])
def test_an_export_that_is_killed_at_the_swap_loses_nothing(tmp_path, renames):
    out = tmp_path / "clean"
    place_folder(out, a="1")
    done = subprocess.run([sys.executable, "-c", KILLED_AT_THE_SWAP, str(out), str(renames)], check=False)
    assert done.returncode == -signal.SIGKILL
    for left in tmp_path.glob(".clean.*/.cleaner-export"):
        os.utime(left, (0, 0))
    with pytest.raises(InputError, match=r"--force to replace it"):
        place_folder(out, a="3")
    assert (out / "a").read_text() == "1"
    place_folder(out, force=True, a="3")
    assert names(tmp_path) == ["clean", "clean/.cleaner-export", "clean/a"]


def test_the_places_of_living_exports_are_not_swept(tmp_path):
    with placed(tmp_path / "clean", folder=True, force=False) as one:
        (one / "a").write_text("1")
        os.utime(one / ".cleaner-export", (0, 0))
        with pytest.raises(InputError, match=r"no"), placed(tmp_path / "clean", folder=True, force=False):
            raise InputError("no")
        assert one.is_dir()
    assert (tmp_path / "clean" / "a").read_text() == "1"
