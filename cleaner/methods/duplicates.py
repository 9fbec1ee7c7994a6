"""Duplicates: samples that are one picture.

Extra copies of one file under one label are dropped. Near-duplicates stay unless the setting says otherwise, but no
fold may separate them: in different folds they would vouch for each other's wrong label. Copies under different labels
wait until the fine stage has judged both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.images import resized
from cleaner.data.scan import load
from cleaner.data.sources import Source
from cleaner.evidence.features import ShardedFeatures
from cleaner.evidence.neighbors import cosines, mean_of, near_pairs
from cleaner.evidence.pictures import SIDE, same_picture, small_greys
from cleaner.progress import track
from cleaner.run import ledger
from cleaner.run.ledger import PERSON
from cleaner.run.steps import makes
from cleaner.tables import DUPLICATES, Action, array, check, held_out, is_usable

BY = "rule:duplicates"
EXACT = "exact"
NEAR = "near"
Near = Literal["keep", "one_a_group", "by_split"]


@makes("duplicates", version=2)
def duplicates(
    manifest: pa.Table,
    *shards: np.ndarray,
    similarity: float,
    source: Source,
    max_pixels: int,
    workers: int,
) -> pa.Table:
    """The DUPLICATES of a data set: files that are the same byte for byte, and pictures that are nearly the same.

    Candidates are looked at again (`cleaner.evidence.pictures`). What is linked by such pairs, one after the other as
    in a burst of photographs, is one group: no fold separates it. Its original is the sample that the others resemble
    most.

    Args:
        manifest: of the whole data set.
        shards: the features, n x width, in shards.
        similarity: cosine of centred features from which two images are candidates, in (0, 1].
        source, max_pixels, workers: for looking at the candidates.
    """
    file = _first_of_each_file(manifest)
    files = np.flatnonzero(file == np.arange(len(file))).astype(np.int32)
    pairs = near_pairs(ShardedFeatures(shards), files, similarity=similarity)
    rows = np.unique(np.concatenate([pairs.first, pairs.second]))
    images = load(source, manifest, rows, read=partial(resized, side=SIDE, max_pixels=max_pixels), workers=workers)
    small = small_greys(track(images, len(rows), "possible duplicates compared"), len(rows))
    one, other = ((small, np.searchsorted(rows, half)) for half in (pairs.first, pairs.second))
    same = same_picture(one, other, pairs.cosine, _sides(manifest)[pairs.first])
    original = _originals(len(file), pairs.first[same], pairs.second[same], pairs.cosine[same])
    others = np.flatnonzero(original != np.arange(len(file))).astype(np.int32)
    cosine = np.ones(len(file), np.float32)
    cosine[others] = cosines(ShardedFeatures(shards), mean_of(ShardedFeatures(shards), files), others, original[others])
    return _table(manifest, np.where(file >= 0, original[file], -1), cosine[file])


def _first_of_each_file(manifest: pa.Table) -> np.ndarray:
    """int32[n]: the row of the first usable sample with the same bytes; -1 for an unusable one."""
    usable = np.flatnonzero(is_usable(manifest))
    codes = manifest.column("content_hash").combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first, place = np.unique(codes[usable], return_index=True, return_inverse=True)
    original = np.full(len(manifest), -1, np.int32)
    original[usable] = usable[first[place]]
    return original


def _sides(manifest: pa.Table) -> np.ndarray:
    return np.fmin(array(manifest, "width"), array(manifest, "height"))


def _originals(n: int, first: np.ndarray, second: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """int32[n]: for each row that of its connected component with the largest sum of cosines, of equal ones the first;
    itself where it is in no pair."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(n, n))
    _, component = connected_components(links, directed=False)
    resemblance = np.bincount(first, cosine, n) + np.bincount(second, cosine, n)
    order = np.lexsort((np.arange(n), -np.round(resemblance, 3), component))
    _, starts = np.unique(component[order], return_index=True)
    return order[starts][component].astype(np.int32)


def _table(manifest: pa.Table, original: np.ndarray, similarity: np.ndarray) -> pa.Table:
    members = np.bincount(original[original >= 0], minlength=len(original))
    rows = np.flatnonzero((original >= 0) & (members[original] > 1))
    heads, group = np.unique(original[rows], return_inverse=True)
    hashes = array(manifest, "content_hash")
    copies = rows[(hashes[rows] == hashes[original[rows]]) & (rows != original[rows])]
    exact = np.isin(rows, np.concatenate([copies, original[copies]]))
    columns = [rows, group, np.where(exact, EXACT, NEAR), heads[group], similarity[rows]]
    table = pa.table([pa.array(values) for values in columns], names=DUPLICATES.names)
    return check(table, DUPLICATES, "duplicates")


def leakage(manifest: pa.Table, duplicates: pa.Table) -> pa.Table:
    """The DUPLICATES whose picture is in more than one split, where the manifest has a column `split`."""
    if "split" not in manifest.column_names or len(duplicates) == 0:
        return duplicates.slice(0, 0)
    splits = duplicates.append_column("split", manifest.column("split").take(duplicates.column("row")))
    counts = splits.group_by("group").aggregate([("split", "count_distinct")])
    leaking = counts.filter(pc.greater(counts.column("split_count_distinct"), 1)).column("group")
    return duplicates.filter(pc.is_in(duplicates.column("group"), value_set=leaking.combine_chunks()))


