import numpy as np
import pytest

from cleaner.methods.confusion import Confusion


def confusion(counts):
    given, like = np.nonzero(counts)
    names = [f"class {number}" for number in range(len(counts))]
    return Confusion.of(names, given, like, counts[given, like])


@pytest.fixture
def pairs():
    """Twelve classes, of which each is taken for that six further."""
    counts = np.eye(12, dtype=int) * 50
    for one in range(6):
        counts[one, one + 6] = counts[one + 6, one] = 10
    return counts


def test_classes_that_are_taken_for_each_other_become_neighbours(pairs):
    order = [int(name.split()[1]) for name in confusion(pairs).names]
    assert sorted(order) == list(range(12))
    assert all(abs(order.index(one) - order.index(one + 6)) == 1 for one in range(6))


def test_the_order_moves_counts_with_their_classes(pairs):
    found = confusion(pairs)
    place = {name: number for number, name in enumerate(found.names)}
    assert found.counts[place["class 2"], place["class 8"]] == 10
    assert found.counts[place["class 2"], place["class 3"]] == 0


@pytest.mark.parametrize("most", [1, 5, 12, 40])
def test_blocks_add_up_and_are_no_more_than_wanted(pairs, most):
    cells = confusion(pairs).blocks((0, 12), (0, 12), most)
    assert cells["images"].sum() == pairs.sum()
    assert len(cells) <= most * most
    assert cells.groupby("given")["share"].sum().round(6).eq(1).all()
    assert (cells["given_to"] <= 12).all()


def test_what_has_no_class_counts_for_nothing():
    found = Confusion.of(["a", "b"], np.array([0, -1, 1]), np.array([1, 0, -1]), np.array([3, 5, 7]))
    assert found.counts.sum() == 3
    assert found.top(5).to_dict("records") == [{"images": 3, "of the given": 1.0, "given": "a", "looks like": "b"}]


def test_classes_that_nothing_links_are_all_there():
    found = confusion(np.diag([3, 0, 2]))
    assert sorted(found.names) == ["class 0", "class 1", "class 2"]
    assert found.top(5).empty
