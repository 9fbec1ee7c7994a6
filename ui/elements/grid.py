"""Thumbnails of samples side by side; a click, or Enter, gives back which."""

from importlib.resources import files
from typing import Any

import pyarrow as pa
import streamlit as st

from cleaner.data.sources import source_at
from cleaner.data.thumbnails import Thumbnails
from cleaner.pages import embedded, tones
from cleaner.run.cache import cache_folder
from cleaner.words import ACTIONS
from ui.access import Look

_ASSETS = files("ui.elements")
_component = st.components.v2.component(
    "cleaner.grid",
    html='<div class="grid" role="group" aria-label="images"></div>',
    css=tones().replace(":root", ":host") + _ASSETS.joinpath("grid.css").read_text(encoding="utf-8"),
    js=_ASSETS.joinpath("grid.js").read_text(encoding="utf-8"),
)


def store() -> Thumbnails:
    return Thumbnails(cache_folder() / "thumbnails.sqlite")


def grid(look: Look, samples: pa.Table, *, key: str) -> int | None:
    """Show `samples`, rows of `queries.samples`; the row of the one that has just been clicked."""
    source = source_at(look.origin.form, look.origin.source, look.origin.config.sources)
    pictures = store().of(source, samples, max_pixels=look.origin.config.scan.max_pixels)
    cells = [_cell(sample, picture) for sample, picture in zip(samples.to_pylist(), pictures, strict=True)]
    clicked = _component(key=key, data={"cells": cells}, width="stretch", on_clicked_change=lambda: None).clicked
    return None if clicked is None else int(clicked)


def _cell(sample: dict[str, Any], picture: bytes | None) -> dict[str, Any]:
    tone, guess = ACTIONS[sample["action"]], sample["guess"]
    notes = [tone] if sample["score"] is None else [tone, f"{sample['score']:.2f}"]
    notes += [f"looks like {guess}"] * (guess not in (None, sample["label"], sample["new_label"]))
    return {
        "row": sample["row"],
        "tone": tone,
        "title": sample["label"] + (f" → {sample['new_label']}" if sample["new_label"] else ""),
        "note": " · ".join(notes),
        "hint": sample["path"],
        "picture": picture and embedded(picture),
    }
