import re
import subprocess
import sys
from pathlib import Path

import pytest

from cleaner.parts import ROOMS

ROOT = Path(__file__).parent.parent


def test_the_page_of_settings_is_what_the_code_says():
    made = subprocess.run([sys.executable, "docs/settings.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (ROOT / "docs/config.md").read_text(encoding="utf-8") == made.stdout


@pytest.mark.parametrize("page", [path.relative_to(ROOT) for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))])
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!http)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / page.parent / link).exists()] == []


def test_the_design_page_names_every_module_but_the_parts():
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / "cleaner").rglob("*.py") if path.parent.name not in ROOMS}
    assert {name for name in modules - {"__init__.py"} if name not in page} == set()
