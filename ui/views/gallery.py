"""Images by any filter, and one of them whole."""

import streamlit as st

from cleaner.spreadsheets import as_csv
from cleaner.words import counted
from ui.access import Look
from ui.elements.filters import choose, choose_order
from ui.elements.grid import grid
from ui.queries import opened
from ui.queries.samples import Filter, Samples
from ui.views import sample

_EACH = 48
_CSV = 100_000
"""Lines of a CSV at most."""
IMAGE = "image"
"""The part of the address that says which image is looked at."""


def show(look: Look) -> None:
    samples = opened.samples(look)
    wanted = choose(samples)
    if asked := st.query_params.get(IMAGE):
        sample.show(look, samples, asked)
        return
    count = samples.count(wanted)
    title, ordered, save = st.columns([4, 2, 1], vertical_alignment="bottom")
    order = choose_order(ordered)
    title.title(counted(count, "image"))
    if count == 0:
        st.info("No image is like that. Take a filter away on the left, or all of them: open Gallery anew.")
        return
    _offer_csv(save, samples, wanted, order)
    page = 1
    if count > _EACH:
        page = st.pagination(-(-count // _EACH), key="page", bind="query-params")
    clicked = grid(look, samples.page(wanted, order, start=(page - 1) * _EACH, count=_EACH), key="gallery")
    if clicked is not None:
        st.query_params[IMAGE] = str(clicked)
        st.rerun()


def _offer_csv(place: st.delta_generator.DeltaGenerator, samples: Samples, wanted: Filter, order: str) -> None:
    def lines() -> bytes:
        return as_csv(samples.listed(wanted, order, most=_CSV))

    help_ = f"Path, label, score and what was decided; {_CSV:,} lines at most."
    place.download_button("As CSV", lines, "images.csv", "text/csv", icon=":material/download:", help=help_)
