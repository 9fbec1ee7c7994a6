"""A wheel in an environment of its own, and what it says to a person who lacks something."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from cleaner import installed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: wanted for name, wanted in PROJECT["optional-dependencies"].items() if name != "dev"}


def test_the_distribution_has_one_name():
    assert PROJECT["name"] == installed.DISTRIBUTION
    assert installed.version() == PROJECT["version"]
    assert (ROOT / "LICENSE").read_text().split()[:2] == ["Apache", "License"]


def test_no_page_says_to_install_somebody_else_s_cleaner():
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")):
        assert not re.search(r"install '?cleaner\b", page.read_text()), page


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_an_extra_wants_is_named_whether_this_copy_is_installed_or_not(extra, monkeypatch):
    command = installed.with_extra(extra)

    def nothing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installed, "requires", nothing)
    monkeypatch.setattr(installed, "metadata", nothing)
    assert installed.with_extra(extra) == command
    assert all(wanted in command for wanted in EXTRAS[extra])
    assert installed.version() == "unknown"


@pytest.mark.parametrize("folder", ["bin", "pla ce/bin"])
def test_the_tool_is_the_one_of_the_environment_this_copy_runs_in(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(sys, "executable", str(tmp_path / folder / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    quoted = re.compile(r"(pip install --python )?'?/.*pla ce/bin/python'? |.*/bin/python ")
    assert quoted.search(installed.to_install("x"))
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "pip").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / folder))
    assert installed.to_install("x") == "pip install x"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A folder with an environment `env` in which nothing but the wheel is, and what it needs."""
    place = tmp_path_factory.mktemp("wheel")
    bin_ = Path(sys.executable).parent
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    kept |= {"PATH": f"{bin_}:{kept['PATH']}", "UV_CONSTRAINT": "constraints.txt"}
    (place / "constraints.txt").write_bytes((ROOT / "constraints.txt").read_bytes())
    if "PIP_FIND_LINKS" in kept:
        kept.setdefault("UV_FIND_LINKS", kept["PIP_FIND_LINKS"])

    def run(command):
        return subprocess.run(["bash", "-c", command], cwd=place, env=kept, capture_output=True, text=True, check=False)

    made = run(
        f"uv build -q --wheel --out-dir dist '{ROOT}' && uv venv -q --python '{sys.executable}' env"
        " && uv pip install -q --python env/bin/python dist/*.whl"
    )
    assert made.returncode == 0, made.stderr
    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_wheel_works_by_itself_and_each_remedy_it_gives_does_what_it_says(environment):
    imports = {"ui": "streamlit, duckdb, plotly, pacmap", "label-studio": "label_studio_sdk", "heif": "pillow_heif"}
    imports["train"] = "tensorboard"
    assert set(imports) == set(EXTRAS)
    assert environment("env/bin/cleaner --version").stdout == f"cleaner {PROJECT['version']}\n"
    asked = {
        "ui": "mkdir -p run; env/bin/cleaner ui run",
        "heif": "env/bin/cleaner doctor",
        "train": "env/bin/python -c 'from cleaner.installed import with_extra; print(with_extra(\"train\"))'",
        "label-studio": "LABEL_STUDIO_URL=http://127.0.0.1:9 LABEL_STUDIO_API_KEY=x env/bin/python -c"
        " 'from cleaner.people.reviewers.label_studio.server import connected; connected().__enter__()'",
    }
    for extra, question in asked.items():
        assert environment(f"env/bin/python -c 'import {imports[extra]}'").returncode == 1, extra
        said = environment(question)
        (remedy,) = re.findall(r"uv pip install .*", said.stdout + said.stderr)
        done = environment(remedy)
        assert done.returncode == 0, done.stderr
        assert environment(f"env/bin/python -c 'import {imports[extra]}'").returncode == 0, extra
    assert "missing" not in environment("env/bin/cleaner doctor").stdout
