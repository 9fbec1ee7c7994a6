"""All images at once: what looks alike lies together."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import streamlit as st

from cleaner.spreadsheets import as_csv
from cleaner.words import ACTIONS
from ui.access import Look
from ui.charts.map import BY, chart
from ui.elements.grid import grid
from ui.elements.links import go
from ui.elements.theme import ink
from ui.mapping import step_of
from ui.queries import opened
from ui.queries.samples import DOUBTFUL_FIRST, Filter, Samples

_EACH = 24


def show(look: Look) -> None:
    st.title("Map")
    samples = opened.samples(look)
    step = step_of(look)
    if not look.names.features:
        st.info("There is no map before it is computed what the images look like.")
        return
    if not look.store.has(step.output):
        _draw(look, step.output)
        return
    points = _points(samples, str(look.store.table(step.output)))
    if points.empty:
        st.info("There are too few images for a map.")
        return
    by = st.segmented_control("Colour", BY, default=BY[0], key="by", bind="query-params", required=True)
    st.caption("Images that look alike lie together. Drag around some to see them; double-click to see all.")
    settings = {"displaylogo": False, "scrollZoom": True}
    picked = st.plotly_chart(chart(points, by, ink=ink()), on_select="rerun", key=f"map {by}", config=settings)
    rows = tuple(int(point["customdata"]) for point in picked["selection"]["points"])
    if rows:
        _chosen(look, samples, rows)


def _points(samples: Samples, places: str) -> pd.DataFrame:
    """What the chart wants to know of each point of the MAP in the file `places`."""
    question = "SELECT row, x, y, label, action, score FROM read_parquet(?) JOIN kept.samples USING (row) ORDER BY row"
    table = samples.ask(question, [places]).to_pandas()
    return table.assign(tone=table["action"].map(ACTIONS))


def _chosen(look: Look, samples: Samples, rows: tuple[int, ...]) -> None:
    st.subheader(f"{len(rows):,} images")
    page = st.pagination(-(-len(rows) // _EACH), key="chosen") if len(rows) > _EACH else 1
    shown = samples.page(Filter(rows=rows), DOUBTFUL_FIRST, start=(page - 1) * _EACH, count=_EACH)
    clicked = grid(look, shown, key="map grid")
    st.download_button(
        "As CSV",
        lambda: as_csv(samples.listed(Filter(rows=rows), DOUBTFUL_FIRST, most=len(rows))),
        "chosen.csv",
        "text/csv",
        icon=":material/download:",
    )
    if clicked is not None:
        go("gallery", {"image": str(clicked)})


@st.cache_resource
def _drawing() -> dict[tuple[Path, str], subprocess.Popen[str]]:
    """The processes that draw maps, by the run and the name of their output: a copy of a run has the same names."""
    return {}


@st.fragment(run_every=1)
def _draw(look: Look, output: str) -> None:
    """Begin to draw, and wait; the process is one for all who look."""
    drawing, wanted = _drawing(), (look.folder, output)
    if wanted not in drawing:
        command = [sys.executable, "-W", "ignore", "-m", "ui.mapping", str(look.folder)]
        drawing[wanted] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    process = drawing[wanted]
    if process.poll() is None:
        st.info("The map is being drawn: about a minute for 50,000 images, once.", icon=":material/hourglass_top:")
        return
    if look.store.has(output):
        st.rerun()
    assert process.stderr is not None
    errors = process.stderr.read().strip().splitlines() or ["it was ended"]
    st.error(f"The map can't be drawn: {errors[-1]}")
    if st.button("Try again"):
        del drawing[wanted]
        st.rerun()
