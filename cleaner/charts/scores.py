"""How sure labels are."""

import altair as alt
import numpy as np
import pandas as pd

from cleaner.words import TONES

BINS = 20


def histogram(scores: dict[str, np.ndarray]) -> alt.FacetChart:
    """Bars of how many samples have which score, of each tone of `scores`. Their height is the logarithm of the number,
    so that few among thousands are seen too."""
    parts = []
    for tone, values in scores.items():
        counts, edges = np.histogram(values, bins=BINS, range=(0, 1))
        title = f"{len(values):,} {tone}"
        parts.append(pd.DataFrame({"low": edges[:-1], "high": edges[1:], "samples": counts, "tone": tone, "of": title}))
    table = pd.concat(parts)
    tones = alt.Scale(domain=[*TONES], range=[*TONES.values()])
    ticks = [0, *(10**power for power in range(8) if 10**power <= max(table["samples"].max(), 1) * 3)]
    bars = (
        alt.Chart(table[table["samples"] > 0])
        .mark_bar()
        .encode(
            x=alt.X("low:Q", bin="binned", title="score", scale=alt.Scale(domain=[0, 1])),
            x2="high:Q",
            y=alt.Y(
                "samples:Q", title="samples", scale=alt.Scale(type="symlog"), axis=alt.Axis(values=ticks, format=",d")
            ),
            color=alt.Color("tone:N", scale=tones, legend=None),
            tooltip=[alt.Tooltip("samples:Q", format=","), alt.Tooltip("low:Q", format=".2f", title="score from")],
        )
        .properties(width=210, height=150)
    )
    return bars.facet(column=alt.Column("of:N", title=None, sort=table["of"].unique().tolist()))
