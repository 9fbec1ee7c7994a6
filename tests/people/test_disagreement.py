import pyarrow as pa
import pytest

from cleaner.people.disagreement import DISPUTED, settled
from cleaner.tables import ANSWER_LOG


def word(by, content, new_label, *, at, batch="fine-1", asked="several"):
    about = {"batch": batch, "sample_id": content, "content_hash": content, "label": "a", "by": by, "asked": asked}
    answer = "right" if new_label == "a" else "junk" if new_label is None else "another"
    named = new_label if answer == "another" else None
    return about | {"answer": answer, "new_label": named, "at": f"2026-01-01T00:00:{at:02}", "seconds": None}


def held(words, how):
    (found,) = settled(pa.Table.from_pylist(words, ANSWER_LOG), how).to_pylist()
    return found["answer"], found["new_label"], found["by"]


TWO = [word("ana", "1", "b", at=1), word("bo", "1", "c", at=2)]


@pytest.mark.parametrize("how", ["third", "accurate", "open"])
def test_what_all_say_holds(how):
    words = [word("ana", "1", "b", at=1), word("bo", "1", "b", at=2)]
    assert held(words, how) == ("another", "b", "bo")


@pytest.mark.parametrize("how", ["third", "open"])
def test_two_who_disagree_settle_nothing(how):
    assert held(TWO, how) == (DISPUTED, None, "ana, bo")


def test_the_third_decides_unless_all_three_disagree():
    assert held([*TWO, word("cy", "1", "b", at=3)], "third") == ("another", "b", "cy")
    assert held([*TWO, word("cy", "1", "b", at=0)], "third") == ("another", "b", "ana")
    assert held([*TWO, word("cy", "1", None, at=3)], "third") == (DISPUTED, None, "ana, bo, cy")


def test_who_is_right_more_often_on_known_images_is_believed():
    known = [word("ana", "9", "b", at=0, asked="once"), word("bo", "9", "b", at=1, asked="known")]
    other = [word("ana", "8", "b", at=0, asked="once"), word("ana", "8", "c", at=1, asked="known", batch="fine-2")]

    def of_first(words):
        found = settled(pa.Table.from_pylist(words, ANSWER_LOG), "accurate").to_pylist()
        return next((word["new_label"], word["by"]) for word in found if word["content_hash"] == "1")

    assert of_first([*known, *TWO]) == ("c", "bo")
    assert of_first([*other, *reversed(TWO)]) == ("c", "bo")
    assert of_first(TWO) == ("c", "bo")
    known[1]["by"] = "ana"
    assert of_first([*known, *TWO]) == ("b", "ana")


@pytest.mark.parametrize("how", ["third", "accurate", "open"])
def test_who_changes_their_mind_and_who_decides_later_is_not_outvoted(how):
    assert held([*TWO, word("bo", "1", "b", at=3)], how) == ("another", "b", "bo")
    later = word("cy", "1", "a", at=3, batch="fine-2", asked="once")
    assert held([*TWO, later], how) == ("right", None, "cy")


def test_a_word_on_a_known_image_decides_nothing():
    words = [word("ana", "1", "b", at=1, asked="once"), word("bo", "1", "c", at=2, asked="known", batch="fine-2")]
    assert held(words, "third") == ("another", "b", "ana")
    assert len(settled(pa.Table.from_pylist(words[1:], ANSWER_LOG), "third")) == 0
