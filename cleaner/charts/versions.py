"""How good models are that learnt from different versions of a data set."""

import altair as alt
import pandas as pd

_TONE = "#0072b2"


def accuracies(measured: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """A point for each of `measured`, `version` and `accuracy` in [0, 1], and a line at each version's mean; the axis
    does not begin at zero, since points have no area that could mislead."""
    order = list(dict.fromkeys(measured["version"]))
    version = alt.Y("version:N", title=None, sort=order)
    axis = alt.Axis(format="%", tickCount=7, labelFlush=False, labelOverlap=True)
    percent = alt.X("accuracy:Q", title="right on the test set", axis=axis, scale=alt.Scale(zero=False, padding=24))
    points = alt.Chart(measured).mark_circle(size=110, color=_TONE, opacity=0.75).encode(x=percent, y=version)
    means = measured.groupby("version", as_index=False)["accuracy"].mean()
    means["shown"] = [f"{100 * value:.1f} %" for value in means["accuracy"]]
    ticks = alt.Chart(means).mark_tick(thickness=3, size=34, color="black").encode(x=percent, y=version)
    texts = alt.Chart(means).mark_text(dy=-24, fontSize=13).encode(x=percent, y=version, text=alt.Text("shown:N"))
    return alt.layer(points, ticks, texts).properties(width=560, height=alt.Step(64))
