"""The page on which people answer in Label Studio, as its labeling configuration, and what a task of it holds.

Names of classes are shown as text and travel as keys, hashes of them, so that they come back as they went whatever is
in them, and mean the same when there are other classes by then.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree

from cleaner.run.files import digest
from cleaner.tables import Answer, ClassAnswer

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2) can't hold, escaped or not."""
ANSWER, CLASS, IMAGE = "answer", "class", "image"
_GUESS = "guess_"
_NOTHING = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw=="
# The panels beside the page tell of regions, of which there are none here; without them the photo has their place.
_PANELS = """
.lsf-sidepanels { padding: 0 !important }
.lsf-sidepanels__wrapper_align_right, .lsf-sidepanels__wrapper_align_left { display: none }
"""
_STYLE = """
.cleaner { display: grid; grid-template-columns: minmax(0, 1fr) 400px; gap: 24px; align-items: start }
.cleaner h4 { margin: 12px 0 4px; overflow-wrap: anywhere }
.references .lsf-toolbar { display: none }
"""
# A picture is the background of its choice: the server lets no data: address into an <img>.
_CELL = 168
_GRID_STYLE = f"""
.grid {{ display: grid; grid-template-columns: minmax(0, 1fr) 300px; gap: 24px; align-items: start }}
.grid h4 {{ margin: 12px 0 4px; overflow-wrap: anywhere }}
.grid .lsf-toolbar {{ display: none }}
.grid .lsf-choices {{ display: flex; flex-wrap: wrap; gap: 8px }}
.grid .lsf-choice, .grid .lsf-choice__item, .grid .lsf-choice label {{ margin: 0 !important; padding: 0 !important }}
.grid .ant-checkbox {{ position: absolute; top: 6px; left: 6px }}
.grid .ant-checkbox {{ z-index: 1 }}
.grid .lsf-hint {{ position: absolute; top: auto; right: 4px; bottom: 4px }}
.grid .lsf-hint {{ color: #fff !important; text-shadow: 0 0 3px #000, 0 0 3px #000 }}
.grid .lsf-choice__item {{ height: auto !important; min-height: 0 !important }}
.grid label {{ position: relative; display: block !important; height: {_CELL + 8}px !important; line-height: 1 }}
.grid label {{ border: 4px solid transparent; border-radius: 6px; overflow: hidden }}
.grid label span:not(.ant-checkbox, .ant-checkbox-inner, .picture) {{ display: block; padding: 0 !important }}
.grid label.ant-checkbox-wrapper-checked {{ border-color: #d2504b }}
.grid label.ant-checkbox-wrapper-checked .picture {{ opacity: 0.5 }}
.grid .picture {{ display: block; width: {_CELL}px; height: {_CELL}px; background: #dfe3ea center/contain no-repeat }}
"""


def samples_page(classes: Sequence[str]) -> str:
    """The configuration for a BATCH: the photo, the answers by key, a search among `classes`, references."""
    search = _search(classes, Answer.ANOTHER, "Which class does it show?")
    return _page(
        _tag("View", _image(IMAGE, zoomControl="true")),
        _tag("View", _answers(), search, _references("given"), _references("guess")),
    )


def classes_page(classes: Sequence[str]) -> str:
    """The configuration for SMALL_CLASSES: the surest images of a class, and whether to keep it, remove it or merge it
    into another of `classes`."""
    search = _search(classes, ClassAnswer.MERGE, "Which class takes its images?")
    headers = (_tag("Header", value="$given", size="4"), _tag("Header", value="$counts", size="5"))
    return _page(_tag("View", _image(IMAGE, zoomControl="true")), _tag("View", *headers, _answers(), search))


def grid_page() -> str:
    """The configuration for a BATCH in pages: pictures of one class; those that are chosen do not belong to it."""
    marks = _tag("Choices", name=ANSWER, toName=IMAGE, choice="multiple", layout="inline", value="$choices")
    words = "Mark what does not belong to this class, then submit. Skip the page if you can't tell."
    headers = (_tag("Header", value="$given", size="4"), _tag("Header", value=words, size="5"))
    return _styled(_GRID_STYLE, _tag("View", marks), _tag("View", *headers, _image(IMAGE)), name="grid")


