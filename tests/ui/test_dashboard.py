"""The pages as Streamlit runs them, without a browser."""

import html
import json
import shutil
import time

import numpy as np
import pyarrow as pa
import pytest
from command import clean_locally, here, stopped_before
from PIL import Image
from streamlit_pages import page

from cleaner.errors import ConfigError
from cleaner.evidence.map import drawn
from cleaner.run.answers import Answers
from cleaner.run.steps import perform
from cleaner.tables import ANSWER_LOG
from flows.dashboard import command
from ui.access import look_at
from ui.app import PAGES
from ui.elements import admission
from ui.mapping import step_of

pytestmark = pytest.mark.slow


@pytest.fixture
def run(finished, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(finished, tmp_path / "run")


def test_the_overview_has_the_numbers_of_the_summary(finished):
    assert not any("Provisional" in each.value for each in page("overview", finished).caption)
    shown = page("overview", finished)
    summary = json.loads((finished / "summary.json").read_text())
    told = {metric.label: metric.value for metric in shown.metric}
    expected = {name.capitalize(): f"{summary[name]:,}" for name in ("kept", "relabelled", "dropped")}
    fit = summary["kept"] + summary["relabelled"]
    assert told == expected | {"Images to train on": f"{fit:,}", "Answers missing": "0"}
    assert f"cleaner export {finished}" in " ".join(text.value for text in shown.markdown)


def test_the_overview_shows_what_models_learnt_and_which_are_not_done(run, tmp_path):
    assert "What models learn from it" not in [header.value for header in page("overview", run).subheader]
    words = ("--recipe", "small", "--preset", "smoke")
    here("train", run, *words, XDG_CACHE_HOME=str(tmp_path / "cache"))
    (folder,) = (run / "training").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    shown = page("overview", run)
    (row,) = shown.dataframe[-1].value.to_dict("records")
    assert (row["learnt from"], row["right on the test set"]) == ("clean", 100 * summary["accuracy"])
    (folder / "summary.json").unlink()
    assert "1 training not at the end yet" in page("overview", run).caption[-1].value


def test_where_models_know_nothing_console_report_and_overview_say_so_and_keep_all(tmp_path):
    """80 images of nothing in two classes: all were dropped once."""
    random = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(40):
            image = Image.fromarray(random.integers(0, 255, (24, 24, 3), np.uint8))
            image.save(tmp_path / "images" / name / f"{number}.png")
    words = ("--set", "features.backbone=pixels")
    said = clean_locally(tmp_path / "images", tmp_path / "run", *words).stdout
    told = "hese features can't tell your classes apart"
    assert "80 kept, 0 relabelled, 0 dropped" in said and told in said.splitlines()[1]
    report = html.unescape((tmp_path / "run" / "report.html").read_text())
    assert told in report and "nothing wrong was found" not in report
    shown = page("overview", tmp_path / "run")
    assert not shown.exception
    assert told in shown.warning[0].value
    assert "How sure the labels are" not in [header.value for header in shown.subheader]


def test_the_gallery_counts_what_its_filters_let_through(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert page("gallery", finished).title[0].value == f"{summary['samples']:,} images"
    assert page("gallery", finished, action="relabelled").title[0].value == f"{summary['relabelled']:,} images"


def test_rounds_say_why_they_ended(finished):
    shown = page("rounds", finished)
    assert not shown.exception
    ends = json.loads((finished / "summary.json").read_text())["convergence"]
    told = " ".join(text.value for text in shown.markdown)
    assert all(end["why"] in told for end in ends.values())


def test_classes_are_found_by_a_part_of_their_name(finished):
    assert len(page("classes", finished).dataframe[0].value) == 10
    assert page("classes", finished, has="EI").dataframe[0].value["class"].tolist() == ["eight"]


@pytest.mark.parametrize("zoom", ["", "0-5-2-9", "9-1-0-0", "x", "0-99-0-99", "0-" + "9" * 5000 + "-0-1"])
def test_the_confusion_shows_the_part_that_the_address_names_or_all(finished, zoom):
    shown = page("classes", finished, part="Taken for each other", zoom=zoom)
    assert not shown.exception
    assert ("The whole matrix" in [button.label for button in shown.button]) == (zoom == "0-5-2-9")
    assert shown.dataframe[0].value["images"].is_monotonic_decreasing


def test_an_image_shows_its_verdicts_and_what_models_think(finished):
    shown = page("gallery", finished, image="200")
    judged = shown.dataframe[-1].value
    assert {"looked for", "verdict", "why"} <= set(judged.columns)
    assert shown.dataframe[0].value["probability"].iloc[0] > 0.5


@pytest.mark.parametrize("asked", ["1000000", "99999999999999999999", "9" * 5000, "-1", "²", "x", "**7**"])
def test_an_image_that_is_not_there_is_told(finished, asked):
    shown = page("gallery", finished, image=asked)
    assert not shown.exception
    assert "There is no image" in shown.info[0].value


@pytest.mark.parametrize("part", ["page", "score", "order", "stage", "action", "class"])
@pytest.mark.parametrize("asked", ["9" * 25, "9" * 5000, "-1", "nan", "x", "0,1"])
def test_what_an_address_asks_for_and_is_not_there_is_passed_over(finished, part, asked):
    shown = page("gallery", finished, **{part: asked})
    assert not shown.exception
    assert shown.title[0].value.endswith("images")


def test_a_decision_is_stored_at_once_and_found_by_the_filter(run):
    shown = page("gallery", run, image="200")
    assert all(button.disabled for button in shown.button if button.label == "Junk")
    shown.text_input(key="name").set_value("ann").run()
    for _ in range(2):
        next(button for button in shown.button if button.label == "Junk").click().run()
    (word,) = Answers(run).rows()
    assert (word["answer"], word["by"], word["batch"]) == ("junk", "ann", "dashboard")
    assert not shown.exception
    assert page("gallery", run, said="yes").title[0].value == "1 image"


def test_a_run_whose_files_are_damaged_or_gone_is_told_in_a_line(run):
    state = json.loads((run / "state.json").read_text())
    next(run.glob(f"steps/{state['names']['standing']}.parquet")).unlink()
    shown = page("overview", run)
    assert not shown.exception
    assert "is missing" in shown.warning[0].value
    (run / "state.json").write_text("{")
    assert "damaged" in page("overview", run).warning[0].value


def test_a_run_that_has_not_begun_says_what_begins_it(run):
    (run / "state.json").unlink()
    shown = page("overview", run)
    assert not shown.exception
    assert "cleaner clean" in shown.info[0].value


def test_images_that_are_gone_are_shown_as_gone(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    origin = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(origin | {"source": str(tmp_path / "moved")}))
    shown = page("gallery", run, image="200")
    assert not shown.exception
    assert "can't be shown" in shown.warning[0].value


def test_a_password_is_asked_for_where_one_is_set(finished, monkeypatch):
    monkeypatch.setenv("CLEANER_UI_PASSWORD", "secret")
    shown = page(None, finished)
    assert not shown.metric
    shown.text_input[0].set_value("wrong").run()
    assert "not the password" in shown.error[0].value
    shown.text_input[0].set_value("secret").run()
    assert shown.metric


@pytest.fixture
def no_guesses():
    """Those of other tests, which have another clock, count for nothing, and those of this one for no other."""
    admission._guesses.clear()
    yield
    admission._guesses.clear()


@pytest.mark.usefixtures("no_guesses")
def test_who_guesses_passwords_waits_longer_each_time_in_all_sessions(finished, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("ui.elements.admission.monotonic", lambda: clock[0])
    monkeypatch.setenv("CLEANER_UI_PASSWORD", "secret")
    told = []
    for guess in range(20):
        shown = page(None, finished)
        shown.text_input[0].set_value(f"guess {guess}").run()
        told.append(shown.error[0].value)
        clock[0] += 0.1
    assert [line for line in told if "not the password" in line] == ["That is not the password."] * 5
    assert "try again in" in told[-1]
    shown = page(None, finished)
    shown.text_input[0].set_value("secret").run()
    assert not shown.metric, "even the right one is not tried meanwhile"
    clock[0] += 3
    shown.text_input[0].set_value("wrong once more").run()
    assert "not the password" in shown.error[0].value
    clock[0] += 700
    shown = page(None, finished)
    shown.text_input[0].set_value("secret").run()
    assert shown.metric


@pytest.mark.parametrize(
    ("host", "password", "lets"),
    [
        ("0.0.0.0", "", False),
        ("::", "", False),
        ("box", "", False),
        ("0.0.0.0", "secret", True),
        ("127.0.0.2", "", True),
        ("localhost", "", True),
        ("::1", "", True),
    ],
)
def test_others_are_let_in_with_a_password_only(finished, tmp_path, monkeypatch, host, password, lets):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEANER_UI_PASSWORD", password)
    if lets:
        assert f"--server.address={host}" in command(finished, host=host, port=None, browser=False)
        return
    with pytest.raises(ConfigError, match="set CLEANER_UI_PASSWORD"):
        command(finished, host=host, port=None, browser=False)
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text("[auth]\nclient_id = 'x'\n")
    assert command(finished, host=host, port=None, browser=False)


def test_a_folder_without_a_run_says_how_to_start_one(tmp_path):
    assert "cleaner clean SOURCE" in page(None, tmp_path).info[0].value


def test_of_a_folder_of_runs_one_is_chosen(run):
    shutil.copytree(run, run.parent / "another")
    shown = page(None, run.parent)
    assert shown.selectbox(key="run").options == ["another", "run"]
    assert shown.metric


def test_reviewers_says_how_to_ask_where_nobody_was_asked(finished):
    assert "--reviewer desk" in page("reviewers", finished).info[0].value


def test_reviewers_shows_who_answered_and_where_two_disagree(run):
    first, second = ([("ann", "right"), ("bob", "junk")], [("ann", "right"), ("bob", "right")])
    manifest = look_at(run).store.read(look_at(run).names.manifest)
    words = [
        {
            **{name: manifest[name][row].as_py() for name in ("sample_id", "content_hash", "label")},
            "by": by,
            "answer": answer,
        }
        | {"batch": "review-1", "seconds": 2.0}
        for row, said in ((100, first), (200, second))
        for by, answer in said
    ]
    Answers(run).append(pa.Table.from_pylist(words, ANSWER_LOG))
    shown = page("reviewers", run)
    assert not shown.exception
    who, agreed, disputed = (table.value for table in shown.dataframe)
    assert who["who"].tolist() == ["ann", "bob"] and who["answers an hour"].tolist() == [1800, 1800]
    assert agreed["alike"].tolist() == [50]
    assert "junk" in disputed.iloc[0].tolist()


def test_two_states_of_a_run_are_compared(finished):
    shown = page("compare", finished)
    assert not shown.exception
    summary = look_at(finished).summary
    changed = shown.subheader[0].value
    first = next(entry for entry in summary["stages"] if entry["stage"] == "coarse")
    assert int(changed.split()[0].replace(",", "")) >= first["relabelled"]


def test_two_runs_are_compared_and_a_run_without_change_says_so(finished, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(finished, tmp_path / name)
    shown = page("compare", tmp_path / "one", place=tmp_path, **{"with": "two"})
    assert not shown.exception
    samples = json.loads((finished / "summary.json").read_text())["samples"]
    assert shown.subheader[0].value.startswith(f"0 images changed, of {samples:,}")


def test_the_map_is_drawn_once_and_the_same_by_the_same_seed(run):
    look = look_at(run)
    step = step_of(look)
    first = look.store.read(perform(look.store, step))
    unreadable = 2
    assert len(first) == json.loads((run / "summary.json").read_text())["samples"] - unreadable
    assert all(np.isfinite(first[axis].to_numpy()).all() for axis in ("x", "y"))
    look.store.table(step.output).unlink()
    assert look.store.read(perform(look.store, step)).equals(first)
    shown = page("map", run)
    assert not shown.exception and not shown.info


def test_the_maps_of_a_run_and_of_its_copy_are_drawn_by_processes_of_their_own(run, tmp_path):
    runs = (run, shutil.copytree(run, tmp_path / "copy"))
    until = time.monotonic() + 300
    for each in runs:
        assert "being drawn" in page("map", each).info[0].value
    for look in map(look_at, runs):
        while not look.store.has(step_of(look).output):
            assert time.monotonic() < until
            time.sleep(0.2)
        assert not page("map", look.folder).info


def test_a_map_of_many_shows_some(finished):
    look = look_at(finished)
    manifest, shards = look.store.read(look.names.manifest), map(look.store.read, look.names.features)
    some = drawn(manifest, *shards, most=100, seed=0)
    assert len(some) == 100 and some["row"].to_pylist() == sorted({*some["row"].to_pylist()})
    assert len(drawn(manifest.slice(0, 10), look.store.read(look.names.features[0])[:10], most=100, seed=0)) == 0


def test_a_run_at_work_is_shown_as_far_as_it_is(demo, tmp_path):
    run = tmp_path / "run"
    process = stopped_before("coarse-2-evidence", "clean", demo / "images", "--run", run, "--runner", "local")
    try:
        shown = page("overview", run)
        assert not shown.exception
        assert {metric.label: metric.value for metric in shown.metric}["Relabelled"] == "0"
        assert "✓ looking for duplicates" in " ".join(caption.value for caption in shown.caption)
        assert page("rounds", run).dataframe[-1].value["round"].max() == 1
        assert page("gallery", run).title[0].value == f"{len(list((demo / 'images').glob('*/*'))):,} images"
    finally:
        process.kill()
        process.communicate()
    ended = page("overview", run)
    assert "Was ended while" in ended.error[0].value and "cleaner clean" in ended.error[0].value


def unscored(run):
    """The rows of a run that have no score."""
    standing = look_at(run).store.read(look_at(run).names.standing)
    return np.flatnonzero(standing.column("score").is_null().to_numpy())


def test_images_without_a_score_are_shown_as_any_other(finished):
    row = unscored(finished)[0]
    shown = page("gallery", finished, stage="scan")
    assert not shown.exception and shown.title[0].value != "0 images"
    assert not page("gallery", finished, image=str(row)).exception


def test_a_run_that_waits_for_its_first_batch_is_shown_on_every_page(demo, tmp_path):
    run = tmp_path / "run"
    clean_locally(demo / "images", run, "--reviewer", "sheet", status=3)
    assert len(unscored(run))
    for name in PAGES:
        shown = page(name, run)
        assert not shown.exception, name
        assert "Provisional: what stands" in shown.caption[0].value, name
    steps = [each.value for each in page("overview", run).markdown]
    assert any(f"cleaner export {run} --provisional" in each for each in steps)
    assert page("gallery", run).title[0].value == f"{len(list((demo / 'images').glob('*/*'))):,} images"


def test_before_anything_is_judged_every_page_says_so(demo, tmp_path):
    run = tmp_path / "run"
    process = stopped_before("features-", "clean", demo / "images", "--run", run, "--runner", "local")
    try:
        for name in ("overview", "rounds", "classes", "gallery", "map", "compare"):
            shown = page(name, run)
            assert not shown.exception
            assert "No image is judged yet" in shown.warning[0].value, name
    finally:
        process.kill()
        process.communicate()
