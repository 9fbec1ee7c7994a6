"""A timm network trained end to end for each fold."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import nn

from cleaner.data.images import resized
from cleaner.data.scan import load
from cleaner.errors import CleanerError
from cleaner.evidence.crossfit import Task, evidence_table
from cleaner.evidence.networks import network, normalisation, untrained
from cleaner.evidence.weights import file_hash
from cleaner.progress import note, track
from cleaner.tables import array
from cleaner.threads import network_threads

_MEGABYTE = 2**20
_BATCHES_AT_ONCE = 32
_LEAST = 2
"""Images that a network with batch normalisation learns from at once, at least."""


@dataclass(frozen=True)
class Scheme:
    """How one round's networks are trained."""

    optimiser: Annotated[
        Literal["adamw", "sgd"],
        Field(description="`adamw`, or `sgd` with Nesterov's momentum at 20 times the learning rate"),
    ]
    smoothing: Annotated[float, Field(ge=0, lt=1, description="of the labels")]
    flip: Annotated[bool, Field(description="whether images are mirrored at random")]
    zoom: Annotated[
        float, Field(ge=0, lt=1, description="how far an image is magnified, shrunk or moved; a share of its side")
    ]
    light: Annotated[float, Field(ge=0, lt=1, description="how far its contrast and brightness change; a share")]


@dataclass(frozen=True, kw_only=True)
class Finetune:
    """A network trained end to end on the other folds; small by default, so that it runs without a GPU.

    A round's scheme is one of `schemes`, in turn.
    """

    version: ClassVar[int] = 2
    folds_together: ClassVar[bool] = False

    model: Annotated[str, Field(min_length=1, description="a network as timm calls it")] = "tf_efficientnet_lite0"
    weights: Annotated[
        str | None,
        Field(description="a safetensors file to start from; none: the packaged, else the published weights"),
    ] = None
    pretrained: Annotated[bool, Field(description="whether to start from weights at all")] = True
    image_size: Annotated[int, Field(ge=8, le=4096, description="side in pixels the images are resized to")] = 128
    epochs: Annotated[int, Field(ge=1, le=10_000, description="passes over the samples")] = 8
    batch_size: Annotated[int, Field(ge=1, le=65_536, description="samples in one step")] = 32
    learning_rate: Annotated[
        float,
        Field(
            gt=0,
            le=100,
            description="the highest; it rises over the first fifth of the steps, and falls to nothing as a cosine",
        ),
    ] = 1e-3
    cache_megabytes: Annotated[
        int,
        Field(
            ge=0,
            le=10_000_000,
            description="decoded images up to this size stay in memory; of more than that each epoch decodes anew",
        ),
    ] = field(default=2_000, compare=False)
    workers: Annotated[int, Field(ge=1, le=1024, description="threads that decode images")] = field(
        default=2, compare=False
    )
    schemes: Annotated[
        tuple[Scheme, ...],
        Field(min_length=1, max_length=100, description="how networks are trained, round after round"),
    ] = (
        Scheme(optimiser="adamw", smoothing=0.1, flip=True, zoom=0.15, light=0.2),
        Scheme(optimiser="sgd", smoothing=0.0, flip=False, zoom=0.15, light=0.0),
        Scheme(optimiser="adamw", smoothing=0.2, flip=True, zoom=0.3, light=0.4),
    )

    def files(self) -> str:
        return file_hash(Path(self.weights), "predictors.finetune.weights") if self.weights else ""

    def evidence(self, task: Task, folds: tuple[int, ...]) -> pa.Table:
        """One network a fold.

        Raises:
            WeightsError: the network or its weights can't be had.
            SourceError: an image can't be read any more.
        """
        found = [_Fold(self, task, fold).evidence() for fold in folds]
        return pa.concat_tables(found).sort_by("row").combine_chunks()


