"""Who is learnt from and who is measured on: decided once, by content, for all who ask.

Whatever is measured on is not learnt from, nor are its copies: files with the same bytes, and pictures that are nearly
the same.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.images import resized
from cleaner.data.scan import load
from cleaner.data.sources import Source
from cleaner.evidence.features import ShardedFeatures, choose, embed
from cleaner.evidence.neighbors import near_others
from cleaner.evidence.pictures import SIDE, same_picture, small_greys
from cleaner.progress import note, track
from cleaner.run.files import digest, read_table, write_table
from cleaner.run.origin import origin_of
from cleaner.run.state import read_state
from cleaner.run.store import Store
from cleaner.tables import Classes, array, is_usable
from cleaner.training.kept import FOLDER
from cleaner.words import counted

_HELD_OUT_SHARE = 0.1
"""Of the pictures, where there is no test set."""
_MOST_PIXELS = 2**31
NOTHING = pa.array([], pa.string())


@dataclass(frozen=True)
class Split:
    """Of each row of a run's manifest.

    Attributes:
        test: bool, measured on at the end, or of a split that is not learnt from.
        validation: bool, looked at after each epoch.
        copies: bool, neither, but the same file as an image that is measured on.
        near: bool, nearly the same as such.
    """

    test: np.ndarray
    validation: np.ndarray
    copies: np.ndarray
    near: np.ndarray

    @property
    def left_out(self) -> np.ndarray:
        """bool: not learnt from."""
        return self.test | self.validation | self.copies | self.near

    def words(self) -> str:
        """What is left out because it is measured on elsewhere; empty where nothing is."""
        copies, near = int(self.copies.sum()), int(self.near.sum())
        reasons = [f"{counted(copies, 'image')} that {'are' if copies > 1 else 'is'} measured on too"] * bool(copies)
        reasons += [f"{counted(near, 'image')} nearly the same as such"] * bool(near)
        return f"not learnt from: {', and '.join(reasons)}" if reasons else ""


def split_of(
    manifest: pa.Table,
    duplicates: pa.Table,
    test: np.ndarray,
    validation: np.ndarray,
    contents: pa.Array,
    near: pa.Array,
    *,
    share: float,
) -> Split:
    """The split of a manifest.

    Args:
        manifest, duplicates: of a run.
        test, validation: bool, the rows that are measured on, and those of a split for validation: those of them that
            are tested on too are neither learnt from nor looked at.
        contents: the hashes of images of another data set that are measured on.
        near: those of images of the run that are nearly the same as such.
        share: of what is left becomes validation, where no image of a split can be.
    """
    hashes, group = manifest.column("content_hash").combine_chunks(), _groups(len(manifest), duplicates)
    usable = is_usable(manifest)
    alike = pc.is_in(hashes, value_set=near.drop_null()).to_numpy(zero_copy_only=False)
    copies, twins = _beside(test, hashes, group, contents.cast(pa.string()), alike)
    # What is tested on tells no epoch either.
    left = ~(test | copies | twins)
    validation = validation & left
    if not (validation & usable).any():
        validation = _drawn(manifest, group, left & usable, share)
    more, near_more = _beside(validation, hashes, group, NOTHING, np.zeros(len(manifest), bool))
    return Split(test, validation, copies | (more & left), twins | (near_more & left))


def _beside(
    held: np.ndarray, hashes: pa.Array, group: np.ndarray, contents: pa.Array, alike: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """bool each: which rows are the same file as one that is held, or as one of `contents`, and which others are of the
    same picture as such, or as one that is known to be `alike`."""
    measured = pa.concat_arrays([contents, hashes.filter(pa.array(held)).cast(pa.string())])
    copies = pc.is_in(hashes, value_set=measured.drop_null()).to_numpy(zero_copy_only=False) & ~held
    touched = np.unique(group[held | copies | alike])
    return copies, np.isin(group, touched) & ~held & ~copies


def held_out(manifest: pa.Table, duplicates: pa.Table) -> np.ndarray:
    """bool, one a row: a tenth of the pictures. A picture is held out with all that is nearly the same, by the first of
    their hashes, so that it stays so whatever other pictures the data set has; a near copy of its own that comes may
    draw it anew."""
    return _lots(manifest, _groups(len(manifest), duplicates), digits=slice(8, 16)) < _HELD_OUT_SHARE


def _drawn(manifest: pa.Table, group: np.ndarray, among: np.ndarray, share: float) -> np.ndarray:
    """bool, one a row: so much of the pictures `among` which is drawn, as `held_out` does, but of each class as given
    the last one in the draw is left to be learnt from."""
    classes = Classes.of(manifest)
    labels = classes.encode(manifest.column("label"))
    rows = np.flatnonzero(among & (labels >= 0))
    lots, labels = _lots(manifest, group, digits=slice(16, 24))[rows], labels[rows]
    last = np.zeros(len(classes.names))
    np.maximum.at(last, labels, lots)
    drawn = np.zeros(len(manifest), bool)
    drawn[rows] = (lots < share) & ~np.isin(group[rows], group[rows[lots == last[labels]]])
    return drawn


def _lots(manifest: pa.Table, group: np.ndarray, *, digits: slice) -> np.ndarray:
    """float64 from 0 to 1, one a row, its picture's lot in a draw: some digits of the first of its hashes, not
    those by which it is the first; infinite for what can't be read."""
    hashes = np.array([each or "" for each in manifest.column("content_hash").to_pylist()])
    order = np.lexsort((hashes, group))
    _, starts, back = np.unique(group[order], return_index=True, return_inverse=True)
    first = np.empty(len(hashes), hashes.dtype)
    first[order] = hashes[order][starts][back]
    return np.array([int(each[digits], 16) / 16**8 if each else np.inf for each in first.tolist()])


