"""Who is learnt from and who is measured on: what is planted in either never comes into the other."""

import json
import shutil
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from command import clean_locally, here
from PIL import Image

from cleaner.errors import InputError, RunError
from cleaner.evidence.networks import timm
from cleaner.training.concluding import conclude
from cleaner.training.data import DATA
from cleaner.training.opened import Training
from cleaner.training.predicting import PREDICTIONS, Model, write_predictions
from cleaner.training.recipe import Network, read_recipe
from cleaner.training.request import TrainingSpec
from cleaner.training.split import NOTHING, held_out, split_of

CLASSES = ("day", "night")
RECIPE = read_recipe(
    "small",
    [
        "networks=[{backbone='test_resnet', image_size=32, pretrained=false}]",
        "optimisation.phases=[{epochs=1}]",
        "samples.keep_decoded=false",
        "samples.validation=0",
    ],
)


def picture(rng, label):
    tone, size = (130, 0)[CLASSES.index(label)], tuple(int(side) for side in rng.integers(60, 120, 2))
    return Image.fromarray(rng.integers(0, 120, (5, 5, 3), dtype=np.uint8) + np.uint8(tone)).resize(size)


def saved_again(image):
    """Nearly the same: smaller, and by a coarser encoder."""
    data = BytesIO()
    image.resize((image.width * 4 // 5, image.height * 4 // 5)).save(data, "JPEG", quality=70)
    return data.getvalue()


def write(root, images):
    for path, image in images.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            (root / path).write_bytes(image)
        else:
            image.save(root / path, quality=95)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A hundred photos of two classes, and a finished run over them."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    images = {f"{label}/{number:02}.jpg": picture(rng, label) for label in CLASSES for number in range(50)}
    write(folder / "photos", images)
    clean_locally(folder / "photos", folder / "run", "--set", "features.backbone=pixels")
    return folder / "photos", folder / "run", images


def training(run, *, test=None, recipe=RECIPE, version="raw", **said):
    spec = {"run": run, "name": "small", "recipe": recipe, "test": test, "network": 0, "version": version}
    return Training(TrainingSpec(**spec, **{"seed": 0, "workers": 2, **said}))


def validated(share):
    return RECIPE.model_copy(update={"samples": RECIPE.samples.model_copy(update={"validation": share})})


def paths(made, rows):
    return made.choice.cleaned.manifest.column("path").take(pa.array(rows)).to_pylist()


def test_what_is_measured_on_elsewhere_is_not_learnt_from_nor_its_copies(photos, tmp_path):
    """A test set of twelve photos of the run, ten others of its photos saved again, and eight new ones."""
    root, run, images = photos
    rng = np.random.default_rng(1)
    same, again = [*images][5:17], [*images][60:70]
    write(
        tmp_path / "test",
        {f"{path.split('/')[0]}/same-{path.split('/')[1]}": (root / path).read_bytes() for path in same},
    )
    write(tmp_path / "test", {path: saved_again(images[path]) for path in again})
    write(
        tmp_path / "test",
        {f"{label}/new-{number}.png": picture(rng, label) for label in CLASSES for number in range(4)},
    )
    made = training(run, test=tmp_path / "test")
    learnt = set(paths(made, made.version.rows))
    assert not learnt & {*same, *again}
    assert learnt == {*images} - {*same, *again}
    assert (
        made.choice.split.words()
        == "not learnt from: 12 images that are measured on too, and 10 images nearly the same as such"
    )
    assert len(made.test.rows) == 30
    # What was found once is not looked for again.
    found = [*(run / "training").glob("copies-*.parquet")]
    assert len(found) == 1
    assert paths(made, training(run, test=tmp_path / "test").version.rows) == paths(made, made.version.rows)


def test_a_data_manifest_s_own_test_set_is_kept_apart_too(photos, tmp_path):
    root, _, images = photos
    shutil.copytree(root, tmp_path / "train")
    write(tmp_path / "test", {path: (root / path).read_bytes() for path in [*images][::9]})
    (tmp_path / "mine.toml").write_text(
        'name = "Mine"\nlicence = "mine"\nget = "ask"\n[train]\nat = "train"\n[test]\nat = "test"\n'
    )
    clean_locally(tmp_path / "mine.toml", tmp_path / "run", "--set", "features.backbone=pixels")
    made = training(tmp_path / "run")
    assert not {path.removeprefix("train/") for path in paths(made, made.version.rows)} & {*[*images][::9]}
    assert made.choice.split.copies.sum() == len([*images][::9]) == len(made.test.rows)


def test_near_copies_in_another_split_are_left_out(photos, tmp_path):
    root, _, images = photos
    shutil.copytree(root, tmp_path / "photos" / "train")
    rng = np.random.default_rng(2)
    twins = [*images][3:10] + [*images][55:60]
    write(tmp_path / "photos" / "test", {path: saved_again(images[path]) for path in twins})
    write(
        tmp_path / "photos" / "test",
        {f"{label}/new-{number}.png": picture(rng, label) for label in CLASSES for number in range(4)},
    )
    clean_locally(tmp_path / "photos", tmp_path / "run", "--set", "features.backbone=pixels")
    made = training(tmp_path / "run")
    learnt = paths(made, made.version.rows)
    assert {path.split("/", 1)[0] for path in learnt} == {"train"}
    assert not {path.split("/", 1)[1] for path in learnt} & {*twins}
    assert made.choice.split.near.sum() == len(twins)


def manifest_of(hashes, labels=None):
    columns = {"content_hash": hashes, "label": labels or ["day"] * len(hashes)}
    return pa.table(columns | {"problem": pa.nulls(len(hashes), pa.string())})


def split(manifest, groups, test, *, share=0.0, validation=None, contents=NOTHING, near=NOTHING):
    validation = np.zeros(len(test), bool) if validation is None else validation
    return split_of(manifest, groups, test, validation, contents, near, share=share)


def groups_of(*groups):
    rows = [row for group in groups for row in group]
    numbers = [number for number, group in enumerate(groups) for _ in group]
    return pa.table({"row": pa.array(rows, pa.int32()), "group": pa.array(numbers, pa.int32())})


def test_a_tenth_is_held_out_by_pictures_and_stays_whatever_comes():
    rng = np.random.default_rng(3)
    hashes = [rng.bytes(32).hex() for _ in range(3000)]
    groups = groups_of(*[range(start, start + 3) for start in range(0, 900, 3)])
    held = held_out(manifest_of(hashes), groups)
    assert 0.07 < held.mean() < 0.13
    assert all(len(set(held[start : start + 3])) == 1 for start in range(0, 900, 3))
    alone = held_out(manifest_of(hashes[900:]), groups_of())
    assert np.array_equal(alone, held[900:])
    whole = split(manifest_of(hashes), groups, held)
    assert not whole.near.any() and not whole.copies.any()
    # Held out one by one, as by another rule, two of three would have a twin among those that are learnt from.
    one = np.arange(3000) % 3 == 0
    kept_apart = split(manifest_of(hashes), groups, one)
    assert kept_apart.near.sum() == 600 and not (kept_apart.left_out[900:] & ~one[900:]).any()


def test_validation_is_drawn_by_pictures_and_stays_whatever_comes():
    rng = np.random.default_rng(6)
    hashes = [rng.bytes(16).hex() for _ in range(3000)]
    groups = groups_of(*[range(start, start + 3) for start in range(0, 900, 3)])
    test = held_out(manifest_of(hashes), groups)
    drawn = split(manifest_of(hashes), groups, test, share=0.2).validation
    assert 0.16 < drawn[~test].mean() < 0.24 and not (drawn & test).any()
    assert all(len(set(drawn[start : start + 3])) == 1 for start in range(0, 900, 3))
    alone = split(manifest_of(hashes[900:]), groups_of(), test[900:], share=0.2).validation
    assert np.array_equal(alone, drawn[900:])
    more = split(manifest_of(hashes), groups, test, share=0.3).validation
    assert (more >= drawn).all() and more.sum() > drawn.sum()


@pytest.mark.parametrize("seed", range(5))
def test_of_no_class_all_is_validation(seed):
    """Forty classes of two images, one of which may be a near copy of one in another class, and a broken file."""
    rng = np.random.default_rng(seed)
    hashes, labels = [rng.bytes(16).hex() for _ in range(80)], [f"{number // 2}" for number in range(80)]
    groups = groups_of(*[(row, row + 2) for row in range(1, 60, 6)])
    manifest = manifest_of(hashes + [None] * 40, labels + [f"{number}" for number in range(40)])
    broken = pa.array([None] * 80 + ["broken"] * 40, pa.string())
    manifest = manifest.set_column(manifest.column_names.index("problem"), "problem", broken)
    drawn = split(manifest, groups, np.zeros(120, bool), share=0.5).validation[:80]
    assert drawn.any() and {label for label, out in zip(labels, drawn, strict=True) if not out} == {*labels}


def test_what_is_tested_on_tells_no_epoch_nor_do_its_copies():
    """Rows 0 to 9 are the data set's validation split, 10 to 19 its test split; of the first 0 is a file of the second,
    1 a near copy, 2 a file of another test set, 3 nearly one of its files."""
    rng = np.random.default_rng(7)
    hashes = [rng.bytes(16).hex() for _ in range(40)]
    hashes[0] = hashes[10]
    rows = np.arange(40)
    of_splits = {"validation": rows < 10, "groups": groups_of((1, 11), (4, 30))}
    given = {"contents": pa.array([hashes[2]]), "near": pa.array([hashes[3]])}
    found = split(manifest_of(hashes), of_splits.pop("groups"), (rows >= 10) & (rows < 20), **of_splits, **given)
    assert np.flatnonzero(found.validation).tolist() == [4, 5, 6, 7, 8, 9]
    assert np.flatnonzero(found.copies).tolist() == [0, 2]
    assert np.flatnonzero(found.near).tolist() == [1, 3, 30]
    assert np.flatnonzero(~found.left_out).tolist() == [*range(20, 30), *range(31, 40)]


def test_where_a_validation_split_is_the_test_set_others_are_drawn():
    rng = np.random.default_rng(8)
    hashes, rows = [rng.bytes(16).hex() for _ in range(200)], np.arange(200)
    nothing = np.zeros(200, bool)
    found = split(
        manifest_of(hashes), groups_of(), nothing, validation=rows < 20, contents=pa.array(hashes[:20]), share=0.2
    )
    assert found.copies.sum() == 20 and not found.validation[:20].any() and 15 < found.validation.sum() < 60


def test_validation_is_the_same_for_all_versions_and_seeds_and_nothing_of_it_is_learnt(photos, tmp_path):
    root, _, images = photos
    shutil.copytree(root, tmp_path / "photos")
    twins = [*images][2:60:7]
    write(tmp_path / "photos", {path.replace(".jpg", "-again.jpg"): saved_again(images[path]) for path in twins})
    wrong = [*images][4:40:9]
    for path in wrong:
        (tmp_path / "photos" / path).rename(tmp_path / "photos" / "night" / f"wrong-{path[4:]}")
    clean_locally(tmp_path / "photos", tmp_path / "run", "--set", "features.backbone=pixels")
    made = [
        training(tmp_path / "run", recipe=validated(0.3), version=version, seed=seed)
        for version, seed in (("raw", 0), ("clean", 0), ("raw", 1))
    ]
    sets = {tuple(zip(one.validation.contents, one.validation.labels.tolist(), strict=True)) for one in made}
    assert len(sets) == 1
    validation = set(paths(made[0], made[0].validation.rows))
    assert 15 < len(validation) < 50
    assert made[0].validation.words == "held out for that, labels as they stand after cleaning"
    picture_of = {path: path.replace("-again", "") for path in (*images, *(each[:-4] + "-again.jpg" for each in twins))}
    for one in made:
        learnt, tested = (set(paths(one, some.rows)) for some in (one.version, one.test))
        assert learnt and tested and not learnt & validation and not validation & tested
        sides = [{picture_of.get(path, path) for path in some} for some in (learnt, validation, tested)]
        assert not sides[0] & sides[1] and not sides[1] & sides[2] and not sides[0] & sides[2]
    trained(made[0])
    roles = pq.read_table(made[0].folder / DATA)
    kept = roles.filter(pa.compute.equal(roles.column("role"), "validation")).column("path").to_pylist()
    assert set(kept) == validation
    summary = made[0].done()
    metrics = pq.read_table(made[0].folder / "metrics.parquet").column("validation_accuracy").to_pylist()
    assert summary["validation"]["images"] == len(kept) and summary["validation"]["accuracy"] == pytest.approx(
        metrics[-1]
    )
    assert summary["epoch"] == 1


def test_a_validation_split_beside_a_test_split_is_what_it_says(photos, tmp_path):
    root, _, images = photos
    names = [*images]
    for number, path in enumerate(names):
        split = ("test", "val", "train", "train", "train")[number % 5]
        (tmp_path / "photos" / split / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, tmp_path / "photos" / split / path)
    clean_locally(tmp_path / "photos", tmp_path / "run", "--set", "features.backbone=pixels")
    made = training(tmp_path / "run", recipe=validated(0.3))
    for some, split in ((made.version, "train"), (made.validation, "val"), (made.test, "test")):
        assert {path.split("/")[0] for path in paths(made, some.rows)} == {split}
    assert made.validation.words == "the images of its val split, labels as given"
    assert made.test.words == "the images of its test split, labels as given"
    # Alone it is what there is to measure on.
    shutil.rmtree(tmp_path / "photos" / "test")
    clean_locally(tmp_path / "photos", tmp_path / "run", "--set", "features.backbone=pixels")
    alone = training(tmp_path / "run", recipe=validated(0.3))
    assert {path.split("/")[0] for path in paths(alone, alone.test.rows)} == {"val"}
    assert {path.split("/")[0] for path in paths(alone, alone.validation.rows)} == {"train"}
    # A named test set: neither of its own is learnt from.
    write(
        tmp_path / "other",
        {f"{label}/{n}.png": picture(np.random.default_rng(n), label) for label in CLASSES for n in range(3)},
    )
    named = training(tmp_path / "run", recipe=validated(0.3), test=tmp_path / "other")
    assert {path.split("/")[0] for path in paths(named, named.validation.rows)} == {"val"}
    assert {path.split("/")[0] for path in paths(named, named.version.rows)} == {"train"}


def test_a_training_begun_by_another_method_is_told_and_one_of_today_goes_on(photos, tmp_path, monkeypatch):
    _, run, _ = photos
    run = shutil.copytree(run, tmp_path / "run")
    begun = training(run)
    begun.begin()
    (begun.folder / "checkpoint.safetensors").write_bytes(b"")
    assert training(run).lost == []
    monkeypatch.setattr("cleaner.training.opened.METHOD", 99)
    later = training(run)
    assert later.folder != begun.folder and later.lost == [begun.folder]
    assert f"{begun.folder}: was begun by another version of cleaner and can't go on; delete it" in later.sentences()


def test_the_best_epoch_needs_images_to_be_told_by(photos):
    _, run, _ = photos
    best = RECIPE.optimisation.model_copy(update={"select": "best"})
    with pytest.raises(InputError, match=r"no validation images to tell the best epoch by; raise samples\.validation"):
        training(run, recipe=RECIPE.model_copy(update={"optimisation": best})).check()


def test_files_that_cannot_be_read_are_on_no_side():
    assert not held_out(manifest_of([None, None]), groups_of()).any()


def test_a_training_is_known_by_what_it_learns_not_by_where_that_lies(photos, tmp_path):
    root, run, images = photos
    write(tmp_path / "test", {path: (root / path).read_bytes() for path in [*images][::10]})
    shutil.copytree(tmp_path / "test", tmp_path / "other name")
    first = training(run, test=tmp_path / "test").folder
    assert training(run, test=tmp_path / "other name").folder == first
    assert (
        training(run, test=tmp_path / "test", recipe=RECIPE.model_copy(update={"description": "mine"})).folder == first
    )
    assert training(run, test=tmp_path / "test", version="clean", recipe=RECIPE).folder != first
    # A broken file more, before all others: every row has another number.
    shutil.copytree(root, tmp_path / "more")
    (tmp_path / "more" / "day" / "00-broken.jpg").write_bytes(b"broken")
    clean_locally(tmp_path / "more", tmp_path / "run", "--set", "features.backbone=pixels")
    assert training(tmp_path / "run", test=tmp_path / "test").folder.name == first.name


def test_what_is_tested_on_is_known_by_content_too(photos, tmp_path):
    root, run, images = photos
    for folder, names in (("one", "{}"), ("other", "z{}")):
        for number, path in enumerate([*images][::4]):
            label = path.split("/")[0]
            there = tmp_path / folder / label / f"{names.format(number if folder == 'one' else 99 - number)}.jpg"
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, there)
    few = RECIPE.model_copy(update={"samples": RECIPE.samples.model_copy(update={"most": 10})})
    for recipe in (RECIPE, few):
        one, other = (training(run, test=tmp_path / folder, recipe=recipe) for folder in ("one", "other"))
        assert one.folder == other.folder and one.test.contents == other.test.contents
    assert len(one.test.rows) == 10


def test_renamed_files_in_another_order_give_the_same_weights(photos, tmp_path):
    root, run, images = photos
    for path in images:
        label, name = path.split("/")
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, tmp_path / "photos" / label / f"{99 - int(name[:2])}.jpg")
    clean_locally(tmp_path / "photos", tmp_path / "run", "--set", "features.backbone=pixels")
    weights = []
    for folder in (shutil.copytree(run, tmp_path / "first"), tmp_path / "run"):
        made = training(folder)
        engine = made.begin()
        conclude(made, engine, engine.train())
        weights.append((made.folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_run_that_is_cleaned_in_the_middle_of_a_training_takes_nothing_from_it(photos, tmp_path, monkeypatch):
    root, _, _ = photos
    shutil.copytree(root, tmp_path / "photos")
    recipe = read_recipe("small", ["networks=[{backbone='test_resnet', image_size=32, pretrained=false}]",
                                   "optimisation.phases=[{epochs=3}]", "optimisation.select=best",
                                   "samples.keep_decoded=false", "samples.validation=0.2"])  # fmt: skip
    runs = [tmp_path / name for name in ("whole", "ended")]
    for each in runs:
        clean_locally(tmp_path / "photos", each, "--set", "features.backbone=pixels")
    whole = training(runs[0], recipe=recipe, version="clean")
    engine = whole.begin()
    conclude(whole, engine, engine.train())
    ended = training(runs[1], recipe=recipe, version="clean")
    engine = ended.begin()
    keep = type(engine)._keep

    def kept_once(made, progress):
        keep(made, progress)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(engine), "_keep", kept_once)
        engine.train()
    # Nightly cleaning: new photos, and other settings.
    rng = np.random.default_rng(5)
    write(
        tmp_path / "photos",
        {f"{label}/a-new-{number}.jpg": picture(rng, label) for label in CLASSES for number in range(15)},
    )
    clean_locally(tmp_path / "photos", runs[1], "--set", "features.backbone=pixels", "--seed", 3)
    again = training(runs[1], recipe=recipe, version="clean")
    assert again.folder == ended.folder and again.goes_on_with_other_data
    compared = Training(again.spec, go_on=False)
    assert compared.folder != ended.folder and len(compared.version) > len(again.version)
    engine = again.begin()
    conclude(again, engine, engine.train())
    for name in ("model.safetensors", "steps.parquet"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    # The next one learns from what stands now.
    after = training(runs[1], recipe=recipe, version="clean")
    assert after.folder != again.folder and len(after.version) > len(again.version)


def test_images_that_it_began_with_and_are_gone_are_told(photos, tmp_path):
    root, _, _ = photos
    shutil.copytree(root, tmp_path / "photos")
    clean_locally(tmp_path / "photos", tmp_path / "run", "--set", "features.backbone=pixels")
    begun = training(tmp_path / "run")
    begun.begin()
    (begun.folder / "checkpoint.safetensors").write_bytes(b"")
    for file in sorted((tmp_path / "photos" / "day").iterdir())[:20]:
        file.unlink()
    clean_locally(tmp_path / "photos", tmp_path / "run", "--set", "features.backbone=pixels")
    words = (
        "train",
        tmp_path / "run",
        "--version",
        "raw",
        "--set",
        "networks=[{backbone='test_resnet', image_size=32, pretrained=false}]",
    )
    assert json.loads((begun.folder / "training.json").read_text())["version"] == "raw"
    recipe = ("--recipe", "small", "--set", "optimisation.phases=[{epochs=1}]")
    recipe = (*recipe, "--set", "samples.keep_decoded=false", "--set", "samples.validation=0")
    told = here(*words, *recipe, status=2).stderr
    assert "images that it began with are gone; put them back, or delete it to train on what is there" in told


def trained(made):
    engine = made.begin()
    conclude(made, engine, engine.train())
    return made


def test_a_network_made_for_one_size_is_trained_and_loaded_at_another(photos, tmp_path):
    root, run, _ = photos
    network = {"backbone": "test_vit", "image_size": 64, "pretrained": False}
    recipe = RECIPE.model_copy(update={"networks": (Network.model_validate(network),)})
    made = trained(training(shutil.copytree(run, tmp_path / "run"), recipe=recipe))
    model, loaded = Model.of(made.folder), timm.create_model(f"local-dir:{made.folder}", pretrained=True).eval()
    assert loaded.patch_embed.img_size == (64, 64)
    for row in pq.read_table(made.folder / "test.parquet").to_pylist()[:4]:
        data = (root / row["path"]).read_bytes()
        ours = model.probabilities(np.array([model.shown.pixels(data, max_pixels=10**6)]))[0]
        assert float(ours.max()) == pytest.approx(row["prob"], abs=1e-5)
        shown = timm.data.create_transform(**timm.data.resolve_model_data_config(loaded))
        with torch.inference_mode():
            theirs = loaded(shown(Image.open(root / row["path"]))[None]).softmax(1)[0]
        assert float(theirs.max()) == pytest.approx(row["prob"], abs=1e-3)


def test_a_training_goes_on_though_its_version_is_no_more(photos, tmp_path):
    root, _, _ = photos
    shutil.copytree(root, tmp_path / "photos")
    asking = ("--set", "features.backbone=pixels", "--reviewer", "sheet", "--set", "review.first=4")
    clean_locally(tmp_path / "photos", tmp_path / "run", *asking, status=3)
    for answer in (tmp_path / "run" / "reviews").glob("*.csv"):
        answer.unlink()
    clean_locally(tmp_path / "photos", tmp_path / "run", *asking[:2])
    begun = training(tmp_path / "run", version="judged-1")
    begun.begin()
    (begun.folder / "checkpoint.safetensors").write_bytes(b"")
    rng = np.random.default_rng(8)
    write(tmp_path / "photos", {"day/new.jpg": picture(rng, "day")})
    clean_locally(tmp_path / "photos", tmp_path / "run", *asking[:2])
    again = training(tmp_path / "run", version="judged-1")
    assert again.folder == begun.folder and again.goes_on_with_other_data
    assert again.version.contents.tolist() == begun.version.contents.tolist()
    (begun.folder / DATA).write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"data\.parquet: is damaged \(.*\); delete the training's folder"):
        _ = training(tmp_path / "run", version="judged-1").version


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_an_image_that_is_twice_in_the_test_set_keeps_both_its_names_and_labels(photos, tmp_path, form):
    root, run, images = photos
    run = shutil.copytree(run, tmp_path / "run")
    files = {path: (root / path).read_bytes() for path in [*images][::12]} | {
        "night/z-copy.jpg": (root / "day/00.jpg").read_bytes()
    }
    if form == "folder":
        write(tmp_path / "test", files)
    else:
        labels = [path.split("/")[0] for path in files]
        table = pa.table({"path": [*files], "label": labels, "image": [*files.values()]})
        pq.write_table(table, tmp_path / "test", row_group_size=4)
    test = (tmp_path / "test").rename(tmp_path / ("test" if form == "folder" else "test.parquet"))
    once = trained(training(run, test=test))
    expected = pq.read_table(once.folder / "test.parquet")
    (once.folder / "test.parquet").unlink()
    (once.folder / "summary.json").unlink()
    again = trained(training(run, test=test))
    assert again.folder == once.folder
    assert pq.read_table(again.folder / "test.parquet").equals(expected)
    rows = {(row["path"].split("/")[-1], row["label"]) for row in expected.to_pylist()}
    assert {("00.jpg", "day"), ("z-copy.jpg", "night")} <= rows


def test_one_file_under_two_labels_is_learnt_in_one_order_whatever_its_names(photos, tmp_path):
    root, _, _ = photos
    folders = []
    for names in (("a", "z"), ("z", "a")):
        there = tmp_path / names[0]
        shutil.copytree(root, there / "photos")
        for label, name in zip(CLASSES, names, strict=True):
            shutil.copy(root / "day" / "00.jpg", there / "photos" / label / f"{name}.jpg")
        clean_locally(there / "photos", there / "run", "--set", "features.backbone=pixels")
        folders.append(training(there / "run").folder.name)
    assert folders[0] == folders[1]


def test_where_nothing_is_held_out_it_trains_and_measures_nothing(photos, tmp_path, monkeypatch):
    _, run, _ = photos
    monkeypatch.setattr("cleaner.training.split._HELD_OUT_SHARE", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep = RECIPE.model_copy(update={"samples": RECIPE.samples.model_copy(update={"keep_decoded": True})})
    made = trained(training(shutil.copytree(run, tmp_path / "run"), recipe=keep))
    assert len(made.test.rows) == 0 and made.done()["test"]["images"] == 0
    assert len(made.validation.rows) == 0 and made.done()["validation"]["accuracy"] is None


def test_too_few_images_to_learn_two_classes_from_are_refused(photos):
    _, run, _ = photos
    few = RECIPE.model_copy(update={"samples": RECIPE.samples.model_copy(update={"most": 1})})
    with pytest.raises(InputError, match=r"samples\.most = 1: images of one class are left"):
        _ = training(run, recipe=few).folder


def test_predictions_are_written_under_the_name_that_was_given(tmp_path):
    row = {"path": "a", "label": "x", "prob": 1.0, "top_labels": ["x"], "top_probs": [1.0], "problem": None}
    table = pa.Table.from_pylist([row], PREDICTIONS)
    for out in ("shop.v1", "shop.v2", "plain", "listed.csv"):
        write_predictions(table, tmp_path / out)
    names = {f"{stem}.{form}" for stem in ("shop.v1", "shop.v2", "plain", "listed") for form in ("csv", "parquet")}
    assert {file.name for file in tmp_path.iterdir()} == names


def test_the_command_says_what_is_left_out(photos, tmp_path):
    root, run, images = photos
    run = shutil.copytree(run, tmp_path / "run")
    write(tmp_path / "test", {path: (root / path).read_bytes() for path in [*images][::10]})
    words = ("--recipe", "small", "--set", "networks=[{backbone='test_resnet', image_size=32, pretrained=false}]")
    done = here(
        "train",
        run,
        *words,
        "--set",
        "optimisation.phases=[{epochs=1}]",
        "--test",
        tmp_path / "test",
        "--version",
        "raw",
        "--select",
        "best",
    )
    assert "not learnt from: 10 images that are measured on too" in done.stderr.replace("\n", " ")
    (folder,) = (run / "training").glob("small-*/")
    roles = pq.read_table(folder / DATA).column("role").to_pylist()
    assert roles.count("learnt") + roles.count("validation") == 90 and roles.count("test") == 10
    assert f"looked at after each epoch, {roles.count('validation')} image" in done.stderr.replace("\n", " ")
    assert json.loads((folder / "training.json").read_text())["recipe"]["optimisation"]["select"] == "best"
