"""Files that a table names, found under its folder and nowhere else."""

import os
import posixpath
import unicodedata
from pathlib import Path


def found_file(folder: Path, path: str) -> Path:
    """The file that a path means: as it is written, or, where there is none, with slashes for backslashes and each part
    in either of Unicode's forms, as other systems write it."""
    written = folder / path
    if ("\\" not in path and path.isascii()) or is_file(written):
        return written
    place = folder
    for part in path.replace("\\", "/").split("/"):
        forms = (
            place / each for each in dict.fromkeys([part, *(unicodedata.normalize(f, part) for f in ("NFC", "NFD"))])
        )
        place = next((form for form in forms if is_there(form)), place / part)
    return place if is_file(place) else written


def is_there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def those_outside(own: Path, root: Path, paths: list[str]) -> list[int]:
    """The rows whose path, from the folder `own`, leads out of `root`, by `..`, as an absolute one or through a link to
    a folder. A link to a file may lead anywhere."""
    real_root = os.path.realpath(root)
    folders = [posixpath.dirname(path) for path in paths]
    inside = {folder: is_inside(real_root, own / folder) for folder in set(folders)}
    return [row for row, folder in enumerate(folders) if not inside[folder]]


def common(own: Path, paths: list[str]) -> str:
    """The deepest folder that holds all `paths`."""
    folders = {posixpath.dirname(path) for path in paths if "\0" not in path}
    return os.path.commonpath([os.path.realpath(own / folder) for folder in [*folders, ""]])


def is_inside(real_root: str, folder: Path) -> bool:
    try:
        return Path(os.path.realpath(folder)).is_relative_to(real_root)
    except ValueError:  # A null character: no file has such a path, so it will be missing.
        return True


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
