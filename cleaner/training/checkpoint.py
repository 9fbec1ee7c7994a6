"""The state of a training, whole or not there, without pickle: tensors as safetensors, all else as JSON beside them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cleaner.errors import RunError
from cleaner.run.files import write_bytes

_TENSOR, _PAIRS, _TUPLE, _DTYPE = "tensor", "pairs", "tuple", "dtype"


def write_checkpoint(file: Path, state: dict[str, Any]) -> None:
    """Keep `state`: tensors and their types, numbers, texts, lists, tuples and dictionaries, in one another.

    Raises:
        StorageError: the disk refuses the write.
    """
    tensors: dict[str, torch.Tensor] = {}
    plain = _flat(state, "", tensors)
    write_bytes(file, save(tensors, metadata={"state": json.dumps(plain)}))


def read_checkpoint(file: Path) -> dict[str, Any]:
    """What `write_checkpoint` was given, on the CPU.

    Raises:
        RunError: the file is damaged.
    """
    try:
        with safe_open(file, "pt") as tensors:
            state: dict[str, Any] = _nested(json.loads(tensors.metadata()["state"]), tensors)
            return state
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: is damaged ({error}); delete it to train from the start") from error


def _flat(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """`value` as JSON can say it; its tensors under their paths."""
    if isinstance(value, torch.Tensor):
        # A clone: two names for one memory are refused.
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: path}
    if isinstance(value, torch.dtype):
        return {_DTYPE: str(value).removeprefix("torch.")}
    if isinstance(value, dict):
        return {_PAIRS: [[key, _flat(each, f"{path}/{key}", tensors)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        plain = [_flat(each, f"{path}/{number}", tensors) for number, each in enumerate(value)]
        return {_TUPLE: plain} if isinstance(value, tuple) else plain
    return value


def _nested(plain: Any, tensors: Any) -> Any:
    if isinstance(plain, list):
        return [_nested(each, tensors) for each in plain]
    if not isinstance(plain, dict):
        return plain
    if _TENSOR in plain:
        return tensors.get_tensor(plain[_TENSOR])
    if _DTYPE in plain:
        return getattr(torch, plain[_DTYPE])
    if _TUPLE in plain:
        return tuple(_nested(each, tensors) for each in plain[_TUPLE])
    return {key: _nested(each, tensors) for key, each in plain[_PAIRS]}
