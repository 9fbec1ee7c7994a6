"""The engine: one network through all epochs of a recipe, resumable at any of its checkpoints."""

import importlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from cleaner.training.balance import epoch_order, wanted
from cleaner.training.batch import Batch, Draws, Stream, augmented
from cleaner.training.checkpoint import read_checkpoint, write_checkpoint
from cleaner.training.inference import READERS, Way, predicted
from cleaner.training.models import Normalised, made, shown_to, write_config
from cleaner.training.optimisation import climb, descend, optimiser_of, rate
from cleaner.training.pixels import Pixels
from cleaner.training.recipe import Network, Recipe
from cleaner.words import counted, span

BOARD = "tensorboard"
METRICS, STEPS, CHECKPOINT, WEIGHTS = "metrics.parquet", "steps.parquet", "checkpoint.safetensors", "model.safetensors"
METHOD = 3
"""Raised when the same recipe, data and seed give another model."""
_LOWEST_RATE, _HIGHEST_RATE, _TRIED_RATES, _EXPLODED = 1e-6, 10.0, 120, 4.0
_KEEP_EVERY = 600.0
"""Seconds after which a checkpoint is kept within an epoch: a kill costs so much at most."""

METRICS_SCHEMA = pa.schema(
    [
        ("epoch", pa.int32()),
        ("loss", pa.float32()),
        ("validation_loss", pa.float32()),
        ("validation_accuracy", pa.float32()),
        ("lr", pa.float32()),
        ("images_per_second", pa.float32()),
        ("seconds", pa.float32()),
    ]
)
"""A row an epoch, from 1; `lr` is that of its last step, `seconds` its own; NaN where no image is for validation."""
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
    """How far a training is.

    Attributes:
        epoch: how many are done.
        step: how many steps of the next one are done.
        metrics: rows of METRICS_SCHEMA.
        losses, rates: of each step of all, float32; `losses` on the device.
        best: the network after the best epoch, where that is kept.
    """

    epoch: int = 0
    step: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list)
    losses: list[torch.Tensor] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    """One step of the optimiser.

    Attributes:
        number: of all, from 0.
        images: how many it learns from, in all processes.
        batches: this process's part, augmented, on the device, in `accumulation_steps` micro-batches; to be taken
            before the next step's.
    """

    number: int
    images: int
    batches: Iterable[Batch]
    accumulation_steps: int


