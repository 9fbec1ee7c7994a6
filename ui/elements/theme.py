"""Colours beside those of actions, light and dark."""

import streamlit as st
from PIL import Image

from cleaner.words import TONES


def ink() -> str:
    """The colour of words in charts."""
    return "#fafafa" if st.context.theme.type == "dark" else "#31333f"


def favicon() -> Image.Image:
    """A picture of our own: those of Streamlit's icons come from a server."""
    return Image.new("RGB", (32, 32), TONES["kept"])
