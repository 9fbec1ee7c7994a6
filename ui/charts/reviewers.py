"""What batches were worth."""

import altair as alt
import pandas as pd

from cleaner.words import TONES

ASKED, RANDOM = "as asked", "drawn at random"


def yields(table: pd.DataFrame) -> alt.Chart:
    """Of each `batch` how many corrections an answer gave, `share`, as it was asked and at random, `how`."""
    tones = alt.Scale(domain=[ASKED, RANDOM], range=[TONES["kept"], "#9aa3b2"])
    return (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title="corrections an answer", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("batch:N", title=None, sort=None),
            yOffset=alt.YOffset("how:N", sort=[ASKED, RANDOM]),
            color=alt.Color("how:N", scale=tones, legend=alt.Legend(title=None, orient="top")),
            tooltip=["batch:N", "how:N", alt.Tooltip("share:Q", format=".2f"), alt.Tooltip("answers:Q", format=",")],
        )
    )
