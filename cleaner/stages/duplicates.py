"""Duplicates: samples that are one picture.

Extra copies of one file under one label are dropped. Near-duplicates stay, but no fold may separate them: in different
folds they would vouch for each other's wrong label. Copies under different labels wait until the fine stage has judged
both.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.scan import load
from cleaner.data.sources import Source
from cleaner.evidence.features import ShardedFeatures
from cleaner.evidence.neighbors import near_pairs
from cleaner.progress import track
from cleaner.run.ledger import PERSON
from cleaner.run.steps import makes
from cleaner.tables import DUPLICATES, VERDICTS, Action, array, check

BY = "rule:duplicates"
EXACT = "exact"
NEAR = "near"

_SIDE = 16
_TINY = 16
_SAME_PIXELS = 0.985
_SAME_TINY_PIXELS = 0.995
_LIKE_PIXELS = 0.9
_SAME_FEATURES = 0.9


@makes("duplicates", version=1)
def duplicates(
    manifest: pa.Table,
    *shards: np.ndarray,
    similarity: float,
    source: Source,
    max_pixels: int,
    workers: int,
) -> pa.Table:
    """The DUPLICATES of a data set: files that are the same byte for byte, and pictures that are nearly the same.

    Features alone can't tell a second photograph of a thing from a second copy of a photograph, so candidates are
    looked at again: their correlation as 16 x 16 grey pixels must be 0.985, or 0.9 where the cosine of the features is
    0.9 too (a crop). Under 16 pixels, where all pictures are alike, it must be 0.995. A near-duplicate is one of
    its group's original, not merely of another member.

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
    images = load(source, manifest, rows, side=_SIDE, max_pixels=max_pixels, workers=workers)
    small = _standardised(track(images, len(rows), "possible duplicates compared"), len(rows))
    alike = _correlations(small, np.searchsorted(rows, pairs.first), np.searchsorted(rows, pairs.second))
    same = _same_picture(alike, pairs.cosine, _sides(manifest)[pairs.first])
    original, cosine = _originals(len(file), pairs.first[same], pairs.second[same], pairs.cosine[same])
    return _table(manifest, np.where(file >= 0, original[file], -1), cosine[file])


def _first_of_each_file(manifest: pa.Table) -> np.ndarray:
    """int32[n]: the row of the first usable sample with the same bytes; -1 for an unusable one."""
    usable = np.flatnonzero(manifest.column("problem").is_null().to_numpy())
    codes = manifest.column("content_hash").combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first, place = np.unique(codes[usable], return_index=True, return_inverse=True)
    original = np.full(len(manifest), -1, np.int32)
    original[usable] = usable[first[place]]
    return original


def _sides(manifest: pa.Table) -> np.ndarray:
    return np.fmin(array(manifest, "width"), array(manifest, "height"))


def _standardised(images: Iterator[np.ndarray], n: int) -> np.ndarray:
    """float16 n x 256: the grey pixels of each image, of mean 0 and length 1; all 0 for an image of one grey."""
    small = np.zeros((n, _SIDE * _SIDE), np.float16)
    for row, image in enumerate(images):
        grey = image.mean(2, dtype=np.float32).reshape(-1)
        grey -= grey.mean()
        small[row] = grey / max(float(np.linalg.norm(grey)), 1.0)
    return small


