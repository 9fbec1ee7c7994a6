"""The review desk: the questions of a batch, answered by keys, each answer stored at once."""

import time
from importlib.resources import files
from typing import Any

import pyarrow as pa
import streamlit as st

from cleaner.data.sources import source_at
from cleaner.data.thumbnails import thumbnails
from cleaner.errors import AnswerError, StorageError
from cleaner.pages import asset, embedded, enlarged, template, tones
from ui.access import Look
from ui.elements.grid import store
from ui.elements.plain import plain
from ui.queries.seats import Seats, rows_of

_AHEAD = 5
_SIDE, _WHOLE = 720, 1800
_KEYS = {
    False: "The key beside an answer gives it. Backspace goes back to the last one, f shows the whole photo.",
    True: "Arrows go from image to image, Space marks one, Enter says that the page is done. Backspace goes back to the"
    " last page, f shows the whole photo.",
}
_FRAME = """<div id="desk"><div id="bar"><progress id="progress"></progress><span id="count" role="status"></span>
<button id="back">Back</button></div>{question}<p id="over" hidden></p><p id="keys" class="soft"></p>
<div id="large" hidden><img alt="the whole photo"></div></div>"""
_ASSETS = files("ui.elements")

_component = st.components.v2.component(
    "cleaner.desk",
    html=_FRAME.format(question=template("question").render()),
    css=tones().replace(":root", ":host") + asset("question.css") + _ASSETS.joinpath("desk.css").read_text("utf-8"),
    js=asset("question.js") + _ASSETS.joinpath("desk.js").read_text("utf-8"),
)


def desk(look: Look, seats: Seats, person: str, over: str) -> None:
    """Put questions before `person`; `over` is said where there are none left."""
    key = f"desk {seats.name} {person}"
    _hear(seats, person, key)
    message = _said(key)
    order = seats.hand_out(person, _AHEAD)
    new = [number for number in order if number not in {*message.get("have", [])}]
    pictures = _pictures(look, seats, new)
    whole = message.get("whole")
    data = {
        "key": key,
        "ack": st.session_state.get(f"{key} ack", 0),
        "order": order,
        "items": [{"id": number, **seats.questions[number]} for number in new],
        "pictures": pictures,
        "progress": _progress(seats, person, key),
        "over": over,
        "keys": _KEYS[seats.paged],
        "asked": seats.asked,
        "typed": seats.typed,
        "paged": seats.paged,
        "begins": not message.get("have"),
        "classes": [] if message.get("have") else list(seats.classes),
        "whole": {"n": whole["n"], "src": _large(look, seats, whole["row"], _WHOLE)} if whole else None,
    }
    _component(key=key, data=data, on_said_change=lambda: None, width="stretch")


def _said(key: str) -> dict[str, Any]:
    """What the page told last."""
    state = st.session_state.get(key)
    return dict(state.get("said") or {}) if state else {}


def _hear(seats: Seats, person: str, key: str) -> None:
    """Store what has been answered and is not stored yet."""
    for given in _said(key).get("answers", []):
        if given["n"] > st.session_state.get(f"{key} ack", 0):
            try:
                seats.take(person, given)
            except AnswerError as error:
                st.error(plain(str(error)))
            except StorageError as error:
                # It stays with the page, which sends it again.
                st.error(plain(str(error)))
                return
            st.session_state[f"{key} ack"] = given["n"]
            st.session_state.setdefault(f"{key} times", []).append(time.monotonic())


def _progress(seats: Seats, person: str, key: str) -> dict[str, Any]:
    found = seats.progress(person)
    times = st.session_state.get(f"{key} times", [])[-20:]
    minutes = (time.monotonic() - times[0]) / 60 if len(times) > 1 else 0
    pace = f", {(len(times) - 1) / minutes:.0f} a minute" if minutes else ""
    words = f"{found.answered:,} of {found.asked:,} answered · by you {found.mine:,}{pace}"
    return {"answered": found.answered, "asked": found.asked, "words": words}


def _pictures(look: Look, seats: Seats, numbers: list[int]) -> dict[int, str]:
    """The images of these questions by row: what is asked about large, all others small."""
    asked = [seats.questions[number] for number in numbers]
    large = {question["picture"] for question in asked} - {None}
    small = {row for question in asked for row in rows_of(question)} - large
    rows = seats.shown.filter(pa.array([row in small for row in seats.shown.column("row").to_pylist()]))
    found = store().of(_source(look), rows, max_pixels=look.origin.config.scan.max_pixels)
    pictures = {row: embedded(jpeg) for row, jpeg in zip(rows.column("row").to_pylist(), found, strict=True) if jpeg}
    return pictures | {row: uri for row in large if (uri := _large(look, seats, row, _SIDE))}


def _large(look: Look, seats: Seats, row: int, side: int) -> str | None:
    """An image of this batch, of at most `side` pixels."""
    one = seats.shown.filter(pa.array([row == shown for shown in seats.shown.column("row").to_pylist()]))
    made = thumbnails(_source(look), one, [side] * len(one), max_pixels=look.origin.config.scan.max_pixels)
    return next((embedded(enlarged(jpeg, side)) for jpeg in made if jpeg), None)


def _source(look: Look) -> Any:
    return source_at(look.origin.form, look.origin.source, look.origin.config.sources)
