"""Pages of look-alikes of one class."""

import numpy as np
import pyarrow as pa
import pytest
from conftest import pages_of

from cleaner.people.grid import pages
from cleaner.tables import BATCH, array


@pytest.fixture
def asked(judged) -> pa.Table:
    return judged.batch(count=80)


def test_a_page_holds_samples_of_one_class_and_no_more_than_it_may(judged, asked):
    paged = pages_of(judged, asked, grid=12)
    assert paged.schema == BATCH and sorted(array(paged, "row")) == sorted(array(asked, "row"))
    number, label = array(paged, "page"), array(paged, "label")
    assert list(number) == sorted(number) and set(number) == set(range(1, max(number) + 1))
    for page in set(number):
        assert len(set(label[number == page])) == 1 and 2 <= (number == page).sum() <= 12


def test_what_looks_alike_is_on_one_page(judged, asked):
    first = asked.filter(pa.array(array(asked, "label") == judged.classes[0]))
    kind = np.random.default_rng(0).permutation(np.repeat([0, 1], 10))
    features = np.zeros((len(judged.manifest), 8), np.float16)
    features[array(first, "row")] = np.random.default_rng(1).normal(0, 0.1, (20, 8))
    features[array(first, "row"), kind] += 3
    paged = pages(first, features, grid=10, overlap=0, seed=0)
    kinds = dict(zip(array(first, "row").tolist(), kind.tolist(), strict=True))
    found = [{kinds[s["row"]] for s in paged.to_pylist() if s["page"] == page} for page in (1, 2)]
    assert sorted(map(sorted, found)) == [[0], [1]]


def test_the_same_seed_makes_the_same_pages_however_the_features_lie(judged, asked):
    once = pages_of(judged, asked, grid=12)
    assert once.equals(pages_of(judged, asked, grid=12, shard=7))


def test_two_people_are_asked_about_whole_pages(judged, asked):
    paged = pages_of(judged, asked, grid=12, overlap=0.3)
    people = {(page, count) for page, count in zip(array(paged, "page"), array(paged, "people"), strict=True)}
    count = max(array(paged, "page"))
    assert len(people) == count and sum(twice == 2 for _, twice in people) == -(-3 * count // 10)


def test_a_batch_of_nothing_has_no_pages(judged, asked):
    assert len(pages_of(judged, asked.slice(0, 0), grid=12)) == 0


def test_images_that_all_look_the_same_are_shared_out_all_the_same(judged, asked):
    paged = pages(asked, np.ones((len(judged.manifest), 4), np.float16), grid=12, overlap=0, seed=0)
    assert len(paged) == len(asked)
