"""The examples of docs/add-a-part.md, each put in its place in a copy of the project and used: one file is enough."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[1]
EXAMPLES = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", (ROOT / "docs/add-a-part.md").read_text(), re.DOTALL))
TESTS = ("tests/test_parts.py", "tests/training/test_augmentations.py")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with all examples in it."""
    copy = tmp_path_factory.mktemp("project")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists() and not name.startswith("benchmarks/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    for name, code in EXAMPLES.items():
        assert not (copy / name).exists() and (copy / name).parent.is_dir()
        (copy / name).write_text(code)
    return copy


def run(project, *command, cwd=None):
    found = subprocess.run(
        [sys.executable, *command],
        cwd=cwd or project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def cleaner(project, *words, cwd):
    return run(project, "-c", "from flows.cli import main; main()", *map(str, words), cwd=cwd)


@pytest.fixture
def photos(tmp_path):
    """Digits, a few of them under wrong labels and two of them tiny, and a list of them."""
    (tmp_path / "photos").mkdir()
    digits, lines = load_digits(), []
    for number in range(3):
        for place, row in enumerate((digits.target == number).nonzero()[0][:40]):
            image = Image.fromarray((digits.images[row] * 255 / 16).astype("uint8"))
            image = image.resize((4, 4)) if place == 7 and number < 2 else image
            image.save(tmp_path / "photos" / f"{number}-{place:02}.png")
            lines.append(f"{(number + (place % 20 == 3)) % 3}\tphotos/{number}-{place:02}.png\n")
    (tmp_path / "photos.lines").write_text("".join(lines))
    return tmp_path


def test_there_is_one_of_each_kind():
    from cleaner.parts import ROOMS

    folders = {Path(name).parent for name in EXAMPLES}
    assert folders == {Path("cleaner") / room / kind for kind, room in ROOMS.items()} and len(EXAMPLES) == len(ROOMS)


def test_a_set_is_read_judged_asked_about_and_exported_by_new_parts(project, photos):
    stages = 'stages=["tiny", "duplicates", "coarse", "fine", "small_classes"]'
    settings = ("features.backbone=pixels", stages, "tiny.side=6", "small_classes.min_images=5")
    settings += ("coarse.predictor=nearest_mean", "fine.predictor=nearest_mean", "predictors.nearest_mean.sharpness=30")
    chosen = [word for setting in settings for word in ("--set", setting)]
    words = ("clean", "photos.lines", "--run", "run", "--runner", "local", "--reviewer", "trusting", *chosen)
    cleaner(project, *words, cwd=photos)
    verdicts = {row["path"]: row for row in pq.read_table(photos / "run" / "verdicts.parquet").to_pylist()}
    assert {path for path, row in verdicts.items() if row["stage"] == "tiny"} == {"photos/0-07.png", "photos/1-07.png"}
    assert {row["by"] for row in verdicts.values()} >= {"rule:tiny", "model:nearest_mean", "person:trusting"}
    page = (photos / "run" / "report.html").read_text()
    assert "Dropped as tiny: 2" in page and "Dropped for a wrong label: 2" not in page and "tiny images" in page
    assert "tiny images" in cleaner(project, "why", "run", "photos/0-07.png", cwd=photos)
    assert "poor quality" in cleaner(project, "issues", "run", cwd=photos)
    cleaner(project, "export", "run", "--format", "lines", "--out", "clean.lines", cwd=photos)
    kept = list(csv.reader((photos / "clean.lines").open(), delimiter="\t"))
    assert len(kept) == sum(row["action"] != "drop" for row in verdicts.values())
    cleaner(project, "clean", "clean.lines", "--run", "again", "--runner", "local", *chosen, cwd=photos)


def test_what_is_found_by_itself_satisfies_the_contract_of_its_kind(project):
    (project / "docs" / "config.md").write_text(run(project, "docs/settings.py"))
    words = ("--name", "cleaner", "--title", "The command line", "--output", "docs/cli.md")
    run(project, "-m", "typer", "flows.cli", "utils", "docs", *words)
    new = " or ".join(Path(name).stem for name in EXAMPLES)
    told = run(project, "-m", "pytest", "-vv", "-p", "no:cacheprovider", "-n0", *TESTS, "-k", new)
    assert " failed" not in told and all(told.count(Path(name).stem) >= 3 for name in EXAMPLES), told


def test_the_examples_are_written_as_all_code_is(project):
    run(project, "-m", "ruff", "check", *EXAMPLES)
    run(project, "-m", "ruff", "format", "--check", *EXAMPLES)
