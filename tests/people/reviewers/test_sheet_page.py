"""The page in a real browser."""

import pytest
from conftest import pages_of
from needs import CHROMIUM, needs_chromium
from playwright import sync_api

from cleaner.people.reviewers.sheet import Sheet

pytestmark = [pytest.mark.slow, needs_chromium()]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def test_keys_answer_a_closed_page_forgets_nothing_and_the_saved_file_is_understood(judged, browser, tmp_path):
    asked = judged.batch(count=8)
    sheet = Sheet()
    batch = judged.asking(asked, tmp_path)
    sheet.push(batch, judged.source)
    complaints = []
    page = browser.new_page(accept_downloads=True)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((tmp_path / "fine-1.html").as_uri())
    page.fill("#reviewer", "=ana")
    page.keyboard.press("Escape")
    for key in "12ju":
        page.keyboard.press(key)
    page.reload()
    assert page.text_content("#state") == "4 not saved"
    assert page.get_attribute("#whole", "href").startswith("file://") and page.is_hidden("#next")
    with page.expect_download() as download:
        page.click("#save")
    assert page.text_content("#state") == "all saved" and "4 answers saved at" in page.text_content("#said")
    for _ in range(len(asked)):
        page.keyboard.press("u")
    assert page.is_visible("#next") and "fine-1.csv" in page.text_content("#next")
    assert download.value.suggested_filename == "fine-1.csv"
    download.value.save_as(tmp_path / "fine-1.csv")
    found = sheet.pull(batch, print).to_pylist()
    assert [f["answer"] for f in found] == ["right", "another", "junk", "unsure"]
    assert found[1]["new_label"] == asked.column("guesses")[1].as_py()[0]
    assert {f["by"] for f in found} == {"=ana"}
    assert complaints == []


def test_what_does_not_belong_is_marked_page_by_page(judged, browser, tmp_path):
    asked = pages_of(judged, judged.batch(count=80), grid=12)
    sheet = Sheet()
    batch = judged.asking(asked, tmp_path)
    sheet.push(batch, judged.source)
    complaints = []
    page = browser.new_page(accept_downloads=True)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((tmp_path / "fine-1.html").as_uri())
    page.fill("#reviewer", "ana")
    page.keyboard.press("Escape")
    page.click("#grid button >> nth=3")
    for key in ("ArrowLeft", "ArrowLeft", "Space", "ArrowRight", "Space", "Space"):
        page.keyboard.press(key)
    page.reload()
    assert page.text_content("#state") == "" and page.locator("#grid [aria-pressed=true]").count() == 2
    for key in ("Enter", "u", "Enter", "PageUp", "Backspace"):
        page.keyboard.press(key)
    assert page.text_content("#state") == "2 not saved" and page.text_content("#count").endswith("pages answered")
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "fine-1.csv")
    found = sheet.pull(batch, print).to_pylist()
    said = {answer["sample_id"]: answer["answer"] for answer in found}
    first, second = ([s["sample_id"] for s in asked.to_pylist() if s["page"] == number] for number in (1, 2))
    assert said == dict.fromkeys(first, "right") | {first[1]: "wrong", first[3]: "wrong"} | dict.fromkeys(
        second, "unsure"
    )
    assert {answer["by"] for answer in found} == {"ana"} and complaints == []