@makes("verdicts on duplicates", version=1)
def verdicts(manifest: pa.Table, duplicates: pa.Table, *, near: Near = "keep") -> pa.Table:
    """VERDICTS that drop each extra copy of a file under the same label; nothing is said of other duplicates."""
    gone, kept = _extra_copies(manifest, duplicates, near)
    paths = manifest.column("path")
    return _drops(manifest, gone, [f"same file as {paths[row]}" for row in kept], None, round=1)


def _extra_copies(manifest: pa.Table, duplicates: pa.Table, near: Near) -> tuple[list[int], list[int]]:
    """The rows of extra copies under one label, and of each the row of the first; `by_split`, of the first that is
    measured on."""
    first: dict[tuple[str, str], int] = {}
    held = held_out(manifest) if near == "by_split" else np.zeros(len(manifest), np.int8)
    files = sorted(_files(manifest, duplicates), key=lambda file: -held[file[0]])
    found = [(row, first.setdefault((content, label), row)) for row, content, label in files]
    extra = sorted((row, kept) for row, kept in found if row != kept)
    return [row for row, _ in extra], [kept for _, kept in extra]


@dataclass(frozen=True)
class Counts:
    """Files and pictures that are there more than once: extra copies of a file under one label, and under other
    labels, and the groups of images that are nearly the same, with how many images they have more than one each."""

    copies: int
    elsewhere: int
    near: int
    groups: int


def counts(manifest: pa.Table, duplicates: pa.Table) -> Counts:
    """How many samples are there more than once."""
    files = list(_files(manifest, duplicates))
    contents = {content for _, content, _ in files}
    copies = len(_extra_copies(manifest, duplicates, "keep")[0])
    pictures: dict[int, set[str]] = {}
    for (_, content, _), group in zip(files, duplicates.column("group").to_pylist(), strict=True):
        pictures.setdefault(group, set()).add(content)
    several = [len(group) for group in pictures.values() if len(group) > 1]
    return Counts(copies, len(files) - len(contents) - copies, sum(several) - len(several), len(several))


@makes("verdicts on duplicates in the end", version=2)
def settled(manifest: pa.Table, duplicates: pa.Table, standing: pa.Table, *, near: Near = "keep") -> pa.Table:
    """VERDICTS that, after the fine stage, say of each extra copy what its file's label is worth, and of equal files
    leave one, under the likeliest of their labels as they stand; of images that are nearly the same what `near` says.
    Where people have spoken of a file they have spoken of its copies."""
    scores = np.nan_to_num(array(standing, "score").astype(np.float64), nan=-1.0)
    gone, kept = _extra_copies(manifest, duplicates, near)
    paths = manifest.column("path")
    reasons = {row: f"same file as {paths[first]}" for row, first in zip(gone, kept, strict=True)}
    worth = dict(zip(gone, kept, strict=True))
    held = held_out(manifest) if near == "by_split" else np.zeros(len(manifest), np.int8)
    action = array(standing, "action")
    spoken = pc.starts_with(standing.column("by"), PERSON).to_numpy()
    labels = pc.coalesce(standing.column("new_label"), standing.column("label")).to_pylist()
    strength = np.where(action == Action.RELABEL, 1 - scores, scores)

    def leave_one(groups: Iterable[list[int]], like: str) -> None:
        for rows in groups:
            rows = [row for row in rows if action[row] != Action.DROP and row not in reasons]
            if not rows:
                continue
            farthest = max(held[row] for row in rows)
            most = [row for row in rows if held[row] == farthest]
            likeliest = max(most, key=lambda row: (spoken[row], strength[row], -row))
            alike = [row for row in most if labels[row] == labels[likeliest]]
            best = max(alike, key=lambda row: (spoken[row], action[row] == Action.KEEP, strength[row], -row))
            for row in rows:
                if row != best and not spoken[row]:
                    why = "" if labels[row] == labels[best] else f", whose label {labels[best]} is the likelier one"
                    worth[row], reasons[row] = row, f"{like} {paths[best]}{why}"

    files: dict[str, list[int]] = {}
    for row, content, _ in _files(manifest, duplicates):
        if not spoken[row]:
            files.setdefault(content, []).append(row)
    leave_one(files.values(), "same file as")
    pictures: dict[int, list[int]] = {}
    for row, group in zip(*(duplicates.column(name).to_pylist() for name in ("row", "group")), strict=True):
        pictures.setdefault(group, []).append(row)
    if near == "one_a_group":
        leave_one(pictures.values(), "nearly the same as")
    elif near == "by_split":
        # Whoever measures on a split may measure on all of it, whatever was made of it.
        for rows in pictures.values():
            first = max(rows, key=lambda row: (held[row], -row))
            for row in rows:
                stands = action[row] != Action.DROP and row not in reasons
                if stands and held[row] < held[first] and not spoken[row]:
                    worth[row], reasons[row] = row, f"nearly the same as {paths[first]}, which is measured on"
    beliefs = scores[np.array([*worth.values()], int)]
    return _drops(manifest, [*reasons], [*reasons.values()], beliefs, round=2)


def _files(manifest: pa.Table, duplicates: pa.Table) -> Iterator[tuple[int, str, str]]:
    """Row, content hash and label of each sample that has a duplicate, rows ascending."""
    rows = duplicates.column("row")
    columns = (manifest.column(name).take(rows).to_pylist() for name in ("content_hash", "label"))
    return zip(rows.to_pylist(), *columns, strict=True)


def _drops(
    manifest: pa.Table, rows: list[int], reasons: list[str], scores: np.ndarray | None, *, round: int
) -> pa.Table:
    score = None if scores is None else pa.array(scores, mask=scores < 0)
    return ledger.verdicts(
        manifest, np.array(rows, np.int32), reasons, stage="duplicates", by=BY, round=round, score=score
    )
