"""Which labels a round judges and by which evidence, and how much models learn from each sample."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.evidence.channel import Guesses
from cleaner.run.ledger import PERSON
from cleaner.stages import judging_labels
from cleaner.tables import Action, Answer, Classes, array, matrix

ACCV = "accv"


def weighed_of(
    manifest: pa.Table, standing: pa.Table, evidence: pa.Table, answers: pa.Table, policy: str
) -> tuple[pa.Table, np.ndarray]:
    """The evidence that says how much noise there is, on what is judged and on what people answered; and what they
    answered, as `believe` wants it."""
    told = told_of(manifest, answers)[array(evidence, "row")]
    learnt = is_learnt(manifest, standing, evidence, Classes.of(manifest), policy)
    some = learnt & (is_open(standing)[array(evidence, "row")] | (told >= 0))
    return evidence.filter(pa.array(some)), told[some]


def told_of(manifest: pa.Table, answers: pa.Table) -> np.ndarray:
    """int8: of each sample 1 where people said that its label is right, 0 where that it shows another class, else -1.

    Args:
        answers: ANSWER_LOG, of each image one answer.
    """
    found = np.full(len(manifest), -1, np.int8)
    which: Any = pc.index_in(manifest.column("content_hash"), value_set=answers.column("content_hash").combine_chunks())
    rows = np.flatnonzero(which.is_valid().to_numpy())
    stored, labels = answers.to_pylist(), manifest.column("label").take(pa.array(rows)).to_pylist()
    for row, number, label in zip(rows.tolist(), which.drop_null().to_pylist(), labels, strict=True):
        answer = stored[number]
        if answer["answer"] in (Answer.RIGHT, Answer.ANOTHER):
            found[row] = label == (answer["label"] if answer["answer"] == Answer.RIGHT else answer["new_label"])
        elif answer["answer"] == Answer.WRONG and answer["label"] == label:
            found[row] = 0
    return found


def is_learnt(manifest: pa.Table, standing: pa.Table, evidence: pa.Table, classes: Classes, policy: str) -> np.ndarray:
    """bool: whether the models that judged a sample, those of its fold, had one of its given class to learn from."""
    rows, fold = pa.array(array(evidence, "row")), array(evidence, "fold").astype(np.int64)
    given = classes.encode(manifest.column("label").take(rows))
    action = array(standing, "action")[rows]
    renamed = is_decided(standing)[rows] & (action == Action.RELABEL)
    taught = np.where(weights(standing, policy)[rows] > 0, given, -1)
    taught[renamed] = classes.encode(standing.column("new_label").take(rows))[renamed]
    folds = int(fold.max(initial=0)) + 1
    counts = np.bincount((taught * folds + fold)[taught >= 0], minlength=len(classes.names) * folds)
    counts = counts.reshape(len(classes.names), folds)
    return counts.sum(1)[given] > counts[given, fold]


def weights(standing: pa.Table, policy: str) -> np.ndarray:
    """float32: how much models are to learn from each sample.

    By belief, as far as its label is believed: none is dropped for training, and none relabelled but by people. By the
    recipe, what is kept. Nothing from what is dropped for another reason than its label.
    """
    action, personal = array(standing, "action"), is_decided(standing)
    kept, renamed = action == Action.KEEP, personal & (action == Action.RELABEL)
    if policy == ACCV:
        return (kept | renamed).astype(np.float32)
    doubted = ~personal & np.isin(array(standing, "stage"), judging_labels())
    believed = pc.fill_null(standing.column("score"), 1.0).to_numpy()
    return np.where(renamed, 1, np.where(kept | doubted, believed, 0)).astype(np.float32)


def is_open(standing: pa.Table) -> np.ndarray:
    """bool: what no person has decided and no other stage has dropped."""
    elsewhere = (array(standing, "action") == Action.DROP) & ~np.isin(array(standing, "stage"), judging_labels())
    return ~(is_decided(standing) | elsewhere)


def is_decided(standing: pa.Table) -> np.ndarray:
    return pc.starts_with(standing.column("by"), PERSON).to_numpy()


def guesses_of(manifest: pa.Table, standing: pa.Table, evidence: pa.Table, classes: Classes) -> Guesses:
    """Of the labels as they were given: what people relabelled was predicted under its new label."""
    rows, count = array(evidence, "row"), len(classes.names)
    given = classes.encode(manifest.column("label").take(pa.array(rows)))
    if len(rows) == 0:
        return Guesses.of(np.zeros((0, 1), np.int32), np.zeros((0, 1)), given, np.zeros(0), count)
    top_classes, top_probs = matrix(evidence, "top_classes"), matrix(evidence, "top_probs")
    renamed = (is_decided(standing) & (array(standing, "action") == Action.RELABEL))[rows]
    others = np.clip(1 - top_probs.sum(1), 0, 1) / max(1, count - top_probs.shape[1])
    given_prob = np.where(renamed, others, array(evidence, "given_prob"))
    return Guesses.of(top_classes, top_probs, given, given_prob, count)
