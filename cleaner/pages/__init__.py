"""Pages that stand alone: one HTML file with its style, script and pictures in it, which asks no network."""

import base64
import hashlib
from functools import partial
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from cleaner.data.images import thumbnail, unchanged
from cleaner.data.sources import Source
from cleaner.errors import ImageProblem
from cleaner.progress import track
from cleaner.tables import array
from cleaner.threads import threaded

_THREADS = 4


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
    """Thumbnails by row as data URIs, each at most its side in pixels; what can't be read any more, or is another image
    now, is left out."""
    rows = sorted(sides)
    shown = manifest.select(["path", "content_hash"]).take(np.asarray(rows, np.int64))
    paths, hashes = (column.to_pylist() for column in shown.columns)
    # The scan has refused what is too large, so the largest image that it let pass is the limit.
    largest = int(np.nanmax(array(manifest, "width") * 1.0 * array(manifest, "height"), initial=1))
    read = unchanged(source.read(np.asarray(rows, np.int64), paths), hashes)
    images = zip(read, (sides[row] for row in rows), strict=True)
    made = threaded(partial(_data_uri, max_pixels=largest), images, workers=_THREADS)
    shown = zip(rows, track(made, len(rows), "pictures"), strict=True)
    return {row: picture for row, picture in shown if picture is not None}


def _data_uri(sized: tuple[bytes | OSError, int], max_pixels: int) -> str | None:
    image, side = sized
    if isinstance(image, OSError):
        return None
    try:
        small = thumbnail(image, side=side, max_pixels=max_pixels)
    except ImageProblem:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()
