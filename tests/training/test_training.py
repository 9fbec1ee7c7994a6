"""`cleaner train`: models of a run's clean set, as a user makes them."""

import json
import os
import shutil
import signal
import subprocess
import time
import types

import command
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from command import CLEANER, clean_locally, cleaner
from PIL import Image
from safetensors.torch import load_file

from cleaner.evidence.networks import timm
from cleaner.run.files import read_table
from cleaner.training.models import check
from cleaner.training.recipe import read_recipe, recipes
from cleaner.training.versions import Cleaned

pytestmark = pytest.mark.slow

TINY = (
    "--recipe", "small",
    "--set", "networks=[{backbone='test_resnet', image_size=32, pretrained=false, ema=0.9, dropout=0.1}]",
    "--set", "optimisation.phases=[{optimiser='radam', epochs=2}, {optimiser='sgd', epochs=2, sam=0.02}]",
    "--set", "optimisation.effective_batch=128", "--set", "samples.most=200",
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture
def run(finished, tmp_path):
    """A finished run of one's own."""
    return shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("training"))


@pytest.fixture
def here(cache):
    """The command in this process, with this module's cache."""
    return lambda *words, **said: command.here(*words, **{**cache, **said})


def trainings(run):
    return sorted((run / "training").iterdir(), key=lambda folder: folder.stat().st_mtime)


def plain(run):
    """What `cleaner status` says, without the breaks of its lines."""
    return command.here("status", run).stdout.replace("\n", "")


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


SIBLINGS = {
    "finetune": "[{backbone='test_efficientnet'}]",
    "small": "[{backbone='test_resnet'}]",
    "accv2020": "[{backbone='test_efficientnet', prior_bias=true}, {backbone='test_byobnet', dropout=0.4}]",
    "strong": "[{backbone='test_convnext', drop_path=0.2, checkpointing=true, ema=0.999}]",
}
"""Tiny networks in the places of the recipes' own."""


def test_every_recipe_has_networks_that_take_its_settings():
    assert set(recipes()) == set(SIBLINGS)
    for recipe in SIBLINGS:
        for network in read_recipe(recipe, [], "smoke").networks:
            check(network)


@pytest.mark.parametrize("recipe", SIBLINGS)
def test_every_recipe_goes_through_all_its_parts_in_seconds(run, here, recipe):
    done = here("train", run, "--recipe", recipe, "--preset", "smoke", "--set", f"networks={SIBLINGS[recipe]}")
    folders = trainings(run)
    assert len(folders) == (2 if recipe == "accv2020" else 1)
    assert done.stdout.count("the model") == len(folders)
    for folder in folders:
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["learnt_from"] == 64 and summary["recipe"] == recipe
        metrics = pq.read_table(folder / "metrics.parquet")
        assert metrics.column("epoch").to_pylist() == list(range(1, summary["epochs"] + 1))
        assert metrics.column("validation_accuracy").to_pylist()[-1] == pytest.approx(summary["validation"]["accuracy"])
        assert summary["test"]["images"] and summary["validation"]["images"]
        # 64 images in batches of 16; rounded shares of balanced classes may make an epoch some images less or more.
        steps = len(pq.read_table(folder / "steps.parquet"))
        assert steps in [number * summary["epochs"] for number in (3, 4, 5)]
        assert json.loads((folder / "state.json").read_text())["doing"] == "finished"


@pytest.fixture
def photographed(tmp_path):
    """A finished run over JPEGs of many shapes, larger and smaller than what networks see."""
    rng, root = np.random.default_rng(0), tmp_path / "photos"
    for label, tone in (("day", 200), ("night", 40)):
        (root / label).mkdir(parents=True)
        for number in range(50):
            width, height = (int(side) for side in rng.integers(40, 240, 2))
            coarse = Image.fromarray(rng.integers(0, 55, (7, 7, 3), dtype=np.uint8) + np.uint8(tone))
            coarse.resize((width, height)).save(root / label / f"{number}.jpg", quality=90)
    clean_locally(root, tmp_path / "run")
    return root, tmp_path / "run"


