import io

from rich.console import Console

from cleaner.progress import track
from flows.progress_bar import Bar, Lines, display_on


def test_a_terminal_gets_a_bar_and_anything_else_lines():
    assert isinstance(display_on(Console(file=io.StringIO(), force_terminal=True)), Bar)
    assert isinstance(display_on(Console(file=io.StringIO())), Lines)


def test_lines_tell_rate_and_time_left_but_not_too_often():
    told = []
    with Lines(told.append, every=0).step("scan-0"):
        for _ in track(range(3), 3, "images"):
            pass
    assert told[0].startswith("scan-0: 1 of 3 images, ")
    assert told[0].endswith(" s left")
    assert told[-1].startswith("scan-0: done in ")
    told.clear()
    with Lines(told.append, every=60).step("scan-0"):
        for _ in track(range(3), 3, "images"):
            pass
    assert len(told) == 1


def test_a_bar_leaves_one_line_a_step_and_survives_names_that_look_like_markup():
    out = io.StringIO()
    with Bar(Console(file=out, force_terminal=True, width=100)).step("scan [bold]"):
        for _ in track(range(3), 3, "images [/]"):
            pass
    assert "✓" in out.getvalue()
    assert "scan [bold]" in out.getvalue()


def test_nothing_is_called_done_that_failed():
    told = []
    try:
        with Lines(told.append).step("scan-0"):
            raise ValueError
    except ValueError:
        assert told == []
