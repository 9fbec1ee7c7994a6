"""The filters of the gallery. They live in the address, so that what is seen can be sent to others."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from cleaner.stages import title
from cleaner.words import ACTIONS
from ui.queries.samples import ORDERS, Filter, Samples, known_values

_YES_NO = {"yes": True, "no": False}


def choose(samples: Samples) -> Filter:
    """The filter that is asked for, in the sidebar."""
    bar = st.sidebar
    bar.subheader("Show")
    actions = bar.pills(
        "Kept or not", list(ACTIONS), selection_mode="multi", format_func=ACTIONS.__getitem__, **_in("action")
    )
    label = _one(bar, "Given class", samples.classes, "class")
    guess = _one(bar, "Looks like, or became", samples.classes, "like")
    low, high = bar.slider("Probability that the label is right", 0.0, 1.0, (0.0, 1.0), 0.01, **_in("score"))
    stages = known_values(samples, "stage")
    stage = bar.multiselect("Decided by", stages, format_func=title, **_in("stage"))
    spoken = _one(bar, "People have said something", list(_YES_NO), "said")
    copies = _one(bar, "Has duplicates", list(_YES_NO), "copies")
    splits = known_values(samples, "split")
    split = _one(bar, "Split", splits, "split") if splits else None
    path = bar.text_input("Path has", type="search", **_in("path"))
    reason = bar.text_input("Reason has", type="search", **_in("reason"))
    return Filter(
        action=tuple(actions or ()),
        stage=tuple(stage),
        label=label,
        guess=guess,
        low=low,
        high=high,
        reviewed=None if spoken is None else _YES_NO[spoken],
        copies=None if copies is None else _YES_NO[copies],
        split=split,
        path=path or "",
        reason=reason or "",
    )


def choose_order(place: st.delta_generator.DeltaGenerator) -> str:
    """The order that is asked for, at `place`."""
    order: str = place.selectbox("Order", list(ORDERS), label_visibility="collapsed", **_in("order"))
    return order


def _one(bar: Any, title: str, options: Sequence[str], key: str) -> str | None:
    found: str | None = bar.selectbox(title, options, index=None, placeholder="any", **_in(key))
    return found


def _in(key: str) -> dict[str, Any]:
    """Bound to a part of the address, and kept while another page is looked at."""
    return {"key": key, "bind": "query-params", "persist_state": "session"}
