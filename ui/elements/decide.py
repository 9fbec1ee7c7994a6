"""Buttons by which a person decides on one image."""

from typing import Any

import streamlit as st

from cleaner.plan.asking import take_unasked
from cleaner.tables import Answer
from ui.access import Look
from ui.elements.plain import plain
from ui.queries.samples import Samples


def decide(look: Look, samples: Samples, known: dict[str, Any], *, key: str) -> None:
    """Ask what the image of the manifest's row `known` shows; a word is stored at once, and the newest holds."""
    if known["problem"] or not known["content_hash"]:
        return
    with st.container(border=True):
        name = st.text_input("Your name", key="name", persist_state="session", placeholder="needed to decide")
        row = st.container(horizontal=True)
        given: tuple[Answer, str | None] | None = None
        for answer, text in _WORDS.items():
            if row.button(text.format(label=plain(known["label"] or "")), key=f"{answer} {key}", disabled=not name):
                given = (answer, None)
        another = row.selectbox(
            "Another class",
            samples.classes,
            index=None,
            key=f"class {key}",
            placeholder="it is another class",
            label_visibility="collapsed",
            disabled=not name,
        )
        if another and row.button(f"It is {plain(another)}", key=f"another {key}", type="primary", disabled=not name):
            given = (Answer.RIGHT, None) if another == known["label"] else (Answer.ANOTHER, another)
        if given is not None:
            _store(look, known, name.strip(), *given)
            st.rerun()
        st.caption("Stored at once; it holds from the next `cleaner clean` on. Say something else to take it back.")


_WORDS = {
    Answer.RIGHT: "Right: {label}",
    Answer.WRONG: "Not {label}",
    Answer.JUNK: "Junk",
    Answer.UNSURE: "Can't tell",
}


def _store(look: Look, known: dict[str, Any], by: str, answer: Answer, new_label: str | None) -> None:
    take_unasked(look.store.answers, known, answer, new_label, by=by)
    st.toast(f"Stored: {answer.value}{f' {plain(new_label)}' if new_label else ''}")
