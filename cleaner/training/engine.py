"""The engine: one network through all epochs of a recipe, resumable after each."""

import importlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save
from torch import distributed, nn

from cleaner.errors import CleanerError
from cleaner.evidence.networks import timm
from cleaner.installed import with_extra
from cleaner.progress import note, track
from cleaner.run.files import write_bytes, write_table
from cleaner.threads import network_threads, threaded
from cleaner.training.balance import epoch_order
from cleaner.training.batch import Batch, Draws, augmented
from cleaner.training.checkpoint import read_checkpoint, write_checkpoint
from cleaner.training.inference import READERS, Way, predicted
from cleaner.training.models import Normalised, made, rgb_statistics, write_config
from cleaner.training.optimisation import climb, descend, optimiser_of, rate
from cleaner.training.pixels import Pixels
from cleaner.training.recipe import Network, Recipe
from cleaner.training.versions import evenly_spread
from cleaner.words import span

BOARD = "tensorboard"
METRICS, STEPS, CHECKPOINT, WEIGHTS = "metrics.parquet", "steps.parquet", "checkpoint.safetensors", "model.safetensors"
_LOWEST_RATE, _HIGHEST_RATE, _TRIED_RATES, _EXPLODED = 1e-6, 10.0, 120, 4.0
_WATCHED, _WATCHED_SHARE = 1_000, 10
"""Of a test set so many images are looked at after each epoch, or one for so many that are learnt from, if that is
more: the whole of a large one would take as long as learning."""

METRICS_SCHEMA = pa.schema(
    [
        ("epoch", pa.int32()),
        ("loss", pa.float32()),
        ("test_loss", pa.float32()),
        ("test_accuracy", pa.float32()),
        ("lr", pa.float32()),
        ("images_per_second", pa.float32()),
        ("seconds", pa.float32()),
    ]
)
"""A row an epoch, from 1; `lr` is that of its last step, `seconds` its own. What is said of the test set is of images
spread evenly over it, a thousand or a tenth as many as are learnt from, whichever is more."""
STEPS_SCHEMA = pa.schema([("step", pa.int32()), ("loss", pa.float32()), ("lr", pa.float32())])
"""A row a step of the optimiser, from 0."""


@dataclass(frozen=True)
class Images:
    """Labelled images: of `rows` of `pixels` the class numbers, int32, and how much each counts, float32."""

    pixels: Pixels
    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


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


@dataclass
class _Progress:
    """How far a training is; `metrics` are rows of METRICS_SCHEMA."""

    epoch: int
    metrics: list[dict[str, Any]]
    losses: torch.Tensor
    rates: torch.Tensor


