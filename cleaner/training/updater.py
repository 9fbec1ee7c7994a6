"""The network that learns, and one step of its optimiser: precision, sharpness, clipping, the moving average."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import distributed, nn

from cleaner.evidence.networks import timm
from cleaner.training.batch import Stream
from cleaner.training.loader import Step, World
from cleaner.training.models import Normalised
from cleaner.training.optimisation import climb, descend, optimiser_of
from cleaner.training.recipe import Phase, Recipe


class Updater:
    """Changes `model`, step by step, by the phase of the recipe that was entered last.

    Args:
        model: as it begins; it is moved to the device.
        ema: the decay of its moving average; 0 for none.
        effective: images a step.
        seed: of what dropout draws.
        world: the processes that take part.

    Attributes:
        optimiser: that of the phase.
        average: of the model's weights, or None.
        apart: how far the logits of one image lay apart at most, in the last step in which that was a number.
    """

    def __init__(
        self, model: Normalised, recipe: Recipe, *, ema: float, effective: int, seed: int, world: World
    ) -> None:
        for norm in _batch_norms(model):
            # Of so many micro-batches at once, in place of one after the other, the old statistics keep as little.
            norm.momentum = 1 - (1 - norm.momentum) ** world.size
        self.device = world.device
        self.model: Normalised = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: Any = timm.utils.ModelEmaV3(self.model, decay=ema, use_warmup=True) if ema else None
        self.settings, self.loss = recipe.optimisation, recipe.loss.made()
        self.effective, self.seed, self.world = effective, seed, world
        self.apart = torch.zeros((), device=self.device)
        self._precision = self._chosen_precision()
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._precision is torch.float16)
        self.enter(*self.settings.phase(0))

    def enter(self, number: int, phase: Phase) -> None:
        """Learn by `phase`, which has an optimiser of its own, and its `number`."""
        self.optimiser = optimiser_of(phase, self.model.inner)
        self.number, self.phase = number, phase

    @property
    def kept(self) -> Normalised:
        """The network that is measured and kept."""
        return self.average.module if self.average is not None else self.model

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Be as one was whose `state_dict` this is, and which was in the phase that was entered here."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, kept in self.optimiser.state.items():
            for name, tensor in kept.items():
                # In the parameter's layout, as it was: in another one sums are rounded otherwise.
                if isinstance(tensor, torch.Tensor) and tensor.shape == parameter.shape:
                    kept[name] = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        self._scaler.load_state_dict(state["scaler"])

    def update(self, step: Step, lr: float) -> torch.Tensor:
        """Learn from one step's images; the mean loss before, still on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        self.optimiser.zero_grad()
        if self.phase.sam:
            step = replace(step, batches=list(step.batches))
        loss = self.backward(step)
        if self.phase.sam:
            self._scaler.unscale_(self.optimiser)
            before = climb(self.model.parameters(), self.phase.sam)
            with _statistics_kept(self.model):
                self.backward(step)
            descend(before)
        if self.settings.clip:
            if not self.phase.sam:
                self._scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        if self.world.size > 1:
            self._share_statistics()
        if self.average is not None:
            self.average.update(self.model, step=step.number)
        return loss

    def backward(self, step: Step) -> torch.Tensor:
        """Add up the gradients of the images' losses over the effective batch: an image counts the same in a step that
        has fewer. Their mean."""
        total, apart = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for number, batch in enumerate(step.batches):
            # Dropout draws from torch's generator: what it gives depends on the images alone.
            torch.manual_seed(Stream.DROPOUT.seed(self.seed, step.number, number * self.world.size + self.world.rank))
            with self._without_exchange(number + 1 < step.accumulation_steps):
                with torch.autocast(self.device.type, self._precision, enabled=self._precision is not torch.float32):
                    logits = self._forward(batch.images).float()
                loss = (self.loss(logits, batch.targets) * batch.weights).sum() / self.effective
                # Gradients are averaged over processes.
                self._scaler.scale(loss * self.world.size).backward()
            total += loss.detach()
            apart = torch.maximum(apart, (logits.amax(1) - logits.amin(1)).amax().detach())
        if self.world.size > 1:
            distributed.all_reduce(total)
        self.apart = torch.where(torch.isfinite(apart), apart, self.apart)
        return total * (self.effective / step.images)

    @cached_property
    def _forward(self) -> Any:
        """The network as it is called in training."""
        model: Any = torch.compile(self.model) if self.settings.compile else self.model
        if self.world.size == 1:
            return model
        devices = [self.device.index] if self.device.type == "cuda" else None
        # What it would hand on of the networks' statistics is one process's: `_share_statistics`.
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def _chosen_precision(self) -> torch.dtype:
        if self.settings.precision != "auto":
            return getattr(torch, self.settings.precision)  # type: ignore[no-any-return]
        if self.device.type != "cuda":
            return torch.float32
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        sharp = any(phase.sam for phase in self.settings.phases)
        return torch.float32 if sharp else torch.float16

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