@dataclass(frozen=True)
class _Fold:
    """One network, and the samples of all other folds that it learns from."""

    settings: Finetune
    task: Task
    fold: int

    @network_threads()
    def evidence(self) -> pa.Table:
        task = self.task
        asked = np.flatnonzero(task.predict & (task.folds == self.fold)).astype(np.int32)
        learnt = np.flatnonzero(task.train & (task.labels >= 0) & (task.folds != self.fold)).astype(np.int32)
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
        with torch.random.fork_rng(devices), exact:
            torch.manual_seed(np.random.SeedSequence([task.seed, task.round, self.fold]).generate_state(1)[0])
            model = _Classifier.made(self.settings, task.classes)
            if len(learnt) > 1:
                self._train(model, learnt)
            probs = self._predict(model, asked)
            return evidence_table(asked, task.folds[asked], probs, task.labels[asked])

    def _train(self, model: "_Classifier", rows: np.ndarray) -> None:
        settings, scheme = self.settings, self._scheme()
        size = min(settings.batch_size, len(rows))
        steps = settings.epochs * (len(rows) // size)
        optimiser, schedule = _optimiser(model, scheme, settings.learning_rate, steps)
        loss = nn.CrossEntropyLoss(label_smoothing=scheme.smoothing)
        model.train()
        at_once = size
        for images, labels in track(self._batches(rows, size), steps, f"fold {self.fold}: batches learnt"):
            while not self._missed(model, images, labels, loss, at_once):
                if at_once < 2 * _LEAST:
                    what = f"the GPU's memory has no room for the network and {at_once} images"
                    raise CleanerError(f"{what} of {settings.image_size} px; end what else uses it, or set less")
                at_once //= 2
                note(f"the GPU's memory is full: from here on {at_once} images at a time")
            optimiser.step()
            schedule.step()

    def _missed(
        self, model: "_Classifier", images: np.ndarray, labels: torch.Tensor, loss: nn.Module, at_once: int
    ) -> bool:
        """Add up the gradients of a batch, `at_once` images at a time; False where the memory has no room for those."""
        model.zero_grad()
        try:
            for some in np.array_split(np.arange(len(images)), len(images) // at_once):
                with _precision(model.device):
                    shown = _augmented(model.prepared(images[some]), self._scheme())
                    missed = loss(model(shown), labels[some].to(model.device))
                (missed * (len(some) / len(images))).backward()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return False
        return True

    def _scheme(self) -> Scheme:
        return self.settings.schemes[(self.task.round - 1) % len(self.settings.schemes)]

    def _batches(self, rows: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Whole batches of all epochs, each in a new order; what is left over of an epoch is left out."""
        images = _Images(self.settings, self.task, rows)
        for epoch in range(self.settings.epochs):
            rng = np.random.default_rng([self.task.seed, self.task.round, self.fold, epoch])
            order = rng.permutation(rows)[: len(rows) // size * size]
            for start in range(0, len(order), _BATCHES_AT_ONCE * size):
                some = np.sort(order[start : start + _BATCHES_AT_ONCE * size])
                pixels = images.of(some)
                for batch in np.split(rng.permutation(len(some)), len(some) // size):
                    yield pixels[batch], torch.from_numpy(self.task.labels[some[batch]].astype(np.int64))

    @torch.inference_mode()
    def _predict(self, model: "_Classifier", rows: np.ndarray) -> Iterator[np.ndarray]:
        model.eval()
        size = self.settings.batch_size
        spans = range(0, len(rows), size)
        for start in track(spans, len(spans), f"fold {self.fold}: batches predicted"):
            pixels = _decoded(self.settings, self.task, rows[start : start + size])
            with _precision(model.device):
                logits = model(model.prepared(pixels))
            yield torch.softmax(logits.float(), 1).cpu().numpy()


class _Images:
    """Decoded images: kept in memory where all of them fit, else decoded each time."""

    def __init__(self, settings: Finetune, task: Task, rows: np.ndarray) -> None:
        self.settings, self.task, self.rows = settings, task, rows
        fits = len(rows) * settings.image_size**2 * 3 <= settings.cache_megabytes * _MEGABYTE
        self.kept = _decoded(settings, task, rows) if fits else None

    def of(self, rows: np.ndarray) -> np.ndarray:
        """uint8 len(rows) x side x side x 3 of the ascending `rows`."""
        if self.kept is None:
            return _decoded(self.settings, self.task, rows)
        return self.kept[np.searchsorted(self.rows, rows)]


def _decoded(settings: Finetune, task: Task, rows: np.ndarray) -> np.ndarray:
    side = settings.image_size
    sizes = array(task.manifest, "width")[rows].astype(np.int64) * array(task.manifest, "height")[rows]
    limit = int(sizes.max())  # the scan has refused what is too large; what it took is no larger now
    pixels = np.empty((len(rows), side, side, 3), np.uint8)
    images = load(
        task.source, task.manifest, rows, read=partial(resized, side=side, max_pixels=limit), workers=settings.workers
    )
    for place, image in enumerate(images):
        pixels[place] = image
    return pixels


class _Classifier(nn.Module):
    """A network on the device there is, with the normalisation its weights want."""

    def __init__(self, inner: nn.Module, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.inner: Any = inner
        self.mean = nn.Buffer(255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.std = nn.Buffer(255 * torch.tensor(std).view(1, 3, 1, 1))
        self.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def made(cls, settings: Finetune, classes: int) -> "_Classifier":
        size = settings.image_size
        if settings.pretrained:
            inner = network(settings.model, weights=settings.weights, image_size=size, classes=classes)
        else:
            inner = untrained(settings.model, image_size=size, classes=classes)
        mean, std = normalisation(settings.model, weights=settings.weights)
        return cls(inner, mean=mean, std=std)

    def prepared(self, pixels: np.ndarray) -> torch.Tensor:
        """float32 n x 3 x side x side on the device, normalised."""
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float()
        return (images - self.mean) / self.std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(images)


def _precision(device: str) -> torch.autocast:
    """Half precision on a GPU only: on most CPUs it is several times slower."""
    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")


def _optimiser(
    model: nn.Module, scheme: Scheme, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    optimiser: torch.optim.Optimizer
    if scheme.optimiser == "sgd":
        rate *= 20
        optimiser = torch.optim.SGD(model.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=1e-4)
    else:
        optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=max(2, steps), pct_start=0.2, cycle_momentum=False
    )
    return optimiser, schedule


def _augmented(images: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Each image magnified, moved, mirrored and relit at random, by torch's generator of the CPU."""
    n = len(images)
    spread = torch.rand(5, n) * 2 - 1
    zoom = 1 + scheme.zoom * spread[0]
    turn = torch.sign(spread[1]) if scheme.flip else torch.ones(n)
    zero = torch.zeros(n)
    across = torch.stack([zoom * turn, zero, scheme.zoom * spread[2]], 1)
    down = torch.stack([zero, zoom, scheme.zoom * spread[3]], 1)
    grid = nn.functional.affine_grid(torch.stack([across, down], 1), list(images.shape), align_corners=False)
    moved = nn.functional.grid_sample(images, grid.to(images.device), padding_mode="reflection", align_corners=False)
    light = (scheme.light * spread[4]).view(n, 1, 1, 1).to(images.device)
    return moved * (1 + light) + light / 2
