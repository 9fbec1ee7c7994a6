from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from cleaner.data.sources.folder import Folder
from cleaner.evidence.crossfit import Task, assign_folds
from cleaner.evidence.predictors.probe import Probe
from cleaner.tables import MANIFEST, array, matrix

FOLDS = (0, 1, 2, 3, 4)


def shuffled(n):
    return np.random.default_rng(0).permutation(n).astype(np.uint64)


def ask(features, labels, classes, **changes):
    labels = np.asarray(labels, np.int32)
    n = len(labels)
    return replace(
        Task(
            labels=labels,
            train=np.ones(n, bool),
            weights=np.ones(n, np.float32),
            predict=np.ones(n, bool),
            folds=assign_folds(labels, np.full(n, -1, np.int32), shuffled(n), folds=5),
            finer_folds=assign_folds(labels, np.full(n, -1, np.int32), shuffled(n), folds=5, finer=4),
            classes=classes,
            round=1,
            seed=0,
            features=np.asarray(features, np.float16),
            source=Folder(Path()),
            manifest=MANIFEST.empty_table(),
        ),
        **changes,
    )


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def accuracy(evidence: pa.Table) -> float:
    return float((array(evidence, "given_rank") == 0).mean())


def test_digits_are_read_within_a_point_as_well_as_by_scikit_learn(digits):
    task = ask(*digits, 10)
    peer = cross_val_predict(LogisticRegression(max_iter=1000), *digits, cv=PredefinedSplit(task.folds))
    assert accuracy(Probe().evidence(task, FOLDS)) >= (peer == digits[1]).mean() - 0.01


def test_probabilities_mean_what_they_say(digits):
    evidence = Probe().evidence(ask(*digits, 10), FOLDS)
    assert matrix(evidence, "top_probs")[:, 0].mean() == pytest.approx(accuracy(evidence), abs=0.02)


def test_random_labels_are_predicted_at_chance():
    random = np.random.default_rng(0)
    evidence = Probe().evidence(ask(random.normal(size=(500, 800)), random.integers(0, 5, 500), 5), FOLDS)
    assert accuracy(evidence) < 0.2 + 0.08


def test_a_label_says_nothing_of_its_own_sample(digits):
    task = ask(digits[0][:600], digits[1][:600], 10)
    wrong = task.labels.copy()
    own = np.flatnonzero(task.finer_folds == 0)
    wrong[own] = (wrong[own] + 1) % 10
    before, after = (Probe().evidence(replace(task, labels=labels), FOLDS) for labels in (task.labels, wrong))
    assert (matrix(after, "top_classes")[own, 0] == matrix(before, "top_classes")[own, 0]).mean() > 0.9


def test_what_is_not_believed_is_hardly_learnt_from(digits):
    task = ask(*digits, 10)
    random = np.random.default_rng(0)
    wrong = random.random(len(task.labels)) < 0.4
    labels = np.where(wrong, random.integers(0, 10, len(wrong)), task.labels).astype(np.int32)
    found = []
    for weights in (np.ones(len(wrong)), np.where(wrong, 0.05, 0.95)):
        asked = replace(task, labels=labels, weights=weights.astype(np.float32))
        evidence = Probe().evidence(asked, FOLDS)
        found.append((matrix(evidence, "top_classes")[:, 0] == task.labels).mean())
    assert found[1] > found[0] + 0.01 and found[1] > 0.94


def test_where_heads_are_too_dear_the_discriminant_judges_alone(digits):
    task = ask(*digits, 10)
    assert accuracy(Probe(heads_until=0).evidence(task, FOLDS)) > 0.93


def test_the_same_task_gives_the_same_evidence_to_the_last_bit(digits):
    task = ask(*digits, 10)
    assert Probe().evidence(task, FOLDS).equals(Probe().evidence(task, FOLDS))


def test_only_the_asked_rows_of_the_asked_folds_are_answered(digits):
    task = ask(*digits, 10)
    predict = np.arange(len(task.labels)) % 3 == 0
    evidence = Probe().evidence(replace(task, predict=predict), (1, 3))
    assert (array(evidence, "row") == np.flatnonzero(predict & np.isin(task.folds, [1, 3]))).all()


def test_rows_held_out_of_training_and_rows_without_label_are_predicted_too(digits):
    task = ask(*digits, 10)
    unlabelled = np.where(np.arange(len(task.labels)) < 10, -1, task.labels).astype(np.int32)
    evidence = Probe().evidence(
        replace(task, labels=unlabelled, weights=(np.arange(len(unlabelled)) > 200) * np.float32(1)), FOLDS
    )
    likely = matrix(evidence, "top_classes")[:200, 0]
    assert (likely == task.labels[:200]).mean() > 0.9


@pytest.mark.parametrize(
    ("n", "width", "classes"), [(300, 2000, 10), (12, 5, 6), (40, 3, 2), (60, 10, 60)], ids=lambda value: str(value)
)
def test_hard_shapes_give_finite_evidence(n, width, classes):
    random = np.random.default_rng(0)
    labels = np.sort(np.arange(n) % classes)
    labels[: n // 2] = 0
    evidence = Probe().evidence(ask(random.normal(size=(n, width)), labels, classes), FOLDS)
    probs = matrix(evidence, "top_probs")
    assert np.isfinite(probs).all() and (probs >= 0).all() and (probs.sum(1) <= 1 + 1e-5).all()


@pytest.mark.parametrize("row", [np.ones(8), np.random.default_rng(0).random(8), np.random.default_rng(1).random(300)])
def test_features_that_are_all_the_same_say_no_more_than_the_frequencies(row):
    labels = np.arange(100) % 4 // 3
    evidence = Probe().evidence(ask(np.tile(row, (100, 1)), labels, 2), FOLDS)
    assert matrix(evidence, "top_probs")[:, 0] == pytest.approx(0.75, abs=0.03)


def test_nothing_to_learn_from_gives_evidence_all_the_same(digits):
    task = ask(*digits, 10)
    evidence = Probe().evidence(replace(task, weights=np.zeros(len(task.labels), np.float32)), FOLDS)
    assert matrix(evidence, "top_probs") == pytest.approx(0.1)
