"""Junk found by one mixture of distance, claims, labels and marks; arrays in, arrays out."""

import numpy as np
import pytest

from cleaner.evidence.crossfit import Features
from cleaner.evidence.neighbors import groups
from cleaner.methods.appearance import looks, whitening
from cleaner.methods.junk import Seen, mixture, probabilities, shift
from cleaner.methods.placeholders import groups_of_junk, random_labels

CLASSES, FINE, WIDTH = 10, 1_500, 40


class World:
    """Images of ten classes in a few directions; those of a second camera, and junk, lie in others too."""

    def __init__(self, *, junk: int = 0, second: int = 0, shuffled: bool = False, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        n = FINE + junk
        true = random.integers(0, CLASSES, n)
        centres = np.zeros((CLASSES, WIDTH))
        centres[:, :CLASSES] = 3 * random.normal(size=(CLASSES, CLASSES))
        points = centres[true] + 0.5 * random.normal(size=(n, WIDTH))
        camera = np.arange(n) < second
        points[camera, 10:20] *= 2.5
        self.junk = np.arange(n) >= FINE
        points[self.junk] = 0.5 * random.normal(size=(junk, WIDTH))
        points[self.junk, 20:] += 1.6 + 0.4 * random.normal(size=(junk, 1))
        self.points = points.astype(np.float32)
        self.far = np.log((self.points[:, 10:] ** 2).sum(1))
        sure = random.beta(8, 1.5, n) * 0.98
        sure[self.junk] = random.uniform(0.15, 0.6, junk)
        given = np.where(self.junk, random.integers(0, CLASSES, n), true)
        given = random.permutation(given) if shuffled else given
        probs = np.repeat(((1 - sure) / (CLASSES - 1))[:, None], CLASSES, 1)
        probs[np.arange(n), true] = sure
        self.top, self.given_prob = -np.sort(-probs, 1), probs[np.arange(n), given]
        self.given, self.fold = given, np.arange(n) % 5

    def seen(self, junk=(), fine=()) -> Seen:
        marks = np.full(len(self.far), -1, np.int8)
        marks[list(junk)], marks[list(fine)] = 1, 0
        return Seen(self.top, self.given_prob, self.given, CLASSES, marks)

    def dropped(self, junk=(), fine=()) -> np.ndarray:
        """Those that are unmarked and taken for junk."""
        seen = self.seen(junk, fine)
        blocks = [slice(start, start + 400) for start in range(0, len(self.far), 400)]
        found = probabilities(
            self.far, lambda: ((part, self.points[part]) for part in blocks), self.points[::3], self.fold, seen
        )
        assert ((found.prob >= 0) & (found.prob <= 1)).all()
        assert (found.prob[list(junk)] == 1).all()
        assert (found.prob[list(fine)] == 0).all()
        return np.flatnonzero((found.prob > 0.9) & (seen.marks < 0))


JUNK = World(junk=60)
FIRST = range(FINE, FINE + 20)


@pytest.mark.parametrize(("junk", "fine"), [((), ()), (FIRST[:1], range(5)), (FIRST[:5], range(5)), (FIRST, range(20))])
def test_nearly_all_junk_is_found_whatever_is_marked_and_hardly_a_good_image_lost(junk, fine):
    found = JUNK.dropped(junk, fine)
    assert (found >= FINE).sum() >= 0.93 * (60 - len(junk))
    assert (found < FINE).sum() <= 2


@pytest.mark.parametrize("seed", range(4))
def test_a_second_camera_is_no_junk_though_two_of_its_images_are_marked_as_such(seed):
    world = World(second=90, seed=seed)
    assert len(world.dropped()) == 0
    assert len(world.dropped(junk=np.argsort(-world.far)[:2])) == 0


@pytest.mark.parametrize("seed", range(4))
def test_where_labels_tell_nothing_or_there_is_no_junk_none_is_found(seed):
    assert len(World(shuffled=True, seed=seed).dropped()) == 0
    assert len(World(seed=seed).dropped()) == 0


def test_wrong_marks_beside_right_ones_condemn_no_class():
    wrong = np.flatnonzero(JUNK.given[:FINE] == 3)[:2]
    found = JUNK.dropped(junk=[*FIRST, *wrong])
    assert (found < FINE).sum() <= 2
    assert (found >= FINE).sum() >= 36


def test_people_who_call_what_is_found_no_junk_are_believed():
    assert len(JUNK.dropped(fine=range(FINE, FINE + 1))) >= 50
    assert len(JUNK.dropped(fine=range(FINE, FINE + 25))) == 0


def test_of_images_alike_in_all_else_the_farther_is_no_less_likely_junk():
    seen = JUNK.seen()
    alike = np.arange(len(JUNK.far)) % 3 == 0
    top, given_prob, given = seen.top.copy(), seen.given_prob.copy(), seen.given.copy()
    top[alike], given_prob[alike], given[alike] = top[FINE + 1], given_prob[FINE + 1], given[FINE + 1]
    found = mixture(JUNK.far, Seen(top, given_prob, given, CLASSES, seen.marks)).junk
    assert found.max() > 0.5
    assert (np.diff(found[alike][np.argsort(JUNK.far[alike])]) >= -1e-12).all()


def test_labels_of_one_image_under_many_classes_are_random_and_those_of_a_class_are_not():
    even = np.full(10, 0.1)
    assert random_labels(np.array([6, 5, 4, 4, 3, 3, 2, 2, 1, 0]), even) > 4.4
    one = np.zeros(10, int)
    one[0], one[1:7] = 24, 1
    assert random_labels(one, even) < -30


@pytest.mark.parametrize(("random", "marked", "junk"), [(True, -1, True), (False, -1, False), (True, 0, False)])
def test_a_group_of_nearly_equal_images_is_junk_where_its_labels_are_random(random, marked, junk):
    world = World()
    group = np.full(FINE, -1)
    group[:30] = 0
    seen = world.seen(fine=range(4) if marked == 0 else ())
    seen.given[:30] = np.arange(30) % 10 if random else 4
    found = groups_of_junk(group, seen)
    assert ((found > 0.9) == (junk & (group == 0))).all()
    assert (found[30:] == 0).all()


def test_groups_are_images_that_lie_nearer_than_nearest_ones_do():
    points = World().points.copy()
    points[100:130] = points[7] + 0.01 * np.random.default_rng(1).normal(size=(30, WIDTH))
    points[200:206] = points[8] + 0.01 * np.random.default_rng(2).normal(size=(6, WIDTH))
    features: Features = points.astype(np.float16)
    found = groups(features, np.arange(len(points)), seed=0)
    assert np.flatnonzero(found == 0).tolist() == [7, *range(100, 130)]
    assert (found <= 0).all()


def test_groups_are_found_among_many_images(monkeypatch):
    monkeypatch.setattr("cleaner.evidence.neighbors._EXACT_UNTIL", 500)
    monkeypatch.setattr("cleaner.evidence.neighbors._CELL", 200)
    test_groups_are_images_that_lie_nearer_than_nearest_ones_do()


def test_marks_move_odds_down_only():
    free = np.full(20, 0.95)
    assert shift(free, np.ones(20, np.int8)) == pytest.approx(0, abs=1e-3)
    assert shift(free, np.zeros(20, np.int8)) < -2
    assert shift(free, np.full(20, -1, np.int8)) == 0


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_of_few_images_none_is_junk(n):
    world = World()
    for name in ("far", "points", "top", "given_prob", "given", "fold"):
        setattr(world, name, getattr(world, name)[:n])
    assert len(world.dropped()) == 0
    if n > 1:
        assert len(world.dropped(junk=[0])) == 0


def test_features_without_spread_or_width_divide_nothing_by_nothing():
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(looks(np.zeros(10), np.array([1.0] * 2 + [0.0] * 8))).all()
        assert np.isfinite(whitening(np.ones((5, 1), np.float32), 2)).all()


def test_where_most_images_have_one_like_them_these_are_groups():
    points = np.repeat(np.eye(2, WIDTH, dtype=np.float32), 100, axis=0)
    assert sorted(np.bincount(groups(points, np.arange(200), seed=0))) == [100, 100]
