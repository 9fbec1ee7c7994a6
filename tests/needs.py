"""What tests need of a machine beside Python packages.

Where it is missing, its tests are skipped, and the summary says so. Where CLEANER_TESTS_WITHOUT is set, as it is in CI,
they fail instead, unless it names what is missing: what nobody looks at must not go missing unseen.
"""

import os
import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _needs(name: str, found: object) -> pytest.MarkDecorator:
    if found:
        return pytest.mark.skipif(False, reason="")
    without = os.environ.get("CLEANER_TESTS_WITHOUT")
    if without is not None and name not in without.split():
        raise RuntimeError(f"{name} is not installed; CLEANER_TESTS_WITHOUT={name} leaves out the tests that need it")
    return pytest.mark.skip(reason=f"{name} is not installed")


def needs_chromium() -> pytest.MarkDecorator:
    return _needs("chromium", CHROMIUM)


def needs_postgresql() -> pytest.MarkDecorator:
    return _needs("postgresql", POSTGRES)
