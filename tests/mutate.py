"""Whether the tests of training catch what they must: `python tests/mutate.py [WORD ...]`, those that have all words.

Each mutation of tests/training/mutations.toml is made in a copy of the checkout, and its tests are run there: one of
them has to fail. Exit status 1 where one lives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "training" / "mutations.toml"
_LONGEST = 900


def mutations() -> list[dict[str, object]]:
    return tomllib.loads(LIST.read_text(encoding="utf-8"))["mutation"]


def copies() -> Iterator[Path]:
    """A copy of what git knows of, for as long as it is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            there = Path(folder) / name
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, there)
        yield Path(folder)


def lives(copy: Path, mutation: dict[str, object]) -> bool:
    """Whether no test fails for it."""
    file = copy / str(mutation["file"])
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(str(mutation["old"]), str(mutation["new"]), 1), encoding="utf-8")
    first, *rest = mutation["tests"]  # type: ignore[misc]
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/training/{first}", *rest]
    try:
        done = subprocess.run(
            words, cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)}, capture_output=True, timeout=_LONGEST
        )
    finally:
        file.write_text(text, encoding="utf-8")
    if done.returncode not in (0, 1):
        sys.exit(done.stdout.decode() + done.stderr.decode())
    return done.returncode == 0


def main() -> None:
    wanted = [each for each in mutations() if all(word in str(each["what"]) for word in sys.argv[1:])]
    survivors = 0
    for copy in copies():
        for mutation in wanted:
            alive = lives(copy, mutation)
            survivors += alive
            sys.stdout.write(f"{'LIVES ' if alive else 'caught'}  {mutation['what']}\n")
            sys.stdout.flush()
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
