"""How this copy was installed, and what a person types to have more of it."""

import importlib.util
import shlex
import shutil
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

DISTRIBUTION = "label-cleaner"
"""Its name on the package index, where `cleaner`, as the command and the import are called, is somebody else's."""


def version() -> str:
    """The version of this copy; of one that is run from its folder without being installed `unknown`."""
    try:
        return metadata(DISTRIBUTION)["Version"]
    except PackageNotFoundError:
        return "unknown"


def to_install(*requirements: str) -> str:
    """The command that installs `requirements` where this copy runs: by its environment's pip, or by uv where it has
    none."""
    python, pip = Path(sys.executable), shutil.which("pip")
    here = str(python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python)
    if pip and Path(pip).parent == python.parent:
        tool = ["pip", "install"]
    elif importlib.util.find_spec("pip"):
        tool = [here, "-m", "pip", "install"]
    else:
        tool = ["uv", "pip", "install", "--python", here]
    return shlex.join([*tool, *requirements])


def with_extra(extra: str) -> str:
    """The command that installs what the extra `extra` wants. It names just that, and so holds wherever this copy came
    from: a checkout, a wheel, the package index, or a folder that was copied."""
    try:
        every = [requirement.partition(";") for requirement in requires(DISTRIBUTION) or []]
        wanted = [what.strip() for what, _, marker in every if f'extra == "{extra}"' in marker.replace("'", '"')]
    except PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
        wanted = project["project"]["optional-dependencies"][extra]
    return to_install(*wanted)
