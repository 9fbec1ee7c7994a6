import numpy as np
import pytest

from cleaner.evidence.neighbors import near_pairs


def vectors(n: int, width: int = 300) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, width)).astype(np.float16)


def test_a_copy_is_found_with_its_cosine_and_strangers_are_not():
    features = vectors(500)
    features[400] = features[7] + np.float16(0.1) * vectors(1)
    pairs = near_pairs(features, np.arange(500, dtype=np.int32), similarity=0.8)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([7], [400])
    centred = features.astype(np.float32) - features.astype(np.float32).mean(0)
    one, other = centred[7], centred[400]
    assert pairs.cosine[0] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-5)


def test_all_pairs_of_a_brute_force_search_are_found():
    directions = np.repeat(vectors(60), 5, axis=0)
    features = (directions + 0.35 * np.random.default_rng(1).standard_normal(directions.shape)).astype(np.float16)
    rows = np.arange(0, 300, 2, dtype=np.int32)
    centred = features[rows].astype(np.float32)
    centred -= centred.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    expected = np.argwhere(np.triu(centred @ centred.T, 1) >= 0.85)
    pairs = near_pairs(features, rows, similarity=0.85)
    assert len(expected) > 50
    assert np.array_equal(np.stack([pairs.first, pairs.second], 1), rows[expected])


def test_only_the_asked_rows_are_compared():
    features = np.repeat(vectors(20), 2, axis=0)
    pairs = near_pairs(features, np.arange(0, 40, 2, dtype=np.int32), similarity=0.9)
    assert len(pairs.first) == 0


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_for_a_pair_give_none(count):
    pairs = near_pairs(vectors(5), np.arange(count, dtype=np.int32), similarity=0.9)
    assert len(pairs.first) == len(pairs.second) == len(pairs.cosine) == 0


def test_an_inverted_file_finds_the_copies_among_very_many():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((51_000, 16)).astype(np.float16)
    copies = np.arange(0, 1_000, 10)
    features[50_000 + copies // 10] = features[copies] + 0.01 * rng.standard_normal((100, 16)).astype(np.float16)
    pairs = near_pairs(features, np.arange(51_000, dtype=np.int32), similarity=0.999)
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    planted = {(int(row), 50_000 + int(row) // 10) for row in copies}
    assert len(planted & found) >= 95
