"""Images of poor quality in a run: said of all, dropped where that is asked for."""

import json

import pyarrow.parquet as pq
import pytest
from command import here
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image

SETTINGS = ("--runner", "local", "--set", "features.backbone=pixels", "--set", "small_classes.min_images=3")


@pytest.fixture
def photos(tmp_path):
    """Pieces of two photos, 24 of each, of which one is blurred and one is dark."""
    root, size = tmp_path / "photos", (96, 64)
    flower = Image.fromarray(load_sample_image("flower.jpg"))
    blurred = flower.filter(ImageFilter.GaussianBlur(20)).resize(size)
    for name in ("china", "flower"):
        (root / name).mkdir(parents=True)
        photo = Image.fromarray(load_sample_image(f"{name}.jpg"))
        for number in range(24):
            left, top = 160 + number % 6 * 40, 120 + number // 6 * 40
            image = photo.crop((left, top, left + size[0], top + size[1]))
            if number == 7:
                image = blurred.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if name == "china" else blurred
            if number == 9:
                image = image.point(lambda value: value // 10)
            image.save(root / name / f"{number:02}.png")
    return root


def issues(run):
    found = [json.loads(line) for line in here("issues", run, "--format", "json").stdout.splitlines()]
    return {issue["path"]: issue for issue in found if issue["kind"] == "poor quality"}


def test_of_each_image_it_is_known_how_good_it_is_and_what_is_asked_for_is_dropped(photos, tmp_path):
    run = tmp_path / "run"
    told = here("clean", photos, "--run", run, *SETTINGS).stderr
    assert "looking for images of poor quality: 4 found" in told
    scores = pq.read_table(run / "quality.parquet").to_pandas().set_index("path")
    assert len(scores) == 48 and scores.notna().all(axis=None)
    poor = {f"{label}/{number}.png" for label in ("china", "flower") for number in ("07", "09")}
    assert set(issues(run)) == poor and issues(run)["china/07.png"]["action"] == "keep"
    assert "blurry" in issues(run)["flower/07.png"]["reason"] and scores.loc["flower/07.png", "blurry"] < 0.29
    assert "images of poor quality, round 1: nothing changed" in here("why", run, "flower/09.png").stdout
    assert json.loads((run / "summary.json").read_text())["poor_quality"] == 4
    here("clean", photos, "--run", run, *SETTINGS, "--set", 'quality.drop=["blurry"]')
    verdicts = pq.read_table(run / "verdicts.parquet").to_pandas().set_index("path")
    gone = verdicts[verdicts["stage"] == "quality"]
    assert {*gone.index} == {"china/07.png", "flower/07.png"} and {*gone["action"]} == {"drop"}
    assert {*issues(run)} == poor and issues(run)["flower/07.png"]["action"] == "drop"
    page = (run / "report.html").read_text()
    assert "Dropped for poor quality: 2" in page and "Dropped for a wrong label: 2" not in page


def test_images_that_come_later_are_judged_with_those_of_before_and_none_is_decoded_again(photos, tmp_path):
    run = tmp_path / "run"
    here("clean", photos, "--run", run, *SETTINGS)
    before = pq.read_table(run / "quality.parquet").to_pandas().set_index("path")
    Image.new("RGB", (96, 64)).save(photos / "flower" / "99.png")
    told = here("clean", photos, "--run", run, *SETTINGS).stderr
    assert "5 found" in told
    after = pq.read_table(run / "quality.parquet").to_pandas().set_index("path")
    assert after.loc[before.index].equals(before) and after.loc["flower/99.png", "dark"] == 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('quality.drop=["blured"]', "quality.drop.0"),
        ("quality.blurry=2", "quality.blurry = 2"),
        ('stages=["quality"]', "no stage that judges labels"),
        ('stages=["fine", "fine"]', "fine is there twice"),
        ('stages=["fine", "blur"]', "no stage blur"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(photos, tmp_path, setting, said):
    result = here("clean", photos, "--run", tmp_path / "run", *SETTINGS, "--set", setting, status=2)
    assert said in result.stderr and len(result.stderr.strip().splitlines()) == 1 and not (tmp_path / "run").exists()