class Trainer:
    """Trains one network.

    Args:
        folder: where the training is kept.
        recipe: how.
        network: which of the recipe's.
        classes: the classes' names.
        images: to learn from.
        validation: to look at after each epoch, as `shown_to(network)` shows them.
        test: to measure on when all is learnt, shown likewise; nothing here looks at it before.
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
        validation: Images,
        test: Images,
        seed: int,
        world: World,
    ) -> None:
        self.folder, self.recipe, self.network, self.classes = folder, recipe, network, classes
        self.images, self.validation, self.test, self.seed, self.world = images, validation, test, seed, world
        self.device, self.shown = world.device, shown_to(network)
        self.settings = recipe.optimisation
        self.augmentations = recipe.augmentations()
        self.loss = recipe.loss.made()
        self.length = int(wanted(np.bincount(images.labels), recipe.samples.balance).sum())
        # The recipe's, whatever the number of processes: they take equal micro-batches of it.
        self.effective = min(self.settings.effective_batch, self.length)
        micro_batches = -(
            -self.effective // (max(1, min(self.settings.batch, self.effective // world.size)) * world.size)
        )
        self.batch = -(-self.effective // (micro_batches * world.size))
        self.steps = -(-self.length // self.effective)
        self.lr = self.settings.lr * self.effective / self.settings.lr_batch

    @network_threads()
    def train(self) -> nn.Module:
        """Go on from the last checkpoint to the end; the network as it is then, or was after the best epoch, its moving
        average where the recipe keeps one.

        Raises:
            CleanerError: the loss became NaN or infinite.
            StorageError: the disk refuses a write.
        """
        progress = self._resumed()
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        left = (self.settings.epochs - progress.epoch) * self.steps - progress.step
        self._ticks = track(range(left), left, "steps")
        for epoch in range(progress.epoch, self.settings.epochs):
            self._epoch(epoch, progress)
        trained, self.chosen = self.kept, _chosen(progress.metrics, self.settings.select)
        if progress.best:
            trained.load_state_dict(progress.best)
        if self.world.rank == 0:
            state = {name: tensor.contiguous() for name, tensor in trained.inner.state_dict().items()}
            write_bytes(self.folder / WEIGHTS, save(state))
            write_config(self.folder, self.network, self.classes, self.shown)
        return trained

    @network_threads()
    def tried_rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Learning rates that grow from step to step, and the loss at each, float64, up to where it explodes
        (Smith 2017, section 3.3). Nothing is kept of the network.
        """
        phase = self.settings.phase(0)[1]
        self.optimiser = optimiser_of(phase, self.model.inner)
        self.model.train()
        rates = np.geomspace(_LOWEST_RATE, _HIGHEST_RATE, _TRIED_RATES)
        losses: list[float] = []
        epochs = range(-(-_TRIED_RATES // self.steps))
        steps = (step for epoch in epochs for step in self._batches(epoch))
        for rate_now, step in track(zip(rates, steps, strict=False), _TRIED_RATES, "rates tried"):
            for group in self.optimiser.param_groups:
                group["lr"] = float(rate_now)
            losses.append(float(self._step(step, phase.sam)))
            # What is learnt meanwhile makes the least loss small: back to where it began is no explosion yet.
            if not np.isfinite(losses[-1]) or losses[-1] > _EXPLODED * max(min(losses), losses[0] / _EXPLODED):
                break
        return rates[: len(losses)], np.array(losses)

    @property
    def kept(self) -> Normalised:
        """The network that is measured and kept."""
        return self.average.module if self.average is not None else self.model

    @cached_property
    def model(self) -> Normalised:
        torch.manual_seed(Stream.WEIGHTS.seed(self.seed))
        model = Normalised(made(self.network, len(self.classes), self._shares), self.shown.mean, self.shown.std)
        for norm in _batch_norms(model):
            # Of so many micro-batches at once, in place of one after the other, the old statistics keep as little.
            norm.momentum = 1 - (1 - norm.momentum) ** self.world.size
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    @property
    def _shares(self) -> np.ndarray:
        """float, the classes' shares of what is learnt from: as often as they are seen, and as far as they count."""
        counts = np.bincount(self.images.labels, minlength=len(self.classes))
        believed = np.bincount(self.images.labels, self.images.weights, minlength=len(self.classes))
        seen = wanted(counts, self.recipe.samples.balance) * believed / np.maximum(1, counts)
        return seen / seen.sum()  # type: ignore[no-any-return]

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
        # What it would hand on of the networks' statistics is one process's: `_share_statistics`.
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    @cached_property
    def _scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self.device.type, enabled=self._precision() is torch.float16)

    def _precision(self) -> torch.dtype:
        if self.settings.precision != "auto":
            return getattr(torch, self.settings.precision)  # type: ignore[no-any-return]
        if self.device.type != "cuda":
            return torch.float32
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        sharp = any(phase.sam for phase in self.settings.phases)
        return torch.float32 if sharp else torch.float16

    def _autocast(self) -> torch.autocast:
        dtype = self._precision()
        return torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)

    def _resumed(self) -> _Progress:
        """Where the training is; the networks and the optimiser as they were then."""
        number, phase = self.settings.phase(0)
        self.optimiser, self.number = optimiser_of(phase, self.model.inner), number
        file = self.folder / CHECKPOINT
        if not file.exists():
            return _Progress()
        state = read_checkpoint(file)
        left = state["epoch"] < self.settings.epochs
        if left and state["world"] != self.world.size and self.world.rank == 0:
            began = counted(state["world"], "process", "processes")
            note(f"it began with {began} and goes on with {self.world.size}: the same recipe, but not the same bytes")
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        number, phase = self.settings.phase(state["epoch"] if state["step"] else state["epoch"] - 1)
        self.optimiser, self.number = optimiser_of(phase, self.model.inner), number
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, kept in self.optimiser.state.items():
            for name, tensor in kept.items():
                # In the parameter's layout, as it was: in another one sums are rounded otherwise.
                if isinstance(tensor, torch.Tensor) and tensor.shape == parameter.shape:
                    kept[name] = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        self._scaler.load_state_dict(state["scaler"])
        losses = list(state["losses"].to(self.device))
        rates = state["rates"].tolist()
        return _Progress(state["epoch"], state["step"], state["metrics"], losses, rates, state["best"])

    def _epoch(self, epoch: int, progress: _Progress) -> None:
        number, phase = self.settings.phase(epoch)
        if number != self.number:
            self.optimiser, self.number = optimiser_of(phase, self.model.inner), number
        started = kept = time.monotonic()
        learnt = 0
        self.model.train()
        for step in self._batches(epoch, progress.step):
            next(self._ticks)
            lr = self.lr * phase.lr * self._rate(step.number)
            for group in self.optimiser.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)
            progress.losses.append(self._step(step, phase.sam))
            progress.rates.append(lr)
            progress.step += 1
            learnt += step.images
            self._alarm(progress, behind=1)
            if self.world.rank == 0 and time.monotonic() - kept > _KEEP_EVERY and progress.step < self.steps:
                self._alarm(progress)
                self._keep(progress)
                kept = time.monotonic()
        self._alarm(progress)
        losses = torch.stack(progress.losses[-self.steps :]).cpu()
        seconds = time.monotonic() - started
        missing, accuracy = self._measured() if self.world.rank == 0 else (float("nan"), float("nan"))
        row = {
            "epoch": epoch + 1,
            "loss": float(losses @ self._sizes) / self.length,
            "validation_loss": missing,
            "validation_accuracy": accuracy,
            "lr": progress.rates[-1],
            "images_per_second": learnt / seconds,
            "seconds": time.monotonic() - started,
        }
        progress.epoch, progress.step = epoch + 1, 0
        progress.metrics.append(row)
        if self.world.rank == 0:
            if self.settings.select == "best" and _chosen(progress.metrics, "best") is row:
                progress.best = {name: tensor.cpu().clone() for name, tensor in self.kept.state_dict().items()}
            self._keep(progress)
            self._show(row)
            left = (self.settings.epochs - epoch - 1) * row["seconds"]
            said = [
                f"epoch {epoch + 1} of {self.settings.epochs}: loss {row['loss']:.3f}",
                *[f"{100 * accuracy:.1f} % of the validation images right"] * bool(len(self.validation)),
                f"{row['images_per_second']:,.0f} images/s",
                f"learning rate {row['lr']:.2g}",
            ]
            note(", ".join(said) + (f"; about {span(left)} left" if left else ""))

    def _alarm(self, progress: _Progress, *, behind: int = 0) -> None:
        """Look whether the loss is still a number; of the last step but so many, for which a GPU need not be waited
        for.

        Raises:
            CleanerError: it is none.
        """
        step = progress.step - 1 - behind
        if step < 0 or bool(torch.isfinite(progress.losses[-1 - behind])):
            return
        where = f"in step {step + 1} of {self.steps} of epoch {progress.epoch + 1}"
        apart = f"logits of one image lay up to {float(self._apart):.3g} apart before"
        remedy = "a lower optimisation.lr, or optimisation.clip, helps"
        raise CleanerError(f"{where} the loss, {self.recipe.loss.name}, became NaN or infinite ({apart}); {remedy}")

    def _rate(self, step: int) -> float:
        warmup = round(self.settings.warmup * self.steps)
        return rate(step, self.settings.epochs * self.steps, warmup, self.settings)

    @property
    def _sizes(self) -> torch.Tensor:
        """float32, how many images each step of an epoch learns from: the last one from what is left."""
        sizes = torch.full((self.steps,), float(self.effective))
        sizes[-1] = self.length - (self.steps - 1) * self.effective
        return sizes

    def _batches(self, epoch: int, first: int = 0) -> Iterator[_Step]:
        """The steps of an epoch, from `first` on.

        A step's images are cut into micro-batches of one size, which the processes take in turns: whoever takes one,
        its draws are the same. What a step lacks, the last one most, is filled with images that do not count:
        statistics over a batch are those of a whole one.
        """
        order = epoch_order(self.images.labels, self.recipe.samples.balance, Stream.ORDER.rng(self.seed, epoch))
        world, parts = self.world, []
        counts: list[tuple[int, int]] = []
        for start in range(first * self.effective, self.length, self.effective):
            chosen = order[start : start + self.effective]
            micro_batches = -(-len(chosen) // (self.batch * world.size)) * world.size
            filled = np.concatenate([chosen, np.resize(order, micro_batches * self.batch - len(chosen))])
            there = np.arange(len(filled)) < len(chosen)
            cut = np.split(np.arange(len(filled)), micro_batches)
            mine = range(world.rank, micro_batches, world.size)
            parts += [(len(counts), number, filled[cut[number]], there[cut[number]]) for number in mine]
            counts.append((len(chosen), len(mine)))
        loaded = self._loaded([(places, there) for _, _, places, there in parts])
        batches = (
            augmented(raw, self.augmentations, self._draws(epoch, first + step, number))
            for (step, number, *_), raw in zip(parts, loaded, strict=True)
        )
        for step, (images, micro_batches) in enumerate(counts, epoch * self.steps + first):
            yield _Step(step, images, islice(batches, micro_batches), micro_batches)

    def _draws(self, *key: int) -> Draws:
        return Draws(Stream.AUGMENTATIONS.rng(self.seed, *key), self.device)

    def _loaded(self, micro_batches: Sequence[tuple[np.ndarray, np.ndarray]]) -> Iterator[Batch]:
        """The images at the places, of which those that are not there do not count, on the device; the next ones are on
        their way meanwhile."""
        way = Way(self.device)

        def read(micro_batch: tuple[np.ndarray, np.ndarray]) -> list[torch.Tensor]:
            places, there = micro_batch
            weights = (self.images.weights[places] * there).astype(np.float32)
            labels = self.images.labels[places].astype(np.int64)
            return way.packed(self.images.pixels(self.images.rows[places]), labels, weights)

        for packed in threaded(read, micro_batches, workers=READERS):
            images, labels, weights = way.sent(packed)
            targets = nn.functional.one_hot(labels, len(self.classes)).float()
            yield Batch(images.permute(0, 3, 1, 2).float() / 255, targets, weights, self.network.image_size)

    def _step(self, step: _Step, sam_rho: float) -> torch.Tensor:
        """The mean loss before a step, which is gone then; still on the device."""
        self.optimiser.zero_grad()
        if sam_rho:
            step = replace(step, batches=list(step.batches))
        loss = self._backward(step)
        if sam_rho:
            self._scaler.unscale_(self.optimiser)
            before = climb(self.model.parameters(), sam_rho)
            with _statistics_kept(self.model):
                self._backward(step)
            descend(before)
        if self.settings.clip:
            if not sam_rho:
                self._scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        if self.world.size > 1:
            self._share_statistics()
        if self.average is not None:
            self.average.update(self.model, step=step.number)
        return loss

    def _backward(self, step: _Step) -> torch.Tensor:
        """Add up the gradients of the images' losses over the effective batch: an image counts the same in a step that
        has fewer. Their mean."""
        total, apart = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for number, batch in enumerate(step.batches):
            # Dropout draws from torch's generator: what it gives depends on the images alone.
            torch.manual_seed(Stream.DROPOUT.seed(self.seed, step.number, number * self.world.size + self.world.rank))
            with self._without_exchange(number + 1 < step.accumulation_steps):
                with self._autocast():
                    logits = self._forward(batch.images).float()
                loss = (self.loss(logits, batch.targets) * batch.weights).sum() / self.effective
                # Gradients are averaged over processes.
                self._scaler.scale(loss * self.world.size).backward()
            total += loss.detach()
            apart = torch.maximum(apart, (logits.amax(1) - logits.amin(1)).amax().detach())
        if self.world.size > 1:
            distributed.all_reduce(total)
        self._apart = torch.where(torch.isfinite(apart), apart, self._apart)
        return total * (self.effective / step.images)

    @cached_property
    def _apart(self) -> torch.Tensor:
        """How far the logits of one image lay apart at most, in the last step in which that was a number."""
        return torch.zeros((), device=self.device)

    def _without_exchange(self, wanted: bool) -> Any:
        """Processes exchange gradients once a step."""
        return self._forward.no_sync() if wanted and self.world.size > 1 else torch.enable_grad()

    def _share_statistics(self) -> None:
        """What the network keeps of the images that it has seen, as a mean over processes."""
        kept = [buffer for buffer in self.model.inner.buffers() if buffer.is_floating_point()]
        if kept:
            flat = torch.cat([buffer.flatten() for buffer in kept])
            distributed.all_reduce(flat)
            flat /= self.world.size
            for buffer, mean in zip(kept, flat.split([buffer.numel() for buffer in kept]), strict=True):
                buffer.copy_(mean.view_as(buffer))

    def _measured(self) -> tuple[float, float]:
        """Loss and accuracy on the validation images."""
        shown = self.validation
        if not len(shown):
            return float("nan"), float("nan")
        truth, right, total = torch.from_numpy(shown.labels.astype(np.int64)), 0, 0.0
        for start, some in predicted(self.kept, shown.pixels, shown.rows, self.device):
            labels = truth[start : start + len(some)]
            right += int((some.argmax(1) == labels).sum())
            total -= float(some[torch.arange(len(some)), labels].clamp(min=1e-12).log().sum())
        return total / len(shown), right / len(shown)

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
        losses, rates = torch.stack(progress.losses).cpu(), torch.tensor(progress.rates)
        write_table(self.folder / METRICS, pa.Table.from_pylist(progress.metrics, METRICS_SCHEMA))
        steps = {"step": np.arange(len(losses)), "loss": losses.numpy(), "lr": rates.numpy()}
        write_table(self.folder / STEPS, pa.table(steps).cast(STEPS_SCHEMA))
        state = {
            "epoch": progress.epoch,
            "step": progress.step,
            "world": self.world.size,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "metrics": progress.metrics,
            "losses": losses,
            "rates": rates,
            "best": progress.best,
        }
        write_checkpoint(self.folder / CHECKPOINT, state)

    def _show(self, row: dict[str, Any]) -> None:
        """A row of the metrics, where TensorBoard reads."""
        if self._board is not None:
            for name, value in row.items():
                self._board.add_scalar(name, value, row["epoch"])
            self._board.flush()


def _chosen(metrics: list[dict[str, Any]], select: str) -> dict[str, Any]:
    """The row of the epoch whose network is kept; of equal ones the first."""
    if select == "last":
        return metrics[-1]
    return max(metrics, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))


def _batch_norms(model: nn.Module) -> list[Any]:
    """Those that keep running statistics."""
    norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    return [each for each in norms if each.momentum is not None]


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Within it the running statistics of batch norms stay as they are: the same images have gone into them."""
    norms = _batch_norms(model)
    momenta = [each.momentum for each in norms]
    for each in norms:
        each.momentum = 0.0
    try:
        yield
    finally:
        for each, momentum in zip(norms, momenta, strict=True):
            each.momentum = momentum


def evenly_weighted(images: Images) -> Images:
    """The same images with weights whose mean is one, so that the learning rate means the same."""
    return replace(images, weights=(images.weights / images.weights.mean()).astype(np.float32))