def test_the_test_predict_and_timm_give_the_same_probabilities(photographed, here, tmp_path):
    root, run = photographed
    here("train", run, *TINY)
    (folder,) = trainings(run)
    measured = {row["path"]: row for row in pq.read_table(folder / "test.parquet").to_pylist()}
    here("predict", folder, root, "--out", tmp_path / "said")
    said = {row["path"]: row for row in pq.read_table(tmp_path / "said.parquet").to_pylist()}
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    shown = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    names = model.pretrained_cfg["label_names"]
    assert len(measured) >= 5
    for path, row in measured.items():
        with torch.inference_mode():
            probs = model(shown(Image.open(root / path))[None]).softmax(1)[0]
        assert row["prob"] == pytest.approx(said[path]["prob"], abs=1e-5)
        assert row["prob"] == pytest.approx(float(probs.max()), abs=1e-3)
        assert row["guess"] == said[path]["label"] == names[int(probs.argmax())]


def test_what_was_measured_is_what_lies_in_the_files(run, here):
    here("train", run, *TINY)
    (folder,) = trainings(run)
    said = pq.read_table(folder / "test.parquet").to_pylist()
    confused = pq.read_table(folder / "confusion.parquet").to_pylist()
    assert sum(pair["images"] for pair in confused) == len(said)
    right = sum(pair["images"] for pair in confused if pair["label"] == pair["guess"])
    summary = json.loads((folder / "summary.json").read_text())
    assert right / len(said) == summary["accuracy"] == np.mean([row["label"] == row["guess"] for row in said])
    assert not summary["test"]["labels_known_to_be_right"]
    assert f"{folder.name}: {100 * right / len(said):.1f} % of {len(said)} test images right" in plain(run)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(run, here, cache, threads_of_commands):
    here("train", run, *TINY)
    (first,) = trainings(run)
    kept = weights(first)
    assert "trained before" in here("train", run, *TINY).stderr
    assert weights(first) == kept
    shutil.rmtree(run / "training")
    cleaner("train", run, *TINY, **cache, OMP_NUM_THREADS="3", OPENBLAS_NUM_THREADS="3")
    assert weights(first) == kept
    here("train", run, *TINY, "--seed", 1)
    other = trainings(run)[-1]
    assert other != first and weights(other) != kept


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(run, here, cache, threads_of_commands):
    here("train", run, *TINY)
    (folder,) = trainings(run)
    expected = {name: (folder / name).read_bytes() for name in ("model.safetensors", "steps.parquet", "test.parquet")}
    shutil.rmtree(run / "training")
    killed = 0
    for epoch in (0, 2):
        process = subprocess.Popen(
            [CLEANER, "train", run, *TINY], env={**os.environ, **cache}, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(epochs(folder)) <= epoch:
            time.sleep(0.01)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed
    assert f"{folder.name}: was ended while test_resnet by small on clean, seed 0" in plain(run)
    (told,) = json.loads(here("status", run, "--json").stdout)["trainings"]
    assert (told["ended"], told["summary"], told["state"]["doing"]) == (True, None, "working")
    here("train", run, *TINY)
    assert {name: (folder / name).read_bytes() for name in expected} == expected


def epochs(folder):
    file = folder / "metrics.parquet"
    # Opened once: between two looks another file may have come to lie there.
    return read_table(file).column("epoch").to_pylist() if file.exists() else []


def test_versions_hold_what_stood_then(finished):
    cleaned = Cleaned.of(finished)
    nothing = np.zeros(len(cleaned.manifest), bool)
    assert cleaned.versions[0] == "raw" and cleaned.versions[-1] == "clean"
    assert {"image_noise", "coarse", "fine"} <= set(cleaned.versions)
    made = {
        name: cleaned.version(name, relabelled="use", weigh=False, without=nothing)
        for name in ("raw", "image_noise", "clean")
    }
    summary = json.loads((finished / "summary.json").read_text())
    assert len(made["clean"].rows) == summary["kept"] + summary["relabelled"]
    assert len(made["raw"].rows) > len(made["image_noise"].rows) > len(made["clean"].rows)
    given = {label: number for number, label in enumerate(cleaned.classes)}
    labels = cleaned.manifest.column("label").to_pylist()
    assert [given[labels[row]] for row in made["raw"].rows] == made["raw"].labels.tolist()
    left = cleaned.version("clean", relabelled="leave_out", weigh=True, without=nothing)
    assert len(left.rows) == summary["kept"]
    assert 0 < left.weights.min() < left.weights.max() <= 1
    assert not set(made["clean"].contents) - set(made["raw"].contents)


def network(backbone, settings):
    return f"networks=[{{backbone='{backbone}', pretrained=false, {settings}}}]"


def test_bad_input_is_refused_in_one_line_and_nothing_written(run, here, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "other").mkdir()
    for name in ("x", "y"):
        (tmp_path / "other" / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / "other" / name / "1.png")
    for words, part in (
        ((run, "--version", "fin"), "no version fin (did you mean fine?)"),
        ((run, "--recipe", "smal"), "no recipe smal (did you mean small?)"),
        ((run, "--preset", "smok"), "no preset smok"),
        ((run, "--set", "optimisation.lrr=1"), "unknown setting optimisation.lrr"),
        ((run, "--set", "networks=[{backbone='resnet1k', pretrained=false}]"), "timm has no network resnet1k"),
        ((run, "--set", network("inception_v4", "image_size=32")), "inception_v4: takes no images of 32 pixels ("),
        ((run, "--set", network("dla46_c", "checkpointing=true")), "leave out checkpointing"),
        ((run, "--set", network("dla46_c", "drop_path=0.1")), "dla46_c: has no drop_path"),
        ((run, "--set", network("levit_128s", "prior_bias=true")), "leave out prior_bias"),
        ((run, "--set", "networks=[{backbone='resnet18'}]"), "resnet18: no pretrained weights to be had ("),
        ((run, "--set", "optimisation.phases=[{optimiser='sdg'}]"), "optimiser sdg"),
        ((run, "--set", "networks=[{backbone='resnet18', weights='nowhere.safetensors'}]"), "nowhere.safetensors"),
        ((run, "--test", tmp_path / "other"), "has classes that"),
        ((tmp_path,), "no run lies here"),
    ):
        (line,) = here("train", *words, status=2).stderr.splitlines()
        assert line.startswith("cleaner: ") and part in line
    small = ("--set", network("inception_v4", "image_size=32"))
    for words in (("compare", run, "--versions"), ("find-lr", run, "--version"), ("show-augment", run, "--version")):
        (line,) = here(*words, "fin", status=2).stderr.splitlines()
        assert "no version fin (did you mean fine?)" in line
    (line,) = here("find-lr", run, *small, status=2).stderr.splitlines()
    assert "takes no images of 32 pixels (" in line
    assert not (run / "training").exists()


def test_tensorboard_reads_the_same_numbers(run, here):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    here("train", run, *TINY)
    (folder,) = trainings(run)
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    shown = [scalar.value for scalar in events.Scalars("validation_accuracy")]
    assert shown == pytest.approx(pq.read_table(folder / "metrics.parquet").column("validation_accuracy").to_pylist())


def test_what_cleaning_was_worth(run, here, demo):
    words = ("--seeds", "2", "--truth", demo / "truth.csv", *TINY)
    done = here("compare", run, *words)
    assert len(trainings(run)) == 6 + 3
    for version in ("raw (as it came)", "clean", "true (no noise at all)"):
        assert f"| test_resnet | {version} |" in done.stdout
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("test_resnet: ")]
    assert "on raw" in said and "on clean" in said and " points, between " in said
    (table,) = (run / "training").glob("comparison-small-*.md")
    text = table.read_text()
    assert said in text and "a tenth of the images, held out, by their true labels" in text
    assert "not known to be right" not in text
    picture = Image.open(table.with_suffix(".png"))
    assert picture.width > 500
    rows = json.loads(table.with_suffix(".json").read_text())
    assert [(row["version"], row["seed"]) for row in rows] == [
        (version, seed) for version in ("raw", "clean", "true") for seed in (0, 1)
    ]
    again = here("compare", run, *words)
    assert again.stdout == done.stdout and again.stderr.count("trained before") == 6


