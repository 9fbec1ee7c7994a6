"""Running a frozen network over a stream of images, as fast as the machine allows.

Images go in batches of one fixed shape, the last one filled up, so what comes out for an image does not depend on who
is beside it. On a CPU OpenVINO runs the network where it is installed, three to four times as fast as torch.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from cleaner.errors import CleanerError
from cleaner.progress import note
from cleaner.run.cache import cache_folder
from cleaner.run.files import digest
from cleaner.threads import network_threads

_CPU_BATCH = 4
_GPU_BATCH = 256
_GRAPH = "network.xml"


class Runner(Protocol):
    """Gives float32 n x width for n images, uint8 side x side x 3 each."""

    def __call__(self, images: Iterator[np.ndarray], n: int) -> np.ndarray: ...


def runner(network: Callable[[], nn.Module], *, side: int, threads: int, name: str | None = None) -> Runner:
    """The fastest way to run a network (uint8 batch x side x side x 3 -> float32 batch x width) on this machine.

    Args:
        network: makes it.
        side: of the images, in pixels.
        threads: on a CPU.
        name: under which a converted network is kept for the next time, different for different networks and weights;
            None: it is not kept.
    """
    if torch.cuda.is_available():
        return TorchRunner(network(), side=side, batch=_GPU_BATCH, device="cuda")
    if importlib.util.find_spec("openvino") is not None:
        return OpenvinoRunner(network, side=side, batch=_CPU_BATCH, threads=threads, name=name)
    return TorchRunner(network(), side=side, batch=_CPU_BATCH, device="cpu")


def _batches(images: Iterator[np.ndarray], shape: tuple[int, ...]) -> Iterator[tuple[np.ndarray, int]]:
    """Arrays of `shape`, and how many images each holds; the rest of the last is black."""
    while some := list(islice(images, shape[0])):
        batch = np.zeros(shape, np.uint8)
        batch[: len(some)] = some
        yield batch, len(some)


class TorchRunner:
    """torch itself: channels_last, and half precision on a GPU. A batch that its memory has no room for is halved, and
    all after it."""

    def __init__(self, network: nn.Module, *, side: int, batch: int, device: str) -> None:
        self.network: Any = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.shape = (batch, side, side, 3)
        self.device = device

    @network_threads()
    def __call__(self, images: Iterator[np.ndarray], n: int) -> np.ndarray:
        found = [self._run(batch)[:count] for batch, count in _batches(images, self.shape)]
        return np.concatenate(found or [self._run(np.zeros(self.shape, np.uint8))[:0]])

    def _run(self, batch: np.ndarray) -> np.ndarray:
        """What the network gives for `batch`, in pieces of as many images as the memory has room for."""
        while True:
            try:
                return np.concatenate([self._forward(part) for part in np.split(batch, len(batch) // self.shape[0])])
            except torch.OutOfMemoryError as error:
                if self.shape[0] == 1:
                    what = f"the GPU's memory has no room for the network and one image of {self.shape[1]} px"
                    raise CleanerError(f"{what}; end what else uses it, or set features.image_size smaller") from error
            # Outside the handler, which keeps alive what fills the memory.
            torch.cuda.empty_cache()
            self.shape = (self.shape[0] // 2, *self.shape[1:])
            note(f"the GPU's memory is full: from here on {self.shape[0]} images at a time")

    @torch.inference_mode()
    def _forward(self, batch: np.ndarray) -> np.ndarray:
        with torch.autocast(self.device, torch.float16, enabled=self.device == "cuda"):
            return self.network(torch.from_numpy(batch).to(self.device)).float().cpu().numpy()


class OpenvinoRunner:
    """OpenVINO on the CPU, single precision: one thread a stream, so the sums are the same on any number of cores.

    Making a network and converting it takes seconds, reading it back a fraction of one.
    """

    def __init__(
        self, network: Callable[[], nn.Module], *, side: int, batch: int, threads: int, name: str | None = None
    ) -> None:
        openvino = _import_openvino()
        self.shape = (batch, side, side, 3)
        kept = None if name is None else f"{name}-{digest(openvino.__version__, self.shape)}"
        model = (kept and _read(_networks() / kept)) or _converted(network(), self.shape, kept)
        settings = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        self.compiled = openvino.Core().compile_model(model, "CPU", settings)
        self.queue = openvino.AsyncInferQueue(self.compiled, threads)

    def __call__(self, images: Iterator[np.ndarray], n: int) -> np.ndarray:
        out = np.empty((n, self.compiled.output(0).shape[1]), np.float32)

        def store(request, place: tuple[int, int]) -> None:
            start, count = place
            out[start : start + count] = request.get_output_tensor(0).data[:count]

        self.queue.set_callback(store)
        start = 0
        for batch, count in _batches(images, self.shape):
            self.queue.start_async({0: batch}, (start, count))
            start += count
        self.queue.wait_all()
        return out


def _networks() -> Path:
    return cache_folder() / "networks"


def _converted(network: nn.Module, shape: tuple[int, ...], kept: str | None) -> Any:
    """The network as OpenVINO reads it from a file: its last bits are others than before it was written, so that it is
    read back even where it can't be `kept` for the next time."""
    example = torch.zeros(shape, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of shapes becoming constants, which is what we want
        model = _import_openvino().convert_model(network, example_input=example, input=[shape])
    with tempfile.TemporaryDirectory(dir=_place() if kept else None) as temporary:
        written = Path(temporary, "network")
        _import_openvino().save_model(model, written / _GRAPH, compress_to_fp16=False)
        found = _read(written)
        if kept is not None:
            with suppress(OSError):  # Another command kept it first, or it lies on another disk.
                written.rename(_networks() / kept)
        return found


def _place() -> Path | None:
    """Where networks are kept, if there can be such a place; None: wherever temporary files go."""
    try:
        _networks().mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return _networks() if os.access(_networks(), os.W_OK) else None


def _read(folder: Path) -> Any | None:
    """The network that lies in `folder`; None where there is none that can be read."""
    try:
        return _import_openvino().Core().read_model(folder / _GRAPH) if folder.is_dir() else None
    except RuntimeError:
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _import_openvino():
    """OpenVINO without its telemetry, which would write into the home directory and call home on import.

    It takes a stub of its own where the telemetry package is not installed.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's way to say: can't be imported
    try:
        import openvino
    finally:
        del sys.modules["openvino_telemetry"]
    return openvino