def class_key(name: str) -> str:
    """What stands for a class in what travels: 12 hex digits."""
    return digest(name)


def sample_task(item: str, sample: dict[str, Any], pictures: dict[str, str], *, blind: bool) -> Any:
    """The data of one task: a row of a BATCH.

    Args:
        item: what it is known by.
        pictures: data URIs or addresses: `image`, and strips of references, `given` and `guess`.
        blind: show no guess.
    """
    guesses = [] if blind else list(zip(sample["guesses"], sample["guess_probs"], strict=True))
    prob = None if blind else sample["given_prob"]
    choices = [_choice(Answer.RIGHT.value, f"right: {sample['label']}", "1", prob)]
    choices += [_choice(_GUESS + class_key(name), name, str(key), p) for key, (name, p) in enumerate(guesses, 2)]
    choices.append(_choice(Answer.ANOTHER.value, "another class", "a"))
    choices.append(_choice(Answer.WRONG.value, f"not {sample['label']}, but not known what", "w"))
    choices.append(_choice(Answer.JUNK.value, "junk: shows no class", "j"))
    choices.append(_choice(Answer.UNSURE.value, "can't tell", "u"))
    return {
        "item": item,
        "path": sample["path"],
        "asked_because": sample["asked_because"],
        "image": pictures["image"],
        "choices": choices,
        "given": f"{sample['label']}, given",
        "given_references": pictures.get("given", _NOTHING),
        "guess": f"{guesses[0][0]}, first guess" if guesses else " ",
        "guess_references": pictures["guess"] if guesses and "guess" in pictures else _NOTHING,
    }


def grid_task(item: str, samples: Sequence[dict[str, Any]], shown: Mapping[str, str], references: str | None) -> Any:
    """The data of one task: rows of a BATCH that are one page.

    Args:
        item: what it is known by.
        shown: data URIs or addresses, by sample.
        references: a strip of the class's images.
    """
    choices = [
        {"alias": sample["sample_id"], "value": sample["path"], "html": _picture(shown[sample["sample_id"]])}
        for sample in samples
    ]
    return {"item": item, "given": samples[0]["label"], "image": references or _NOTHING, "choices": choices}


def class_task(entry: dict[str, Any], picture: str | None) -> Any:
    """The data of one task: a row of SMALL_CLASSES, with one `picture` of its examples."""
    return {
        "item": entry["label"],
        "image": picture or _NOTHING,
        "choices": [
            _choice(ClassAnswer.KEEP.value, "keep the class", "1"),
            _choice(ClassAnswer.REMOVE.value, "remove the class and its images", "2"),
            _choice(ClassAnswer.MERGE.value, "merge it into another class", "a"),
        ],
        "given": entry["label"],
        "counts": f"{entry['images']} images are left of {entry['given']} given",
    }


def read_result(result: list[dict[str, Any]], label: str, classes: Mapping[str, str]) -> tuple[str, str | None]:
    """The answer and the new label that one annotation gives to a sample labelled `label`; `classes` has the names of
    the classes by their keys.

    Raises:
        ValueError: it is none; the message says why, for people.
    """
    choice = _chosen(result, ANSWER, "choices")
    if choice is None:
        raise ValueError("no answer was chosen")
    if choice.startswith(_GUESS):
        return _as_answer(_class(choice.removeprefix(_GUESS), classes), label)
    if choice not in list(Answer):
        raise ValueError(f"{choice!r} is no answer")
    if choice != Answer.ANOTHER:
        return choice, None
    chosen = _chosen(result, CLASS, "taxonomy")
    if chosen is None:
        raise ValueError("another class was chosen, but not which")
    return _as_answer(_class(chosen, classes), label)


