"""Numbers and spans of time as they read them; and the colours
that mean the same wherever they look."""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

SCORE = (
    "The score is the probability that the given label is right. It weighs what models that never saw the image think"
    " it shows against how often each class is estimated to carry this label: where hardly any image of a class does,"
    " even sure models do not overrule it."
)

ACTIONS = {"keep": "kept", "relabel": "relabelled", "drop": "dropped"}

TONES = {"kept": "#009e73", "relabelled": "#0072b2", "dropped": "#d55e00", "waiting": "#e69f00"}
"""Of what happens to samples, told apart by colour-blind people too (Okabe and Ito 2008)."""


class Issue(StrEnum):
    """What is wrong with an image or a class, or may be, in people's words."""

    WRONG_LABEL = "wrong label"
    DOUBTFUL = "doubtful label"
    JUNK = "junk"
    OUTLIER = "outlier"
    UNREADABLE = "unreadable"
    COPY = "copy"
    NEAR = "near-duplicate"
    POOR_QUALITY = "poor quality"
    LEAKAGE = "leakage"
    SMALL_CLASS = "small class"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 class`, `2,000 classes`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: float) -> str:
    """A number of bytes: `1.4 GB`, `120 MB`."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.3g} MB"


def shown(names: Sequence[str], most: int = 3) -> str:
    """`a, b, c and 5 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def promised(promise: dict[str, Any]) -> str:
    """`about 45 answers are expected to overturn a verdict; of what is kept about 2.1 % is wrong by now, and 0.8 %
    then`, of a row of PROMISE."""
    changes, before, after = promise["changes"], percent(promise["before"]), percent(promise["after"])
    sentence = f"about {counted(round(changes), 'answer')} are expected to overturn a verdict"
    return f"{sentence}; of what is kept about {before} % is wrong by now, and {after} % then, as the models see it"


def percent(share: float) -> str:
    """A share in hundredths, to two digits and no finer than thousandths of one: `0.12`, `9.5`, `100`, `0`."""
    return f"{Decimal(f'{round(100 * share, 3):.2g}'):f}"


def span(seconds: float) -> str:
    """`4.2 s`, `2 min 05 s`, `3 h 07 min`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def wrong_labels(noise: dict[str, Any]) -> str:
    """`between 7 and 12 % of the labels were wrong, 9 % as estimated, by 100 answers on images drawn at random`, of the
    row that `people.survey` gives; where nobody has answered on such, what the models think, in other words."""
    if noise["noise"] is None:
        return f"the share of wrong labels is unknown; {TELLING} reviewed images would tell {_ASKING}"
    low, high, estimate = (percent(noise[name]) for name in ("low", "high", "noise"))
    if not (answers := int(noise["answers"])):
        span = f"at {low} %" if low == high else f"between {low} and {high} %"
        return (
            f"the models put the share of wrong labels {span}, and may err; {TELLING} reviewed images would narrow this"
            f" {_ASKING}"
        )
    sentence = f"{low} % of the labels were wrong"
    if low != high:
        sentence = f"between {low} and {high} % of the labels were wrong, {estimate} % as estimated"
    return f"{sentence}, by {counted(answers, 'answer')} of people on images drawn at random"


def models_worth(noise: dict[str, Any]) -> str:
    """What to know of the models before anything is believed that they say, of the row that `people.survey` gives;
    empty where there is nothing to warn of."""
    if noise.get("knowledge") == 0:
        return (
            f"these features can't tell your classes apart: they know {max(noise['information'], 0):.2f} +-"
            f" {noise['error']:.2f} nats of a label, and nothing is known of how likely one is right; other features"
            " may tell (`features.backbone`)"
        )
    if noise.get("gate", 1) < 1 and noise["corrected"] < TELLING:
        return (
            f"the models are right on about {percent(noise['accuracy'])} %: hard images can hardly be told from wrong"
            f" labels, and few labels are doubted; {TELLING} reviewed images {_ASKING} or better features"
            " (`features.backbone`) would help"
        )
    return ""


TELLING = 50
"""Answers on labels that narrow the estimate of how many are wrong."""
_ASKING = "(`--reviewer sheet`)"
