import re

import pytest

from cleaner.pages.report import write_report
from cleaner.run.ledger import fold
from cleaner.tables import DUPLICATES, EVIDENCE

ROUND = {"judged": 80, "new_positives": 1, "lost_positives": 0, "dropped": 8, "relabelled": 8, "seconds": 0.5}
SUMMARY = {
    "cleaner": "1.2.3",
    "stages": [
        {"stage": "fine", "round": 1, "positives": 60, "by_people": False, **ROUND},
        {"stage": "fine", "round": 2, "positives": 64, "by_people": False, **ROUND},
        {"stage": "fine", "round": 2, "positives": 2, "by_people": True, **ROUND},
    ],
    "convergence": {
        "image_noise": {"converged": False, "rounds": 0, "why": "nobody has marked any"},
        "fine": {"converged": True, "rounds": 2, "why": "no new positives"},
    },
    "small_classes": ["with space"],
    "label_noise": {"noise": 0.09, "low": 0.07, "high": 0.12, "answers": 0},
    "leakage": {"pictures": 1, "examples": [["train/a.png", "val/<b>.png"]]},
    "versions": {"data": "0123", "weights": "pixels", "libraries": {"torch": "2.13.0"}},
}


@pytest.fixture
def page(judged, tmp_path):
    file = tmp_path / "report.html"
    tables = judged.manifest, judged.standing, judged.evidence, judged.duplicates
    write_report(file, SUMMARY, *tables, judged.source, judged.classes)
    return file


def test_no_text_of_the_data_set_becomes_markup(page):
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_the_page_asks_no_network_and_runs_no_script_but_its_own(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert "default-src 'none'" in text and "script-src 'sha256-" in text


def test_it_shows_what_was_dropped_and_relabelled_and_what_could_not_be_read(page):
    text = page.read_text(encoding="utf-8")
    for said in ("Dropped for a wrong label: 8", "Relabelled: 8", "Kept, but doubtful: 64", "Unreadable: 1"):
        assert said in text
    assert "räksmörgås/broken.png" in text
    assert text.count('src="data:image/jpeg;base64,') >= 8 + 8 + 48


def test_it_says_how_many_labels_are_estimated_to_be_wrong(page):
    assert "between 7 and 12 % of the labels were wrong, 9 % as estimated" in page.read_text()


def test_it_shows_rounds_convergence_and_small_classes(page):
    text = page.read_text(encoding="utf-8")
    for said in (
        "wrong labels, fine, by people",
        "Converged after 2 rounds: no new positives",
        "Not looked for: nobody has marked any",
        "Small classes: 1",
        "Leakage: 1 of these pictures are in more than one split.",
        "train/a.png = val/&lt;b&gt;.png",
    ):
        assert said in text


def test_the_same_run_gives_the_same_page(judged, page, tmp_path):
    again = tmp_path / "again.html"
    tables = judged.manifest, judged.standing, judged.evidence, judged.duplicates
    write_report(again, SUMMARY, *tables, judged.source, judged.classes)
    assert again.read_bytes() == page.read_bytes()


def test_a_run_that_found_nothing_has_a_report_too(judged, tmp_path):
    file = tmp_path / "report.html"
    empty = EVIDENCE.empty_table(), DUPLICATES.empty_table()
    summary = {**SUMMARY, "stages": [], "convergence": {}, "small_classes": []}
    write_report(file, summary, judged.manifest, fold(judged.manifest, []), *empty, judged.source, judged.classes)
    assert "All 80 usable images keep their labels" in file.read_text(encoding="utf-8")
