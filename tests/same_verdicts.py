"""Whether the checkout judges as a commit does: `python tests/same_verdicts.py COMMIT`.

The demo's images are cleaned by both: as they are; with other settings and somebody who knows the truth asked; by the
recipe's rule alone. The files of the results must be the same bytes. Exit status 1 where one is not; without a commit
the hashes of this checkout's are printed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ("verdicts.parquet", "clean.parquet", "clean.csv", "issues.csv", "duplicates.csv", "manifest.parquet")
SETTINGS = {
    "as it is": ["--set", "image_noise.seeds=seeds.csv"],
    "people": [
        *("--reviewer", "oracle", "--truth", "truth.csv", "--set", "review.first=40"),
        *("--set", "small_classes.min_images=130", "--set", "duplicates.near=one_a_group"),
    ],
    "the recipe": ["--set", "coarse.policy=accv", "--set", "fine.policy=accv", "--set", "coarse.k=2"],
}


def hashes(tree: Path, images: Path, folder: Path) -> dict[str, str]:
    """The SHA-256 of each result, by the settings and its name; features are computed once."""
    found: dict[str, str] = {}
    run = folder / "run"
    for words, settings in SETTINGS.items():
        shutil.rmtree(run / "reviews", ignore_errors=True)
        command(tree, images.parent, "clean", str(images), "--run", str(run), "--runner", "local", *settings)
        for name in FILES:
            found[f"{words}: {name}"] = hashlib.sha256((run / name).read_bytes()).hexdigest()[:16]
    return found


def command(tree: Path, folder: Path, *arguments: str) -> None:
    """`cleaner` as it is in `tree`, started in `folder`."""
    script = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]["cleaner"]
    module, _, function = script.partition(":")
    code = f"from {module} import {function}; {function}()"
    there = {**os.environ, "PYTHONPATH": str(tree)}
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, env=there, check=True, stdout=sys.stderr)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command(ROOT, folder, "demo", "--dir", str(folder / "demo"))
        images = folder / "demo" / "images"
        mine = hashes(ROOT, images, folder / "mine")
        if len(sys.argv) == 1:
            sys.stdout.write("".join(f"{digest}  {what}\n" for what, digest in mine.items()))
            return 0
        tree = folder / "tree"
        subprocess.run(
            ["git", "worktree", "add", "--detach", tree, sys.argv[1]], cwd=ROOT, check=True, capture_output=True
        )
        try:
            its = hashes(tree, images, folder / "its")
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    differ = [what for what in mine if mine[what] != its[what]]
    said = "\n".join(f"differs: {what}" for what in differ) or f"all {len(mine)} files are the same"
    sys.stdout.write(said + "\n")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
