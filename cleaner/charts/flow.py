"""Where the samples go, stage by stage: a Sankey diagram."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from cleaner.stages import title
from cleaner.words import TONES

_POINTS = 24
_GAP = 0.06
_LEAST = 0.006
"""Of the whole height: what is thinner could not be seen."""
_X, _Y = "x:Q", "low:Q"


def flow(total: int, branches: list[tuple[str, str, int]], *, ink: str) -> alt.LayerChart | alt.FacetChart:
    """The stream of `total` samples from left to right, thinner by each branch: by which stage, relabelled or dropped,
    and how many. What is left in the end is kept. `ink` is the colour of words."""
    stages = list(dict.fromkeys(stage for stage, _, _ in branches))
    bands, texts, left, floor = [_band(-0.6, 0, (0, 0), 1, "kept", f"{total:,} images")], [], total, 0.0
    for place, stage in enumerate(stages):
        leaving = [(tone, count, max(count / max(total, 1), _LEAST)) for of, tone, count in branches if of == stage]
        # What leaves from the lowest part of the stream goes lowest, so that no two cross.
        down = -sum(share + _GAP for _, _, share in leaving)
        for tone, count, share in leaving:
            text = f"{count:,} {tone}"
            bands.append(_band(place, place + 0.5, (floor, down), share, tone, f"{title(stage)}: {text}"))
            texts.append({"x": place + 0.52, "low": down + share / 2, "text": text})
            down += share + _GAP
            floor, left = floor + count / max(total, 1), left - count
        bands.append(_band(place, place + 1, (floor, floor), 1 - floor, "kept", f"{left:,} go on"))
    heads = [{"x": place + 0.02, "low": 1.1, "text": title(stage)} for place, stage in enumerate(stages)]
    heads += [{"x": -0.58, "low": 1.1, "text": f"{total:,} images"}]
    heads += [{"x": len(stages) + 0.03, "low": (1 + floor) / 2, "text": f"{left:,} kept"}]
    words = _words(texts, color=ink), _words(heads, color=ink, fontWeight="bold")
    return alt.layer(_area(pd.concat(bands), len(stages) + 0.6), *words).properties(height=240)


def _area(bands: pd.DataFrame, right: float) -> alt.Chart:
    tones = alt.Scale(domain=[*TONES], range=[*TONES.values()])
    return (
        alt.Chart(bands)
        .mark_area()
        .encode(
            x=alt.X(_X, axis=None, scale=alt.Scale(domain=[-0.6, right], nice=False)),
            y=alt.Y(_Y, axis=None, scale=alt.Scale(nice=False, zero=False)),
            y2=alt.Y2("high:Q"),
            detail=alt.Detail("band:N"),
            color=alt.Color("tone:N", scale=tones, legend=None),
            # What stays is most of it, and what leaves is looked for.
            opacity=alt.when(alt.datum.tone == "kept").then(alt.value(0.3)).otherwise(alt.value(0.9)),
            tooltip=alt.Tooltip("text:N", title=" "),
        )
    )


def _words(texts: list[dict[str, object]], **style: Any) -> alt.Chart:
    marks = alt.Chart(pd.DataFrame(texts, columns=["x", "low", "text"])).mark_text(align="left", fontSize=13, **style)
    return marks.encode(x=alt.X(_X), y=alt.Y(_Y), text=alt.Text("text:N"))


def _band(start: float, stop: float, floor: tuple[float, float], width: float, tone: str, text: str) -> pd.DataFrame:
    """A ribbon of one width, whose lower edge goes from one height to another."""
    share = np.linspace(0, 1, _POINTS)
    low = floor[0] + (floor[1] - floor[0]) * (3 * share**2 - 2 * share**3)
    x = start + (stop - start) * share
    band = f"{start} {tone} {text}"
    return pd.DataFrame({"x": x, "low": low, "high": low + width, "tone": tone, "text": text, "band": band})
