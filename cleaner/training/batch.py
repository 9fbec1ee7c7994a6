"""What augmentations work on, and where they draw from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch


@dataclass(frozen=True)
class Batch:
    """Images on their way into a network.

    Attributes:
        images: float32 n x 3 x h x w in [0, 1], on the device.
        targets: float32 n x classes; each row sums to one.
        weights: float32 n, how much each image counts.
        size: the side in pixels that the network takes.
    """

    images: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    size: int

    def __len__(self) -> int:
        return len(self.images)

    def showing(self, images: torch.Tensor) -> "Batch":
        """The same batch with other images."""
        return replace(self, images=images)


class Augmentation(Protocol):
    """Changes the images of a batch at random, each by its own draw, and the targets with them where they are mixed. A
    frozen dataclass; its file's name is what a recipe writes."""

    def __call__(self, batch: Batch, draws: "Draws") -> Batch: ...


class Stream(IntEnum):
    """What is drawn at random in a training, each from a stream of its own, whatever the rest of its key."""

    WEIGHTS = 1
    ORDER = 2
    AUGMENTATIONS = 3
    DROPOUT = 4

    def rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng((self.value, *key))

    def seed(self, *key: int) -> int:
        """For a generator of torch's, 32 bits."""
        return int(np.random.SeedSequence((self.value, *key)).generate_state(1)[0])


@dataclass(frozen=True)
class Draws:
    """Random numbers on a device. They are drawn on the CPU, so that every device sees the same, and sent there without
    anybody waiting for it."""

    rng: np.random.Generator
    device: torch.device

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        return self._there(self.rng.uniform(low, high, shape))

    def beta(self, alpha: float, n: int) -> torch.Tensor:
        return self._there(self.rng.beta(alpha, alpha, n))

    def dirichlet(self, alpha: float, width: int, n: int) -> torch.Tensor:
        """n x width; rows sum to one."""
        return self._there(self.rng.dirichlet([alpha] * width, n))

    def noise(self, *shape: int) -> torch.Tensor:
        """Normal; so many numbers that they are drawn on the device, where they are other ones than elsewhere."""
        generator = torch.Generator(self.device).manual_seed(int(self.rng.integers(2**62)))
        return torch.randn(shape, generator=generator, device=self.device)

    def chosen(self, share: float, n: int) -> torch.Tensor:
        """The places of those of n images that are chosen, each with the chance `share`; int64, ascending."""
        return self._moved(torch.from_numpy(np.flatnonzero(self.rng.random(n) < share)))

    def integers(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """int64 in [low, high)."""
        return self._moved(torch.from_numpy(self.rng.integers(low, high, shape)))

    def order(self, *shape: int) -> torch.Tensor:
        """Permutations along the last axis, int64."""
        return self._moved(torch.from_numpy(self.rng.random(shape).argsort(-1)))

    def _there(self, values: Any) -> torch.Tensor:
        return self._moved(torch.from_numpy(np.asarray(values, np.float32)))

    def _moved(self, values: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cuda":
            values = values.pin_memory()
        return values.to(self.device, non_blocking=True)


@lru_cache(maxsize=64)
def constant(values: tuple[Any, ...], device: torch.device) -> torch.Tensor:
    """float32, sent to a device once: to send something there waits for what the device is at."""
    return torch.tensor(values, dtype=torch.float32, device=device)


def inverse(matrix: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    """Of a small matrix, for `constant`."""
    return tuple(map(tuple, np.linalg.inv(np.array(matrix)).tolist()))


def augmented(batch: Batch, augmentations: Sequence[Augmentation], draws: Draws) -> Batch:
    """`batch` after one augmentation and the next, at the network's size."""
    for augmentation in augmentations:
        batch = augmentation(batch, draws)
    return batch.showing(fitted(batch.images, batch.size))


def some(batch: Batch, draws: Draws, share: float, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    """The batch in which each image, with the chance `share`, is as `change` makes it; of the others nothing is
    computed."""
    places = draws.chosen(share, len(batch))
    if not len(places):
        return batch
    return batch.showing(batch.images.index_copy(0, places, change(batch.images[places])))


def fitted(images: torch.Tensor, size: int) -> torch.Tensor:
    """The images, n x 3 x h x w, at size x size."""
    if images.shape[-1] == images.shape[-2] == size:
        return images
    return torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def warped(images: torch.Tensor, transforms: torch.Tensor, size: int, padding: str = "reflection") -> torch.Tensor:
    """The images, n x 3 x h x w, seen through `transforms`, float32 n x 2 x 3 from places of the result to places of
    the image, both in [-1, 1]; n x 3 x size x size."""
    shape = [len(images), 3, size, size]
    grid = torch.nn.functional.affine_grid(transforms, shape, align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, padding_mode=padding, align_corners=False)
