"""Every schema, and the few functions that turn columns into arrays.

A *row* is a sample's position in the manifest: 0-based, int32, the same in every table of one run. The file is
long because all tables stand in it, side by side.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.errors import CleanerError


class Action(StrEnum):
    """What a verdict says should happen to a sample."""

    KEEP = "keep"
    RELABEL = "relabel"
    DROP = "drop"


class Answer(StrEnum):
    """What a person says of a sample. An empty answer is no answer yet; `wrong` is not of the given class, without a
    word on what it is."""

    RIGHT = "right"
    ANOTHER = "another"
    WRONG = "wrong"
    JUNK = "junk"
    UNSURE = "unsure"


class Why(StrEnum):
    """What an answer on an image may change: it is no junk after all, or it is; its label is right after all, or it is
    not."""

    JUNK = "junk"
    MAYBE_JUNK = "maybe junk"
    DOUBTED = "doubted"
    KEPT = "kept"


class HowAsked(StrEnum):
    """How a person came to be asked about an image."""

    ONCE = "once"
    SEVERAL = "several"
    KNOWN = "known"


class ClassAnswer(StrEnum):
    """What a person says of a whole class. An empty answer is no answer yet."""

    KEEP = "keep"
    REMOVE = "remove"
    MERGE = "merge"


VALIDATION = ("val", "valid", "validation")
TEST = ("test",)
"""Values of a column `split` whose images are measured on, and never learnt from."""


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


MANIFEST = _schema(
    sample_id=pa.string(),
    path=pa.string(),
    label=pa.string(),
    width=pa.int32(),
    height=pa.int32(),
    mode=pa.string(),
    bytes=pa.int64(),
    content_hash=pa.string(),
    problem=pa.string(),
)
"""One row a sample as it was read; a source's other columns follow. `problem` is null where the image is usable."""

PIXEL_QUALITY = _schema(dark=pa.float32(), light=pa.float32(), blurry=pa.float32(), low_information=pa.float32())
"""How good the pixels of each image of the manifest are (`cleaner.data.pixel_quality`), null where it can't be used."""

QUALITY = _schema(
    sample_id=pa.string(),
    path=pa.string(),
    label=pa.string(),
    **{field.name: field.type for field in PIXEL_QUALITY},
    odd_aspect_ratio=pa.float32(),
    odd_size=pa.float32(),
)
"""One row a sample: how good an image it is, each score in [0, 1] and the lower the worse, null where it can't be
used."""

STAMPS = _schema(path=pa.string(), size=pa.int64(), changed=pa.int64(), touched=pa.int64(), inode=pa.int64())
"""A row a file: its length in bytes, when its content and when anything of it was changed, in nanoseconds, and which
file it is. One of which all are what they were is taken for the same; a file put in its place by an archive has another
`touched`, even where it has the length and the time of the one before."""

EVIDENCE = _schema(
    row=pa.int32(),
    fold=pa.int32(),
    top_classes=pa.list_(pa.int32()),
    top_probs=pa.list_(pa.float32()),
    given_prob=pa.float32(),
    given_rank=pa.int32(),
    margin=pa.float32(),
)
"""What models that did not train on a sample say of it, rows ascending.

`top_classes` are class numbers, the most probable first; `given_rank` is 0 when the given label is the most probable;
`margin` is the given label's probability minus the highest other one, in [-1, 1].
"""

DUPLICATES = _schema(row=pa.int32(), group=pa.int32(), kind=pa.string(), original=pa.int32(), similarity=pa.float32())
"""The samples that have a duplicate: `group` numbers the sets of samples that are one picture, `original` is the row of
the one that the others resemble most (its own row for that one), `kind` is `exact` or `near`, `similarity` the cosine
to it."""

MAP = _schema(row=pa.int32(), x=pa.float32(), y=pa.float32())
"""Where samples lie on a picture on which neighbours look alike, rows ascending."""

VERDICTS = _schema(
    row=pa.int32(),
    sample_id=pa.string(),
    stage=pa.string(),
    round=pa.int32(),
    action=pa.string(),
    new_label=pa.string(),
    score=pa.float32(),
    by=pa.string(),
    reason=pa.string(),
)
"""One judgement a row, as the ledger keeps them. `score` in [0, 1] is the belief that the given label is right, null
where the judge has none; `by` is `model:<predictor>`, `rule:<stage>` or `person:<name>`; `action` is null where a
person can't tell, and such a verdict changes nothing."""

