"""Sizes of classes, and which are taken for which."""

import altair as alt
import numpy as np
import pandas as pd

from cleaner.words import TONES

_POINTS = 400


def long_tail(images: np.ndarray, left: np.ndarray) -> alt.Chart:
    """How many images each class had and has left, the largest class first; of many classes some stand for all."""
    order = np.argsort(-images, kind="stable")
    rank = np.unique(np.linspace(0, len(order) - 1, min(len(order), _POINTS)).astype(int))
    parts = [
        pd.DataFrame({"class": rank + 1, "images": values[order][rank], "what": what})
        for what, values in (("given", images), ("left to train on", left))
    ]
    tones = alt.Scale(domain=["given", "left to train on"], range=[TONES["waiting"], TONES["kept"]])
    return (
        alt.Chart(pd.concat(parts))
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("class:Q", title="classes, the largest first", scale=alt.Scale(nice=False)),
            y=alt.Y("images:Q", title="images", scale=alt.Scale(zero=True)),
            color=alt.Color("what:N", scale=tones, legend=alt.Legend(title=None, orient="top")),
        )
        .properties(height=280)
    )


PICK = "pick"


def matrix(cells: pd.DataFrame, names: list[str], *, side: int) -> alt.Chart:
    """The cells of `Confusion.blocks`; one can be picked by a click. The diagonal, what looks as it should, is grey."""
    shown = cells.assign(
        right=cells["given"] == cells["like"],
        shown=[f"{100 * share:.1f} %" for share in cells["share"]],
        y=[_span(names, *span) for span in zip(cells["given"], cells["given_to"], strict=True)],
        x=[_span(names, *span) for span in zip(cells["like"], cells["like_to"], strict=True)],
    )
    down = [_span(names, *span) for span in sorted(set(zip(cells["given"], cells["given_to"], strict=True)))]
    across = [_span(names, *span) for span in sorted(set(zip(cells["like"], cells["like_to"], strict=True)))]
    axis = alt.Axis(labelLimit=150, labelOverlap=True, ticks=False, domain=False)
    gaps = alt.Scale(paddingInner=0.02)
    most = shown.loc[~shown["right"], "share"].max()
    tones = alt.Scale(range=["#fde8d8", TONES["dropped"]], type="sqrt", domain=[0, most if most > 0 else 1], clamp=True)
    strong = alt.Color("share:Q", scale=tones, legend=None)
    return (
        alt.Chart(shown)
        .mark_rect()
        .encode(
            x=alt.X("x:N", title="looks like", sort=across, axis=axis, scale=gaps),
            y=alt.Y("y:N", title="given", sort=down, axis=axis, scale=gaps),
            color=alt.when(alt.datum.right).then(alt.value("#9aa3b2")).otherwise(strong),
            tooltip=[
                alt.Tooltip("y:N", title="given"),
                alt.Tooltip("x:N", title="looks like"),
                alt.Tooltip("images:Q", format=","),
                alt.Tooltip("shown:N", title="of the given"),
            ],
            detail=["given:Q", "like:Q", "given_to:Q", "like_to:Q"],
        )
        .add_params(alt.selection_point(name=PICK, fields=["given", "given_to", "like", "like_to"]))
        .properties(height=side)
    )


def _span(names: list[str], start: int, stop: int) -> str:
    return names[start] if stop - start == 1 else f"{names[start]} … {names[stop - 1]}"