def test_how_much_is_done_is_told_of_all_trainings_together(run, here, monkeypatch):
    shares = []
    display = types.SimpleNamespace(
        say=lambda line: None,
        begins=lambda words, done: shares.append(done),
        progressed=lambda what, count, total, done: shares.append(done),
        close=lambda: None,
    )
    monkeypatch.setattr("flows.trained.display_on", lambda console: display)
    words = ("--preset", "smoke", "--set", f"networks={SIBLINGS['finetune']}")
    here("compare", run, *words, "--seeds", 1)
    assert shares == sorted(shares)
    assert shares[0] == 0 and shares[-1] == 0.5 + 0.5 * 3 / 4, "before the last of four steps of the second"


def test_the_contact_sheet_shows_each_augmentation_alone_and_all_in_their_mix(run, here):
    words = ("--set", "networks=[{backbone='test_resnet', image_size=32, pretrained=false}]")
    done = here("show-augment", run, "--recipe", "accv2020", *words)
    file = run / "training" / "augment-accv2020-32.png"
    assert done.stdout.strip().endswith("augment-accv2020-32.png")
    sheet = np.asarray(Image.open(file).convert("L")).astype(int)
    rows = np.split(sheet, 12)
    shown = [row[40:150, : 8 * 134] for row in rows]
    assert all((np.abs(each - shown[0]) > 2).mean() > 0.005 for each in shown[1:])
    assert not list(run.rglob("model.safetensors"))


