"""Whether the data can be trusted, at one look."""

from collections import Counter
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import pandas as pd
import streamlit as st

from cleaner.charts.flow import flow
from cleaner.charts.scores import histogram
from cleaner.loop.reviews import batches_of
from cleaner.loop.runs import reopen
from cleaner.run.state import Doing
from cleaner.training.kept import trainings
from cleaner.words import SCORE, STAGES, counted, percent, wrong_labels
from ui.access import Look, look_at
from ui.elements.links import go
from ui.elements.plain import plain
from ui.elements.theme import ink
from ui.queries import opened
from ui.queries.stages import branches, scores, totals

_PLAIN: dict[str, Any] = {"delta_color": "off", "delta_arrow": "off", "border": True, "width": 190}
_KINDS = {"coarse": "wrong labels", "fine": "wrong labels"}


def show(look: Look) -> None:
    st.title(plain(look.origin.source.name))
    _doing(look)
    samples = opened.samples(look)
    found = totals(samples)
    missing = sum(batch.missing for batch in batches_of(reopen(look.folder)))
    tiles = st.container(horizontal=True)
    for name, count in found.actions.items():
        share = f"{100 * count / max(found.samples, 1):.1f} % of all"
        tiles.metric(name.capitalize(), f"{count:,}", share, **_PLAIN)
    tiles.metric("Answers missing", f"{missing:,}", "of people", **_PLAIN)
    classes = counted(len(samples.classes), "class", "classes")
    st.caption(f"{counted(found.samples, 'image')} of {classes}, from {plain(str(look.origin.source))}")
    if (noise := opened.noise(look)) is not None:
        said = wrong_labels(noise)
        st.markdown(f"**{said[:1].upper()}{said[1:]}.**")
    gone = branches(samples)
    st.subheader("Where the images went")
    chart = flow(found.samples, gone, ink=ink())
    st.altair_chart(chart, alt="how many images each stage relabelled or dropped")
    _noise(look, gone, found.samples)
    st.subheader("How sure the labels are")
    st.altair_chart(histogram(scores(samples)), alt="how many images have which score")
    st.caption(f"{SCORE} Heights grow with the logarithm of the number, so that few are seen beside many.")
    _models(look)


def _models(look: Look) -> None:
    """What models that learnt from what cleaning left are worth, and those that learnt from other versions."""
    kept = trainings(look.folder)
    done = [training.summary for training in kept if training.summary is not None]
    if kept:
        st.subheader("What models learn from it")
    if done:
        rows = [
            {
                "learnt from": summary["version"],
                "images": summary["learnt_from"],
                "network": summary["network"],
                "recipe": summary["recipe"],
                "seed": summary["seed"],
                "right on the test set": summary["accuracy"],
                "test images": summary["test"]["images"],
                "test set": summary["test"]["what"],
            }
            for summary in sorted(done, key=itemgetter("accuracy"), reverse=True)
        ]
        share = st.column_config.NumberColumn(format="percent")
        columns = {"right on the test set": share}
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns, height="content")
    if len(done) < len(kept):
        st.caption(f"{counted(len(kept) - len(done), 'training')} not at the end yet: `cleaner status` says how far.")


def _noise(look: Look, gone: list[tuple[str, str, int]], images: int) -> None:
    """How much of each kind of noise was found, and of wrong labels how much there was."""
    st.subheader("How much noise there was")
    found = Counter[str]()
    for stage, _, count in gone:
        found[_KINDS.get(stage, STAGES[stage])] += count
    noise = opened.noise(look)
    rows = []
    for kind in dict.fromkeys([*found, *(["wrong labels"] if noise else [])]):
        row = {"kind": kind, "found": found[kind], "of all images": found[kind] / max(images, 1)}
        rows.append(row | ({"estimated": _interval(noise)} if noise and kind == "wrong labels" else {"estimated": ""}))
    share = st.column_config.NumberColumn(format="percent")
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config={"of all images": share}, height="content")


def _interval(noise: dict[str, float]) -> str:
    low, high, estimate = (percent(noise[name]) for name in ("low", "high", "noise"))
    return f"{low} to {high} %, most likely {estimate} %"


def _doing(look: Look) -> None:
    again = f"`cleaner clean {look.origin.source} --run {look.folder}`"
    if look.working:
        _live(look)
    elif look.state is None:
        st.info(f"Nothing is done yet: {again} begins.")
    elif look.state.doing is Doing.WAITING:
        st.warning(f"Waits for people: {look.state.words}", icon=":material/hourglass_top:")
        if look.origin.reviewer == "desk" and st.button("Answer at the desk", icon=":material/rate_review:"):
            go("desk", {})
    elif look.state.doing is Doing.STOPPED:
        st.error(f"Stopped: {look.state.words}. {again} goes on where it was.", icon=":material/error:")
    elif look.state.doing is Doing.WORKING:
        st.error(f"Was ended while {look.state.words}. {again} goes on where it was.", icon=":material/error:")


@st.fragment(run_every=2)
def _live(look: Look) -> None:
    now = look_at(look.folder, look.place)
    if now.state is None or not now.working or now.names != look.names:
        st.rerun()
        return
    left = now.state.left(datetime.now(UTC))
    st.progress(now.state.done, f"{now.state.words}: {100 * now.state.done:.0f} % of the whole run{left}")
    for line in now.state.told:
        st.caption(f"✓ {line}")
