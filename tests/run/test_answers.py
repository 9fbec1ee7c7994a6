import json
import tempfile
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleaner.errors import InputError, RunError
from cleaner.run.answers import FILE, Answers, newest, of_each, on_classes, on_images
from cleaner.tables import ANSWER_LOG


def word(content, answer, *, label="a", new_label=None, batch="fine-1", by="ana"):
    sample = {"sample_id": f"id of {content}", "content_hash": content} if content else {}
    return {"batch": batch, "label": label, "answer": answer, "new_label": new_label, "by": by} | sample


def words(*said):
    return pa.Table.from_pylist(list(said), ANSWER_LOG)


def test_what_was_said_is_what_is_read_in_its_order(tmp_path):
    answers = Answers(tmp_path)
    assert len(answers.read()) == 0
    answers.append(words(word("1", "right"), word("2", "another", new_label="räk\n,smörgås")))
    answers.append(words(word(None, "keep", label="a class")))
    said = answers.read()
    assert said.schema == ANSWER_LOG
    assert said.column("answer").to_pylist() == ["right", "another", "keep"]
    assert said.column("new_label").to_pylist() == [None, "räk\n,smörgås", None]
    assert answers.read(2).equals(said.slice(0, 2))
    assert len(on_images(said)) == 2 and len(on_classes(said)) == 1


def test_of_all_words_on_one_image_or_class_the_newest_holds(tmp_path):
    answers = Answers(tmp_path)
    answers.append(words(word("2", "right"), word("1", "junk", batch="coarse-1"), word(None, "remove")))
    answers.append(words(word("1", "unsure", by="bo"), word(None, "keep")))
    held = newest(answers.read()).to_pylist()
    assert [(said["content_hash"], said["answer"]) for said in held] == [
        (None, "keep"),
        ("1", "unsure"),
        ("2", "right"),
    ]


@pytest.mark.parametrize("left", ['{"batch": "fi', "{}", "\x00"])
def test_half_a_line_of_a_killed_write_is_no_answer_and_in_nobodys_way(tmp_path, left):
    answers = Answers(tmp_path)
    answers.append(words(word("1", "right")))
    with (tmp_path / FILE).open("a") as file:
        file.write(left)
    assert len(answers.read()) == 1
    answers.append(words(word("2", "junk")))
    assert answers.read().column("answer").to_pylist() == ["right", "junk"]


@pytest.mark.parametrize("damage", ["no JSON", "{}", "[]", "7", '{"batch": 1, "other": 2}'])
def test_a_damaged_line_is_told_with_its_number(tmp_path, damage):
    answers = Answers(tmp_path)
    answers.append(words(word("1", "right")))
    lines = (tmp_path / FILE).read_text().splitlines()
    (tmp_path / FILE).write_text("\n".join([*lines, damage, *lines, ""]))
    with pytest.raises(RunError, match=r"line 2: is damaged .* restore it from a copy"):
        answers.read()


def test_a_line_with_a_field_of_another_kind_is_refused(tmp_path):
    answers = Answers(tmp_path)
    answers.append(words(word("1", "right")))
    line = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({**line, "answer": 7}) + "\n")
    with pytest.raises(RunError, match="line 1"):
        answers.read()


def test_moments_are_in_order_whatever_zone_they_were_told_in(tmp_path):
    answers = Answers(tmp_path)
    moments = ("2026-01-01T13:30:00+02:00", "2026-01-01T12:00:00+00:00", "2026-01-01T11:45:00", "2026-01-01T12:00:00Z")
    for moment, answer in zip(moments, ("junk", "right", "unsure", "wrong"), strict=True):
        answers.append(words(word("1", answer) | {"at": moment}))
    (held,) = newest(answers.read()).to_pylist()
    assert held["answer"] == "wrong", "of one moment what was stored last"
    assert sorted(answers.read()["at"].to_pylist())[0] == "2026-01-01T11:30:00.000000+00:00"
    # Lines that were written before moments were brought into one zone.
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    written = [json.dumps(line | {"at": moment}) for line, moment in zip(lines, moments, strict=True)]
    (tmp_path / FILE).write_text("\n".join([*written, ""]))
    assert newest(answers.read()).to_pylist() == [held]


@pytest.mark.parametrize(
    "field", [{"answer": "rigth"}, {"answer": "keep"}, {"asked": "twice"}, {"at": "yesterday"}, {"seconds": "2"}]
)
def test_a_word_that_nobody_knows_is_told_with_its_line_and_never_stored(tmp_path, field):
    answers = Answers(tmp_path)
    answers.append(words(word("1", "right")))
    line = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(line + json.dumps(json.loads(line) | field) + "\n")
    with pytest.raises(RunError, match="line 2: is damaged"):
        answers.read()
    (tmp_path / FILE).write_text(line)
    with pytest.raises(RunError, match="nothing was"):
        answers.append_news(lambda there: [there[0][0] | field])
    assert (tmp_path / FILE).read_text() == line


