"""Which images a training learns from and is measured on, as its run and its test set are now."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from cleaner.data.scan import scan
from cleaner.data.sources import Source, open_source, source_at
from cleaner.errors import InputError
from cleaner.run.origin import origin_of
from cleaner.run.versions import CLEAN, RAW
from cleaner.tables import Classes, is_usable
from cleaner.training.data import DataSet, Measured, TrainingData
from cleaner.training.request import TrainingSpec
from cleaner.training.split import NOTHING, Split, held_out, near_copies, split_of
from cleaner.training.versions import TRUE, Cleaned

_TEST_SPLIT, _VALIDATION_SPLIT = 2, 1


@dataclass(frozen=True)
class Choice:
    """What a spec chooses.

    Raises, as its parts are looked at:
        InputError: the run, the version or the test set can't be what they are.
    """

    spec: TrainingSpec

    @cached_property
    def cleaned(self) -> Cleaned:
        return Cleaned.of(self.spec.run)

    @cached_property
    def own(self) -> DataSet:
        """The run's data set."""
        origin = origin_of(self.spec.run)
        return DataSet(source_at(origin.form, origin.source, origin.config.sources), self.cleaned.manifest)

    @cached_property
    def other(self) -> DataSet | None:
        """The data set to test on, where it is not the run's own."""
        spec, settings = self.spec, {"root": self.spec.root}
        if spec.test is not None:
            source: Any = open_source(spec.test, {"table": settings, "data_manifest": settings})
            source = source.test or source
        else:
            source = self.own.source.test
        if source is None:
            return None
        return DataSet(source, _scanned(source, origin_of(spec.run).config.scan.max_pixels, spec.workers))

    @cached_property
    def split(self) -> Split:
        """Who is measured on, and left out of what is learnt from."""
        manifest, duplicates, other = self.cleaned.manifest, self.cleaned.duplicates, self.other
        test, validation = self._splits
        contents = near = NOTHING
        if other is not None:
            contents = other.manifest.column("content_hash").combine_chunks()
            source, workers = self.own.source, self.spec.workers
            near = near_copies(self.spec.run, source, other.manifest, other.source, workers=workers)
        elif not test.any():
            test = held_out(manifest, duplicates)
        share = self.spec.recipe.samples.validation
        return split_of(manifest, duplicates, test, validation, contents, near, share=share)

    @property
    def has_validation_split(self) -> bool:
        """Whether the data set has a split of its own for validation."""
        return bool(self._splits[1].any())

    @cached_property
    def data(self) -> TrainingData:
        samples, other = self.spec.recipe.samples, self.other
        # What can be wrong with it is found before near-copies are looked for.
        test = self._own_test if other is None else self._named_test(other)
        version = self.cleaned.version(
            self.spec.version,
            relabelled=samples.relabelled,
            weigh=samples.weigh,
            without=self.split.left_out,
            truth=self.spec.truth,
        )
        version = version.thinned(samples.most) if samples.most else version
        if len(np.unique(version.labels)) < 2:
            raise InputError(f"samples.most = {samples.most}: images of one class are left to learn from; take more")
        validation = self._own(self.split.validation, self._splits[1] & self.split.validation, "held out for that")
        return TrainingData(version.by_content(), validation.by_content(samples.most), test.by_content(samples.most))

    @cached_property
    def _splits(self) -> tuple[np.ndarray, np.ndarray]:
        """bool, the rows of the data set's own splits to test on, and for validation; that there is only one of, is to
        test on, where nothing else is."""
        held, other = self.cleaned.held_out, self.other is not None
        if other or (held == _TEST_SPLIT).any():
            return held == _TEST_SPLIT, held == _VALIDATION_SPLIT
        return held > 0, np.zeros(len(held), bool)

    @property
    def _own_test(self) -> Measured:
        return self._own(self.split.test, self._splits[0], "a tenth of the images, held out")

    def _own(self, chosen: np.ndarray, of_splits: np.ndarray, otherwise: str) -> Measured:
        """Rows of the run's own: of splits of the data set, if there are such, or chosen `otherwise`."""
        splits = (
            sorted(set(self.cleaned.manifest.column("split").filter(pa.array(of_splits)).to_pylist()))
            if of_splits.any()
            else []
        )
        which = f"the images of its {' and '.join(splits)} split{'s' * (len(splits) > 1)}" if splits else otherwise
        if self.spec.truth is not None:
            name, words = TRUE, f"{which}, by their true labels"
        elif splits:
            name, words = RAW, f"{which}, labels as given"
        else:
            name, words = CLEAN, f"{which}, labels as they stand after cleaning"
        none = np.zeros(len(chosen), bool)
        found = self.cleaned.version(name, relabelled="use", weigh=False, without=none, truth=self.spec.truth)
        held = chosen[found.rows]
        return Measured(self.own, found.rows[held], found.labels[held], words, name == TRUE)

    def _named_test(self, other: DataSet) -> Measured:
        rows = np.flatnonzero(is_usable(other.manifest))
        labels = self._encoded(other.manifest.column("label").take(pa.array(rows)))
        words = "the data set's own test set" if self.spec.test is None else f"{self.spec.test}"
        return Measured(other, rows, labels, words, True)

    def _encoded(self, labels: Any) -> np.ndarray:
        """Class numbers.

        Raises:
            InputError: a label is no class of the run.
        """
        numbers = Classes(self.cleaned.classes).encode(labels)
        if (numbers < 0).any():
            unknown = sorted(set(np.asarray(labels)[numbers < 0].tolist()))
            shown = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
            raise InputError(f"the test set has classes that {self.spec.run} has not: {shown}; give --test another")
        return numbers


@lru_cache(maxsize=2)
def _scanned(source: Source, max_pixels: int, workers: int) -> pa.Table:
    """A test set's manifest; the last ones are remembered, since many trainings are measured on one."""
    listing = source.listing()
    return scan(listing, source=source, start=0, stop=len(listing), max_pixels=max_pixels, workers=workers)
