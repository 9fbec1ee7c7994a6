"""Who answers how much, how fast and how surely, and what it was worth."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import streamlit as st

from cleaner.people.agreement import agreement_of_all, agreements, disputed, people
from cleaner.plan.reviews import BatchStatus, batches_of
from cleaner.plan.runs import reopen
from cleaner.spreadsheets import as_csv
from ui.access import Look
from ui.charts.reviewers import ASKED, RANDOM, yields
from ui.elements.shares import in_hundredths

_SHOWN = 50


def show(look: Look) -> None:
    st.title("Reviewers")
    answers = look.store.answers.rows()
    batches = batches_of(reopen(look.folder))
    if not answers and not batches:
        again = f"`cleaner clean {look.origin.source} --run {look.folder} --reviewer desk`"
        st.info(f"Nobody has been asked anything. {again} asks people at the desk of this dashboard.")
        return
    _batches(batches)
    if answers:
        _people(answers)
        _agreement(answers)


def _batches(batches: list[BatchStatus]) -> None:
    if not batches:
        return
    st.subheader("What was asked")
    numbered = [(batch, batch.name.rpartition("-")[2]) for batch in batches]
    rows = [
        {"about": b.asks, "batch": number, "asked": b.asked, "answered": b.answered, "state": _state(b)}
        for b, number in numbered
    ]
    _table(rows, "batches")
    worth = [row for b in batches for row in _worth(b)]
    if worth:
        st.altair_chart(yields(pd.DataFrame(worth)), alt="verdicts overturned, an answer, by batch")
        st.caption(
            "Which share of answers overturned a verdict. Asking pays where it is more than of images drawn at random."
        )


def _state(batch: BatchStatus) -> str:
    return "closed" if batch.closed else f"{batch.missing:,} missing" if batch.missing else "done"


def _worth(batch: BatchStatus) -> Iterator[dict[str, Any]]:
    found, name = batch.worth, f"{batch.asks}, {batch.name.rpartition('-')[2]}"
    if found is None:
        return
    drawn, changes = found.drawn_answers, found.drawn_changes
    if own := found.answers - drawn:
        yield {"batch": name, "how": ASKED, "share": (found.changes - changes) / own, "answers": own}
    if drawn:
        yield {"batch": name, "how": RANDOM, "share": changes / drawn, "answers": drawn}


def _people(answers: list[dict[str, Any]]) -> None:
    st.subheader("Who answered")
    rows = [
        {
            "who": person.by,
            "answers": person.answers,
            "seconds an answer": person.seconds,
            "answers an hour": 3600 / max(person.seconds, 0.1) if person.seconds else None,
            "known images": person.known,
            "of these right": person.right / person.known if person.known else None,
        }
        for person in people(answers)
    ]
    rounded = st.column_config.NumberColumn(format="%.1f"), st.column_config.NumberColumn(format="%d")
    _table(rows, "people", {"seconds an answer": rounded[0], "answers an hour": rounded[1]}, "of these right")


def _agreement(answers: list[dict[str, Any]]) -> None:
    agreed, all_together, pairs = agreements(answers), agreement_of_all(answers), disputed(answers)
    if agreed:
        st.subheader("How far they agree")
        rows = [
            {"who": " and ".join(two.people), "images": two.images, "alike": two.alike / two.images, "kappa": two.kappa}
            for two in agreed
        ]
        _table(rows, "agreement", {"kappa": st.column_config.NumberColumn(format="%.2f")}, "alike")
    if all_together is not None:
        st.metric("Kappa of all together (Fleiss)", f"{all_together:.2f}")
    if pairs:
        st.subheader("What they take for different things")
        rows = [{"one says": one, "another": other, "images": count} for (one, other), count in pairs[:_SHOWN]]
        _table(rows, "disputed")


def _table(rows: list[dict[str, Any]], name: str, columns: dict[str, Any] | None = None, *shares: str) -> None:
    table, of_shares = in_hundredths(pd.DataFrame(rows), *shares)
    st.dataframe(table, hide_index=True, column_config={**(columns or {}), **of_shares}, height="content")
    st.download_button(
        "As CSV", as_csv(pa.Table.from_pylist(rows)), f"{name}.csv", "text/csv", key=name, type="tertiary"
    )