def _correlations(small: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    found = np.empty(len(one), np.float32)
    for start in range(0, len(one), 100_000):
        part = slice(start, start + 100_000)
        found[part] = (small[one[part]].astype(np.float32) * small[other[part]]).sum(1)
    return found


def _same_picture(alike: np.ndarray, cosine: np.ndarray, side: np.ndarray) -> np.ndarray:
    same = (alike >= _SAME_PIXELS) | ((alike >= _LIKE_PIXELS) & (cosine >= _SAME_FEATURES))
    return np.where(side < _TINY, alike >= _SAME_TINY_PIXELS, same)


def _originals(n: int, first: np.ndarray, second: np.ndarray, cosine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row the most similar earlier original that it nearly equals, else itself; and the cosine to that."""
    original, to_original = np.arange(n, dtype=np.int32), np.ones(n, np.float32)
    order = np.lexsort((first, -cosine, second))
    for one, other, near in zip(first[order], second[order], cosine[order], strict=True):
        if original[one] == one and original[other] == other:
            original[other], to_original[other] = one, near
    return original, to_original


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
def verdicts(manifest: pa.Table, duplicates: pa.Table) -> pa.Table:
    """VERDICTS that drop each extra copy of a file under the same label; nothing is said of other duplicates."""
    gone, kept = _extra_copies(manifest, duplicates)
    paths = manifest.column("path")
    return _drops(manifest, gone, [f"same file as {paths[row]}" for row in kept], None, round=1)


def _extra_copies(manifest: pa.Table, duplicates: pa.Table) -> tuple[list[int], list[int]]:
    """The rows of extra copies under one label, and of each the row of the first."""
    first: dict[tuple[str, str], int] = {}
    found = [(row, first.setdefault((content, label), row)) for row, content, label in _files(manifest, duplicates)]
    extra = [(row, kept) for row, kept in found if row != kept]
    return [row for row, _ in extra], [kept for _, kept in extra]


@makes("verdicts on duplicates in the end", version=1)
def settled(manifest: pa.Table, duplicates: pa.Table, standing: pa.Table) -> pa.Table:
    """VERDICTS that, after the fine stage, say of each extra copy what its file's label is worth, and of equal files
    which are kept under different labels leave the one with the likeliest label.

    A person's word outranks every score; where two people's words conflict both stay.
    """
    scores = np.nan_to_num(array(standing, "score").astype(np.float64), nan=-1.0)
    paths, labels = manifest.column("path"), manifest.column("label")
    gone, kept = _extra_copies(manifest, duplicates)
    reasons = [f"same file as {paths[row]}" for row in kept]
    losers, winners = _conflicts(manifest, duplicates, standing, scores)
    reasons += [f"same file as {paths[row]}, whose label {labels[row]} is the likelier one" for row in winners]
    beliefs = np.concatenate([scores[np.array(kept, int)], scores[np.array(losers, int)]])
    return _drops(manifest, gone + losers, reasons, beliefs, round=2)


def _conflicts(
    manifest: pa.Table, duplicates: pa.Table, standing: pa.Table, scores: np.ndarray
) -> tuple[list[int], list[int]]:
    """The rows that lose to an equal file under another label, and of each the row it loses to."""
    personal = pc.starts_with(standing.column("by"), PERSON).to_numpy()
    kept = array(standing, "action") == Action.KEEP
    best: dict[str, int] = {}
    copies = [(row, content) for row, content, _ in _files(manifest, duplicates) if kept[row]]
    for row, content in copies:
        rival = best.setdefault(content, row)
        if (personal[row], scores[row]) > (personal[rival], scores[rival]):
            best[content] = row
    losers = [(row, best[content]) for row, content in copies if best[content] != row and not personal[row]]
    return [row for row, _ in losers], [winner for _, winner in losers]


def _files(manifest: pa.Table, duplicates: pa.Table) -> Iterator[tuple[int, str, str]]:
    """Row, content hash and label of each sample that has a duplicate, rows ascending."""
    rows = duplicates.column("row")
    columns = (manifest.column(name).take(rows).to_pylist() for name in ("content_hash", "label"))
    return zip(rows.to_pylist(), *columns, strict=True)


def _drops(
    manifest: pa.Table, rows: list[int], reasons: list[str], scores: np.ndarray | None, *, round: int
) -> pa.Table:
    n = len(rows)
    table = pa.table(
        {
            "row": pa.array(rows, pa.int32()),
            "sample_id": manifest.column("sample_id").take(pa.array(rows, pa.int32())),
            "stage": pa.repeat("duplicates", n),
            "round": pa.repeat(round, n),
            "action": pa.repeat(Action.DROP.value, n),
            "new_label": pa.nulls(n, pa.string()),
            "score": pa.nulls(n, pa.float32()) if scores is None else pa.array(scores, mask=scores < 0),
            "by": pa.repeat(BY, n),
            "reason": pa.array(reasons, pa.string()),
        }
    )
    return check(table, VERDICTS, "verdicts on duplicates")
