"""Optimisers, the way of the learning rate, and sharpness-aware minimisation."""

import importlib
from collections.abc import Iterable
from math import cos, pi

import numpy as np
import torch
from torch import nn

from cleaner.errors import ConfigError
from cleaner.evidence import networks
from cleaner.training.recipe import Optimisation, Phase

_FUSED = ("sgd", "nesterov", "adam", "adamw", "momentum")
_ONE_CYCLE_RISE, _ONE_CYCLE_LOWEST = 0.3, 0.04
"""Of the one-cycle policy (Smith and Topin 2018): the share of steps in which the rate rises, and where it begins."""


def optimiser_of(phase: Phase, model: nn.Module) -> torch.optim.Optimizer:
    """timm's optimiser for a model; biases and norms do not decay.

    Raises:
        ConfigError: timm has no such optimiser.
    """
    timm_optim = importlib.import_module(f"{networks.timm.__name__}.optim")
    # Of a momentum of nothing there is none that looks ahead.
    name = "momentum" if phase.optimiser == "sgd" and not phase.momentum else phase.optimiser
    fused = {"fused": True} if name in _FUSED else {}
    try:
        made: torch.optim.Optimizer = timm_optim.create_optimizer_v2(
            model, name, lr=1.0, weight_decay=phase.weight_decay, momentum=phase.momentum, **fused
        )
    except ValueError as error:
        known = ", ".join(("sgd", "radam", "adamw", "lamb", "lion"))
        raise ConfigError(f"optimiser {phase.optimiser}: {error}; among others there are {known}") from error
    return made


def rate(step: int, steps: int, warmup: int, settings: Optimisation) -> float:
    """The learning rate's factor at a `step`, from 0, of `steps` of which `warmup` are the warm-up."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    match settings.schedule:
        case "cosine":
            return (1 + cos(pi * done)) / 2
        case "one_cycle" if done < _ONE_CYCLE_RISE:
            return _ONE_CYCLE_LOWEST + (1 - _ONE_CYCLE_LOWEST) * (1 - cos(pi * done / _ONE_CYCLE_RISE)) / 2
        case "one_cycle":
            return (1 + cos(pi * (done - _ONE_CYCLE_RISE) / (1 - _ONE_CYCLE_RISE))) / 2
        case "cyclic":
            return (1 + cos(pi * (done * settings.cycles % 1))) / 2
    return 1.0


def suggested(rates: np.ndarray, losses: np.ndarray) -> float:
    """The rate at which the loss, smoothed, falls most steeply over the logarithm of the rate."""
    width = max(3, len(losses) // 12)
    smooth = np.convolve(losses, np.ones(width) / width, "valid")
    steepest = int(np.argmin(np.diff(smooth))) if len(smooth) > 1 else 0
    return float(rates[min(steepest + width // 2, len(rates) - 1)])


def climb(parameters: Iterable[nn.Parameter], rho: float) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """Move the parameters along their gradients to where the loss is worst nearby (SAM: Foret et al. 2021, equation 2);
    each parameter that was moved, and where it was. No gradient is left."""
    with torch.no_grad():
        moved = [parameter for parameter in parameters if parameter.grad is not None]
        gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
        scale = rho / (torch.nn.utils.get_total_norm(gradients) + 1e-12)
        before = [(parameter, parameter.detach().clone()) for parameter in moved]
        for parameter, gradient in zip(moved, gradients, strict=True):
            parameter.add_(gradient * scale)
            parameter.grad = None
    return before


def descend(before: list[tuple[nn.Parameter, torch.Tensor]]) -> None:
    """Put the parameters back where they were."""
    with torch.no_grad():
        for parameter, place in before:
            parameter.copy_(place)
