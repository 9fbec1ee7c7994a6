"""Where people answer what a run asks."""

import streamlit as st

from cleaner.plan.reviews import BatchStatus, batches_of
from cleaner.plan.runs import reopen
from cleaner.words import counted
from ui.access import Look
from ui.elements.desk import desk
from ui.queries import opened

_DESK = "desk"


def show(look: Look) -> None:
    st.title("Desk")
    run = reopen(look.folder)
    batches = batches_of(run)
    if not batches:
        st.info(f"Nobody is asked anything yet. `{_again(look)} --reviewer {_DESK}` asks here.")
        return
    open_ = [batch for batch in batches if batch.missing] or batches[-1:]
    batch, who = st.columns([2, 1])
    titles = {f"{each.asks}, {each.name.rpartition('-')[2]}": each for each in open_}
    chosen = titles[batch.selectbox("Batch", list(titles), key="batch", bind="query-params")]
    name = chosen.name
    if run.store.batches.reviewer(name) != _DESK:
        assert run.reviewer is not None, "who put a batch before people is known"
        todo = run.reviewer.todo(name, run.store.batches.folder)
        st.info(f"{chosen.asks}: {chosen.missing:,} answers are missing; {todo}")
        return
    person = who.text_input("Your name", key="name", persist_state="session", placeholder="needed to answer").strip()
    if not person:
        st.info(f"{chosen.asks}: {counted(chosen.missing, 'answer')} missing. Give your name, and begin.")
        return
    _sit(look, chosen, person)


@st.fragment
def _sit(look: Look, chosen: BatchStatus, person: str) -> None:
    seats = opened.seats(look, chosen.name)
    progress = seats.progress(person)
    if progress.answered < progress.asked:
        over = "Nothing is left for you here: others are at the rest, or a second person is needed. Look again later."
    else:
        over = f"All is answered. `{_again(look)}` goes on with it."
    desk(look, seats, person, over)


def _again(look: Look) -> str:
    return f"cleaner clean {look.origin.source} --run {look.folder}"