def read_grid_result(result: list[dict[str, Any]], samples: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """The answer and no new label of each of a page's `samples`, ids: what the annotation does not mark is right.

    Raises:
        ValueError: it marks something else.
    """
    marked = {str(mark) for part in _values(result, ANSWER, "choices") for mark in part}
    if strange := marked - {*samples}:
        raise ValueError(f"{min(strange)!r} is marked, which is not on this page")
    return {sample: ((Answer.WRONG if sample in marked else Answer.RIGHT).value, None) for sample in samples}


def read_class_result(result: list[dict[str, Any]], label: str, classes: Mapping[str, str]) -> tuple[str, str | None]:
    """What is to become of the class `label`, as one annotation says, and the class that takes its images; `classes`
    as for `read_result`.

    Raises:
        ValueError: it says nothing of that.
    """
    choice = _chosen(result, ANSWER, "choices")
    if choice not in list(ClassAnswer):
        raise ValueError("no answer was chosen" if choice is None else f"{choice!r} is no answer")
    if choice != ClassAnswer.MERGE:
        return choice, None
    chosen = _chosen(result, CLASS, "taxonomy")
    if chosen is None:
        raise ValueError("it is to be merged into another class, but not which")
    into = _class(chosen, classes)
    return (ClassAnswer.KEEP.value, None) if into == label else (choice, into)


def _as_answer(shown: str, label: str) -> tuple[str, str | None]:
    return (Answer.RIGHT.value, None) if shown == label else (Answer.ANOTHER.value, shown)


def _class(key: str, classes: Mapping[str, str]) -> str:
    if key not in classes:
        raise ValueError(f"{key!r} is no class of the data set")
    return classes[key]


def _chosen(result: list[dict[str, Any]], name: str, kind: str) -> str | None:
    """The one choice of the control `name`; of a taxonomy the leaf of its path."""
    found = _values(result, name, kind)
    if not found or not found[0]:
        return None
    first = found[0][0]
    return str(first[-1] if isinstance(first, list) and first else first)


def _values(result: list[dict[str, Any]], name: str, kind: str) -> list[list[Any]]:
    return [part["value"][kind] for part in result if part.get("from_name") == name and kind in part.get("value", {})]


def _picture(address: str) -> str:
    quoted = address.replace("\\", "%5C").replace('"', "%22")
    style = escape(f'background-image: url("{quoted}")')
    return f'<span class="picture" style="{style}"></span>'


def _choice(alias: str, text: str, key: str, prob: float | None = None) -> dict[str, str]:
    return {"alias": alias, "value": text if prob is None else f"{text} · {100 * prob:.0f} %", "hotkey": key}


def _page(*columns: ElementTree.Element) -> str:
    return _styled(_STYLE, *columns, name="cleaner")


def _styled(words: str, *columns: ElementTree.Element, name: str) -> str:
    style = ElementTree.Element("Style")
    style.text = _PANELS + words
    page = _tag("View", style, _tag("View", *columns, className=name))
    return ElementTree.tostring(page, encoding="unicode")


def _search(classes: Sequence[str], answer: str, question: str) -> ElementTree.Element:
    """A search among `classes`, shown with one `answer`."""
    return _tag(
        "Taxonomy",
        *(_tag("Choice", value=name, alias=class_key(name)) for name in classes),
        name=CLASS,
        toName=IMAGE,
        visibleWhen="choice-selected",
        whenTagName=ANSWER,
        whenChoiceValue=str(answer),
        maxUsages="1",
        required="true",
        requiredMessage=question,
        placeholder="search a class",
    )


def _answers() -> ElementTree.Element:
    required = {"required": "true", "requiredMessage": "Choose an answer, or its key."}
    return _tag("Choices", name=ANSWER, toName=IMAGE, choice="single-radio", value="$choices", **required)


def _image(name: str, **more: str) -> ElementTree.Element:
    return _tag("Image", name=name, value=f"${name}", zoom="true", **more)


def _references(of: str) -> ElementTree.Element:
    header = _tag("Header", value=f"${of}", size="4")
    return _tag("View", header, _image(f"{of}_references", zoomControl="false"), className="references")


def _tag(kind: str, /, *children: ElementTree.Element, **attributes: str) -> ElementTree.Element:
    element = ElementTree.Element(kind, {name: _NO_XML.sub("\ufffd", value) for name, value in attributes.items()})
    element.extend(children)
    return element