def test_what_several_add_at_once_is_all_there_and_of_equal_news_one(tmp_path):
    def unless_said(new):
        return lambda there: (
            []
            if any(old["by"] == "all" and old["content_hash"] == new for old, _ in there)
            else [{**dict.fromkeys(ANSWER_LOG.names), **word(new, "right", by="all")}]
        )

    def say(person):
        for number in map(str, range(20)):
            Answers(tmp_path).append(words(word(number, "right", by=person)))
            Answers(tmp_path).append_news(unless_said(number))

    people = [threading.Thread(target=say, args=(f"p{number}",)) for number in range(6)]
    for each in people:
        each.start()
    for each in people:
        each.join()
    stored = [(word["by"], word["content_hash"]) for word in Answers(tmp_path).rows()]
    assert len(stored) == len({*stored}) == 7 * 20


def test_of_each_person_the_newest_word_counts_and_once(tmp_path):
    said = [
        word("1", answer, by=by) | {"at": at}
        for answer, by, at in (("right", "ana", "3"), ("junk", "bo", "2"), ("wrong", "ana", "1"))
    ]
    held = of_each(said, lambda each: each["content_hash"])
    assert [(each["by"], each["answer"]) for each in held["1"]] == [("bo", "junk"), ("ana", "right")]


ROUND = st.one_of(
    st.tuples(st.just("say"), st.sampled_from("12"), st.sampled_from(["ana", "bo"]), st.sampled_from(["x", "y"])),
    st.tuples(st.just("withdraw"), st.sampled_from([("by", "ana"), ("batch", "x"), ("content_hash", "1")]), st.none()),
    st.tuples(st.just("withdraw"), st.sampled_from([("by", "ana"), ("by", "bo")]), st.just(("batch", "x"))),
    st.tuples(st.just("undo"), st.integers(1, 4)),
)


@given(st.lists(ROUND, max_size=12))
@settings(deadline=None, max_examples=200)
def test_words_and_withdrawals_in_every_order_stand_as_if_what_is_withdrawn_had_not_been_said(steps):
    """Beside a model that asks of each line, from its meaning alone, whether a later one that holds withdraws it."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        answers = Answers(Path(folder))
        for step in steps:
            if step[0] == "say":
                lines.append(word(step[1], "right", by=step[2], batch=step[3]))
                answers.append(words(lines[-1]))
                continue
            which = {"withdrawal": step[1]} if step[0] == "undo" else dict(filter(None, step[1:]))
            if any(hit(which, lines, place) and stands(lines, place) for place in range(len(lines))):
                lines.append({"withdraws": which})
                answers.withdraw(which)
            else:
                before = answers.file.read_bytes() if lines else b""
                with pytest.raises(InputError):
                    answers.withdraw(which)
                assert not lines or answers.file.read_bytes() == before
            assert answers.lines() == len(lines)
        spoken = [place for place, line in enumerate(lines) if "withdraws" not in line]
        expected = [(lines[place]["by"], lines[place]["content_hash"]) for place in spoken if stands(lines, place)]
        assert [(said["by"], said["content_hash"]) for said in answers.rows()] == expected
        withdrawing = [place for place, line in enumerate(lines) if "withdraws" in line]
        assert [each.holds for each in answers.withdrawals()] == [stands(lines, place) for place in withdrawing]
        assert sum(each.answers for each in answers.withdrawals()) == len(spoken) - len(expected)


def hit(which, lines, place):
    line = lines[place]
    if "withdrawal" in which:
        return "withdraws" in line and sum("withdraws" in each for each in lines[: place + 1]) == which["withdrawal"]
    return "withdraws" not in line and which.items() <= line.items()


def stands(lines, place):
    later = range(place + 1, len(lines))
    return not any(
        "withdraws" in lines[at] and hit(lines[at]["withdraws"], lines, place) and stands(lines, at) for at in later
    )


@pytest.mark.parametrize(
    "which", [{}, {"colour": "red"}, {"by": 3}, {"withdrawal": "1"}, {"withdrawal": 1, "by": "ana"}, "ana"]
)
def test_a_withdrawal_of_what_cannot_be_is_refused_and_as_a_line_it_is_damage(tmp_path, which):
    answers = Answers(tmp_path)
    answers.append(words(word("1", "right")))
    before = answers.file.read_bytes()
    with pytest.raises(RunError):
        answers.withdraw(which)
    assert answers.file.read_bytes() == before
    with answers.file.open("a") as file:
        file.write(json.dumps({"withdraws": which, "at": "2026-01-01T00:00:00+00:00"}) + "\n")
    with pytest.raises(RunError, match="line 2"):
        answers.rows()


def test_a_withdrawal_without_a_moment_is_damage(tmp_path):
    answers = Answers(tmp_path)
    answers.file.write_text(json.dumps({"withdraws": {"by": "ana"}, "at": None}) + "\n")
    with pytest.raises(RunError, match="line 1"):
        answers.rows()


def test_a_word_on_a_class_is_withdrawn_by_its_name_and_images_of_the_class_keep_theirs(tmp_path):
    answers = Answers(tmp_path)
    answers.append(words(word("1", "right", label="cats"), word(None, "remove", label="cats")))
    answers.withdraw({"label": "cats"})
    assert [said["answer"] for said in answers.rows()] == ["right"]
