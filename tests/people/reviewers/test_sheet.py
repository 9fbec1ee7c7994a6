import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleaner.errors import AnswerError
from cleaner.methods.small_classes import small_classes
from cleaner.people.answer_sheet import read_sheet, sheet_text
from cleaner.people.reviewers.sheet import Sheet
from cleaner.spreadsheets import guarded, unguarded


@pytest.fixture
def asked(judged):
    return judged.batch(count=17)


@pytest.fixture
def pushed(judged, asked, tmp_path):
    push(judged, asked, tmp_path)
    return tmp_path


def push(judged, asked, folder):
    Sheet().push(judged.asking(asked, folder), judged.source)


def pull(judged, asked, folder):
    return Sheet().pull(judged.asking(asked, folder), print).to_pylist()


def rows_of(folder):
    return list(csv.DictReader(io.StringIO((folder / "fine-1.csv").read_text(encoding="utf-8-sig"))))


def fill(folder, rows, *, delimiter=",", encoding="utf-8", upper=False):
    text = io.StringIO()
    names = [name.upper() if upper else name for name in rows[0]]
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows(row.values() for row in rows)
    (folder / "fine-1.csv").write_bytes(text.getvalue().encode(encoding))


def page_data(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="review">(.*?)</script>', text, re.S)[1])


def test_an_untouched_sheet_has_no_answers(judged, asked, pushed):
    assert pull(judged, asked, pushed) == []


def test_every_answer_word_is_understood(judged, asked, pushed):
    rows = rows_of(pushed)
    for row, (answer, new_label) in zip(
        rows, [("right", ""), ("another", "with space"), ("junk", ""), ("unsure", "")], strict=False
    ):
        row |= {"answer": answer, "new_label": new_label, "reviewer": "ana"}
    rows[1]["label"] = "anything: the batch knows the label"
    fill(pushed, rows)
    found = pull(judged, asked, pushed)
    assert [f["answer"] for f in found] == ["right", "another", "junk", "unsure"]
    assert found[1]["new_label"] == "with space" and {f["by"] for f in found} == {"ana"}


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"), (",", "cp1252")])
def test_what_a_spreadsheet_does_to_the_file_is_forgiven(judged, asked, pushed, delimiter, encoding):
    rows = [dict(reversed(row.items())) for row in reversed(rows_of(pushed))]
    rows[0] |= {"answer": " Right "}
    rows[1] |= {"answer": "ANOTHER", "new_label": " Räksmörgås "}
    fill(pushed, [*rows, dict.fromkeys(rows[0], "")], delimiter=delimiter, encoding=encoding, upper=True)
    found = pull(judged, asked, pushed)
    assert sorted(f["answer"] for f in found) in (["another", "right"], ["right", "right"])
    assert {f["by"] for f in found} == {"someone"}


def test_a_typed_class_name_alone_is_an_answer(judged, asked, pushed):
    rows = rows_of(pushed)
    labels = [sample["label"] for sample in asked.to_pylist()]
    other = next(name for name in judged.classes if name != labels[0])
    rows[0]["new_label"], rows[1]["new_label"] = guarded(other), guarded(labels[1])
    fill(pushed, rows)
    found = pull(judged, asked, pushed)
    assert (found[0]["answer"], found[0]["new_label"]) == ("another", other)
    assert (found[1]["answer"], found[1]["new_label"]) == ("right", None)


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ({"answer": "rihgt"}, "line 2: answer 'rihgt' is none (did you mean right?)"),
        ({"answer": "another"}, "'another' without a new_label"),
        ({"new_label": "with spaec"}, "new_label 'with spaec' is no class (did you mean with space?)"),
        ({"sample_id": "12e45", "path": "x", "answer": "right"}, "sample_id '12e45' is not in this batch"),
    ],
)
def test_what_can_not_be_understood_is_told_with_its_line(judged, asked, pushed, cells, complaint):
    rows = rows_of(pushed)
    rows[0] |= cells
    fill(pushed, rows)
    with pytest.raises(AnswerError) as error:
        pull(judged, asked, pushed)
    assert complaint in str(error.value) and "fine-1.csv" in str(error.value)


def test_an_answer_that_contradicts_its_new_label_is_refused(judged, asked, pushed):
    rows = rows_of(pushed)
    other = next(name for name in judged.classes if name != asked.column("label")[0].as_py())
    rows[0] |= {"answer": "right", "new_label": guarded(other)}
    fill(pushed, rows)
    with pytest.raises(AnswerError, match="contradict"):
        pull(judged, asked, pushed)


def test_a_sample_answered_twice_must_be_answered_the_same(judged, asked, pushed):
    rows = rows_of(pushed)
    rows[0]["answer"] = "right"
    fill(pushed, [*rows, rows[0]])
    assert len(pull(judged, asked, pushed)) == 1
    fill(pushed, [*rows, {**rows[0], "answer": "junk"}])
    with pytest.raises(AnswerError, match="answered differently in line 2"):
        pull(judged, asked, pushed)


