"""How sure labels are, and how that stands to what people say."""

import altair as alt
import numpy as np
import pandas as pd

from cleaner.words import TONES

BINS = 20


def histogram(counts: dict[str, np.ndarray], all_of: dict[str, int]) -> alt.FacetChart:
    """Bars of how many samples have which score: of each tone their numbers in `BINS` equal bins over [0, 1]. Heights
    are logarithms, so that few among thousands are seen too. `all_of`: how many samples there are of each tone; those
    that nothing has judged have no score."""
    edges = np.linspace(0, 1, BINS + 1)
    parts = []
    for tone, of in counts.items():
        without = all_of[tone] - of.sum()
        title = f"{all_of[tone]:,} {tone}" + (f", {without:,} of them without a score" if without else "")
        parts.append(pd.DataFrame({"low": edges[:-1], "high": edges[1:], "samples": of, "tone": tone, "of": title}))
    table = pd.concat(parts)
    tones = alt.Scale(domain=[*TONES], range=[*TONES.values()])
    ticks = [0, *(10**power for power in range(8) if 10**power <= max(table["samples"].max(), 1) * 3)]
    bars = (
        alt.Chart(table[table["samples"] > 0])
        .mark_bar()
        .encode(
            x=alt.X("low:Q", bin="binned", title="score", scale=alt.Scale(domain=[0, 1])),
            x2=alt.X2("high:Q"),
            y=alt.Y(
                "samples:Q", title="samples", scale=alt.Scale(type="symlog"), axis=alt.Axis(values=ticks, format=",d")
            ),
            color=alt.Color("tone:N", scale=tones, legend=None),
            tooltip=[alt.Tooltip("samples:Q", format=","), alt.Tooltip("low:Q", format=".2f", title="score from")],
        )
        .properties(width=210, height=150)
    )
    return bars.facet(column=alt.Column("of:N", title=None, sort=table["of"].unique().tolist()))


def reliability(ranges: list[dict[str, float]]) -> alt.LayerChart:
    """Of each range of scores how many of the labels that people answered on are right: on the line is what is as right
    as it is believed. Bars are intervals of 90 %, the larger a point the more answers it stands for."""
    table = pd.DataFrame(ranges)
    share = alt.Scale(domain=[0, 1])
    told = alt.Chart(table).encode(x=alt.X("believed:Q", title="score, before answers corrected it", scale=share))
    points = told.mark_circle(color=TONES["kept"], opacity=1).encode(
        y=alt.Y("right:Q", title="share of right labels", scale=share),
        size=alt.Size("answers:Q", scale=alt.Scale(range=[60, 400]), legend=None),
        tooltip=[
            alt.Tooltip("answers:Q", format=","),
            *(alt.Tooltip(f"{name}:Q", format=".2f") for name in ("believed", "right")),
        ],
    )
    bars = told.mark_rule(color=TONES["kept"]).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q"))
    line = alt.Chart(pd.DataFrame({"at": [0, 1]})).mark_line(color="#9aa3b2", strokeDash=[4, 4], strokeWidth=1)
    return (line.encode(x=alt.X("at:Q"), y=alt.Y("at:Q")) + bars + points).properties(width=320, height=260)
