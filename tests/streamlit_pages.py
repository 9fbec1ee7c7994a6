"""Pages of the dashboard, run as Streamlit does."""

import sys
from pathlib import Path
from unittest.mock import patch

from streamlit.testing.v1 import AppTest

import ui.app

_ONE = """
from pathlib import Path
from ui.app import PAGES, show
show(Path({folder!r}), PAGES[{name!r}][2], Path({place!r}))
"""


def page(name: str | None, folder: Path, place: Path | None = None, **query: str) -> AppTest:
    """The page `name` of the run in `folder`, one of those in `place`, or the whole app; `query` is in the address."""
    if name is None:
        test = AppTest.from_file(ui.app.__file__, default_timeout=60)
    else:
        script = _ONE.format(folder=str(folder), name=name, place=str(place or folder))
        test = AppTest.from_string(script, default_timeout=60)
    for key, value in query.items():
        test.query_params[key] = value
    run = test._run

    def with_arguments(*words: object, **named: object) -> AppTest:
        with patch.object(sys, "argv", ["app.py", str(folder)]):
            return run(*words, **named)

    test._run = with_arguments
    test.run()
    return test
