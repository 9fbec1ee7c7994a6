"""One image: how it came to what stands, and what a person says of it."""

from typing import Any

import pandas as pd
import pyarrow as pa
import streamlit as st

from cleaner.data.sources import source_at
from cleaner.data.thumbnails import thumbnails
from cleaner.pages import embedded, enlarged
from cleaner.run.ledger import PERSON
from cleaner.stages import title
from cleaner.words import ACTIONS, SCORE
from ui.access import Look
from ui.elements.decide import decide
from ui.elements.grid import grid
from ui.elements.links import number
from ui.elements.plain import plain
from ui.queries.one import Sample, copies, neighbours, sample
from ui.queries.samples import DOUBTFUL_FIRST, Filter, Samples

_SIDE, _SHARP = 1200, 480
"""Pixels of a side at most, and up to which a tiny image is enlarged with its pixels sharp."""
_NEIGHBOURS = 12


def show(look: Look, samples: Samples, asked: str) -> None:
    """The image whose row the address names."""
    row = number(asked)
    found = None if row is None else sample(look, samples, row)
    if st.button("Back to the images", icon=":material/arrow_back:", shortcut="Escape"):
        del st.query_params["image"]
        st.rerun()
    if row is None or found is None:
        st.info(f"There is no image {plain(asked[:20])} in this data set.")
        return
    picture, words = st.columns([2, 3], gap="large")
    with picture:
        _picture(look, row, found)
    with words:
        _stands(found)
        decide(look, samples, found.known, key=str(row))
    _guesses(words, found)
    _history(found)
    _alike(look, samples, row, found)


def _picture(look: Look, row: int, found: Sample) -> None:
    data = opened_image(look, row, found.known)
    if data is None:
        st.warning("It can't be shown: the file is not there any more, or is another one now.")
    else:
        # Within the page, as thumbnails are: a file beside it is gone with the next click, before a slow browser asks.
        st.image(embedded(data), width="stretch")
    st.code(found.known["path"], language=None, wrap_lines=True)
    if found.known["problem"]:
        st.warning(f"Can't be used: {found.known['problem']}")
    else:
        facts = f"{found.known['width']} x {found.known['height']} pixels, {found.known['bytes']:,} bytes"
        st.caption(facts)


def opened_image(look: Look, row: int, known: dict[str, Any]) -> bytes | None:
    """A JPEG of at most `_SIDE` pixels; None where the image can't be read, or is another now."""
    source = source_at(look.origin.form, look.origin.source, look.origin.config.sources)
    one = pa.Table.from_pylist([{"row": row, **known}]).select(["row", "path", "content_hash"])
    (found,) = thumbnails(source, one, [_SIDE], max_pixels=look.origin.config.scan.max_pixels)
    return found and enlarged(found, _SHARP)


def _stands(found: Sample) -> None:
    stands = found.stands
    becomes = f" as {plain(stands['new_label'])}" if stands["new_label"] else ""
    st.title(plain(stands["label"] or "no label"))
    tone = {"keep": "green", "relabel": "blue", "drop": "orange"}[stands["action"]]
    st.badge(f"{ACTIONS[stands['action']]}{becomes}", color=tone)  # type: ignore[arg-type]
    st.text(stands["reason"])
    if stands["score"] is not None:
        st.metric("Probability that the label is right", f"{stands['score']:.2f}", help=SCORE)


def _guesses(place: st.delta_generator.DeltaGenerator, found: Sample) -> None:
    if not found.guesses:
        return
    table = pd.DataFrame(found.guesses, columns=["class", "probability"])
    thought = "what models that never saw it think"
    bar = st.column_config.ProgressColumn(thought, format="%.2f", min_value=0, max_value=1)
    place.dataframe(table, hide_index=True, column_config={"probability": bar}, height="content")


def _history(found: Sample) -> None:
    st.subheader("How it came to that")
    if not found.verdicts and not found.answers:
        st.caption("No stage has judged it.")
    two_digits = {"score": st.column_config.NumberColumn(format="%.2f")}
    for rows in ([_word(answer) for answer in found.answers], [_verdict(verdict) for verdict in found.verdicts]):
        if rows:
            st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=two_digits, height="content")


def _word(answer: dict[str, Any]) -> dict[str, Any]:
    what = " ".join(filter(None, [answer["answer"], answer["new_label"]]))
    return {"said at": answer["at"][:16].replace("T", " "), "by": answer["by"], "answer": what}


def _verdict(verdict: dict[str, Any]) -> dict[str, Any]:
    undecided = "can't tell" if verdict["by"].startswith(PERSON) else "nothing changed"
    action = ACTIONS.get(verdict["action"] or "", undecided)
    return {
        "looked for": title(verdict["stage"]),
        "round": verdict["round"],
        "verdict": " ".join(filter(None, [action, verdict["new_label"]])),
        "score": verdict["score"],
        "why": verdict["reason"],
        "by": verdict["by"],
    }


def _alike(look: Look, samples: Samples, row: int, found: Sample) -> None:
    for heading, rows in (
        ("The same picture", copies(samples, row, found.stands["group"])),
        ("What looks most like it", neighbours(look, samples, found, _NEIGHBOURS)),
    ):
        if rows:
            st.subheader(heading)
            shown = samples.page(Filter(rows=rows), DOUBTFUL_FIRST, start=0, count=len(rows))
            order = pd.Index(shown["row"].to_pylist()).get_indexer(pd.Index(rows))
            clicked = grid(look, shown.take(order), key=heading)
            if clicked is not None:
                st.query_params["image"] = str(clicked)
                st.rerun()
