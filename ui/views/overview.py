"""Whether the data can be trusted, at one look."""

from datetime import UTC, datetime

import streamlit as st

from cleaner.charts.flow import flow
from cleaner.loop.reviews import batches_of
from cleaner.loop.runs import reopen
from cleaner.run.state import Doing
from cleaner.words import counted, wrong_labels
from ui.access import Look, look_at
from ui.elements.theme import ink
from ui.queries import opened
from ui.queries.stages import branches, totals


def show(look: Look) -> None:
    st.title(look.origin.source.name)
    _doing(look)
    samples = opened.samples(look)
    found = totals(samples)
    missing = sum(batch.missing for batch in batches_of(reopen(look.folder)))
    counts = {**found.actions, "answers missing": missing}
    for place, (name, count) in zip(st.columns(4), counts.items(), strict=True):
        share = f"{100 * count / max(found.samples, 1):.1f} % of all images" if name in found.actions else None
        place.metric(name.capitalize(), f"{count:,}", share, delta_color="off", delta_arrow="off", border=True)
    noise = opened.noise(look)
    if noise is not None:
        said = wrong_labels(noise)
        st.markdown(f"**{said[:1].upper()}{said[1:]}.**")
    st.subheader("Where the images went")
    chart = flow(found.samples, branches(samples), ink=ink())
    st.altair_chart(chart, alt="how many images each stage relabelled or dropped")
    classes = counted(len(samples.classes), "class", "classes")
    st.caption(f"{counted(found.samples, 'image')} of {classes}, from {look.origin.source}")


def _doing(look: Look) -> None:
    again = f"`cleaner clean {look.origin.source} --run {look.folder}`"
    if look.working:
        _live(look)
    elif look.state is None:
        st.info(f"Nothing is done yet: {again} begins.")
    elif look.state.doing is Doing.WAITING:
        st.warning(f"Waits for people: {look.state.words}", icon=":material/hourglass_top:")
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
