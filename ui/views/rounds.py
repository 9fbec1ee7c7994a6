"""What each round did, and why the rounds ended."""

import streamlit as st

from cleaner.charts.rounds import kept, moved, shares
from cleaner.stages import named, title
from ui.access import Look
from ui.elements.shares import in_hundredths
from ui.elements.theme import ink
from ui.queries import opened
from ui.queries.rounds import rounds


def show(look: Look) -> None:
    st.title("Rounds")
    st.caption(
        "In each round models predict the images they have not learnt from. Labels that they confirm are kept; an image"
        " can be taken back among them, or pushed out."
    )
    table = rounds(look, opened.samples(look))
    ends = look.summary["convergence"] if look.summary else {}
    for stage in dict.fromkeys([*table["stage"], *ends]):
        of_stage = table[table["stage"] == stage]
        if stage not in ends and of_stage["accuracy"].isna().all():
            continue
        st.subheader(named(stage))
        if stage in ends:
            st.markdown(_ended(ends[stage]))
        if of_stage["accuracy"].notna().any():
            charts = (kept(of_stage), moved(of_stage, ink=ink()), shares(of_stage))
            texts = ("labels confirmed", "images taken back and pushed out", "accuracy and agreement")
            for place, chart, text in zip(st.columns(3), charts, texts, strict=True):
                place.altair_chart(chart, alt=f"{text} by round")
    st.subheader("All rounds")
    table["stage"] = table["stage"].map(title)
    table, columns = in_hundredths(table, "accuracy", "agreement")
    st.dataframe(table, hide_index=True, column_config=columns, height="content")
    st.caption(
        "Accuracy: how many given labels the models find likeliest. Agreement: of how many images the models of the"
        " round before thought the same."
    )


def _ended(end: dict[str, object]) -> str:
    if not end["rounds"]:
        return f"Not looked for: {end['why']}."
    how = "Converged" if end["converged"] else "Not converged"
    return f"{how} after {end['rounds']} {'round' if end['rounds'] == 1 else 'rounds'}: {end['why']}."