class Engine:
    """Trains one network.

    Args:
        folder: where the training is kept.
        recipe: how.
        network: which of the recipe's.
        classes: the classes' names.
        images: to learn from.
        test: to measure on; after each epoch on a part of it.
        seed: of all randomness; the same one gives the same weights on one machine.
        world: the processes that take part.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        network: Network,
        *,
        classes: tuple[str, ...],
        images: Images,
        test: Images,
        seed: int,
        world: World,
    ) -> None:
        self.folder, self.recipe, self.network, self.classes = folder, recipe, network, classes
        self.images, self.test, self.seed, self.world = images, test, seed, world
        self.device = world.device
        self.settings = recipe.optimisation
        self.augmentations = recipe.augmentations()
        self.loss = recipe.loss.made()
        length = len(epoch_order(images.labels, recipe.samples.balance, np.random.default_rng(0)))
        self.batch = max(1, min(self.settings.batch, length // world.size))
        at_once = self.batch * world.size
        self.together = max(1, min(round(self.settings.effective_batch / at_once), length // at_once))
        self.steps = max(1, length // (at_once * self.together))
        self.lr = self.settings.lr * at_once * self.together / self.settings.lr_batch

    @network_threads()
    def train(self) -> nn.Module:
        """Go on from the last epoch that is kept to the end; the network as it is then, its moving average where the
        recipe keeps one.

        Raises:
            CleanerError: the loss is no number any more.
            StorageError: the disk refuses a write.
        """
        progress = self._resumed()
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        left = (self.settings.epochs - progress.epoch) * self.steps
        self._ticks = track(range(left), left, "steps")
        for epoch in range(progress.epoch, self.settings.epochs):
            self._epoch(epoch, progress)
        trained = self.kept
        if self.world.rank == 0:
            state = {name: tensor.contiguous() for name, tensor in trained.inner.state_dict().items()}
            write_bytes(self.folder / WEIGHTS, save(state))
            write_config(self.folder, self.network, self.classes)
        return trained

    @network_threads()
    def tried_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Learning rates that grow from step to step, and the loss at each, float64, up to where it explodes
        (Smith 2017, section 3.3). Nothing is kept of the network.
        """
        phase = self.settings.phase(0)[1]
        self.optimiser = optimiser_of(phase, self.model)
        self.model.train()
        rates = np.geomspace(_LOWEST_RATE, _HIGHEST_RATE, _TRIED_RATES)
        losses: list[float] = []
        epochs = range(-(-_TRIED_RATES // self.steps))
        batches = (step for epoch in epochs for step in self._batches(epoch))
        for rate_now, step in track(zip(rates, batches, strict=False), _TRIED_RATES, "rates tried"):
            for group in self.optimiser.param_groups:
                group["lr"] = float(rate_now)
            losses.append(float(self._step(step, phase.sam, number=len(losses))))
            if not np.isfinite(losses[-1]) or losses[-1] > _EXPLODED * min(losses):
                break
        return rates[: len(losses)], np.array(losses)

    @property
    def kept(self) -> Normalised:
        """The network that is measured and kept."""
        return self.average.module if self.average is not None else self.model

    @cached_property
    def model(self) -> Normalised:
        torch.manual_seed(_seed(self.seed))
        shares = np.bincount(self.images.labels, minlength=len(self.classes)) / len(self.images)
        model = Normalised(made(self.network, len(self.classes), shares), *rgb_statistics(self.network))
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    @cached_property
    def average(self) -> Any:
        if not self.network.ema:
            return None
        return timm.utils.ModelEmaV3(self.model, decay=self.network.ema, use_warmup=True)

    @cached_property
    def _forward(self) -> Any:
        """The network as it is called in training."""
        model: Any = torch.compile(self.model) if self.settings.compile else self.model
        if self.world.size == 1:
            return model
        devices = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices)

    @cached_property
    def _scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self.device.type, enabled=self._precision() is torch.float16)

    def _precision(self) -> torch.dtype:
        if self.settings.precision != "auto":
            return getattr(torch, self.settings.precision)  # type: ignore[no-any-return]
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    def _autocast(self) -> torch.autocast:
        dtype = self._precision()
        return torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)

    def _resumed(self) -> _Progress:
        """Where the training is; the networks and the optimiser as they were then."""
        number, phase = self.settings.phase(0)
        self.optimiser, self.number = optimiser_of(phase, self.model), number
        file = self.folder / CHECKPOINT
        if not file.exists():
            return _Progress(0, [], torch.zeros(0), torch.zeros(0))
        state = read_checkpoint(file)
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        number, phase = self.settings.phase(state["epoch"] - 1)
        self.optimiser, self.number = optimiser_of(phase, self.model), number
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, kept in self.optimiser.state.items():
            for name, tensor in kept.items():
                # In the parameter's layout, as it was: in another one sums are rounded otherwise.
                if isinstance(tensor, torch.Tensor) and tensor.shape == parameter.shape:
                    kept[name] = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        self._scaler.load_state_dict(state["scaler"])
        return _Progress(state["epoch"], state["metrics"], state["losses"], state["rates"])

    def _epoch(self, epoch: int, progress: _Progress) -> None:
        number, phase = self.settings.phase(epoch)
        if number != self.number:
            self.optimiser, self.number = optimiser_of(phase, self.model), number
        # Dropout draws from torch's generator: every epoch begins it anew, so that nothing of it need be kept.
        torch.manual_seed(_seed(self.seed, epoch, self.world.rank))
        started = time.monotonic()
        self.model.train()
        losses, rates = [], []
        for step, batches in enumerate(self._batches(epoch)):
            next(self._ticks)
            lr = self.lr * phase.lr * self._rate(epoch * self.steps + step)
            for group in self.optimiser.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)
            losses.append(self._step(batches, phase.sam, number=epoch * self.steps + step))
            rates.append(lr)
        missed = torch.stack(losses).cpu()
        seconds = time.monotonic() - started
        if not torch.isfinite(missed).all():
            remedy = "a lower optimisation.lr, or optimisation.clip, helps"
            raise CleanerError(f"in epoch {epoch + 1} the loss is no number any more; {remedy}")
        test_loss, accuracy = self._measured() if self.world.rank == 0 else (float("nan"), float("nan"))
        row = {
            "epoch": epoch + 1,
            "loss": float(missed.mean()),
            "test_loss": test_loss,
            "test_accuracy": accuracy,
            "lr": rates[-1],
            "images_per_second": self.steps * self.together * self.batch * self.world.size / seconds,
            "seconds": time.monotonic() - started,
        }
        progress.epoch = epoch + 1
        progress.metrics.append(row)
        progress.losses = torch.cat([progress.losses, missed])
        progress.rates = torch.cat([progress.rates, torch.tensor(rates)])
        if self.world.rank == 0:
            self._keep(progress)
            left = (self.settings.epochs - epoch - 1) * row["seconds"]
            said = (
                f"epoch {epoch + 1} of {self.settings.epochs}: loss {row['loss']:.3f}",
                f"{100 * accuracy:.1f} % right on the test set",
                f"{row['images_per_second']:,.0f} images/s",
                f"learning rate {row['lr']:.2g}",
            )
            note(", ".join(said) + (f"; about {span(left)} left" if left else ""))

    def _rate(self, step: int) -> float:
        warmup = round(self.settings.warmup * self.steps)
        return rate(step, self.settings.epochs * self.steps, warmup, self.settings)

    def _batches(self, epoch: int) -> Iterator[Iterator[Batch]]:
        """Of each step its batches, augmented, on the device; a step takes all of its own before the next."""
        order = epoch_order(self.images.labels, self.recipe.samples.balance, np.random.default_rng([self.seed, epoch]))
        at_once = self.batch * self.world.size
        count = self.steps * self.together
        mine = slice(self.world.rank * self.batch, (self.world.rank + 1) * self.batch)
        places = [order[number * at_once : (number + 1) * at_once][mine] for number in range(count)]
        batches = (
            augmented(raw, self.augmentations, Draws.of(self.seed, epoch, number, self.world.rank, device=self.device))
            for number, raw in enumerate(self._loaded(places))
        )
        for _ in range(self.steps):
            yield islice(batches, self.together)

    def _loaded(self, places: Sequence[np.ndarray]) -> Iterator[Batch]:
        """The images at the places, on the device; the next ones are on their way meanwhile."""
        way = Way(self.device)

        def read(some: np.ndarray) -> list[torch.Tensor]:
            labels = self.images.labels[some].astype(np.int64)
            return way.packed(self.images.pixels(self.images.rows[some]), labels, self.images.weights[some])

        for packed in threaded(read, places, workers=READERS):
            images, labels, weights = way.sent(packed)
            targets = nn.functional.one_hot(labels, len(self.classes)).float()
            yield Batch(images.permute(0, 3, 1, 2).float() / 255, targets, weights, self.network.image_size)

    def _step(self, batches: Iterable[Batch], radius: float, *, number: int) -> torch.Tensor:
        """The step `number` of all, from 0; the mean loss before it, still on the device."""
        self.optimiser.zero_grad()
        if radius:
            batches = list(batches)
        missed = self._backward(batches)
        if radius:
            self._scaler.unscale_(self.optimiser)
            before = climb(self.model.parameters(), radius)
            self._backward(batches)
            descend(before)
        if self.settings.clip:
            if not radius:
                self._scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        if self.average is not None:
            self.average.update(self.model, step=number)
        return missed

    def _backward(self, batches: Iterable[Batch]) -> torch.Tensor:
        """Add up the gradients of the batches' mean loss."""
        total = torch.zeros((), device=self.device)
        for number, batch in enumerate(batches):
            with self._without_exchange(number + 1 < self.together):
                with self._autocast():
                    logits = self._forward(batch.images)
                missed = (self.loss(logits.float(), batch.targets) * batch.weights).mean() / self.together
                self._scaler.scale(missed).backward()
            total += missed.detach()
        if self.world.size > 1:
            distributed.all_reduce(total)
            total /= self.world.size
        return total

    def _without_exchange(self, wanted: bool) -> Any:
        """Processes exchange gradients once a step."""
        return self._forward.no_sync() if wanted and self.world.size > 1 else torch.enable_grad()

    def _measured(self) -> tuple[float, float]:
        """Loss and accuracy on as much of the test set as is looked at after each epoch."""
        if not len(self.test):
            return float("nan"), float("nan")
        few = evenly_spread(len(self.test), max(_WATCHED, len(self.images) // _WATCHED_SHARE))
        rows, truth = self.test.rows[few], torch.from_numpy(self.test.labels[few].astype(np.int64))
        right, missed = 0, 0.0
        for start, some in predicted(self.kept, self.test.pixels, rows, self.network.image_size, self.device):
            labels = truth[start : start + len(some)]
            right += int((some.argmax(1) == labels).sum())
            missed -= float(some[torch.arange(len(some)), labels].clamp(min=1e-12).log().sum())
        return missed / len(few), right / len(few)

    @cached_property
    def _board(self) -> Any:
        """Where TensorBoard reads; None where it is not installed."""
        try:
            board = importlib.import_module("torch.utils.tensorboard")
        except ImportError:
            note(f"TensorBoard is not installed ({with_extra('train')}); metrics.parquet has the same numbers")
            return None
        return board.SummaryWriter(str(self.folder / BOARD))

    def _keep(self, progress: _Progress) -> None:
        """Metrics first: what is in the checkpoint is in them too."""
        write_table(self.folder / METRICS, pa.Table.from_pylist(progress.metrics, METRICS_SCHEMA))
        steps = {"step": np.arange(len(progress.losses)), "loss": progress.losses.numpy(), "lr": progress.rates.numpy()}
        write_table(self.folder / STEPS, pa.table(steps).cast(STEPS_SCHEMA))
        if self._board is not None:
            for name, value in progress.metrics[-1].items():
                self._board.add_scalar(name, value, progress.epoch)
            self._board.flush()
        state = {
            "epoch": progress.epoch,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "metrics": progress.metrics,
            "losses": progress.losses,
            "rates": progress.rates,
        }
        write_checkpoint(self.folder / CHECKPOINT, state)


def evenly_weighted(images: Images) -> Images:
    """The same images with weights whose mean is one, so that the learning rate means the same."""
    return replace(images, weights=(images.weights / images.weights.mean()).astype(np.float32))


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])
