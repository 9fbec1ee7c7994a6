import subprocess
import sys
from pathlib import Path

import pytest

from cleaner.config import Config, read_config
from cleaner.errors import ConfigError
from cleaner.parts import make


def test_the_defaults_are_the_recipes_values():
    config = Config()
    assert (config.image_noise.threshold, config.coarse.k, config.fine.k) == (0.9, 5, 1)
    assert (config.folds, config.small_classes.min_images) == (5, 50)
    assert (config.review.first, config.review.batches) == (100, 3)


def test_a_file_is_overlaid_by_assignments_and_these_by_the_seed(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("seed = 1\n[fine]\nk = 2\n[coarse]\nk = 7\n")
    config = read_config(file, ["fine.k=3", "features.backbone=resnet18", "seed=5"], seed=9)
    assert (config.seed, config.fine.k, config.coarse.k, config.features.backbone) == (9, 3, 7, "resnet18")


def test_all_wrong_keys_are_told_in_one_message_with_the_nearest_right_names():
    with pytest.raises(ConfigError) as caught:
        read_config(None, ["fine.kay=1", "sead=3", "coarse.k=0"])
    message = str(caught.value)
    assert "unknown setting fine.kay (did you mean k?)" in message or "unknown setting fine.kay (known:" in message
    assert "unknown setting sead (did you mean seed?)" in message
    assert "coarse.k = 0" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("assignment", "message"),
    [("fine.k", "wants a.b=value"), ("seed.x=1", "seed"), ("fine.k=many", "fine.k = 'many'")],
)
def test_an_assignment_that_can_not_be_is_explained(assignment, message):
    with pytest.raises(ConfigError, match=message):
        read_config(None, ["seed=1", assignment])


def test_a_config_file_that_is_no_toml_is_named(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("seed = = 1")
    with pytest.raises(ConfigError, match=r"run\.toml: no valid TOML"):
        read_config(file, [])
    with pytest.raises(ConfigError, match="can't be read"):
        read_config(Path(tmp_path / "none.toml"), [])


def test_an_unknown_part_is_answered_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no predictor probes \(did you mean probe\?\)"):
        make("predictors", "probes", {})


def test_a_parts_wrong_settings_are_all_told():
    with pytest.raises(ConfigError) as caught:
        make("predictors", "probe", {"depth": 3, "power": 0, "penalties": [0.1, 0], "passes": -1, "dimensions": 0})
    for said in (
        "unknown setting predictors.probe.depth",
        "predictors.probe.power = 0: should be greater than 0",
        "predictors.probe.penalties.1 = 0: should be greater than 0",
        "predictors.probe.passes = -1: should be greater than or equal to 1",
        "predictors.probe.dimensions = 0: should be greater",
    ):
        assert said in str(caught.value)


def test_a_setting_that_must_be_there_is_named():
    with pytest.raises(ConfigError, match=r"reviewers\.oracle\.truth: must be set"):
        make("reviewers", "oracle", {})


def test_settings_are_read_without_what_takes_long_to_import():
    """The stages' sections are part of them, and each command reads them."""
    slow = ("pandas", "scipy.optimize", "scipy.special", "sklearn", "torch", "timm", "faiss", "altair", "prefect")
    code = f"import sys, cleaner.config; print(*(name for name in {slow} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
