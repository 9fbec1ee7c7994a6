"""The desk: who gets which question, and what becomes of answers."""

import json
import shutil
import threading

import pytest
from command import clean_locally, here
from streamlit_pages import page

from cleaner.errors import AnswerError
from cleaner.plan.reviews import batches_of
from cleaner.plan.runs import reopen
from cleaner.run.answers import Answers
from ui.access import look_at
from ui.queries.seats import Seats

pytestmark = pytest.mark.slow

SETTINGS = ("--reviewer", "desk")
FEW = ("review.first=8", "review.max_samples=8", "review.overlap=0.5")


def asking(demo, folder, *settings):
    """A run that waits at the desk for its first batch."""
    run = folder / "run"
    given = [word for setting in settings for word in ("--set", setting)]
    done = clean_locally(demo / "images", run, *SETTINGS, *given, status=3)
    assert "cleaner ui" in done.stderr
    return run


@pytest.fixture(scope="module")
def waiting(demo, tmp_path_factory):
    return asking(demo, tmp_path_factory.mktemp("desk"), *FEW)


@pytest.fixture
def run(waiting, tmp_path):
    return shutil.copytree(waiting, tmp_path / "run")


def seats(run):
    return Seats(run, "review-1", look_at(run).names.manifest)


def all_of(desk, person):
    """Every question that is handed out to a person, each answered at once."""
    found = []
    while given := desk.hand_out(person, 100):
        found += given
        for number in given:
            desk.take(person, {"id": number, "answer": "right", "seconds": 2.5})
    return found


def test_nobody_is_given_what_another_is_at_but_where_two_are_asked(run):
    desk = seats(run)
    people = {name: desk.hand_out(name, 2) for name in ("ann", "bob", "cem", "dan")}
    wanted = look_at(run).store.batches.read("review-1").column("people").to_pylist()
    for number, count in enumerate(wanted):
        assert sum(number in given for given in people.values()) <= count
    assert all(people.values())
    assert desk.hand_out("ann", 2) == people["ann"]


def test_a_second_person_is_asked_where_two_are_and_nobody_twice(run):
    desk = seats(run)
    batch = look_at(run).store.batches.read("review-1").to_pylist()
    assert all_of(desk, "ann") == [*range(len(batch))]
    rest = all_of(desk, "bob")
    assert rest == [number for number, line in enumerate(batch) if line["people"] == 2]
    found = desk.progress("ann")
    assert (found.answered, found.asked, found.mine) == (len(batch) + len(rest), len(batch) + len(rest), len(batch))
    assert {word["seconds"] for word in Answers(run).rows()} == {2.5}


def test_an_answer_that_comes_twice_is_one_and_another_one_is_another(run):
    desk = seats(run)
    for answer in ("right", "right", "junk"):
        desk.take("ann", {"id": 0, "answer": answer, "seconds": 1})
    assert [word["answer"] for word in Answers(run).rows()] == ["right", "junk"]


def test_people_are_counted_not_words_and_desk_and_run_say_the_same(run):
    desk = seats(run)
    batch = look_at(run).store.batches.read("review-1").to_pylist()
    two = next(number for number, line in enumerate(batch) if line["people"] == 2)

    def answered():
        (standing,) = [each for each in batches_of(reopen(run)) if each.name == "review-1"]
        assert desk.progress("ann").answered == standing.answered
        assert desk.progress("ann").asked == standing.asked
        return standing.answered, standing.asked - sum(line["people"] for line in batch)

    for answer in ("right", "wrong", "right", "wrong"):
        desk.take("ann", {"id": two, "answer": answer, "seconds": 1})
        assert answered() == (1, 0), "one person is in no dispute"
    desk.take("bob", {"id": two, "answer": "right", "seconds": 1})
    assert answered() == (2, 1), "a third is asked"
    desk.take("bob", {"id": two, "answer": "wrong", "seconds": 1})
    assert answered() == (2, 0), "they agree now"


def test_what_arrives_twice_at_once_is_stored_once(run):
    given = {"id": 0, "answer": "junk", "seconds": 1}
    desks = [seats(run) for _ in range(4)]
    threads = [threading.Thread(target=desk.take, args=("ann", dict(given))) for desk in desks for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Answers(run).rows()) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"id": 99, "answer": "right"},
        {"id": "0", "answer": "right"},
        {"id": 0, "answer": "delete"},
        {"id": 0, "answer": "another"},
        {"id": 0, "answer": "right", "new_label": "two"},
        {"id": 0, "answer": "another", "new_label": "<script>"},
    ],
)
def test_what_is_no_answer_is_refused_and_not_stored(run, given):
    with pytest.raises(AnswerError):
        seats(run).take("ann", given)
    assert Answers(run).rows() == []


def test_a_page_of_look_alikes_is_answered_by_what_is_marked(demo, tmp_path):
    run = asking(demo, tmp_path, "review.grid=6", "review.first=20", "review.overlap=0")
    desk = seats(run)
    first = desk.questions[desk.hand_out("ann", 1)[0]]
    desk.take("ann", {"id": 0, "answer": "wrong", "marked": [0], "seconds": 6.0})
    words = Answers(run).rows()
    assert [word["answer"] for word in words] == ["wrong"] + ["right"] * (len(first["grid"]) - 1)
    assert sum(word["seconds"] for word in words) == pytest.approx(6, abs=0.1)


def test_the_run_goes_on_with_what_was_answered(run, demo):
    desk = seats(run)
    for person in ("ann", "bob"):
        all_of(desk, person)
    assert [batch["missing"] for batch in json.loads(here("review", run, "--json").stdout)["batches"]] == [0]
    few = [word for setting in FEW for word in ("--set", setting)]
    clean_locally(demo / "images", run, *SETTINGS, *few, "--set", "review.least_gain=0", status=3)
    assert look_at(run).store.batches.names() == ["review-1", "review-2"]
    answered = {word["sample_id"] for word in Answers(run).rows()}
    asked = look_at(run).store.batches.read("review-2").to_pylist()
    assert answered.isdisjoint(sample["sample_id"] for sample in asked if sample["known"] is None)


def test_the_page_asks_for_a_name_first_and_says_how_much_is_asked(run):
    shown = page("desk", run)
    assert not shown.exception
    assert "missing" in shown.info[0].value
    shown.text_input(key="name").set_value("ann").run()
    assert not shown.exception and not shown.info


def test_where_nobody_is_asked_the_page_says_how_to_ask(finished):
    assert "--reviewer desk" in page("desk", finished).info[0].value
