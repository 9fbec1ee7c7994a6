"""What a run is of, and by which settings: run.json."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cleaner import parts
from cleaner.config import Config
from cleaner.errors import RunError
from cleaner.run.files import digest, write_json

_DEPTH = 2
"""How many folders below a given one runs are looked for."""
FILE = "run.json"


class Origin(BaseModel):
    """What `cleaner clean` was asked for last.

    Attributes:
        source: where the data set lies, absolute.
        form: the part of data/sources that reads it.
        fingerprint: of its listing.
        moved: of what of the listing stays when the data set is moved; empty where an older version wrote this.
        verified: tells what was found when contents were read again and were others than stamps let one think; empty
            before that.
        reviewer: who is asked; `none`: nobody.
        truth: for the oracle.
        config: with absolute paths.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Path
    form: str
    fingerprint: str
    moved: str = ""
    verified: str = ""
    reviewer: str
    truth: Path | None
    config: Config

    @property
    def digest(self) -> str:
        """12 hex digits that differ where results may."""
        return digest(self.model_dump(mode="json"))


def write_origin(folder: Path, origin: Origin) -> None:
    """Write run.json, unless it says so already."""
    if _read(folder / FILE) != origin.model_dump(mode="json"):
        write_json(folder / FILE, origin.model_dump(mode="json"))


def read_origin(folder: Path) -> Origin | None:
    """What run.json says; None where there is none.

    Raises:
        RunError: it is damaged.
    """
    file = folder / FILE
    try:
        content = _read(file)
        return None if content is None else Origin.model_validate(_of_known_stages(content))
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    except (OSError, ValueError) as error:
        problem = str(error)
    raise RunError(f"{file}: is damaged ({problem}); restore it, or give --run a new directory")


def origin_of(folder: Path) -> Origin:
    """The origin of the run that lies in `folder`.

    Raises:
        RunError: there is none, or run.json is damaged.
    """
    origin = read_origin(folder)
    if origin is None:
        raise RunError(f"{folder}: no run lies here; start one with: cleaner clean SOURCE --run {folder}")
    return origin


def _of_known_stages(content: Any) -> Any:
    """Without the stages that this installation does not have, so that whoever only looks at a run can."""
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict) or not isinstance(config.get("stages"), list):
        return content
    known = parts.names("stages")
    gone = {name for name in config["stages"] if name not in known}
    kept = {name: value for name, value in config.items() if name not in gone}
    return content | {"config": kept | {"stages": [name for name in config["stages"] if name in known]}}


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def runs_in(place: Path) -> list[str]:
    """The runs that `place` is or holds, each by its way from there, sorted; `.` for itself."""
    if (place / FILE).is_file():
        return ["."]
    patterns = ["/".join(["*"] * depth) for depth in range(1, _DEPTH + 1)]
    found = {file.parent for pattern in patterns for file in place.glob(f"{pattern}/{FILE}")}
    return sorted(str(folder.relative_to(place)) for folder in found if not folder.name.startswith("."))
