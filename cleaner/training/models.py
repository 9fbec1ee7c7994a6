"""The networks that are trained, and the folders in which they are kept."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cleaner.errors import ConfigError
from cleaner.evidence.networks import network, normalisation, sized, untrained
from cleaner.run.files import write_json
from cleaner.training.preprocessing import Preprocessing
from cleaner.training.recipe import Network

_FEW = 3
"""Classes of a network that is only tried."""


def made(settings: Network, classes: int, shares: np.ndarray) -> nn.Module:
    """A network with a fresh head.

    Args:
        settings: which.
        classes: how many.
        shares: float, the classes' shares of the images learnt from, for `prior_bias`.

    Raises:
        WeightsError: the network or its weights can't be had.
        ConfigError: the network has not what the settings want of it.
    """
    weights = str(settings.weights) if settings.weights else None
    dropped = {"drop_rate": settings.dropout, "drop_path_rate": settings.drop_path}
    options = {name: share for name, share in dropped.items() if share}
    size, name = settings.image_size, settings.backbone
    try:
        if settings.pretrained or weights:
            model = network(name, weights=weights, image_size=size, classes=classes, options=options)
        else:
            model = untrained(name, image_size=size, classes=classes, options=options)
    except TypeError as error:
        raise ConfigError(f"{name}: has no {' or no '.join(options)} ({error}); leave it out") from error
    if settings.checkpointing:
        try:
            model.set_grad_checkpointing()  # type: ignore[operator]
        except (AssertionError, AttributeError) as error:
            raise ConfigError(f"{name}: timm can't make its activations twice; leave out checkpointing") from error
    if settings.prior_bias:
        head: Any = model.get_classifier()  # type: ignore[operator]
        if getattr(head, "bias", None) is None:
            raise ConfigError(f"{name}: has no one head with a bias; leave out prior_bias")
        with torch.no_grad():
            head.bias.copy_(torch.from_numpy(np.log(np.maximum(shares, 1e-8)).astype(np.float32)))
        head.bias.requires_grad_(False)
    return model


@lru_cache(maxsize=50)
def check(settings: Network) -> None:
    """Make a network once, and show it an image.

    Raises:
        WeightsError: it or its weights can't be had.
        ConfigError: it can't be as the settings want it.
    """
    network = made(settings, _FEW, np.full(_FEW, 1 / _FEW)).eval()
    side = settings.image_size
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{settings.backbone}: takes no images of {side} pixels ({reason})") from error


class Normalised(nn.Module):
    """A network that takes RGB in [0, 1], float32 n x 3 x side x side, and normalises by mean and standard deviation as
    its weights want."""

    def __init__(self, inner: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.inner = inner
        self.mean = nn.Buffer(torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shown = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        logits: torch.Tensor = self.inner(shown)
        return logits


def shown_to(settings: Network) -> Preprocessing:
    """How images are shown to a network that is trained: as its published weights want them, at the recipe's size."""
    mean, std = normalisation(settings.backbone, weights=str(settings.weights) if settings.weights else None)
    return Preprocessing(settings.image_size, tuple(mean), tuple(std))


def write_config(folder: Path, settings: Network, classes: tuple[str, ...], shown: Preprocessing) -> None:
    """Write `config.json`, by which `timm.create_model("local-dir:FOLDER", pretrained=True)` takes the weights beside
    it."""
    name, _, tag = settings.backbone.partition(".")
    config = {
        "architecture": name,
        "num_classes": len(classes),
        "label_names": list(classes),
        "model_args": sized(settings.backbone, shown.size),
        "pretrained_cfg": {"tag": tag, "num_classes": len(classes), **shown.config()},
    }
    write_json(folder / "config.json", config)
