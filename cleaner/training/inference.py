"""What a network says of images: on the way there and back the device is kept at work."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from cleaner.threads import threaded
from cleaner.training.pixels import Pixels

READERS = 2
"""Threads that fetch batches."""
_TOGETHER = 256


class Way:
    """The way of arrays to a device. A GPU copies them beside what it computes for those before."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def packed(self, *arrays: np.ndarray) -> list[torch.Tensor]:
        """The arrays where the device can fetch them from."""
        tensors = [torch.from_numpy(array) for array in arrays]
        return tensors if self._copies is None else [tensor.pin_memory() for tensor in tensors]

    def sent(self, packed: list[torch.Tensor]) -> list[torch.Tensor]:
        """They, on the device."""
        if self._copies is None:
            return packed
        with torch.cuda.stream(self._copies):
            sent = [tensor.to(self.device, non_blocking=True) for tensor in packed]
        computes = torch.cuda.current_stream(self.device)
        computes.wait_stream(self._copies)
        for tensor in sent:
            # Its memory is the copies' stream's: not to be used again before the computing is done with it.
            tensor.record_stream(computes)
        return sent


@torch.inference_mode()
def probabilities(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """float32 n x classes of uint8 n x size x size x 3, on their device, by a network that takes RGB in [0, 1], float32
    n x 3 x size x size; in float32, however it was trained: what is measured is what others find who load it."""
    logits: torch.Tensor = model(images.permute(0, 3, 1, 2).float() / 255)
    return logits.softmax(1)


def predicted(
    model: nn.Module, pixels: Pixels, rows: np.ndarray, device: torch.device
) -> Iterator[tuple[int, torch.Tensor]]:
    """Probabilities of the images of `rows`, a batch after the other: where it starts, and float32 n x classes on the
    CPU."""
    model.eval()
    starts = range(0, len(rows), _TOGETHER)
    way = Way(device)
    read = threaded(lambda start: way.packed(pixels(rows[start : start + _TOGETHER])), starts, workers=READERS)
    before: tuple[int, torch.Tensor] | None = None
    for start, packed in zip(starts, read, strict=True):
        (images,) = way.sent(packed)
        found = probabilities(model, images)
        # A batch is waited for when the device has the next one to work on.
        if before is not None:
            yield before[0], before[1].cpu()
        before = start, found
    if before is not None:
        yield before[0], before[1].cpu()
