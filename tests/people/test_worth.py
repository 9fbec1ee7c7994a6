import pyarrow as pa
import pytest

from cleaner.people.review import DOUBTFUL, NEAR, RANDOM
from cleaner.people.worth import worth


def batch(**asked):
    rows = [{"sample_id": key, "asked_because": because} for key, because in asked.items()]
    return pa.Table.from_pylist(rows, pa.schema({"sample_id": pa.string(), "asked_because": pa.string()}))


def words(**said):
    return [{"sample_id": key, "answer": answer, "at": "2026-01-01", "asked": "once"} for key, answer in said.items()]


def test_what_changes_what_stood_is_a_correction():
    asked = batch(a=NEAR, b=NEAR, c=DOUBTFUL, d=DOUBTFUL, e=RANDOM)
    found = worth(asked, words(a="right", b="junk", c="right", d="another", e="another"))
    assert (found.answers, found.corrections) == (5, 2)
    assert (found.random_answers, found.random_corrections, found.clean_share) == (1, 0, 0.0)


def test_who_can_not_tell_corrects_nothing_and_the_newest_word_counts():
    asked = batch(a=NEAR, b=NEAR)
    said = [*words(a="right", b="unsure"), {"sample_id": "a", "answer": "junk", "at": "2026-01-02", "asked": "once"}]
    found = worth(asked, said)
    assert (found.answers, found.corrections, found.clean_share, found.interval) == (1, 0, None, None)


def test_the_share_of_right_labels_among_the_random_ones_has_wilsons_interval():
    asked = batch(**{f"s{number}": RANDOM for number in range(10)})
    found = worth(asked, words(**{f"s{number}": "right" if number < 2 else "another" for number in range(10)}))
    assert found.clean_share == 0.2
    assert found.interval == pytest.approx((0.0567, 0.5098), abs=1e-3)


def test_a_batch_of_candidates_corrects_nothing():
    assert worth(batch(a="unlike all other images"), words(a="junk")) is None
