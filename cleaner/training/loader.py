"""The images of each step of a training: which, in what order, augmented, on the device."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from torch import nn

from cleaner.threads import threaded
from cleaner.training.balance import epoch_order, wanted
from cleaner.training.batch import Batch, Draws, Stream, augmented
from cleaner.training.inference import READERS, Way
from cleaner.training.pixels import Pixels
from cleaner.training.recipe import Recipe


@dataclass(frozen=True)
class Images:
    """Labelled images: of `rows` of `pixels` the class numbers, int32, and how much each counts, float32."""

    pixels: Pixels
    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def evenly_weighted(images: Images) -> Images:
    """The same images with weights whose mean is one, so that the learning rate means the same."""
    return replace(images, weights=(images.weights / images.weights.mean()).astype(np.float32))


@dataclass(frozen=True)
class World:
    """The processes that train one network together, one a device, of which this is one."""

    rank: int
    size: int

    @classmethod
    def around(cls) -> "World":
        """As torchrun says."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def device(self) -> torch.device:
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@dataclass(frozen=True)
class Step:
    """What one step of the optimiser learns from.

    Attributes:
        number: of all steps, from 0.
        images: how many it learns from, in all processes.
        batches: this process's part, augmented, on the device, in `accumulation_steps` micro-batches; to be taken
            before the next step's.
    """

    number: int
    images: int
    batches: Iterable[Batch]
    accumulation_steps: int


@dataclass(frozen=True)
class Loader:
    """Loads `images`, of so many `classes`, for a network that takes `size` pixels a side, as the recipe wants them."""

    images: Images
    classes: int
    size: int
    recipe: Recipe
    seed: int
    world: World

    @cached_property
    def length(self) -> int:
        """Images an epoch."""
        counts = np.bincount(self.images.labels)
        return int(wanted(counts, self.recipe.samples.balance).sum())

    @property
    def effective(self) -> int:
        """Images a step: the recipe's, whatever the number of processes, which take equal micro-batches of it."""
        return min(self.recipe.optimisation.effective_batch, self.length)

    @property
    def batch(self) -> int:
        """Images a micro-batch."""
        size = self.world.size
        most = max(1, min(self.recipe.optimisation.batch, self.effective // size))
        return -(-self.effective // (-(-self.effective // (most * size)) * size))

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return -(-self.length // self.effective)

    @property
    def sizes(self) -> torch.Tensor:
        """float32, how many images each step of an epoch learns from: the last one from what is left."""
        sizes = torch.full((self.steps,), float(self.effective))
        sizes[-1] = self.length - (self.steps - 1) * self.effective
        return sizes

    @property
    def shares(self) -> np.ndarray:
        """float, the classes' shares of what is learnt from: as often as they are seen, and as far as they count."""
        counts = np.bincount(self.images.labels, minlength=self.classes)
        believed = np.bincount(self.images.labels, self.images.weights, minlength=self.classes)
        seen = wanted(counts, self.recipe.samples.balance) * believed / np.maximum(1, counts)
        return seen / seen.sum()  # type: ignore[no-any-return]

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Step]:
        """The steps of an epoch, from `first` on.

        A step's images are cut into micro-batches of one size, which the processes take in turns: whoever takes one,
        its draws are the same. What a step lacks, the last one most, is filled with images that do not count:
        statistics over a batch are those of a whole one.
        """
        order = epoch_order(self.images.labels, self.recipe.samples.balance, Stream.ORDER.rng(self.seed, epoch))
        world, batch, parts = self.world, self.batch, []
        counts: list[tuple[int, int]] = []
        for start in range(first * self.effective, self.length, self.effective):
            chosen = order[start : start + self.effective]
            micro_batches = -(-len(chosen) // (batch * world.size)) * world.size
            filled = np.concatenate([chosen, np.resize(order, micro_batches * batch - len(chosen))])
            there = np.arange(len(filled)) < len(chosen)
            cut = np.split(np.arange(len(filled)), micro_batches)
            mine = range(world.rank, micro_batches, world.size)
            parts += [(len(counts), number, filled[cut[number]], there[cut[number]]) for number in mine]
            counts.append((len(chosen), len(mine)))
        loaded = self._loaded([(places, there) for _, _, places, there in parts])
        augmentations = self.recipe.augmentations()
        batches = (
            augmented(raw, augmentations, self._draws(epoch, first + step, number))
            for (step, number, *_), raw in zip(parts, loaded, strict=True)
        )
        for step, (images, micro_batches) in enumerate(counts, epoch * self.steps + first):
            yield Step(step, images, islice(batches, micro_batches), micro_batches)

    def _draws(self, *key: int) -> Draws:
        return Draws(Stream.AUGMENTATIONS.rng(self.seed, *key), self.world.device)

    def _loaded(self, micro_batches: Sequence[tuple[np.ndarray, np.ndarray]]) -> Iterator[Batch]:
        """The images at the places, of which those that are not there do not count, on the device; the next ones are on
        their way meanwhile."""
        way = Way(self.world.device)

        def read(micro_batch: tuple[np.ndarray, np.ndarray]) -> list[torch.Tensor]:
            places, there = micro_batch
            weights = (self.images.weights[places] * there).astype(np.float32)
            labels = self.images.labels[places].astype(np.int64)
            return way.packed(self.images.pixels(self.images.rows[places]), labels, weights)

        for packed in threaded(read, micro_batches, workers=READERS):
            images, labels, weights = way.sent(packed)
            targets = nn.functional.one_hot(labels, self.classes).float()
            yield Batch(images.permute(0, 3, 1, 2).float() / 255, targets, weights, self.size)
