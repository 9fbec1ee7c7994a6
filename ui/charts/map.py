"""The map of all images, drawn by WebGL."""

from html import escape

import pandas as pd
import plotly.graph_objects as go

from cleaner.words import TONES

BY = ("what was decided", "probability that the label is right", "class")
_CLASSES = 11
_OTHERS = "other classes"
_COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#8c6d31", "#f0e442", "#7b4173", "#393b79"),
    "#e377c2",
)


def chart(points: pd.DataFrame, by: str, *, ink: str) -> go.Figure:
    """The `points`: `row`, `x`, `y`, `label`, `tone` and `score`, coloured by one of `BY`; each carries its row."""
    figure = go.Figure([_trace(part, name, colour) for name, part, colour in _parts(points, by)])
    hidden = {"visible": False, "scaleanchor": None}
    figure.update_layout(
        height=640,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        xaxis=hidden,
        yaxis=hidden,
        dragmode="lasso",
        legend={"itemsizing": "constant", "font": {"color": ink}, "orientation": "h", "y": 1.04},
        plot_bgcolor="rgba(0,0,0,0)",
        paper_bgcolor="rgba(0,0,0,0)",
        uirevision="stays",
    )
    return figure


def _parts(points: pd.DataFrame, by: str) -> list[tuple[str, pd.DataFrame, str | pd.Series]]:
    if by == BY[1]:
        return [("", points, points["score"])]
    if by == BY[0]:
        # What is rare comes last, and so lies above.
        return [(tone, points[points["tone"] == tone], TONES[tone]) for tone in ("kept", "relabelled", "dropped")]
    largest = points["label"].value_counts().index[:_CLASSES].tolist()
    rest = points[~points["label"].isin(largest)]
    found: list[tuple[str, pd.DataFrame, str | pd.Series]] = [(_OTHERS, rest, "#9aa3b2")] if len(rest) else []
    for name, colour in zip(largest, _COLOURS, strict=False):
        found.append((name, points[points["label"] == name], colour))
    return found


def _trace(part: pd.DataFrame, name: str, colour: str | pd.Series) -> go.Scattergl:
    marker = {"size": 5 if len(part) < 5000 else 3, "opacity": 0.8, "color": colour}
    if not isinstance(colour, str):
        marker |= {"colorscale": "Viridis", "cmin": 0, "cmax": 1, "showscale": True}
    return go.Scattergl(
        x=part["x"],
        y=part["y"],
        mode="markers",
        name=escape(name),
        showlegend=bool(name),
        marker=marker,
        text=part["label"].str.slice(0, 60).map(escape),
        customdata=part["row"],
        hovertemplate="%{text}<extra></extra>",
    )
