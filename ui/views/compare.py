"""What changed: between two states of a run, or two runs over the same images."""

import pandas as pd
import streamlit as st

from cleaner.errors import RunError
from cleaner.run.origin import runs_in
from cleaner.spreadsheets import as_csv
from cleaner.words import ACTIONS, counted
from ui.access import Look, look_at
from ui.elements.grid import grid
from ui.elements.links import go
from ui.queries import opened
from ui.queries.flips import counts, flips, versions
from ui.queries.samples import DOUBTFUL_FIRST, Filter, Samples

_EACH = 24
_CSV = 100_000


def show(look: Look) -> None:
    st.title("Compare")
    samples = opened.samples(look)
    was = _choose(look)
    if was is None:
        return
    table = counts(samples, was)
    if table.empty:
        st.info("The two have no image in common: they are runs over different data sets.")
        return
    changed = int(table["changed"].sum())
    st.subheader(f"{counted(changed, 'image')} changed, of {table['images'].sum():,} that both have")
    _matrix(table)
    if changed:
        _flips(look, samples, was, table)


def _choose(look: Look) -> str | None:
    """The file of what is compared with."""
    others = {name: look.place / name for name in runs_in(look.place)} or {".": look.folder}
    left, right = st.columns(2)
    own = next((name for name, folder in others.items() if folder.samefile(look.folder)), next(iter(others)))
    with_ = own
    if len(others) > 1:
        at = list(others).index(own)
        with_ = left.selectbox("With the run", list(others), index=at, key="with", bind="query-params")
    try:
        states = versions(look_at(others[with_]))
    except RunError as error:
        st.warning(str(error))
        return None
    if with_ == own:
        states.pop("the end", None)
    if not states:
        st.info("There is nothing to compare with yet: this run has come to one state only.")
        return None
    return states[right.selectbox("As it was", list(states), key="was", bind="query-params")]


def _matrix(table: pd.DataFrame) -> None:
    named = table.assign(was=table["was"].map(ACTIONS), now=table["now"].map(ACTIONS))
    wide = named.pivot(index="was", columns="now", values="images").fillna(0).astype(int)
    order = [words for words in ACTIONS.values() if words in {*wide.index, *wide.columns}]
    wide = wide.reindex(index=order, columns=order, fill_value=0)
    wide.columns = [f"now {words}" for words in wide.columns]
    st.dataframe(wide.rename(index=lambda words: f"was {words}"), height="content")


def _flips(look: Look, samples: Samples, was: str, table: pd.DataFrame) -> None:
    some = table[table["changed"] > 0]
    found = zip(some["was"], some["now"], some["changed"], strict=True)
    pairs = {f"{ACTIONS[was]} → {ACTIONS[now]} ({count:,})": (was, now, count) for was, now, count in found}
    chosen = st.pills("Which", list(pairs), key="which", bind="query-params")
    pair = pairs[chosen][:2] if chosen else None
    count = pairs[chosen][2] if chosen else int(some["changed"].sum())
    page = st.pagination(-(-count // _EACH), key="flips") if count > _EACH else 1
    rows = flips(samples, was, pair, start=(page - 1) * _EACH, count=_EACH)
    shown = samples.page(Filter(rows=tuple(rows)), DOUBTFUL_FIRST, start=0, count=_EACH)
    clicked = grid(look, shown, key="compare")
    if clicked is not None:
        go("gallery", {"image": str(clicked)})

    def lines() -> bytes:
        rows = flips(samples, was, pair, start=0, count=_CSV)
        return as_csv(samples.listed(Filter(rows=tuple(rows)), DOUBTFUL_FIRST, most=_CSV))

    st.download_button("As CSV", lines, "changed.csv", "text/csv", icon=":material/download:")