def test_a_model_says_what_unlabelled_images_show(run, here, demo, tmp_path):
    here("train", run, *TINY, "--set", "samples.most=1000", "--set", "optimisation.phases=[{epochs=8}]")
    (folder,) = trainings(run)
    photos = tmp_path / "photos"
    for name in ("one", "zero"):
        for number, file in enumerate(sorted((demo / "images" / name).glob("*.png"))[:40]):
            (photos / "new").mkdir(parents=True, exist_ok=True)
            shutil.copy(file, photos / "new" / f"{name}-{number}.png")
    (photos / "broken.jpg").write_bytes(b"no image")
    shutil.copy(photos / "new" / "one-0.png", photos / "above.png")
    done = here("predict", folder, photos, "--out", tmp_path / "said")
    assert "81 images judged, 1 can't be used" in done.stdout
    (tmp_path / "mine.toml").write_text(
        'name = "Mine"\nlicence = "mine"\nget = "ask"\n[train]\nat = "images"\n[unlabelled]\nat = "photos"'
    )
    here("predict", folder, tmp_path / "mine.toml", "--out", tmp_path / "again")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "said.csv").read_bytes()
    listed = (tmp_path / "said.csv").read_text().splitlines()
    assert listed[0].replace('"', "") == "path,label,prob" and len(listed) == 83
    rows = {row["path"]: row for row in pq.read_table(tmp_path / "said.parquet").to_pylist()}
    assert rows["broken.jpg"]["label"] is None and "image" in rows["broken.jpg"]["problem"]
    judged = [row for row in rows.values() if row["problem"] is None]
    assert all(row["label"] == row["top_labels"][0] and row["prob"] == row["top_probs"][0] for row in judged)
    assert all(sum(row["top_probs"]) == pytest.approx(1, abs=1e-3) and len(row["top_probs"]) == 10 for row in judged)
    right = [row["label"] == path.split("/")[-1].split("-")[0] for path, row in rows.items() if path.startswith("new/")]
    assert np.mean(right) > 0.6
    assert rows["above.png"]["top_probs"] == pytest.approx(rows["new/one-0.png"]["top_probs"], abs=1e-5)


