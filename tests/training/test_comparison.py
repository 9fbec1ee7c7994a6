"""What is said of what cleaning was worth."""

import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from cleaner.run.files import write_table
from cleaner.training.comparison import Measured, difference, measured, table, verdict, verdicts
from cleaner.training.kept import PREDICTIONS


def known(rng, seeds, images, *, gain=0.0, of_seed=0.02, of_image=0.5):
    """bool 2 x seeds x images: which images, some harder than others, networks know after one version and the other.
    What an image gains by the other one differs from image to image, and seeds differ in what they know."""
    hard, apart = rng.normal(1.0, 1.5, images), np.broadcast_to(of_seed, 2)
    return np.stack(
        [
            hard + rng.normal(version * gain, 0.3, images) + rng.normal(0, apart[version], (seeds, 1))
            + rng.normal(0, of_image, (seeds, images)) > 0
            for version in (0, 1)
        ]
    )  # fmt: skip


@pytest.mark.parametrize("of_seed", [0.0, 0.02, 0.08])
@pytest.mark.parametrize(("seeds", "images"), [(2, 500), (3, 500), (10, 500), (20, 500), (2, 2000), (3, 2000)])
def test_of_differences_that_are_none_one_in_twenty_is_taken_for_some_at_most(seeds, images, of_seed):
    rng, turns = np.random.default_rng(seeds + images), 250
    found = [difference(*known(rng, seeds, images, of_seed=of_seed)) for _ in range(turns)]
    # Five in a hundred, and three standard errors.
    assert np.mean([each.low > 0 or each.high < 0 for each in found]) <= 0.05 + 3 * (0.05 * 0.95 / turns) ** 0.5


@pytest.mark.parametrize(("seeds", "images"), [(2, 2000), (3, 2000), (5, 500)])
@pytest.mark.parametrize("of_seed", [0.1, 0.3])
def test_nor_where_the_seeds_of_one_version_differ_and_those_of_the_other_do_not(seeds, images, of_seed):
    """The truth, which is not nought then, by very many images and seeds."""
    rng, turns = np.random.default_rng(seeds), 250
    truth = np.mean([difference(*known(rng, 40, 20_000, of_seed=(0, of_seed))).gain for _ in range(6)])
    found = [difference(*known(rng, seeds, images, of_seed=(0, of_seed))) for _ in range(turns)]
    missed = np.mean([not each.low <= truth <= each.high for each in found])
    assert missed <= 0.05 + 3 * (0.05 * 0.95 / turns) ** 0.5


def test_the_interval_holds_a_difference_that_there_is():
    """The truth by very many images and seeds."""
    truth = difference(*known(np.random.default_rng(0), 40, 100_000, gain=0.3)).gain
    rng = np.random.default_rng(1)
    found = [difference(*known(rng, 3, 800, gain=0.3)) for _ in range(250)]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.95 - 0.042


def test_more_seeds_find_more():
    rng = np.random.default_rng(2)
    power = []
    for seeds in (2, 3, 5, 10, 20):
        found = [difference(*known(rng, seeds, 1000, gain=0.15)) for _ in range(60)]
        power.append(np.mean([each.low > 0 for each in found]))
    assert all(more >= fewer - 0.05 for fewer, more in pairwise(power)), power
    assert power[0] < 0.6 and power[-1] > 0.9, power


def test_so_many_seeds_more_would_tell():
    rng = np.random.default_rng(3)
    right = known(rng, 40, 1500, gain=0.12, of_seed=0.05)
    few = difference(*right[:, :3])
    assert few.low < 0 < few.high and few.more is not None
    many = difference(*right[:, : 3 + 3 * few.more])
    assert many.low > 0


def test_where_the_images_are_too_few_no_seed_helps():
    rng = np.random.default_rng(4)
    found = difference(*known(rng, 3, 60, gain=0.02, of_image=0.01, of_seed=0))
    assert found.low < 0 < found.high and found.more is None


def test_no_difference_at_all_is_none():
    right = np.repeat(known(np.random.default_rng(0), 1, 500)[0], 3, 0)
    found = difference(right, right)
    assert (found.gain, found.low, found.high, found.more) == (0, 0, 0, None)


def of(version, gain=0.0, seeds=3, images=2000, network="net", seed=0):
    right = known(np.random.default_rng(seed), seeds, images, gain=gain)[1]
    return Measured(network, version, 1000, right)


def test_it_says_plainly_whether_cleaning_paid():
    raw, better, worse, same = of("raw"), of("clean", 0.6, seed=1), of("clean", -0.6, seed=1), of("clean", 0.03, seed=1)
    paid, cost, nothing = (verdict(raw, after, trusted=True) for after in (better, worse, same))
    assert paid.startswith("cleaning paid: +") and " points, between +" in paid
    assert cost.startswith("cleaning did not pay, it cost: -")
    assert nothing.startswith("can't tell whether cleaning paid: ")
    assert f"({100 * raw.mean:.1f} % on raw, {100 * better.mean:.1f} % on clean)" in paid


def test_on_labels_that_may_be_wrong_there_are_numbers_and_no_verdict():
    said = verdict(of("raw"), of("clean", 0.6, seed=1), trusted=False)
    assert said.startswith("no verdict, +") and "not known to be right" in said and "paid" not in said


def test_one_seed_tells_nothing():
    said = verdict(of("raw", seeds=1), of("clean", 0.9, seeds=1), trusted=True)
    assert "of one seed nobody knows the spread; --seeds 3" in said


def test_several_differences_are_told_with_wider_intervals():
    found = [of("raw"), of("coarse", 0.1, seed=1), of("fine", 0.1, seed=1), of("true", 0.2, seed=2)]
    alone, *_ = verdicts([found[0], found[1], found[3]], trusted=True)
    first, second = verdicts(found, trusted=True)
    assert first.replace("coarse", "fine") == second
    one, many = ([float(each) for each in re.findall(r"[+-]\d+\.\d", said)] for said in (alone, first))
    assert one[0] == many[0] and many[1] < one[1] and one[2] < many[2]


def test_what_trainings_came_to_is_read_image_by_image(tmp_path):
    trained = []
    for version, wrong in (("raw", 30), ("clean", 20), ("true", 10)):
        for seed in (0, 1):
            folder = tmp_path / f"{version}-{seed}"
            guesses = ["b" if place < wrong + seed else "a" for place in range(100)]
            write_table(folder / PREDICTIONS, pa.table({"path": ["x"] * 100, "label": ["a"] * 100, "guess": guesses}))
            about = {"network": "net", "image_size": 32, "version": version, "seed": seed, "learnt_from": 1000}
            trained.append((folder, about))
    found = measured(trained)
    assert [each.version for each in found] == ["raw", "clean", "true"]
    assert found[0].accuracies.tolist() == pytest.approx([0.7, 0.69])
    assert "| net | true (no noise at all) | 1,000 | **89.5** ± 0.7 % | 90.0, 89.0 |" in table(found)
    (said,) = verdicts(found, trusted=True)
    assert said.startswith("net: ")
    # The same network at two sizes is no second seed.
    sizes = [(folder, about | {"image_size": 32 + 16 * about["seed"]}) for folder, about in trained]
    names = [(each.network, each.version) for each in measured(sizes)]
    assert names[:2] == [("net at 32 px", "raw"), ("net at 48 px", "raw")] and len(names) == 6
