"""The page in a real browser."""

import shutil

import pytest

from cleaner.people.reviewers.sheet import Sheet

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="wants chromium")]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def test_keys_answer_a_closed_page_forgets_nothing_and_the_saved_file_is_understood(judged, browser, tmp_path):
    shares = {"share": 0.5, "random_share": 0.0, "doubtful_share": 0.0, "max_samples": 10}
    asked = judged.batch(**shares)
    sheet = Sheet()
    sheet.push(asked, "fine-1", tmp_path, source=judged.source, manifest=judged.manifest, classes=judged.classes)
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
    found = sheet.pull("fine-1", tmp_path, asked, judged.classes, print).to_pylist()
    assert [f["answer"] for f in found] == ["right", "another", "junk", "unsure"]
    assert found[1]["new_label"] == asked.column("guesses")[1].as_py()[0]
    assert {f["by"] for f in found} == {"=ana"}
    assert complaints == []
