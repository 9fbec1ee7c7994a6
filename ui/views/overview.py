"""Whether the data can be trusted, at one look."""

import shlex
from collections import Counter
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import pandas as pd
import streamlit as st

from cleaner.charts.flow import flow
from cleaner.charts.scores import histogram, reliability
from cleaner.plan.reviews import batches_of
from cleaner.plan.runs import reopen
from cleaner.run.state import Doing
from cleaner.stages import judging_labels, title
from cleaner.training.kept import trainings
from cleaner.words import SCORE, counted, models_worth, wrong_labels
from ui.access import Look, look_at
from ui.elements.links import filtered, go
from ui.elements.plain import plain
from ui.elements.shares import in_hundredths
from ui.elements.theme import ink
from ui.queries import opened
from ui.queries.stages import Totals, branches, scores, totals

_PLAIN: dict[str, Any] = {"delta_color": "off", "delta_arrow": "off", "border": True, "width": 148}


def show(look: Look) -> None:
    st.title(plain(look.origin.source.name))
    _doing(look)
    samples = opened.samples(look)
    found = totals(samples)
    missing = sum(batch.missing for batch in batches_of(reopen(look.folder)))
    fit = found.actions["kept"] + found.actions["relabelled"]
    tiles = st.container(horizontal=True)
    tiles.metric("Images to train on", f"{fit:,}", _of_all(fit, found.samples), **_PLAIN)
    for name, count in found.actions.items():
        tiles.metric(name.capitalize(), f"{count:,}", _of_all(count, found.samples), **_PLAIN)
    tiles.metric("Answers missing", f"{missing:,}", "of people", **_PLAIN)
    classes = counted(len(samples.classes), "class", "classes")
    st.caption(f"{counted(found.samples, 'image')} of {classes}, from {plain(str(look.origin.source))}")
    noise = opened.noise(look)
    if noise is not None and (worth := models_worth(noise)):
        st.warning(f"{worth[:1].upper()}{worth[1:]}.")
    gone = branches(samples, look.names.rounds)
    wrong, next_ = st.columns(2, gap="large")
    with wrong:
        st.subheader("What is wrong")
        _noise(gone, noise, found.samples)
    with next_:
        st.subheader("What to do next")
        _next(look, found, missing)
    st.subheader("Where the images went")
    chart = flow(found.samples, gone, ink=ink())
    st.altair_chart(chart, alt="how many images each stage relabelled or dropped")
    of = scores(samples)
    if any(counts.any() for counts in of.values()):
        st.subheader("How sure the labels are")
        st.altair_chart(histogram(of, found.actions), alt="how many images have which score")
        st.caption(f"{SCORE} Heights grow with the logarithm of the number, so that few are seen beside many.")
    if noise is not None and noise.get("reliability"):
        st.subheader("Are labels as right as they are believed?")
        st.altair_chart(reliability(noise["reliability"]), width="content")
        st.caption(
            "Where people answered: how many labels are right, with intervals of 90 %, by the score that models by"
            " themselves gave them. On the line the two agree; scores elsewhere are corrected by these answers."
        )
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
        table, columns = in_hundredths(pd.DataFrame(rows), "right on the test set")
        st.dataframe(table, hide_index=True, column_config=columns, height="content")
    if len(done) < len(kept):
        st.caption(f"{counted(len(kept) - len(done), 'training')} not at the end yet: `cleaner status` says how far.")


def _of_all(count: int, images: int) -> str:
    return f"{100 * count / max(images, 1):.1f} % of all"


def _noise(gone: list[tuple[str, str, int]], noise: dict[str, float] | None, images: int) -> None:
    """How much of each kind of noise was found, and of wrong labels how much there was."""
    if noise is not None:
        sentence = wrong_labels(noise)
        st.markdown(f"**{sentence[:1].upper()}{sentence[1:]}.**")
    found = Counter[str]()
    for stage, _, count in gone:
        found["wrong labels" if stage in judging_labels() else title(stage)] += count
    if found:
        rows = [
            {"kind": kind, "found": count, "of all images": count / max(images, 1)} for kind, count in found.items()
        ]
        table, columns = in_hundredths(pd.DataFrame(rows), "of all images")
        st.dataframe(table, hide_index=True, column_config=columns, height="content")
    else:
        st.caption("Nothing was found so far.")


def _next(look: Look, found: Totals, missing: int) -> None:
    """What a person can do now, the most pressing first."""
    run, steps = shlex.quote(str(look.folder)), []
    if missing:
        where = "at the desk" if look.origin.reviewer == "desk" else f"(`cleaner status {run}` says where)"
        steps.append(f"Answer {counted(missing, 'question')} {where}: cleaning goes on when all are answered.")
    if look.state is not None and look.state.doing is Doing.FINISHED:
        steps += [
            f"Take the clean data set: `cleaner export {run} --format image_folder --out clean`",
            f"Or learn from it at once: `cleaner train {run}`",
        ]
    if look.so_far is not None:
        steps.append(
            f"Take what stands so far: `cleaner export {run} --provisional --format image_folder --out so-far`"
        )
    st.markdown("\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)))
    looks = st.container(horizontal=True)
    for action, name in (("drop", "dropped"), ("relabel", "relabelled")):
        if found.actions[name] and looks.button(f"See what was {name}", icon=":material/photo_library:"):
            go("gallery", filtered(action=action))


def _doing(look: Look) -> None:
    again = f"`{shlex.join(['cleaner', 'clean', str(look.origin.source), '--run', str(look.folder)])}`"
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
