"""Ways from one page to another."""

from typing import Any, NoReturn

import streamlit as st

from cleaner.words import ACTIONS

_PAGES = "pages"


def remember(pages: dict[str, Any]) -> None:
    """The pages by their addresses, so that others can lead there."""
    st.session_state[_PAGES] = pages


def number(text: str) -> int | None:
    """The number of a row or class that a part of an address names; None where it is none."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def go(address: str, parts: dict[str, str]) -> NoReturn:
    """Go on at another page of the same run, with these parts in its address."""
    run = {"run": st.query_params["run"]} if "run" in st.query_params else {}
    st.switch_page(st.session_state[_PAGES][address], query_params=run | parts)


def filtered(*, label: str | None = None, guess: str | None = None, action: str | None = None) -> dict[str, str]:
    """The parts of the gallery's address that filter by the given class, what it looks like, and an `Action`."""
    parts = {"class": label, "like": guess, "action": ACTIONS[action] if action else None}
    return {name: value for name, value in parts.items() if value is not None}
