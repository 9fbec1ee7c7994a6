"""What nothing names any more goes, and nothing else."""

import contextlib
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import here
from PIL import Image
from sklearn.datasets import load_digits

from cleaner.config import Config
from cleaner.errors import RunError, WaitsForPeople
from cleaner.plan.clean import plan
from cleaner.plan.pruning import prune
from cleaner.plan.runs import open_run, reopen
from cleaner.run.state import Journal, read_state
from cleaner.run.steps import perform
from cleaner.run.store import Store
from cleaner.run.versions import standing, versions_of
from cleaner.runners import execute
from cleaner.runners.local import one_by_one
from flows.progress_bar import Lines

pytestmark = pytest.mark.slow

SETTINGS = {
    "features": {"backbone": "pixels"},
    "small_classes": {"min_images": 5},
    "coarse": {"max_rounds": 2},
    "fine": {"max_rounds": 1},
    "review": {"first": 6, "batches": 1},
}


@pytest.fixture
def images(tmp_path):
    """Three handwritten digits, a few of them under wrong labels."""
    root, digits = tmp_path / "images", load_digits()
    for number in range(3):
        for place, row in enumerate(np.flatnonzero(digits.target == number)[:30]):
            given = root / str((number + (place % 10 == 0)) % 3)
            given.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digits.images[row] * 255 / 16).astype(np.uint8)).save(given / f"{number}-{place:02}.png")
    return root


def clean(images, folder, reviewer="none", **settings):
    """The names of the steps that had to be performed, but for those that only look at the data set."""
    run = open_run(images, folder, Config.model_validate(SETTINGS | settings), reviewer=reviewer, workers=1)
    performed = []

    def noting(step):
        performed.append(step.name)
        perform(run.store, step)

    execute.execute(run, one_by_one(noting), Lines([].append))
    return performed


def test_who_looks_while_a_command_finds_all_done_sees_nothing_half(images, tmp_path, monkeypatch):
    folder, seen = tmp_path / "run", []
    clean(images, folder)
    write = Journal._write

    def looked_at(journal):
        write(journal)
        seen.append(read_state(folder).names)

    monkeypatch.setattr(Journal, "_write", looked_at)
    whole = read_state(folder).names
    assert clean(images, folder) == [] and len(seen) > 5 and all(names == whole for names in seen)
    # Where people are waited for, what stands until then is seen.
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    waited = read_state(folder).names
    clean(images, folder, seed=1)
    assert read_state(folder).names.standing != waited.standing
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    assert read_state(folder).names.standing == waited.standing


def results(folder):
    return {name: (folder / name).read_bytes() for name in ("verdicts.parquet", "clean.csv", "manifest.parquet")}


def names(folder):
    return {output.name for output in Store(folder).outputs()}


def test_the_same_command_finds_all_its_work_done_and_every_version_stays(images, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    clean(images, folder)
    clean(images, folder, seed=1)
    last, stood = results(folder), {each.name: standing(Store(folder), each) for each in versions_of(folder)}
    assert {"judged-1", "judged-2", "clean"} <= stood.keys()
    held = names(folder)
    assert prune(reopen(folder), dear=True, dry=True).outputs == 0, "what is quickly made has gone by itself"
    prune(reopen(folder), dear=True)
    assert names(folder) == held
    assert clean(images, folder, seed=1) == []
    assert results(folder) == last
    for each in versions_of(folder):
        assert standing(Store(folder), each).equals(stood[each.name])
    first = sum("evidence" in name for name in held)
    clean(images, folder)
    assert sum("evidence" in name for name in names(folder)) == first, "judgings of other seeds do not pile up"
    assert clean(images, folder) == []


def test_features_of_other_settings_stay_until_room_is_asked_for_and_those_that_grew_go(images, tmp_path):
    folder = tmp_path / "run"
    clean(images, folder)
    features = {name for name in names(folder) if name.startswith("features-")}
    Image.effect_noise((8, 8), 60).save(images / "0" / "new.png")
    clean(images, folder)
    grown = {name for name in names(folder) if name.startswith("features-")}
    assert not grown & features, "all that they have the new ones have"
    clean(images, folder, scan={"max_pixels": 10**6})
    both = {name for name in names(folder) if name.startswith("features-")}
    assert grown < both, "what takes long to make stays for whoever goes back to these settings"
    assert prune(reopen(folder), dear=True).outputs > 0
    assert {name for name in names(folder) if name.startswith("features-")} == both - grown
    assert clean(images, folder, scan={"max_pixels": 10**6}) == []


def test_whatever_is_removed_when_it_is_killed_the_same_command_comes_to_the_same(images, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    clean(images, folder)
    clean(images, folder, seed=1)
    expected = results(folder)
    clean(images, folder)
    shutil.copytree(folder, tmp_path / "copy")
    remove, left = Store.remove, [0]

    def stopping(store, output):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        remove(store, output)

    monkeypatch.setattr(Store, "remove", stopping)
    for most in (0, 1, 5, 17):
        run = tmp_path / f"run-{most}"
        shutil.copytree(tmp_path / "copy", run)
        left[0] = most
        with pytest.raises(KeyboardInterrupt):
            clean(images, run, seed=1)
        left[0] = 10**6
        clean(images, run, seed=1)
        assert results(run) == expected
        assert pq.read_table(run / "verdicts.parquet").num_rows == 90


def test_a_run_that_is_not_finished_keeps_all(images, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(WaitsForPeople):
        clean(images, folder, reviewer="sheet")
    held = names(folder)
    assert "may need all that it has" in here("prune", folder, status=2).stderr
    assert names(folder) == held


def test_images_that_are_away_for_a_while_keep_their_features(images, tmp_path):
    folder = tmp_path / "run"
    clean(images, folder)
    features = {name for name in names(folder) if name.startswith("features-")}
    shutil.move(images / "2", tmp_path / "away")
    clean(images, folder)
    shutil.move(tmp_path / "away", images / "2")
    assert "features-0" not in clean(images, folder)
    assert features <= names(folder)


def test_killed_before_results_are_written_nothing_is_removed_till_the_run_is_finished(images, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    clean(images, folder)
    Image.effect_noise((8, 8), 60).save(images / "0" / "new.png")
    for moment in ("remember_needed", "conclude", "prune"):
        with monkeypatch.context() as patched:
            function = getattr(execute, moment)

            def killed(*given, function=function, **how):
                return function(*given, **how) if how.get("provisional") else _killed()

            patched.setattr(execute, moment, killed)
            with pytest.raises(KeyboardInterrupt):
                clean(images, folder, seed=len(moment))
        with contextlib.suppress(RunError):
            prune(reopen(folder), dear=True)
        assert (moment, clean(images, folder, seed=len(moment))) == (moment, [])


def _killed():
    raise KeyboardInterrupt


def test_what_stands_is_called_clean_also_while_the_same_command_finds_its_work_done(images, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    clean(images, folder)
    before = {each.name: standing(Store(folder), each) for each in versions_of(folder)}
    seen = []

    def looking(run):
        for item in plan(run):
            yield item
            seen.append({each.name: standing(Store(folder), each) for each in versions_of(folder)})
            if len(seen) == 12:
                raise KeyboardInterrupt

    monkeypatch.setattr("cleaner.runners.execute.plan", looking)
    with pytest.raises(KeyboardInterrupt):
        clean(images, folder)
    for now in [*seen, {each.name: standing(Store(folder), each) for each in versions_of(folder)}]:
        assert now.keys() == before.keys() and all(now[name].equals(before[name]) for name in now)
