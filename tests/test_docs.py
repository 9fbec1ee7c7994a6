import re
import subprocess
import sys
import tokenize
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


def names_in_the_code():
    """Every name that stands in the code, not in its strings and comments."""
    found = set()
    for folder in ("cleaner", "flows", "ui"):
        for file in (ROOT / folder).rglob("*.py"):
            with tokenize.open(file) as code:
                found |= {
                    token.string for token in tokenize.generate_tokens(code.readline) if token.type == tokenize.NAME
                }
    return found


def test_the_glossary_is_held_to_the_code():
    rows = re.findall(
        r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE
    )
    named = {term: [re.findall(r"`([^`]+)`", cell) for cell in (there, gone)] for term, there, gone in rows}
    terms = {term: both for term, both in named.items() if all(both)}
    code = names_in_the_code() | {"sample_id", "given_label"}
    assert len(terms) > 30
    assert [(term, name) for term, (there, _) in terms.items() for name in there if name not in code] == []
    assert [(term, name) for term, (_, gone) in terms.items() for name in gone if name in code] == []
