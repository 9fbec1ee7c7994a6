"""The dashboard as people see it: the real command, a real browser."""

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from command import CLEANER, clean_locally
from needs import CHROMIUM, needs_chromium
from PIL import Image
from playwright import sync_api

from cleaner.run.answers import Answers

pytestmark = [pytest.mark.slow, needs_chromium()]

HOSTILE = (
    "<script>document.title='owned'</script>",
    "../../etc/passwd",
    "long " * 60 + "name",
    "**bold** $x$ :red[x] ![y](https://example.com/y.png) [z](javascript:alert)",
)
NOT_OURS = re.compile(r"404")
"""Streamlit looks for its server below the address of a page first."""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def served(folder, port=None):
    """The address of the dashboard of `folder`; it is killed in the end."""
    port = port or free_port()
    command = [CLEANER, "ui", str(folder), "--no-browser", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health"):
                break
            time.sleep(0.1)
        yield address
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@contextmanager
def visit(browser, address):
    """A page at `address` that is done; nothing may complain in it, and it may ask for no file of another server, or of
    those that are gone with the next click."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, complaints = context.new_page(), []
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: complaints.append(asked.url) if _foreign(asked) else None)
    page.goto(address)
    done(page)
    yield page
    assert [said for said in complaints if not NOT_OURS.search(said)] == []
    context.close()


def _foreign(asked):
    return asked.url.startswith("https:") or (asked.resource_type == "image" and "/media/" in asked.url)


def done(page):
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")


def sit_down(page, name):
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Your name").press("Enter")
    page.wait_for_selector("#choices button")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run that waits at the desk, over classes whose names want to be more than text."""
    folder = tmp_path_factory.mktemp("hostile")
    lines = ["path,label"]
    for number in range(len(HOSTILE)):
        for i in range(24):
            pixels = np.random.default_rng((number, i)).integers(60 * number, 60 * number + 70, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}-{i}.png")
            shown = HOSTILE[(number + (i < 2)) % 4]
            lines.append(f'{number}-{i}.png,"{shown}"')
    (folder / "images.csv").write_text("\n".join(lines))
    settings = ("--reviewer", "desk", "--set", "review.first=20", "--set", "review.overlap=0")
    clean_locally(folder / "images.csv", folder / "run", *settings, status=3)
    return folder / "run"


def test_keys_answer_at_the_desk_two_people_never_meet_and_a_closed_browser_loses_nothing(hostile, browser, tmp_path):
    run = shutil.copytree(hostile, tmp_path / "run")
    with served(run) as address:
        with visit(browser, f"{address}/desk") as ann, visit(browser, f"{address}/desk") as bob:
            sit_down(ann, "ann")
            sit_down(bob, "bob")
            assert ann.locator("#note").inner_text() != bob.locator("#note").inner_text()
            ann.keyboard.press("j")
            ann.get_by_text("by you 1").wait_for()
        (word,) = Answers(run).rows()
        assert (word["by"], word["answer"]) == ("ann", "junk")
        with visit(browser, f"{address}/desk") as again:
            sit_down(again, "ann")
            again.get_by_text("by you 1").wait_for()


@pytest.mark.parametrize(
    "address", ["", "rounds", "classes", "classes?part=Taken+for+each+other", "gallery", "gallery?image=1"]
)
def test_names_that_want_to_be_more_are_text(hostile_done, browser, address):
    with visit(browser, f"{hostile_done}/{address}") as page:
        page.wait_for_selector("h1")
        assert page.title() != "owned"
        assert page.locator("script:not([src])").filter(has_text="owned").count() == 0


def test_what_is_answered_while_the_server_is_away_is_stored_when_it_is_back(hostile, browser, tmp_path):
    run, port = shutil.copytree(hostile, tmp_path / "run"), free_port()
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    with served(run, port) as address:
        page.goto(f"{address}/desk")
        done(page)
        sit_down(page, "ann")
        page.keyboard.press("j")
        page.get_by_text("by you 1").wait_for()
    page.keyboard.press("u")
    assert [word["answer"] for word in Answers(run).rows()] == ["junk"]
    with served(run, port):
        page.get_by_text("by you 2").wait_for()
    assert [word["answer"] for word in Answers(run).rows()] == ["junk", "unsure"]
    context.close()


@pytest.mark.parametrize("row", [10, 34, 58, 82])
def test_a_name_is_shown_as_it_is(hostile_done, browser, row):
    with visit(browser, f"{hostile_done}/gallery?image={row}") as page:
        shown = page.locator("h1").first
        shown.wait_for()
        assert shown.inner_text().replace("\u200b", "").strip() in {" ".join(label.split()) for label in HOSTILE}
        assert page.locator("h1 :is(strong, em, img, .katex, a[href^=http], a[href^=java])").count() == 0


@pytest.fixture(scope="module")
def hostile_done(hostile, tmp_path_factory):
    """The address of the dashboard of such a run that nobody is asked in."""
    run = tmp_path_factory.mktemp("done") / "run"
    clean_locally(hostile.parent / "images.csv", run)
    with served(run) as address:
        yield address


def test_a_click_on_a_thumbnail_opens_the_image_and_the_address_can_be_sent_to_others(finished, browser):
    with served(finished) as address:
        with visit(browser, f"{address}/gallery?action=relabelled") as page:
            page.locator(".grid button").first.click()
            page.get_by_text("How it came to that").wait_for()
            sent = page.url
            assert "action=relabelled" in sent
            page.get_by_text("Back to the images").click()
            page.get_by_text("How it came to that").wait_for(state="detached")
            page.wait_for_selector(".grid button.relabelled")
            # Images like the one that was looked at may be there a moment longer than it.
            page.wait_for_function("() => !document.querySelector('.grid button.kept')")
        with visit(browser, sent) as other:
            other.get_by_text("How it came to that").wait_for()


def test_a_cell_of_the_confusion_opens_its_images(finished, browser):
    with served(finished) as address, visit(browser, f"{address}/classes?part=Taken+for+each+other") as page:
        chart = page.locator("[data-testid=stVegaLiteChart] :is(canvas, svg)").first
        chart.wait_for()
        box = chart.bounding_box()
        page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
        page.get_by_text(re.compile("images of .* that look like")).wait_for()
        page.wait_for_selector(".grid button")
