import pytest

from cleaner.people.agreement import agreements, disputed, people


def word(by, content, answer, new_label=None, *, at=0, seconds=None, label="a"):
    about = {"content_hash": content, "label": label, "by": by, "at": f"2026-01-01T00:00:{at:02}"}
    return about | {"answer": answer, "new_label": new_label, "seconds": seconds}


def test_of_each_person_the_newest_word_on_an_image_counts_once():
    words = [
        word("bo", "1", "right", seconds=2.0),
        word("bo", "1", "junk", at=1, seconds=4.0),
        word("bo", "2", "junk", seconds=6.0),
        word("ana", "1", "junk"),
        word("bo", None, "keep", seconds=5.0),
    ]
    assert [(p.by, p.answers, p.seconds) for p in people(words)] == [("bo", 3, 5.0), ("ana", 1, None)]
    (two,) = agreements(words)
    assert (two.people, two.images, two.alike, two.kappa) == (("ana", "bo"), 1, 1, None)


def test_people_agree_on_what_an_image_shows_however_it_is_labelled():
    one, other = word("ana", "1", "right", label="b"), word("bo", "1", "another", "b", label="a")
    (two,) = agreements([one, other])
    assert two.alike == 1 and disputed([one, other]) == []


def test_kappa_is_what_is_left_of_agreement_when_chance_is_taken_away():
    said = [("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15
    words = []
    for number, pair in enumerate(said):
        words += [word(by, str(number), "another", shown) for by, shown in zip(("ana", "bo"), pair, strict=True)]
    (two,) = agreements(words)
    assert (two.images, two.alike) == (50, 35)
    assert two.kappa == pytest.approx(0.4)
    assert disputed(words) == [(("a", "b"), 15)]
