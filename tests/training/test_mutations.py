"""The list of what the tests of training must catch (`make mutations`) is of the code as it is."""

import ast

import pytest
from mutate import ROOT, mutations


@pytest.mark.parametrize("mutation", mutations(), ids=lambda each: each["what"])
def test_each_mutation_can_be_made_and_is_python_still(mutation):
    text = (ROOT / mutation["file"]).read_text(encoding="utf-8")
    assert text.count(mutation["old"]) == 1
    ast.parse(text.replace(mutation["old"], mutation["new"]))
    assert (ROOT / "tests" / "training" / mutation["tests"][0]).exists()
