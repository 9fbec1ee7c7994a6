"""What holds of every part of every kind: of those that are there, and of whoever comes."""

import inspect
from pathlib import Path
from typing import ClassVar, get_origin, get_type_hints

import numpy as np
import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cleaner.config import Config, read_config
from cleaner.data.exporters import export
from cleaner.errors import ConfigError
from cleaner.evidence.crossfit import Task, assign_folds
from cleaner.parts import ROOMS, check, find, make, names
from cleaner.plan.predicting import concatenate_by_row
from cleaner.plan.wrong_labels import WrongLabels
from cleaner.stages import RESERVED
from cleaner.tables import EVIDENCE

ROOT = Path(__file__).parents[1]
PARTS = [(kind, name) for kind in sorted(ROOMS) for name in names(kind)]
_WHERE = {
    "stages": "docs/config.md: ## [{name}]",
    "predictors": "docs/config.md: ## [predictors.{name}]",
    "reviewers": "docs/config.md: ## [reviewers.{name}]",
    "augmentations": 'docs/config.md: ## [[augment]] name = "{name}"',
    "exporters": "docs/cli.md: {name}",
    "sources": "docs/cli.md: ",
}
"""Where a user finds a part, and under which words."""


def settings(kind: str, name: str) -> dict[str, FieldInfo]:
    """Those that a user can write, each with what is said of it."""
    part = find(kind, name)
    if issubclass(part, BaseModel):
        return dict(part.model_fields)
    hints = get_type_hints(part, include_extras=True)
    found = {}
    for setting, hint in hints.items():
        if get_origin(hint) is ClassVar or kind == "sources":
            # A source is made of a path and of what the sections of its kind say.
            continue
        (found[setting],) = (info for info in hint.__metadata__ if isinstance(info, FieldInfo))
    return found


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_its_settings_are_described_and_it_says_what_it_is(kind, name):
    assert inspect.getdoc(find(kind, name)), "a docstring is what the page of settings shows"
    for setting, info in settings(kind, name).items():
        assert info.description, setting


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_its_numbers_are_bounded_and_what_lies_beyond_is_refused_by_name(kind, name):
    for setting, info in settings(kind, name).items():
        if get_type_hints(find(kind, name))[setting] not in (int, float):
            continue
        bounds = {type(each): each for each in info.metadata}
        assert {Ge, Gt} & set(bounds) and {Le, Lt} & set(bounds), f"{setting} has no bounds"
        low = bounds[Ge].ge - 1 if Ge in bounds else bounds[Gt].gt
        high = bounds[Le].le + 1 if Le in bounds else bounds[Lt].lt
        for value in (low, high, "many"):
            with pytest.raises(ConfigError, match=setting):
                _refused(kind, name, {setting: value})


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_an_unknown_setting_is_refused_by_name(kind, name):
    if kind != "sources":
        with pytest.raises(ConfigError, match="no_such_setting"):
            _refused(kind, name, {"no_such_setting": 1})


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_it_is_listed_where_users_look(kind, name):
    page, _, words = _WHERE[kind].partition(": ")
    assert words.format(name=name) in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", names("stages"))
def test_a_stage_says_what_people_read(name):
    stage = find("stages", name)
    assert stage.title and stage.title == stage.title.strip() and isinstance(stage.gallery, str) and stage.issue
    assert stage.judges_labels == issubclass(stage, WrongLabels) and name not in RESERVED
    assert stage().name == name and getattr(Config(), name) == stage()


@pytest.mark.parametrize("name", names("exporters"))
def test_an_exporter_writes_the_same_twice(name, judged, tmp_path):
    written = []
    for number in range(2):
        out = tmp_path / str(number) / "clean"
        out.parent.mkdir()
        export(make("exporters", name, {}), judged.standing, judged.manifest, judged.source, out)
        files = sorted(file for file in ([out] if out.is_file() else out.rglob("*")) if file.is_file())
        written.append([(file.relative_to(out.parent), file.read_bytes()) for file in files])
    assert written[0] == written[1] and written[0]


@pytest.mark.parametrize("name", [name for name in names("predictors") if name != "finetune"])
def test_a_predictor_says_the_same_twice_and_of_what_it_is_asked_alone(name):
    n, classes, random = 120, 3, np.random.default_rng(0)
    labels = random.integers(0, classes, n).astype(np.int32)
    means, noise = random.normal(size=(classes, 8)), random.normal(size=(n, 8))
    features = (means[labels] + 0.3 * noise).astype(np.float16)
    keys, alone, everyone = np.arange(n, dtype=np.uint64), np.full(n, -1, np.int32), np.ones(n, bool)
    folds = assign_folds(labels, alone, keys, folds=3)
    finer = assign_folds(labels, alone, keys, folds=3, finer=4)
    known = {"labels": labels, "train": everyone, "weights": everyone.astype(np.float32), "predict": labels != 2}
    known |= {"folds": folds, "finer_folds": finer, "classes": classes, "round": 1, "seed": 0, "features": features}
    task = Task(**known, source=None, manifest=None)
    predictor = make("predictors", name, {})
    asked = [(0, 1, 2)] if predictor.folds_together else [(0,), (1,), (2,)]
    found, again = (concatenate_by_row(*(predictor.evidence(task, each) for each in asked)) for _ in range(2))
    assert found.equals(again) and found.schema == EVIDENCE
    assert found.column("row").to_pylist() == np.flatnonzero(labels != 2).tolist()
    assert (found.column("given_rank").to_numpy() == 0).mean() > 0.9
    some = predictor.evidence(task, (1,))
    assert some.column("row").to_pylist() == np.flatnonzero((labels != 2) & (folds == 1)).tolist()


def _refused(kind: str, name: str, wrong: dict[str, object]) -> None:
    if kind == "stages":
        read_config(None, [f"{name}.{setting}={value}" for setting, value in wrong.items()])
    else:
        check(kind, name, wrong)
