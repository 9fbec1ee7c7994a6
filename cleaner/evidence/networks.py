"""timm's networks and their weights. Whatever needs timm imports it from here."""

import importlib
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from cleaner.errors import WeightsError
from cleaner.evidence.weights import packaged_file

_OPERATORS: list[torch.library.Library] = []


def _import_timm() -> ModuleType:
    """timm imports torchvision, whose import fails beside a torch that it was not compiled for, as a CPU-only one is.

    What is missing then is two operators of its compiled part that nobody calls: declaring them is enough.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        _declare_missing_operators()
    return importlib.import_module("timm")


def _declare_missing_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _OPERATORS.append(library)  # the operators live as long as this object
    for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[module]


timm = _import_timm()

_PACKAGED_MEAN = _PACKAGED_STD = (0.5, 0.5, 0.5)


def check_name(name: str) -> None:
    """Raises WeightsError, with the nearest names, unless timm knows the network."""
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), n=3)
        near = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists the names"
        raise WeightsError(f"timm has no network {name} ({near})")


def published_at(name: str) -> str | None:
    """The repository of the model hub where timm keeps a network's pretrained weights; None if it has none."""
    settings = timm.get_pretrained_cfg(name)
    return settings.hf_hub_id if settings is not None and settings.has_weights else None


def own_size(name: str) -> int | None:
    """The input side in pixels of a network that is made for one size only (many transformers); else None."""
    settings = timm.get_pretrained_cfg(name)
    return settings.input_size[-1] if settings is not None and settings.fixed_input_size else None


def normalisation(name: str, *, weights: str | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the RGB values in [0, 1] that a network's weights were trained with."""
    if weights is None and packaged_file(name) is not None:
        return _PACKAGED_MEAN, _PACKAGED_STD
    settings = timm.get_pretrained_cfg(name)
    return settings.mean, settings.std


def network(
    name: str,
    *,
    weights: str | None,
    image_size: int,
    classes: int = 0,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> nn.Module:
    """A network with its pretrained weights, in training mode as timm makes it.

    Args:
        name: as timm calls it.
        weights: a safetensors file with timm's names of tensors; None: the packaged, else the published weights.
        image_size: input side in pixels.
        classes: outputs of a fresh head; 0: no head.
        options: for `timm.create_model`.

    Raises:
        WeightsError: no such network, its weights can't be had, or they are another network's.
    """
    check_name(name)
    made_so = {**sized(name, image_size), **options}
    if weights is not None:
        return _with_state(name, _read_safetensors(weights), weights, classes, made_so)
    packaged = packaged_file(name)
    if packaged is not None:
        return _with_state(name, _read_packaged(name, packaged), str(packaged), classes, made_so)
    try:
        file = _download(name)
    except Exception as error:  # which HTTP library the hub's client raises from differs by version
        raise WeightsError(_not_to_be_had(name, error)) from error
    try:
        made = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": file}, **made_so)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise WeightsError(_not_to_be_had(name, error)) from error
    made.reset_classifier(classes)
    return made


def untrained(
    name: str, *, image_size: int, classes: int, options: Mapping[str, Any] = MappingProxyType({})
) -> nn.Module:
    """A network with weights drawn by torch's global generator.

    Raises:
        WeightsError: no such network.
    """
    check_name(name)
    return timm.create_model(name, num_classes=classes, **sized(name, image_size), **options)


def sized(name: str, image_size: int) -> dict[str, int]:
    """What timm has to be told of the side of a network that is made for one size only, where it is another."""
    return {"img_size": image_size} if own_size(name) not in (None, image_size) else {}


def _download(name: str) -> str:
    """The published weights' file, from the local cache without asking the network where it is there.

    The hub is asked one quick question first: its client tries again for the better part of a minute without a network.
    """
    import huggingface_hub as hub

    repository = published_at(name)
    if repository is None:
        raise FileNotFoundError("nobody has published any")
    cached = hub.try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str):
        return cached
    hub.HfApi().model_info(repository, timeout=10)
    return hub.hf_hub_download(repository, "model.safetensors")


def _not_to_be_had(name: str, error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return (
        f"{name}: no pretrained weights to be had ({first}); "
        "give a safetensors file (setting `weights`), or take tf_efficientnet_lite0, whose weights are installed"
    )


def _read_packaged(name: str, file: Path) -> dict[str, torch.Tensor]:
    """The package has the tensors in timm's order under other names."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    names = timm.create_model(name).state_dict().keys()
    return dict(zip(names, state.values(), strict=True))


def _read_safetensors(file: str) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file}: no readable safetensors file with weights ({error})") from error


def _with_state(name: str, state: dict[str, torch.Tensor], file: str, classes: int, sized: dict[str, Any]) -> nn.Module:
    """The network with the tensors of `state`; those of a head may be other or missing, for the head is made anew."""
    made = timm.create_model(name, num_classes=0, **sized)
    wanted = made.state_dict()
    heads = _head_prefixes(name)
    state = {key: tensor for key, tensor in state.items() if key in wanted or not key.startswith(heads)}
    problems = _differences(wanted, state)
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{file}: not the weights of {name}: {'; '.join(problems[:3])}{more}")
    made.load_state_dict(state)
    if classes:
        made.reset_classifier(classes)
    return made


def _head_prefixes(name: str) -> tuple[str, ...]:
    heads = timm.get_pretrained_cfg(name).classifier
    return tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads or ()))


def _differences(wanted: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> list[str]:
    problems = [f"no tensor {key}" for key in wanted if key not in found]
    problems += [f"unknown tensor {key}" for key in found if key not in wanted]
    return problems + [
        f"{key} is {tuple(found[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in found and found[key].shape != tensor.shape
    ]


class Embedder(nn.Module):
    """A frozen network from pixels to features: uint8 n x side x side x 3 in, float32 n x width out.

    The features are the pooled last ones, followed by the pooled output of the stage before the last where the network
    has stages: a linear probe gains 1.3 points by it on CIFAR-10, at no cost. Each of the
    two is scaled to the length of the square root of its width, so that neither rules a cosine.
    """

    def __init__(self, network: Any, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.std = nn.Buffer(255 * torch.tensor(std).view(1, 3, 1, 1))
        self.staged = hasattr(network, "forward_intermediates")
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        if not self.staged:
            return _scaled(self.network(x))
        last, (before,) = self.network.forward_intermediates(x, indices=[-2])
        pooled = self.network.forward_head(last, pre_logits=True)
        return torch.cat([_scaled(pooled), _scaled(before.mean((2, 3)))], 1)


def _scaled(features: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(features, dim=1) * features.shape[1] ** 0.5


@lru_cache(maxsize=1)
def embedder(name: str, *, weights: str | None, image_size: int) -> Embedder:
    """The frozen network with its weights; the last one made is kept.

    Raises:
        WeightsError: as `network`.
    """
    mean, std = normalisation(name, weights=weights)
    return Embedder(network(name, weights=weights, image_size=image_size), mean=mean, std=std)
