import re

import pytest

from cleaner.pages.report import write_report
from cleaner.run.ledger import fold
from cleaner.tables import DUPLICATES, EVIDENCE

ROUND = {"judged": 80, "new_positives": 1, "lost_positives": 0, "dropped": 8, "relabelled": 8, "seconds": 0.5}
ABOUT = {"name": "photos", "place": "/data/photos", "date": "2026-11-25", "settings": ["fine.k=2", "seed=<7>"]}
SUMMARY = {
    "provisional": "",
    "cleaner": "1.2.3",
    "samples": 81,
    "kept": 64,
    "relabelled": 8,
    "dropped": 9,
    "seconds": 75.0,
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
    "label_noise": {"noise": 0.09, "low": 0.07, "high": 0.12, "answers": 100},
    "leakage": {"pictures": 1, "examples": [["train/a.png", "val/<b>.png"]]},
    "versions": {"data": "0123", "weights": {"name": "pixels", "image_size": 16}, "libraries": {"torch": "2.13.0"}},
}
NOTHING = {"kept": 80, "relabelled": 0, "dropped": 0}


@pytest.fixture
def page(judged, tmp_path):
    file = tmp_path / "report.html"
    tables = judged.manifest, judged.standing, judged.evidence, judged.duplicates
    write_report(file, SUMMARY, *tables, judged.source, judged.classes, about=ABOUT)
    return file


def test_every_chart_holds_to_the_schema_of_its_grammar(judged, tmp_path, monkeypatch):
    charts = []
    monkeypatch.setattr("cleaner.pages.report.drawing", lambda chart, width=None: charts.append(chart) or "")
    tables = judged.manifest, judged.standing, judged.evidence, judged.duplicates
    write_report(tmp_path / "report.html", SUMMARY, *tables, judged.source, judged.classes, about=ABOUT)
    assert len(charts) >= 5
    for chart in charts:
        chart.to_dict(validate=True)


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
    for said in ("Dropped for a wrong label: 8", "Relabelled: 8", "Kept, but doubtful: 37", "Unreadable: 1"):
        assert said in text
    assert "räksmörgås/broken.png" in text
    assert text.count('src="data:image/jpeg;base64,') >= 8 + 8 + 48


def test_it_says_how_many_labels_are_estimated_to_be_wrong(page):
    assert "Between 7 and 12 % of the labels were wrong, 9 % as estimated" in page.read_text()


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
    write_report(again, SUMMARY, *tables, judged.source, judged.classes, about=ABOUT)
    assert again.read_bytes() == page.read_bytes()


def test_a_run_that_found_nothing_has_a_report_too(judged, tmp_path):
    file = tmp_path / "report.html"
    empty = EVIDENCE.empty_table(), DUPLICATES.empty_table()
    summary = {**SUMMARY, "stages": [], "convergence": {}, "small_classes": []} | NOTHING
    write_report(
        file, summary, judged.manifest, fold(judged.manifest, []), *empty, judged.source, judged.classes, about=ABOUT
    )
    assert "All 80 images keep their labels" in file.read_text(encoding="utf-8")


def test_its_head_says_of_what_it_is_when_and_by_which_settings(page):
    text = page.read_text(encoding="utf-8")
    for said in (
        "<h1>photos</h1>",
        "/data/photos",
        "2026-11-25",
        "<code>fine.k=2</code>",
        "<code>seed=&lt;7&gt;</code>",
    ):
        assert said in text


def test_its_numbers_are_those_of_the_summary(page):
    text = page.read_text(encoding="utf-8")
    assert "21.0 % of 81 images were dropped or relabelled; 72 are left to train on." in text
    assert "dropped · 11.1 %, 1 of them unreadable" in text


def test_its_contents_lead_to_what_is_there(page):
    text = page.read_text(encoding="utf-8")
    wanted = set(re.findall(r'href="#([^"]+)"', text))
    assert {"flow", "rounds", "scores", "confusion", "duplicates"} <= wanted
    assert wanted <= set(re.findall(r'id="([^"]+)"', text))


def test_what_is_said_of_all_images_of_a_gallery_is_said_once(page):
    text = page.read_text(encoding="utf-8")
    shown = re.sub(r'title="[^"]*"', "", text)
    assert shown.count("Because &lt;img") == 3 and "because &lt;img" not in shown


def test_duplicates_say_in_what_they_differ(page):
    text = page.read_text(encoding="utf-8")
    assert "the same file; different labels, folders" in text
    assert "the same file</p>" in text


def test_its_foot_has_no_python_in_it(page):
    foot = page.read_text(encoding="utf-8").partition("<footer")[2]
    assert "features of pixels at 16 pixels" in foot
    assert "{" not in foot.partition("<dialog")[0]
