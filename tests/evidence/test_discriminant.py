import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cleaner.evidence.discriminant import Discriminant, OutOfFold, Sums


@pytest.fixture(scope="module")
def digits():
    points, labels = load_digits(return_X_y=True)
    return (points / 16).astype(np.float32), labels.astype(np.int64)


def of(points, labels, weights=None, classes=10):
    weights = np.ones(len(labels), np.float32) if weights is None else weights
    return Discriminant.of(
        Sums.of(torch.from_numpy(points), torch.from_numpy(labels), torch.from_numpy(weights), classes)
    )


@pytest.mark.parametrize("shrinkage", [0.01, 0.3])
def test_it_judges_as_scikit_learns_does(digits, shrinkage):
    points, labels = digits
    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(points[:1000], labels[:1000])
    ours = torch.softmax(of(points[:1000], labels[:1000]).linear(shrinkage).logits(torch.from_numpy(points[1000:])), 1)
    # Ours puts one more sample into each class, and shrinks towards the variance within classes, not of each class.
    assert np.abs(ours.numpy() - peer.predict_proba(points[1000:])).mean() < 0.01
    assert (ours.argmax(1).numpy() == peer.predict(points[1000:])).mean() > 0.98


def test_a_sample_of_weight_two_counts_as_two(digits):
    points, labels = digits[0][:300], digits[1][:300]
    twice = np.ones(300, np.float32)
    twice[:50] = 2
    weighted = of(points, labels, twice)
    doubled = of(np.concatenate([points, points[:50]]), np.concatenate([labels, labels[:50]]))
    asked = torch.from_numpy(digits[0][300:400])
    assert torch.allclose(weighted.linear(0.1).logits(asked), doubled.linear(0.1).logits(asked), atol=1e-3)


def test_each_fold_is_judged_by_all_others_alone(digits):
    points, labels = torch.from_numpy(digits[0][:400]), digits[1][:400]
    folds = np.arange(400) % 7
    changed = np.where(folds == 3, (labels + 1) % 10, labels)
    weights = np.ones(400, np.float32)
    before, after = (OutOfFold.of(points, given, weights, folds, 10) for given in (labels, changed))
    for fold, part in enumerate(before.parts):
        one, other = (found.without(fold).linear(0.1).logits(points) for found in (before, after))
        assert torch.allclose(one, other, atol=1e-2) == (fold == 3) and (folds[part] == fold).all()


def test_a_class_without_samples_lies_where_all_do(digits):
    found = of(*digits, classes=12)
    assert torch.allclose(found.means[11] @ found.axes.T, torch.from_numpy(digits[0].mean(0)), atol=1e-4)
    assert torch.isfinite(found.linear(0.01).logits(torch.from_numpy(digits[0]))).all()
