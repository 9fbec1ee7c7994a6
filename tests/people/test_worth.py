import pyarrow as pa
import pytest

from cleaner.people.worth import worth
from cleaner.tables import Why


def batch(**asked):
    rows = [
        {"sample_id": key, "why": why.value, "gain": gain, "drawn": drawn} for key, (why, gain, drawn) in asked.items()
    ]
    kinds = {"sample_id": pa.string(), "why": pa.string(), "gain": pa.float32(), "drawn": pa.bool_()}
    return pa.Table.from_pylist(rows, pa.schema(kinds))


def words(**said):
    return [{"sample_id": key, "answer": answer, "at": "2026-01-01", "asked": "once"} for key, answer in said.items()]


@pytest.mark.parametrize(
    ("why", "changing", "confirming"),
    [
        (Why.JUNK, {"right", "another", "wrong"}, {"junk"}),
        (Why.DOUBTED, {"right"}, {"another", "wrong", "junk"}),
        (Why.MAYBE_JUNK, {"another", "wrong", "junk"}, {"right"}),
        (Why.KEPT, {"another", "wrong", "junk"}, {"right"}),
    ],
)
def test_an_answer_changes_what_stood_or_confirms_it(why, changing, confirming):
    said = sorted(changing | confirming)
    found = worth(batch(**dict.fromkeys(said, (why, 0.25, False))), words(**{answer: answer for answer in said}))
    assert (found.answers, found.changes, found.expected) == (4, len(changing), 1.0)
    assert found.by_why[why] == (len(changing), 1.0)


def test_who_can_not_tell_changes_nothing_and_the_newest_word_counts():
    asked = batch(a=(Why.DOUBTED, 0.5, False), b=(Why.KEPT, 0.5, False))
    said = [*words(a="right", b="unsure"), {"sample_id": "a", "answer": "junk", "at": "2026-01-02", "asked": "once"}]
    found = worth(asked, said)
    assert (found.answers, found.changes, found.expected) == (1, 0, 0.5)


def test_those_drawn_at_random_are_told_apart():
    asked = batch(a=(Why.KEPT, 0.5, True), b=(Why.KEPT, 0.5, True), c=(Why.KEPT, 0.5, False))
    found = worth(asked, words(a="junk", b="right", c="junk"))
    assert (found.drawn_answers, found.drawn_changes, found.changes) == (2, 1, 2)


def test_a_batch_of_before_that_did_not_say_what_it_expected_tells_nothing():
    assert worth(pa.table({"sample_id": ["a"], "asked_because": ["unlike all others"]}), words(a="junk")) is None


def test_a_word_on_an_image_that_the_batch_does_not_ask_about_is_none_of_its_answers():
    assert worth(batch(a=(Why.KEPT, 0.5, False)), words(b="junk")).answers == 0
