"""The engine: one network through all epochs of a recipe, resumable at any of its checkpoints."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from cleaner.errors import CleanerError
from cleaner.progress import note, track
from cleaner.run.files import write_bytes
from cleaner.threads import network_threads
from cleaner.training.batch import Stream
from cleaner.training.checkpoint import read_checkpoint, write_checkpoint
from cleaner.training.inference import predicted
from cleaner.training.loader import Images, Loader, World
from cleaner.training.log import Log
from cleaner.training.models import Normalised, made, shown_to, write_config
from cleaner.training.optimisation import rate
from cleaner.training.recipe import Network, Recipe
from cleaner.training.updater import Updater
from cleaner.words import counted

CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "model.safetensors"
METHOD = 3
"""Raised when the same recipe, data and seed give another model."""
_LOWEST_RATE, _HIGHEST_RATE, _TRIED_RATES, _EXPLODED = 1e-6, 10.0, 120, 4.0
_KEEP_EVERY = 600.0
"""Seconds after which a checkpoint is kept within an epoch: a kill costs so much at most."""


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
        self.validation, self.test, self.seed, self.world = validation, test, seed, world
        self.settings, self.shown = recipe.optimisation, shown_to(network)
        self.loader = Loader(images, len(classes), network.image_size, recipe, seed, world)
        self.log = Log(folder)
        self.lr = self.settings.lr * self.loader.effective / self.settings.lr_batch

    @cached_property
    def updater(self) -> Updater:
        """The network and its optimiser."""
        torch.manual_seed(Stream.WEIGHTS.seed(self.seed))
        network = made(self.network, len(self.classes), self.loader.shares)
        model, effective = Normalised(network, self.shown.mean, self.shown.std), self.loader.effective
        return Updater(model, self.recipe, ema=self.network.ema, effective=effective, seed=self.seed, world=self.world)

    @network_threads()
    def train(self) -> nn.Module:
        """Go on from the last checkpoint to the end; the network as it is then, or was after the best epoch, its moving
        average where the recipe keeps one.

        Raises:
            CleanerError: the loss became NaN or infinite.
            StorageError: the disk refuses a write.
        """
        progress = self._resumed()
        if self.world.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        left = (self.settings.epochs - progress.epoch) * self.loader.steps - progress.step
        self._ticks = track(range(left), left, "steps")
        for epoch in range(progress.epoch, self.settings.epochs):
            self._epoch(epoch, progress)
        trained, self.chosen = self.updater.kept, _chosen(progress.metrics, self.settings.select)
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
        self.updater.model.train()
        rates = np.geomspace(_LOWEST_RATE, _HIGHEST_RATE, _TRIED_RATES)
        losses: list[float] = []
        epochs = range(-(-_TRIED_RATES // self.loader.steps))
        steps = (step for epoch in epochs for step in self.loader.epoch(epoch))
        for rate_now, step in track(zip(rates, steps, strict=False), _TRIED_RATES, "rates tried"):
            losses.append(float(self.updater.update(step, float(rate_now))))
            # What is learnt meanwhile makes the least loss small: back to where it began is no explosion yet.
            if not np.isfinite(losses[-1]) or losses[-1] > _EXPLODED * max(min(losses), losses[0] / _EXPLODED):
                break
        return rates[: len(losses)], np.array(losses)

    def _resumed(self) -> _Progress:
        """Where the training is; the networks and the optimiser as they were then."""
        file = self.folder / CHECKPOINT
        if not file.exists():
            return _Progress()
        state = read_checkpoint(file)
        left = state["epoch"] < self.settings.epochs
        if left and state["world"] != self.world.size and self.world.rank == 0:
            began = counted(state["world"], "process", "processes")
            note(f"it began with {began} and goes on with {self.world.size}: the same recipe, but not the same bytes")
        self.updater.enter(*self.settings.phase(state["epoch"] if state["step"] else state["epoch"] - 1))
        self.updater.load_state_dict(state)
        losses = list(state["losses"].to(self.world.device))
        rates = state["rates"].tolist()
        return _Progress(state["epoch"], state["step"], state["metrics"], losses, rates, state["best"])

    def _epoch(self, epoch: int, progress: _Progress) -> None:
        number, phase = self.settings.phase(epoch)
        if number != self.updater.number:
            self.updater.enter(number, phase)
        started = kept = time.monotonic()
        learnt = 0
        self.updater.model.train()
        for step in self.loader.epoch(epoch, progress.step):
            next(self._ticks)
            lr = self.lr * phase.lr * self._rate(step.number)
            progress.losses.append(self.updater.update(step, lr))
            progress.rates.append(lr)
            progress.step += 1
            learnt += step.images
            self._alarm(progress, behind=1)
            if self.world.rank == 0 and time.monotonic() - kept > _KEEP_EVERY and progress.step < self.loader.steps:
                self._alarm(progress)
                self._keep(progress)
                kept = time.monotonic()
        self._alarm(progress)
        losses = torch.stack(progress.losses[-self.loader.steps :]).cpu()
        seconds = time.monotonic() - started
        validation_loss, accuracy = self._measured() if self.world.rank == 0 else (float("nan"), float("nan"))
        row = {
            "epoch": epoch + 1,
            "loss": float(losses @ self.loader.sizes) / self.loader.length,
            "validation_loss": validation_loss,
            "validation_accuracy": accuracy,
            "lr": progress.rates[-1],
            "images_per_second": learnt / seconds,
            "seconds": time.monotonic() - started,
        }
        progress.epoch, progress.step = epoch + 1, 0
        progress.metrics.append(row)
        if self.world.rank == 0:
            if self.settings.select == "best" and _chosen(progress.metrics, "best") is row:
                best = self.updater.kept.state_dict()
                progress.best = {name: tensor.cpu().clone() for name, tensor in best.items()}
            self._keep(progress)
            self.log.tell(row, self.settings.epochs, validated=len(self.validation) > 0)

    def _rate(self, step: int) -> float:
        warmup = round(self.settings.warmup * self.loader.steps)
        return rate(step, self.settings.epochs * self.loader.steps, warmup, self.settings)

    def _alarm(self, progress: _Progress, *, behind: int = 0) -> None:
        """Look whether the loss is still a number; of the last step but so many, for which a GPU need not be waited
        for.

        Raises:
            CleanerError: it is none.
        """
        step = progress.step - 1 - behind
        if step < 0 or bool(torch.isfinite(progress.losses[-1 - behind])):
            return
        where = f"in step {step + 1} of {self.loader.steps} of epoch {progress.epoch + 1}"
        apart = f"logits of one image lay up to {float(self.updater.apart):.3g} apart before"
        remedy = "a lower optimisation.lr, or optimisation.clip, helps"
        raise CleanerError(f"{where} the loss, {self.recipe.loss.name}, became NaN or infinite ({apart}); {remedy}")

    def _measured(self) -> tuple[float, float]:
        """Loss and accuracy on the validation images."""
        shown = self.validation
        if not len(shown):
            return float("nan"), float("nan")
        truth, right, total = torch.from_numpy(shown.labels.astype(np.int64)), 0, 0.0
        for start, some in predicted(self.updater.kept, shown.pixels, shown.rows, self.world.device):
            labels = truth[start : start + len(some)]
            right += int((some.argmax(1) == labels).sum())
            total -= float(some[torch.arange(len(some)), labels].clamp(min=1e-12).log().sum())
        return total / len(shown), right / len(shown)

    def _keep(self, progress: _Progress) -> None:
        """Metrics first: what is in the checkpoint is in them too."""
        losses, rates = torch.stack(progress.losses).cpu(), torch.tensor(progress.rates)
        self.log.write(progress.metrics, losses.numpy(), rates.numpy())
        state = {
            "epoch": progress.epoch,
            "step": progress.step,
            "world": self.world.size,
            **self.updater.state_dict(),
            "metrics": progress.metrics,
            "losses": losses,
            "rates": rates,
            "best": progress.best,
        }
        write_checkpoint(self.folder / CHECKPOINT, state)


def _chosen(metrics: list[dict[str, Any]], select: str) -> dict[str, Any]:
    """The row of the epoch whose network is kept; of equal ones the first."""
    if select == "last":
        return metrics[-1]
    return max(metrics, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