def test_all_complaints_come_in_one_message_but_five_at_most(judged, asked, pushed):
    fill(pushed, [{**row, "answer": "?"} for row in rows_of(pushed)])
    with pytest.raises(AnswerError) as error:
        pull(judged, asked, pushed)
    assert str(error.value).count("line ") == 5
    assert f"and {len(asked) - 5} more" in str(error.value)


def test_a_sample_whose_id_a_spreadsheet_spoilt_is_known_by_its_number_and_path(judged, asked, pushed):
    rows = rows_of(pushed)
    rows[2] |= {"sample_id": "1.2E+45", "answer": "junk"}
    fill(pushed, rows)
    assert [f["sample_id"] for f in pull(judged, asked, pushed)] == [asked.column("sample_id")[2].as_py()]


@pytest.mark.parametrize("left", [b"", b"path,label\r\n"])
def test_a_sheet_without_its_columns_is_refused(judged, asked, pushed, left):
    (pushed / "fine-1.csv").write_bytes(left)
    with pytest.raises(AnswerError, match="no column sample_id, answer"):
        pull(judged, asked, pushed)


def test_a_sheet_that_is_gone_is_refused(judged, asked, tmp_path):
    with pytest.raises(AnswerError, match="can't be read"):
        pull(judged, asked, tmp_path)


def test_a_second_push_never_overwrites_answers_and_completes_a_killed_one(judged, asked, pushed):
    rows = rows_of(pushed)
    rows[0]["answer"] = "right"
    fill(pushed, rows)
    (pushed / "fine-1.html").unlink()
    push(judged, asked, pushed)
    assert (pushed / "fine-1.html").exists()
    assert len(pull(judged, asked, pushed)) == 1


def test_no_cell_of_the_sheet_is_a_formula(pushed):
    for row in rows_of(pushed):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
def test_a_guarded_cell_reads_as_it_was(cell):
    assert unguarded(guarded(cell)) == cell


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1), min_size=1, max_size=5))
def test_every_text_survives_the_file(tmp_path_factory, cells):
    file = tmp_path_factory.mktemp("sheet") / "a.csv"
    rows = [{"key": f"k{i}", "text": cell} for i, cell in enumerate(cells)]
    file.write_bytes(sheet_text(("key", "text"), rows).encode())
    assert [unguarded(line.cells["text"]) for line in read_sheet(file, ("key",))] == cells


def test_the_page_holds_every_picture_once_and_escapes_all_text(judged, asked, pushed):
    text = (pushed / "fine-1.html").read_text(encoding="utf-8")
    assert "<img src=x" not in text
    data = page_data(pushed / "fine-1.html")
    rows = {row for item in data["items"] for group in item["groups"] for row in group["rows"]}
    rows |= {item["picture"] for item in data["items"]}
    assert {int(row) for row in data["pictures"]} == rows
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in data["pictures"].values())
    assert len(data["items"]) == len(asked)


def test_classes_are_kept_removed_or_merged_as_a_class(judged, tmp_path):
    asked = small_classes(judged.manifest, judged.standing, min_images=1000)
    sheet = Sheet()
    batch = judged.asking(asked, tmp_path, "small")
    sheet.push_classes(batch, judged.source)
    assert len(sheet.pull_classes(batch, print)) == 0
    file = tmp_path / "small.csv"
    last = asked.column("label")[-1].as_py()
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    answered = [
        line.removesuffix(",,,") + answer
        for line, answer in zip(lines[1:], [",Keep,,bo", ",remove,,", f",,{last},ana"], strict=False)
    ]
    file.write_text("\n".join([lines[0], *answered]))
    found = sheet.pull_classes(batch, print).to_pylist()
    assert [(f["label"], f["answer"], f["by"]) for f in found] == [
        (asked.column("label")[0].as_py(), "keep", "bo"),
        (asked.column("label")[1].as_py(), "remove", "someone"),
        (asked.column("label")[2].as_py(), "merge", "ana"),
    ]
    assert [f["new_label"] for f in found] == [None, None, last]
    file.write_text("\n".join([lines[0], lines[1].removesuffix(",,,") + ",merge,,bo"]))
    with pytest.raises(AnswerError, match="'merge' without a new_label"):
        sheet.pull_classes(batch, print)


def test_a_batch_of_nothing_makes_a_page_too(judged, asked, tmp_path):
    push(judged, asked.slice(0, 0), tmp_path)
    assert pull(judged, asked.slice(0, 0), tmp_path) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sample_id,answer,answer\na,right,junk\n", "line 1: two columns are called answer"),
        ("sample_id,answer\na,right,junk\n", "line 2: has 3 cells where line 1 has 2; put a cell that holds a ','"),
    ],
)
def test_a_sheet_in_which_answers_may_have_shifted_is_refused(tmp_path, text, complaint):
    (tmp_path / "sheet.csv").write_text(text)
    with pytest.raises(AnswerError, match=complaint):
        read_sheet(tmp_path / "sheet.csv", ("sample_id", "answer"))
