"""Pages that stand alone: one HTML file with its style, script and pictures in it, which asks no network."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from itertools import repeat
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from cleaner.errors import ImageProblem
from cleaner.images import thumbnail
from cleaner.progress import track
from cleaner.sources import Source
from cleaner.tables import array

_READ_AT_ONCE = 32
"""Encoded images held in memory together: large photos come in megabytes each."""


def render(page: str, **values: Any) -> str:
    """The page `page`.html.j2 filled with `values`, all of them escaped; no script but its own may run in it."""
    folder = files("cleaner.pages")
    script = folder.joinpath(f"{page}.js").read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cleaner", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    style = folder.joinpath("style.css").read_text(encoding="utf-8")
    return environment.get_template(f"{page}.html.j2").render(style=style, script=script, allowed=allowed, **values)


def pictures(source: Source, manifest: pa.Table, sides: dict[int, int]) -> dict[int, str]:
    """Thumbnails by row as data URIs, each at most its side in pixels; what can't be read any more is left out."""
    rows = sorted(sides)
    paths = manifest.column("path").take(np.asarray(rows, np.int64)).to_pylist()
    # The scan has refused what is too large, so the largest image that it let pass is the limit.
    largest = int(np.nanmax(array(manifest, "width") * 1.0 * array(manifest, "height"), initial=1))
    shown: dict[int, str | None] = {}
    with ThreadPoolExecutor() as threads:
        for start in track(range(0, len(rows), _READ_AT_ONCE), -(-len(rows) // _READ_AT_ONCE), "pictures"):
            some = slice(start, start + _READ_AT_ONCE)
            images = source.read(np.asarray(rows[some], np.int64), paths[some])
            made = threads.map(_data_uri, images, [sides[row] for row in rows[some]], repeat(largest))
            shown.update(zip(rows[some], made, strict=True))
    return {row: picture for row, picture in shown.items() if picture is not None}


def _data_uri(image: bytes | OSError, side: int, max_pixels: int) -> str | None:
    if isinstance(image, OSError):
        return None
    try:
        small = thumbnail(image, side=side, max_pixels=max_pixels)
    except ImageProblem:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()
