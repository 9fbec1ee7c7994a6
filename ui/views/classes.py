"""The classes: sizes, noise, and which are taken for which."""

from typing import Any

import pandas as pd
import pyarrow as pa
import streamlit as st

from cleaner.charts.classes import PICK, long_tail, matrix
from cleaner.methods.confusion import Confusion
from cleaner.spreadsheets import as_csv
from ui.access import Look
from ui.elements.grid import grid
from ui.elements.links import filtered, go, number
from ui.elements.plain import plain
from ui.elements.shares import in_hundredths
from ui.queries import opened
from ui.queries.classes import classes
from ui.queries.samples import DOUBTFUL_FIRST, Filter, Samples

_CELLS = 40
_TOP = 200
_SHOWN = 12
_PARTS = ("Table", "Taken for each other", "Sizes")


def show(look: Look) -> None:
    st.title("Classes")
    samples = opened.samples(look)
    part = st.segmented_control(
        "Part", _PARTS, default=_PARTS[0], key="part", bind="query-params", required=True, label_visibility="collapsed"
    )
    if part == _PARTS[1]:
        _confusion(look, samples)
        return
    table = classes(samples)
    if part == _PARTS[2]:
        st.altair_chart(long_tail(table["images"].to_numpy(), table["left to train on"].to_numpy()))
        return
    _table(look, samples, table)


def _table(look: Look, samples: Samples, table: pd.DataFrame) -> None:
    has = st.text_input("Class has", type="search", key="has", bind="query-params", placeholder="any")
    if has:
        table = table[table["class"].str.contains(has, case=False, regex=False)]
    picked = _choosable(*in_hundredths(table, "wrong, estimated", "models agree"), 420)
    st.download_button(
        "As CSV",
        as_csv(pa.Table.from_pandas(table, preserve_index=False)),
        "classes.csv",
        "text/csv",
        icon=":material/download:",
    )
    if picked is not None:
        _images(look, samples, label=table["class"].iloc[picked], guess=None)
    else:
        st.caption("Choose a line to see its images.")


def _choosable(table: pd.DataFrame, columns: dict[str, Any], height: int) -> int | None:
    """Show a table; the place of the line that is chosen."""
    rest: dict[str, Any] = {"on_select": "rerun", "selection_mode": "single-row", "key": f"table {len(table)}"}
    picked = st.dataframe(table, hide_index=True, column_config=columns, height=height, **rest)
    rows = picked["selection"]["rows"]
    return rows[0] if rows and rows[0] < len(table) else None


def _confusion(look: Look, samples: Samples) -> None:
    found = opened.confusion(look)
    picture, pairs = st.columns([3, 2], gap="medium")
    with picture:
        _matrix(look, samples, found)
    with pairs:
        st.subheader("Most often")
        top = found.top(_TOP)
        picked = _choosable(*in_hundredths(top, "of the given"), 520)
        st.download_button(
            "As CSV",
            as_csv(pa.Table.from_pandas(top, preserve_index=False)),
            "pairs.csv",
            "text/csv",
            icon=":material/download:",
        )
    if picked is not None:
        pair = top.iloc[picked]
        _images(look, samples, label=pair["given"], guess=pair["looks like"])


def _matrix(look: Look, samples: Samples, found: Confusion) -> None:
    """The matrix, or the part of it that the address names; a click goes nearer, in the end to the images."""
    count = len(found.names)
    window = _window(st.query_params.get("zoom", ""), count)
    cells = found.blocks(window[:2], window[2:], _CELLS)
    if window != (0, count, 0, count) and st.button("The whole matrix", icon=":material/zoom_out:"):
        del st.query_params["zoom"]
        st.rerun()
    chosen = st.altair_chart(matrix(cells, found.names, side=560), on_select="rerun", key=f"matrix {window}")
    st.caption(
        "Rows: given classes. Columns: what models that never saw the image take it for. Classes alike are neighbours."
    )
    for cell in chosen["selection"].get(PICK, []):
        asked = tuple(int(cell[name]) for name in ("given", "given_to", "like", "like_to"))
        if asked[1] - asked[0] == 1 and asked[3] - asked[2] == 1:
            _images(look, samples, label=found.names[asked[0]], guess=found.names[asked[2]])
        else:
            st.query_params["zoom"] = "-".join(map(str, asked))
            st.rerun()


def _window(asked: str, count: int) -> tuple[int, int, int, int]:
    """Of the classes down and across the first and the one after the last."""
    match [number(part) for part in asked.split("-")]:
        case [int(down), int(down_to), int(right), int(right_to)] if (
            down < down_to <= count and right < right_to <= count
        ):
            return down, down_to, right, right_to
    return 0, count, 0, count


def _images(look: Look, samples: Samples, *, label: str, guess: str | None) -> None:
    wanted = Filter(label=label, guess=guess)
    like = f" that look like {plain(guess)}" if guess else ""
    st.subheader(f"{samples.count(wanted):,} images of {plain(label)}{like}")
    clicked = grid(look, samples.page(wanted, DOUBTFUL_FIRST, start=0, count=_SHOWN), key="class")
    parts = filtered(label=label, guess=guess)
    if st.button("All of them", icon=":material/photo_library:"):
        go("gallery", parts)
    if clicked is not None:
        go("gallery", parts | {"image": str(clicked)})
