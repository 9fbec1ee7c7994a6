"""Pages that stand alone: one HTML file with its style, script and pictures in it, which asks no network."""

import base64
import hashlib
import io
from collections.abc import Hashable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import jinja2
import numpy as np
import pyarrow as pa
from PIL import Image

from cleaner.data.sources import Source
from cleaner.data.thumbnails import thumbnails
from cleaner.progress import track
from cleaner.tables import array
from cleaner.words import TONES

TINY = 64
"""Width in pixels up to which images are shown enlarged with their pixels sharp."""

INK = "#7a8496"
"""The colour of words in drawings."""

Key = TypeVar("Key", bound=Hashable)


def render(page: str, *parts: str, **values: Any) -> str:
    """The page `page`.html.j2 filled with `values`, all of them escaped; no script but its own and those of its `parts`
    may run in it."""
    script = "".join(asset(f"{name}.js") for name in (*parts, page))
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = tones() + asset("style.css") + "".join(asset(f"{name}.css") for name in parts)
    return template(page).render(style=style, script=script, allowed=allowed, **values)


def template(page: str) -> jinja2.Template:
    """`page`.html.j2, which escapes what it is filled with."""
    return _environment().get_template(f"{page}.html.j2")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cleaner", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment


def asset(name: str) -> str:
    """The text of a script or a style that pages share."""
    return files("cleaner.pages").joinpath(name).read_text(encoding="utf-8")


def tones() -> str:
    """The colours of actions as variables of a style sheet."""
    return ":root { " + " ".join(f"--{name}: {colour};" for name, colour in TONES.items()) + " }\n"


def drawing(chart: Any, width: int | None = None) -> str:
    """An altair chart as an SVG picture, a data URI, legible on light and on dark paper; what it says is no markup."""
    # A large library, and only reports draw.
    import vl_convert

    # The schema takes half the time of a chart to check; tests check it.
    spec = chart.to_dict(validate=False)
    spec |= {"width": width} if width else {}
    axis = {"labelColor": INK, "titleColor": INK, "gridColor": "#8884", "domainColor": "#8888", "tickColor": "#8888"}
    legend = {"labelColor": INK, "titleColor": INK}
    spec["config"] = {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": axis,
        "legend": legend,
        "header": legend,
    }
    return "data:image/svg+xml;base64," + base64.b64encode(vl_convert.vegalite_to_svg(spec).encode()).decode()


def pictures(source: Source, manifest: pa.Table, sides: dict[int, int], *, enlarge: bool = False) -> dict[int, str]:
    """Thumbnails by row as data URIs, each at most its side in pixels; what can't be read any more, or is another image
    now, is left out.

    Args:
        enlarge: make tiny ones as large as that, their pixels sharp, for a page that would blur them.
    """
    found = _thumbnails(source, manifest, sides)
    return {row: embedded(enlarged(picture, sides[row]) if enlarge else picture) for row, picture in found}


def contact_sheets(
    source: Source, manifest: pa.Table, wanted: dict[Key, list[int]], *, side: int, across: int
) -> dict[Key, str]:
    """For each key one picture of its rows' thumbnails, `across` side by side, each in a square of `side` pixels, as a
    data URI; none where there is none to show. Tiny ones are enlarged."""
    rows = {row for shown in wanted.values() for row in shown}
    thumbnails = dict(_thumbnails(source, manifest, dict.fromkeys(rows, side)))
    sheets = {}
    for key, shown in wanted.items():
        found = [thumbnails[row] for row in shown if row in thumbnails]
        if found:
            sheets[key] = embedded(_contact_sheet(found, side, across))
    return sheets


def _contact_sheet(thumbnails: list[bytes], side: int, across: int) -> bytes:
    gap = side // 32
    lines = -(-len(thumbnails) // across)
    sheet = Image.new("RGB", (across * (side + gap) - gap, lines * (side + gap) - gap), "white")
    for number, data in enumerate(thumbnails):
        with Image.open(io.BytesIO(enlarged(data, side)), formats=["JPEG"]) as picture:
            left, top = number % across * (side + gap), number // across * (side + gap)
            sheet.paste(picture, (left + (side - picture.width) // 2, top + (side - picture.height) // 2))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=80)
    return out.getvalue()


def enlarged(data: bytes, side: int) -> bytes:
    """A tiny thumbnail with each pixel as a square, as large as `side` allows; another one as it is."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        times = side // max(picture.size)
        if max(picture.size) > TINY or times < 2:
            return data
        out = io.BytesIO()
        large = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
        large.save(out, "JPEG", quality=90)
        return out.getvalue()


def _thumbnails(source: Source, manifest: pa.Table, sides: dict[int, int]) -> Iterator[tuple[int, bytes]]:
    rows = sorted(sides)
    shown = manifest.select(["path", "content_hash"]).take(np.asarray(rows, np.int64))
    shown = shown.append_column("row", pa.array(rows, pa.int32()))
    # The scan has refused what is too large, so the largest image that it let pass is the limit.
    largest = int(np.nanmax(array(manifest, "width") * 1.0 * array(manifest, "height"), initial=1))
    made = thumbnails(source, shown, (sides[row] for row in rows), max_pixels=largest)
    found = zip(rows, track(made, len(rows), "pictures"), strict=True)
    return ((row, picture) for row, picture in found if picture is not None)


def embedded(picture: bytes) -> str:
    """The address of a JPEG that is itself the picture, so that no page asks for a file beside it."""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()