STANDING = _schema(
    sample_id=pa.string(),
    path=pa.string(),
    label=pa.string(),
    action=pa.string(),
    new_label=pa.string(),
    score=pa.float32(),
    by=pa.string(),
    stage=pa.string(),
    round=pa.int32(),
    reason=pa.string(),
)
"""`verdicts.parquet`: one row a sample, as it stands after all verdicts."""

ISSUES = _schema(
    kind=pa.string(),
    path=pa.string(),
    given_label=pa.string(),
    suggested_label=pa.string(),
    action=pa.string(),
    score=pa.float64(),
    reason=pa.string(),
    group=pa.int32(),
    sample_id=pa.string(),
)
"""What is wrong, or may be: `kind` is an `Issue`; of a small class as such there are label and reason only. `score` in
[0, 1] is the belief that the given label is right, of an outlier that it is no junk; `group` numbers the pictures that
are there more than once."""

CLEAN = _schema(sample_id=pa.string(), path=pa.string(), label=pa.string(), given_label=pa.string())
"""`clean.parquet`: what to train on, then the source's other columns; `given_label` is set where it was changed."""

BATCH = _schema(
    row=pa.int32(),
    sample_id=pa.string(),
    path=pa.string(),
    label=pa.string(),
    asked_because=pa.string(),
    guesses=pa.list_(pa.string()),
    guess_probs=pa.list_(pa.float32()),
    given_prob=pa.float32(),
    given_references=pa.list_(pa.int32()),
    guess_references=pa.list_(pa.int32()),
    known=pa.string(),
    people=pa.int32(),
    page=pa.int32(),
    why=pa.string(),
    gain=pa.float32(),
    drawn=pa.bool_(),
)
"""A review batch in the order in which people see it. The reference columns are rows of other samples: of the given
class, and of the first guess's class. `known` is the class that people said before an image shows, where it is asked
about again to see how sure they are, else null; `people` is how many are asked; `page` is the number, from 1, of the
page on which it is shown with others of its class, null in a batch of which each is shown alone. `why` is a `Why`,
`gain` the probability that an answer changes what stands, as models have it, and `drawn` whether it was drawn at
random."""

GAINS = _schema(row=pa.int32(), why=pa.string(), gain=pa.float32(), doubt=pa.float32(), spoken=pa.bool_())
"""What an answer on an image would change: `why`, a `Why`, says what, `gain` in [0, 1] with which probability, as
models have it; `doubt` is the probability that its label is wrong, null where no model of labels has judged it;
`spoken` whether people have spoken of it. Of rows with the same bytes the first."""

PROMISE = _schema(answers=pa.int64(), changes=pa.float64(), before=pa.float64(), after=pa.float64())
"""What is expected of the `answers` to a batch: how many change something, and which share of what is kept is not
right `before` and `after`."""

STRATA = _schema(row=pa.int32(), stratum=pa.int8(), doubt=pa.float32())
"""The labels of which answers on some, drawn at random, tell how many are wrong: the stratum that each is drawn from,
below 0 where it is asked about for its own sake, and how likely models found it wrong when these were cut. Of rows with
the same bytes the first."""

ANSWERS = _schema(sample_id=pa.string(), answer=pa.string(), new_label=pa.string(), by=pa.string())
"""People's answers to one batch, of each person one a sample; `new_label` is set for `another` only. Where a reviewer
knows, `at`, when it was said (as in ANSWER_LOG), and `seconds`, how long it took, follow."""

ANSWER_LOG = _schema(
    batch=pa.string(),
    sample_id=pa.string(),
    content_hash=pa.string(),
    label=pa.string(),
    answer=pa.string(),
    new_label=pa.string(),
    by=pa.string(),
    at=pa.string(),
    seconds=pa.float64(),
    asked=pa.string(),
)
"""What people said, as it is kept. `label` is the label that the image was given when they said it, or the class, where
they spoke of a class: then `sample_id` and `content_hash` are null. `at` is the moment they said it, or
else of its storing, ISO 8601 in UTC with microseconds; `seconds` how long it took them, null where nobody knows.
`asked`: `once`, this person alone; `several`, others too, and what they say is weighed; `known`, an image on which
people had decided, to see how sure they are: such a word decides nothing."""

