"""Versions of a cleaned data set: what a model can learn from."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.truth import names, read_truth
from cleaner.errors import InputError, RunError, nearest
from cleaner.run.finished import read_summary
from cleaner.run.origin import origin_of
from cleaner.run.state import read_state
from cleaner.run.store import Store
from cleaner.run.versions import CLEAN, standing, versions_of
from cleaner.run.versions import Version as Stood
from cleaner.tables import Action, Classes, array, held_out, is_usable

TRUE = "true"
_FEWEST = 2


@dataclass(frozen=True)
class Version:
    """Samples and their labels as they stood at one point of a run.

    Attributes:
        name: as the run calls it, or `true`.
        rows: of the manifest, int64.
        labels: class numbers, int32, one for each row.
        weights: float32, how much each counts.
        contents: the hashes of the files, bytes.
        classes: their names, those of all usable samples, whatever the version.
    """

    name: str
    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    contents: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def thinned(self, most: int) -> "Version":
        """At most so many of its samples, of each class its share: those whose hashes come first, so that a sample more
        changes little."""
        order = np.lexsort((self.contents, self.labels))
        counts = np.bincount(self.labels)
        rank = np.empty(len(self))
        rank[order] = np.arange(len(self)) - (np.cumsum(counts) - counts)[self.labels[order]]
        share = (rank + 0.5) / counts[self.labels]
        return self._of(np.sort(np.lexsort((self.contents, share))[:most]))

    def by_content(self) -> "Version":
        """The same samples in the order of their hashes: what is learnt then does not depend on the order of rows."""
        return self._of(np.lexsort((self.weights, self.labels, self.contents)))

    def _of(self, chosen: np.ndarray) -> "Version":
        columns = {name: getattr(self, name)[chosen] for name in ("rows", "labels", "weights", "contents")}
        return replace(self, **columns)


@dataclass(frozen=True)
class Cleaned:
    """A finished run, opened for learning from it."""

    folder: Path
    manifest: pa.Table
    duplicates: pa.Table
    stood: dict[str, Stood]

    @classmethod
    def of(cls, folder: Path) -> "Cleaned":
        """Raises RunError: there is no run, or it is not finished."""
        origin_of(folder)
        state = read_state(folder)
        summary = read_summary(folder)
        if summary is None or state is None:
            raise RunError(
                f"{folder}: the run is not finished; give the same `cleaner clean` command again, then train"
            )
        versions = {version.name: version for version in versions_of(folder)}
        manifest, duplicates = map(Store(folder).read, (versions[CLEAN].manifest, summary["versions"]["duplicates"]))
        return cls(folder, manifest, duplicates, versions)

    @property
    def classes(self) -> tuple[str, ...]:
        return Classes.of(self.manifest).names

    @property
    def versions(self) -> list[str]:
        return list(self.stood)

    def version(
        self, name: str, *, relabelled: str, weigh: bool, without: np.ndarray, truth: Path | None = None
    ) -> Version:
        """The version of a name, without the rows of a test set.

        Args:
            name: of a version of the images that the run has read last; or `true`: everything by its true label.
            relabelled: `use` or `leave_out`.
            weigh: by the belief in each label; a label that was changed counts whole.
            without: bool, one a row of the manifest.
            truth: a table of true labels, for `true`.

        Raises:
            RunError: there is no such version.
            InputError: there is nothing in it to tell apart, or the truth can't be read.
        """
        if name == TRUE:
            return self._true(truth, without)
        standing = self._standing(name)
        changed = standing.column("new_label").is_valid().to_numpy(zero_copy_only=False)
        labels = Classes(self.classes).encode(pc.coalesce(standing.column("new_label"), standing.column("label")))
        chosen = (array(standing, "action") != Action.DROP.value) & (labels >= 0) & ~without
        if relabelled == "leave_out":
            chosen &= ~changed
        score = standing.column("score").to_numpy()
        whole = changed | np.isnan(score) if weigh else np.ones(len(standing), bool)
        weights = np.where(whole, 1, score).astype(np.float32)
        return self._made(name, chosen, labels, weights)

    def _true(self, truth: Path | None, without: np.ndarray) -> Version:
        """All usable images by their true labels; what is junk, or unknown, is left out."""
        if truth is None:
            raise InputError(f"the version {TRUE} needs the true labels; give --truth FILE")
        known = read_truth(truth)
        found = [known.get(name, "") for name in names(self.manifest, str(known.index.name))]
        labels = Classes(self.classes).encode(pa.array(found, pa.string()))
        chosen = (labels >= 0) & is_usable(self.manifest) & ~without
        return self._made(TRUE, chosen, labels, np.ones(len(labels), np.float32))

    def _made(self, name: str, chosen: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Version:
        rows = np.flatnonzero(chosen)
        if len(np.unique(labels[rows])) < _FEWEST:
            raise InputError(f"{self.folder}: the version {name} has less than two classes left to learn from")
        contents = np.array(self.manifest.column("content_hash").take(pa.array(rows)).to_pylist(), "S")
        return Version(name, rows, labels[rows], weights[rows], contents, self.classes)

    @property
    def held_out(self) -> np.ndarray:
        """int8, one a row of the manifest, as `tables.held_out` says; 0 where there would be nothing to learn from."""
        held = held_out(self.manifest)
        return held if not held.all() else np.zeros_like(held)

    def _standing(self, name: str) -> pa.Table:
        if name not in self.stood:
            raise RunError(f"{self.folder}: no version {name}{nearest(name, self.versions)}")
        if self.stood[name].manifest != self.stood[CLEAN].manifest:
            raise RunError(
                f"{self.folder}: the version {name} is of the images before they changed; learn from another"
            )
        return standing(Store(self.folder), self.stood[name])