def test_predicting_without_a_model_or_images_is_refused(run, here, tmp_path):
    def refused(*words):
        return here("predict", *words, status=2).stderr

    for words in ((tmp_path, run), (run, tmp_path / "nowhere")):
        assert "no model lies here" in refused(*words)
    here("train", run, *TINY)
    (folder,) = trainings(run)
    (tmp_path / "empty").mkdir()
    assert "no images" in refused(folder, tmp_path / "empty")
    assert "no such folder" in refused(folder, tmp_path / "nowhere")
    model = folder / "model.safetensors"
    model.write_bytes(model.read_bytes()[:1000])
    assert "its model can't be read" in (told := refused(folder, tmp_path)) and "Traceback" not in told


TOGETHER = (
    "--recipe", "small",
    "--set", "networks=[{backbone='test_vit', image_size=160, pretrained=false}]",
    "--set", "samples.most=96",
    "--set", "augment=[]",
)  # fmt: skip


def steps_of(run, processes, cache, *words):
    phases = "[{optimiser='radam', epochs=1}, {optimiser='sgd', epochs=2}]"
    settings = {"phases": phases, "processes": processes, "batch": 16, "effective_batch": 32}
    words += tuple(word for name, value in settings.items() for word in ("--set", f"optimisation.{name}={value}"))
    done = cleaner("train", run, *TOGETHER, *words, **cache)
    folder = trainings(run)[-1]
    return done, folder, pq.read_table(folder / "steps.parquet")


def test_two_processes_together_do_what_one_does_alone(run, cache):
    """Each takes every second micro-batch of a step; the network has batch norms and dropout. 90 images: three steps,
    the last of fewer."""
    words = ("--set", "networks=[{backbone='test_resnet', image_size=64, pretrained=false, dropout=0.2}]")
    words += ("--set", "samples.most=90", "--set", "augment=[{name='mixcut'}, {name='flip'}]")
    _, one, alone = steps_of(run, 1, cache, *words)
    done, folder, together = steps_of(run, 2, cache, *words)
    assert len(alone) == len(together) == 9
    assert together.column("lr").to_pylist() == alone.column("lr").to_pylist()
    assert together.column("loss").to_pylist() == pytest.approx(alone.column("loss").to_pylist(), rel=1e-3)
    assert "epoch 3 of 3: loss" in done.stderr
    assert json.loads((folder / "summary.json").read_text())["epochs"] == 3
    kept, expected = (load_file(each / "model.safetensors") for each in (folder, one))
    for name, value in expected.items():
        if "running" in name:
            # The mean of what both have seen; alone a micro-batch counts after the other.
            assert torch.allclose(kept[name], value, rtol=0.2, atol=0.02), name


def test_processes_that_train_together_end_with_the_command(run, cache):
    words = (*TOGETHER, "--set", "optimisation.processes=2", "--set", "optimisation.phases=[{epochs=500}]")
    process = subprocess.Popen([CLEANER, "train", run, *words], env={**os.environ, **cache}, stderr=subprocess.DEVNULL)
    while not list(run.rglob("metrics.parquet")):
        assert process.poll() is None
        time.sleep(0.1)
    assert workers(run)
    process.kill()
    process.wait()
    while workers(run):
        time.sleep(0.1)


def workers(run):
    found = subprocess.run(["pgrep", "-f", f"cleaner.training.processes {run}"], capture_output=True, text=True)
    return found.stdout.split()


def test_a_learning_rate_is_suggested(run, here):
    words = ("--set", "networks=[{backbone='test_resnet', image_size=32, pretrained=false}]")
    done = here("find-lr", run, *words)
    (said,) = done.stdout.splitlines()
    assert float(said.partition("optimisation.lr=")[2].split()[0]) > 0
    assert Image.open(run / "training" / "learning-rates-finetune-test_resnet.png").width > 500
    assert not list(run.rglob("model.safetensors"))
