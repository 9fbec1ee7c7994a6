import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.evidence.crossfit import assign_folds, evidence_table, keys_of
from cleaner.tables import EVIDENCE, array, matrix


def keys(n, seed=0):
    return keys_of(pa.table({"content_hash": [f"image {number}" for number in range(n)]}), seed)


@given(n=st.integers(1, 200), classes=st.integers(1, 12), folds=st.integers(2, 10), seed=st.integers(0, 2**31 - 1))
def test_every_class_is_spread_evenly_over_the_folds_and_their_parts(n, classes, folds, seed):
    labels = np.random.default_rng(seed).integers(-1, classes, n).astype(np.int32)
    for finer in (1, 4):
        found = assign_folds(labels, np.full(n, -1, np.int32), keys(n, seed), folds=folds, finer=finer)
        assert found.dtype == np.int16
        for label in np.unique(labels):
            counts = np.bincount(found[labels == label], minlength=folds * finer)
            assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("size", [1, 2, 7])
def test_what_is_left_over_of_many_classes_is_spread_over_the_folds(size):
    labels = np.repeat(np.arange(1_000, dtype=np.int32), size)
    found = assign_folds(labels, np.full(len(labels), -1, np.int32), keys(len(labels)), folds=5)
    assert np.bincount(found).max() - np.bincount(found).min() < 0.02 * len(labels) / 5


@given(seed=st.integers(0, 2**31 - 1), folds=st.integers(2, 6))
def test_no_group_is_separated_even_where_its_labels_disagree(seed, folds):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 5, 100).astype(np.int32)
    groups = random.integers(-1, 20, 100).astype(np.int32)
    found = assign_folds(labels, groups, keys(100, seed), folds=folds)
    for group in range(20):
        assert len(np.unique(found[groups == group])) <= 1


def test_folds_are_the_same_for_the_same_seed_and_others_for_another():
    labels, groups = np.zeros(1000, np.int32), np.full(1000, -1, np.int32)
    first, again, other = (assign_folds(labels, groups, keys(1000, seed), folds=5) for seed in (1, 1, 2))
    assert (first == again).all()
    assert 0.7 < (first != other).mean() < 0.9


@pytest.mark.parametrize("place", [0, 1_234, 4_999])
def test_one_image_more_or_less_moves_a_few_of_its_class_wherever_it_stands(place):
    labels, alone = (np.arange(5_000) % 10).astype(np.int32), np.full(5_000, -1, np.int32)
    whole, some = keys(5_000), np.delete(np.arange(5_000), place)
    before = assign_folds(labels[some], alone[some], whole[some], folds=5, finer=4)
    moved = assign_folds(labels, alone, whole, folds=5, finer=4)[some] != before
    assert moved.sum() <= 20 and set(labels[some][moved]) <= {labels[place]}


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


def test_the_parts_of_folds_lie_within_them():
    labels = np.random.default_rng(0).integers(-1, 7, 500).astype(np.int32)
    groups = np.random.default_rng(1).integers(-1, 300, 500).astype(np.int32)
    few, many = (assign_folds(labels, groups, keys(500), folds=5, finer=finer) for finer in (1, 4))
    assert (many % 5 == few).all() and many.max() == 19
