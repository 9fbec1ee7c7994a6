"""What is read of a run once and kept while pages ask about it."""

from pathlib import Path
from typing import Any

import streamlit as st

from cleaner.methods.confusion import Confusion
from ui.access import Look
from ui.queries.classes import confusion_of
from ui.queries.samples import Samples
from ui.queries.seats import Seats


def samples(look: Look) -> Samples:
    """The samples as they stand now, and of which of them people have spoken by now.

    Raises:
        RunError: there are none yet, or a file is missing.
    """
    found = _samples(tuple(sorted(look.tables().items())))
    found.remember_reviewed(look.store.answers)
    return found


@st.cache_resource(max_entries=2, show_spinner="Reading what stands …")
def _samples(tables: tuple[tuple[str, str], ...]) -> Samples:
    return Samples(dict(tables))


def confusion(look: Look) -> Confusion:
    """Which classes are taken for which, of what stands now."""
    return _confusion(tuple(sorted(look.tables().items())))


@st.cache_resource(max_entries=2, show_spinner="Counting which classes look alike …")
def _confusion(tables: tuple[tuple[str, str], ...]) -> Confusion:
    return confusion_of(_samples(tables))


def seats(look: Look, batch: str) -> Seats:
    """The desk of a batch, one for all sessions."""
    return _seats(look.folder, batch, look.store.batches.manifest(batch) or look.names.manifest)


@st.cache_resource(max_entries=8, show_spinner="Laying out the images …")
def _seats(folder: Path, batch: str, manifest: str) -> Seats:
    return Seats(folder, batch, manifest)


def noise(look: Look) -> dict[str, Any] | None:
    """How many labels are estimated to be wrong; None before that is known."""
    if not look.names.noise:
        return None
    found: dict[str, Any] = look.store.read(look.names.noise).to_pylist()[0]
    return found
