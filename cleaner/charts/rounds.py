"""What the rounds of one stage did. Axes of counts begin at zero: a few images in thousands must not look like many."""

import altair as alt
import pandas as pd

from cleaner.words import TONES

_HEIGHT = 260
_LEAST_SPAN = 0.1
_ROUND = alt.X("round:O", title="round", axis=alt.Axis(labelAngle=0))


def kept(rounds: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Bars of how many labels were confirmed, with the number on each."""
    chart = alt.Chart(rounds).encode(x=_ROUND, y=alt.Y("kept:Q", title="labels confirmed", scale=alt.Scale(zero=True)))
    numbers = chart.mark_text(dy=14, color="white", fontWeight="bold").encode(text=alt.Text("kept:Q", format=","))
    return alt.layer(chart.mark_bar(color=TONES["kept"], size=46), numbers).properties(height=_HEIGHT)


def moved(rounds: pd.DataFrame, *, ink: str) -> alt.LayerChart | alt.FacetChart:
    """Bars up of what was taken back, and down of what was pushed out."""
    table = rounds.melt(["round"], ["taken back", "pushed out"], "what", "images")
    table["height"] = table["images"].where(table["what"] == "taken back", -table["images"])
    table["beside"] = (table["what"] == "taken back").map({True: -9, False: 11})
    tones = alt.Scale(domain=["taken back", "pushed out"], range=[TONES["kept"], TONES["dropped"]])
    axis = alt.Axis(labelExpr="format(abs(datum.value), ',')", tickCount=5)
    height = alt.Y("height:Q", title="images", axis=axis, scale=alt.Scale(padding=24))
    color = alt.Color("what:N", scale=tones, legend=alt.Legend(title=None, orient="top"))
    chart = alt.Chart(table).encode(x=_ROUND, y=height)
    texts = [
        chart.transform_filter(alt.datum.what == what)
        .mark_text(dy=dy, color=ink)
        .encode(text=alt.Text("images:Q", format=","))
        for what, dy in (("taken back", -9), ("pushed out", 11))
    ]
    return alt.layer(chart.mark_bar(size=46).encode(color=color), *texts).properties(height=_HEIGHT)


def shares(rounds: pd.DataFrame) -> alt.Chart:
    """Points of accuracy and agreement, in percent, on an axis of where they are, but no shorter than `_LEAST_SPAN`: a
    little must not look like much."""
    table = rounds.melt(["round"], ["accuracy", "agreement"], "what", "share").dropna()
    table["shown"] = [f"{100 * share:.1f} %" for share in table["share"]]
    middle = (table["share"].max() + table["share"].min()) / 2
    half = max(table["share"].max() - table["share"].min(), _LEAST_SPAN) / 2
    middle = min(max(middle, half), 1 - half)
    ends = alt.Scale(domain=[middle - half, middle + half], nice=False, padding=8)
    axis = alt.Axis(labelExpr="format(100 * datum.value, '.0f') + ' %'", tickCount=5)
    share = alt.Y("share:Q", title=None, scale=ends, axis=axis)
    color = alt.Color("what:N", legend=alt.Legend(title=None, orient="top"))
    chart = alt.Chart(table).mark_line(point=alt.OverlayMarkDef(size=70))
    return chart.encode(
        x=_ROUND,
        y=share,
        color=color,
        tooltip=[alt.Tooltip("what:N"), alt.Tooltip("round:O"), alt.Tooltip("shown:N", title=" ")],
    ).properties(height=_HEIGHT)