def _groups(n: int, duplicates: pa.Table) -> np.ndarray:
    """int64[n]: a number for each set of samples that are one picture."""
    group = np.arange(n)
    group[array(duplicates, "row")] = n + array(duplicates, "group").astype(np.int64)
    return group


def near_copies(run: Path, source: Source, other: pa.Table, other_source: Source, *, workers: int) -> pa.Array:
    """The hashes of the images of a run that are nearly the same as an image of another data set, as the stage
    `duplicates` finds them among its own. What was found is kept beside the run's trainings.

    Args:
        run: a finished run.
        source: its data set.
        other, other_source: the manifest of the other one, and where its images are.
        workers: threads that decode.

    Raises:
        SourceError: an image is not what was scanned.
        WeightsError: the network of the run's features can't be had.
    """
    config, state, store = origin_of(run).config, read_state(run), Store(run)
    names = state.names if state is not None else None
    if names is None or not names.features or not all(map(store.has, [names.manifest, *names.features])):
        note(
            "near-copies of the test images are not looked for: the run's features are gone; `cleaner clean` makes them"
        )
        return NOTHING
    hashes = sorted(each for each in other.column("content_hash").to_pylist() if each)
    similarity = config.duplicates.similarity
    file = run / FOLDER / f"copies-{digest(hashes, names.features, names.manifest, similarity)}.parquet"
    if file.exists():
        return read_table(file).column("content_hash").combine_chunks()
    manifest, wanted, most = store.read(names.manifest), config.features, config.scan.max_pixels
    backbone = choose(wanted.backbone, weights=wanted.weights, image_size=wanted.image_size, manifest=manifest)
    others = embed(
        other, source=other_source, backbone=backbone, start=0, stop=len(other), workers=workers, max_pixels=most
    )
    features = ShardedFeatures([store.read(name) for name in names.features])
    usable, judged = (np.flatnonzero(is_usable(table)) for table in (manifest, other))
    rows, place, cosine = near_others(features, usable.astype(np.int32), others[judged], similarity=similarity)
    place = judged[place]

    def greys(of: Source, table: pa.Table, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        unique, back = np.unique(some, return_inverse=True)
        images = load(of, table, unique, read=partial(resized, side=SIDE, max_pixels=_MOST_PIXELS), workers=workers)
        return small_greys(track(images, len(unique), "possible copies compared"), len(unique)), back

    sides = np.fmin(array(manifest, "width"), array(manifest, "height"))
    same = same_picture(greys(source, manifest, rows), greys(other_source, other, place), cosine, sides[rows])
    found = manifest.column("content_hash").take(pa.array(np.unique(rows[same]))).combine_chunks()
    write_table(file, pa.table({"content_hash": found}))
    return found
