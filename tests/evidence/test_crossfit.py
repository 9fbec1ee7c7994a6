import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.evidence.crossfit import assign_folds, evidence_table
from cleaner.tables import EVIDENCE, array, matrix


@given(n=st.integers(1, 200), classes=st.integers(1, 12), folds=st.integers(2, 10), seed=st.integers(0, 2**31 - 1))
def test_every_class_is_spread_evenly_over_the_folds(n, classes, folds, seed):
    labels = np.random.default_rng(seed).integers(-1, classes, n).astype(np.int32)
    found = assign_folds(labels, np.full(n, -1, np.int32), folds=folds, seed=seed)
    assert found.dtype == np.int16
    for label in np.unique(labels):
        counts = np.bincount(found[labels == label], minlength=folds)
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(found, minlength=folds)
    assert counts.max() - counts.min() <= 1


@given(seed=st.integers(0, 2**31 - 1), folds=st.integers(2, 6))
def test_no_group_is_separated_even_where_its_labels_disagree(seed, folds):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 5, 100).astype(np.int32)
    groups = random.integers(-1, 20, 100).astype(np.int32)
    found = assign_folds(labels, groups, folds=folds, seed=seed)
    for group in range(20):
        assert len(np.unique(found[groups == group])) <= 1


def test_folds_are_the_same_for_the_same_seed_and_others_for_another():
    labels, groups = np.zeros(1000, np.int32), np.full(1000, -1, np.int32)
    first = assign_folds(labels, groups, folds=5, seed=1)
    assert (first == assign_folds(labels, groups, folds=5, seed=1)).all()
    assert (first != assign_folds(labels, groups, folds=5, seed=2)).any()


@pytest.mark.parametrize("classes", [1, 2, 5, 30])
def test_evidence_agrees_with_sorting_every_class(classes):
    random = np.random.default_rng(0)
    probs = random.dirichlet(np.ones(classes), 50).round(2).astype(np.float32)
    labels = random.integers(0, classes, 50).astype(np.int32)
    found = evidence_table(np.arange(50, dtype=np.int32), np.zeros(50, np.int8), probs, labels)
    order = np.argsort(-probs, axis=1, kind="stable")
    k = min(10, classes)
    assert found.schema == EVIDENCE
    assert (matrix(found, "top_classes") == order[:, :k]).all()
    assert (matrix(found, "top_probs") == np.take_along_axis(probs, order, 1)[:, :k]).all()
    assert (array(found, "given_rank") == (order == labels[:, None]).argmax(1)).all()
    given = probs[np.arange(50), labels]
    assert (array(found, "given_prob") == given).all()
    others = probs.copy()
    others[np.arange(50), labels] = 0
    np.testing.assert_allclose(array(found, "margin"), given - others.max(1), atol=1e-6)


def test_evidence_is_the_same_whole_and_in_blocks():
    random = np.random.default_rng(0)
    probs = random.dirichlet(np.ones(12), 30).astype(np.float32)
    rows, folds = np.arange(30, dtype=np.int32), (np.arange(30) % 3).astype(np.int8)
    labels = random.integers(-1, 12, 30).astype(np.int32)
    whole = evidence_table(rows, folds, probs, labels)
    blocks = evidence_table(rows, folds, (probs[start : start + 7] for start in range(0, 30, 7)), labels)
    assert whole.equals(blocks)


def test_evidence_of_a_sample_without_label_puts_it_last():
    probs = np.array([[0.7, 0.2, 0.1]], np.float32)
    found = evidence_table(np.zeros(1, np.int32), np.zeros(1, np.int8), probs, np.array([-1], np.int32))
    assert array(found, "given_prob")[0] == 0
    assert array(found, "given_rank")[0] == 2


def test_no_rows_give_an_empty_table():
    none = np.zeros(0, np.int32)
    assert evidence_table(none, none.astype(np.int8), iter(()), none).schema == EVIDENCE


def test_the_folds_of_a_multiple_lie_within_the_folds():
    labels = np.random.default_rng(0).integers(-1, 7, 500).astype(np.int32)
    groups = np.random.default_rng(1).integers(-1, 300, 500).astype(np.int32)
    few, many = (assign_folds(labels, groups, folds=folds, seed=3) for folds in (5, 20))
    assert (many % 5 == few).all() and many.max() == 19
