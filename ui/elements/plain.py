"""Text of the data set among text of ours, where Streamlit reads Markdown."""

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>$:~^&])")

_ADDRESS = re.compile(r"(:(?=//)|\bwww(?=\.)|@)", re.IGNORECASE)


def plain(text: str) -> str:
    """`text` so that it is shown as it is, whatever stands in it: no emphasis, formula, picture, link or colour."""
    # What looks like an address would become a link: a space of no width keeps it from that.
    unlinked = _ADDRESS.sub("\\1\u200b", " ".join(text.split()))
    return _SPECIAL.sub(r"\\\1", unlinked)
