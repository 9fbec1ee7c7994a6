import io

import pytest
from rich.console import Console

from flows.progress_bar import Bar, Lines, display_on


def test_a_terminal_gets_a_bar_and_anything_else_lines():
    assert isinstance(display_on(Console(file=io.StringIO(), force_terminal=True)), Bar)
    assert isinstance(display_on(Console(file=io.StringIO())), Lines)


def look(display, what="images"):
    display.begins("reading [the] images", 0.0)
    for done in range(3):
        display.progressed(what, done, 2, done / 4)
    display.ends("reading [the] images: 2 images (0.1 s)")
    display.close()


def test_lines_tell_each_part_and_within_it_how_far_it_is_but_not_too_often():
    told = []
    look(Lines(told.append, every=0))
    assert told[:2] == ["reading [the] images: 1 of 2 images", "reading [the] images: 2 of 2 images"]
    told.clear()
    look(Lines(told.append, every=60))
    assert told == ["reading [the] images: 2 images (0.1 s)"]


def test_lines_tell_the_time_left_of_the_whole_run(monkeypatch):
    now = 100.0
    monkeypatch.setattr("flows.progress_bar.time.monotonic", lambda: now)
    told = []
    lines = Lines(told.append, every=0)
    lines.begins("reading the images", 0.2)
    now = 110.0
    lines.progressed("images", 1, 2, 0.4)
    assert told == ["reading the images: 1 of 2 images; about 30.0 s left of the whole run"]


def test_a_bar_leaves_one_line_a_part_and_survives_names_that_look_like_markup():
    out = io.StringIO()
    look(Bar(Console(file=out, force_terminal=True, width=100)), "images [/]")
    assert "✓" in out.getvalue()
    assert "the whole run" in out.getvalue()
    assert "reading [the] images: 2 images" in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_called_done_that_failed(terminal):
    out = io.StringIO()
    display = display_on(Console(file=out, force_terminal=terminal, width=100))
    display.begins("reading the images", 0.0)
    display.close()
    assert "✓" not in out.getvalue()
