"""The dashboard: `streamlit run ui/app.py -- DIR`, which `cleaner ui DIR` does."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from cleaner.errors import CleanerError
from cleaner.run.origin import runs_in
from ui.access import Look, look_at
from ui.elements.admission import admitted
from ui.elements.links import remember
from ui.elements.plain import plain
from ui.elements.theme import favicon
from ui.views import classes, compare, desk, gallery, overview, reviewers, rounds
from ui.views import map as map_page

PAGES: dict[str, tuple[str, str, Callable[[Look], None]]] = {
    "overview": ("Overview", ":material/home:", overview.show),
    "rounds": ("Rounds", ":material/replay:", rounds.show),
    "classes": ("Classes", ":material/category:", classes.show),
    "gallery": ("Gallery", ":material/photo_library:", gallery.show),
    "map": ("Map", ":material/scatter_plot:", map_page.show),
    "desk": ("Desk", ":material/rate_review:", desk.show),
    "reviewers": ("Reviewers", ":material/groups:", reviewers.show),
    "compare": ("Compare", ":material/compare_arrows:", compare.show),
}
"""By the last part of their address: title, icon, and what shows them."""

_STYLE = ".stMainBlockContainer { padding-top: 3.5rem; }"


def main(place: Path) -> None:
    st.set_page_config(page_title="cleaner", page_icon=favicon(), layout="wide")
    st.html(f"<style>{_STYLE}</style>")
    if not admitted():
        return
    found = runs_in(place)
    if not found:
        st.title("No run yet")
        st.info(f"No run lies in {place}. `cleaner clean SOURCE --run {place / 'NAME'}` starts one.")
        return
    chosen = found[0]
    if len(found) > 1:
        chosen = st.sidebar.selectbox("Run", found, key="run", bind="query-params", persist_state="session")
    pages = {
        address: st.Page(
            partial(show, place / chosen, shown, place),
            title=title,
            icon=icon,
            url_path=address,
            default=address == "overview",
        )
        for address, (title, icon, shown) in PAGES.items()
    }
    remember(pages)
    st.navigation(list(pages.values())).run()


def show(folder: Path, page: Callable[[Look], None], place: Path | None = None) -> None:
    """One page; of what the run or its files lack one line is said."""
    try:
        look = look_at(folder, place)
        if look.so_far is not None:
            st.caption(f":material/pending: Provisional: what stands {plain(look.so_far['provisional'])}.")
        page(look)
    except CleanerError as error:
        st.warning(str(error), icon=":material/info:")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