SMALL_CLASSES = _schema(
    label=pa.string(),
    images=pa.int64(),
    given=pa.int64(),
    kept=pa.int64(),
    gained=pa.int64(),
    relabelled=pa.int64(),
    dropped=pa.int64(),
    examples=pa.list_(pa.int32()),
)
"""Classes to look at as a class. `given` usable samples have this label as they were read: `kept`, `relabelled` to
another class, or `dropped`; `gained` came from other classes; `images` = `kept` + `gained`; `examples` are rows of kept
samples."""

CLASS_ANSWERS = _schema(label=pa.string(), answer=pa.string(), new_label=pa.string(), by=pa.string())
"""People's answers to small classes; `new_label` is set for `merge` only: the class that takes the images. `at` and
`seconds` may follow."""


def unusable_classes(manifest: pa.Table) -> list[str]:
    """The classes, sorted, that have images and none that can be used."""
    named = set(manifest.column("label").unique().to_pylist()) - {None, ""}
    return sorted(named - set(Classes.of(manifest).names))


def check(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """Return `table` with `schema`'s columns first, cast to its types.

    Raises:
        CleanerError: a column is missing or of another kind: the door through which no wrong table passes.
    """
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise CleanerError(f"table {name}: no column {', '.join(missing)}")
    extra = [column for column in table.column_names if column not in schema.names]
    wanted = pa.schema([*schema, *(table.schema.field(column) for column in extra)])
    try:
        return table.select(wanted.names).cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CleanerError(f"table {name}: {error}") from error


def text(value: str) -> pa.Scalar:
    """`value` for comparing with a column. (`pa.scalar` would import pandas, which takes longer than the looking.)"""
    data = value.encode()
    ends = pa.py_buffer(np.array([0, len(data)], np.int32).tobytes())
    return pa.StringArray.from_buffers(1, ends, pa.py_buffer(data))[0]


def array(table: pa.Table, column: str) -> np.ndarray:
    """One column of numbers or strings as a NumPy array of length n (strings as objects, null as None)."""
    return table.column(column).to_numpy()


def matrix(table: pa.Table, column: str) -> np.ndarray:
    """A column of equally long lists as an n x k array.

    Raises:
        CleanerError: the lists are not equally long.
    """
    lists = table.column(column).combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    if len(lists) and len(flat) % len(lists):
        raise CleanerError(f"column {column}: lists of different lengths")
    return flat.reshape(len(lists), len(flat) // max(len(lists), 1))


def lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """An n x k array as a column of n lists of `kind`; the inverse of `matrix`."""
    rows, width = values.shape
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int32) if width else np.zeros(rows + 1, np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1), kind))


def is_usable(manifest: pa.Table) -> np.ndarray:
    """bool, one a row: whether its image can be read."""
    return manifest.column("problem").is_null().to_numpy()


def held_out(manifest: pa.Table) -> np.ndarray:
    """int8, one a row: how far from what is learnt from its split is; 2 for the test set, 1 for validation, 0 for all
    else."""
    if "split" not in manifest.column_names:
        return np.zeros(len(manifest), np.int8)
    split = pc.utf8_lower(pc.cast(manifest.column("split"), pa.string()))
    test, validation = (pc.is_in(split, pa.array(names)).to_numpy() for names in (TEST, VALIDATION))
    return np.where(test, 2, np.where(validation, 1, 0)).astype(np.int8)


@dataclass(frozen=True)
class Classes:
    """The classes of a data set: `names` sorted, and each usable sample's class number."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, manifest: pa.Table) -> "Classes":
        usable = manifest.filter(manifest.column("problem").is_null())
        return cls(tuple(sorted(usable.column("label").unique().to_pylist())))

    def encode(self, labels: pa.ChunkedArray | pa.Array) -> np.ndarray:
        """Class numbers, int32, -1 for a label that is no class."""
        found: Any = pc.index_in(labels, value_set=pa.array(self.names, pa.string()))
        return np.asarray(found.fill_null(-1), dtype=np.int32)
