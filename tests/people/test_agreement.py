import pytest

from cleaner.people.agreement import agreement_of_all, agreements, disputed, people


def word(by, content, answer, new_label=None, *, at=0, seconds=None, label="a", asked="once"):
    about = {"content_hash": content, "label": label, "by": by, "at": f"2026-01-01T00:00:{at:02}"}
    return about | {"answer": answer, "new_label": new_label, "seconds": seconds, "asked": asked}


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


def test_how_sure_somebody_is_shows_on_known_images():
    words = [word("ana", str(number), "another", "b") for number in range(4)]
    words += [word("bo", str(number), "another", "b", at=1, asked="known") for number in range(2)]
    words += [word("bo", "2", "junk", at=1, asked="known"), word("bo", "3", "unsure", at=1, asked="known")]
    assert {person.by: (person.right, person.known) for person in people(words)} == {"ana": (0, 0), "bo": (2, 3)}


@pytest.mark.parametrize(
    ("answer", "new_label", "right"),
    [("right", None, 0), ("another", "b", 1), ("junk", None, 1), ("wrong", None, 1), ("unsure", None, 1)],
)
def test_that_an_image_is_not_of_its_class_agrees_with_every_other_class(answer, new_label, right):
    words = [word("ana", "1", answer, new_label), word("bo", "1", "wrong", asked="known")]
    (bo,) = (person for person in people(words) if person.by == "bo")
    assert (bo.known, bo.right) == (1, right)


def test_of_more_than_two_people_fleiss_kappa_is_that_of_the_textbook():
    # Fleiss 1971, as in https://en.wikipedia.org/wiki/Fleiss%27_kappa: 10 subjects, 14 raters, 5 categories.
    table = [
        *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
        *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
    ]
    words = []
    for subject, row in enumerate(table):
        said = [f"c{category}" for category, count in enumerate(row) for _ in range(count)]
        words += [word(f"p{rater}", str(subject), "another", shown) for rater, shown in enumerate(said)]
    assert agreement_of_all(words) == pytest.approx(0.210, abs=5e-4)
    assert agreement_of_all([one for one in words if one["by"] in ("p0", "p1")]) is None
