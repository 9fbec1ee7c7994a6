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
    said = _flat(state, "", tensors)
    write_bytes(file, save(tensors, metadata={"state": json.dumps(said)}))


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
        said = [_flat(each, f"{path}/{number}", tensors) for number, each in enumerate(value)]
        return {_TUPLE: said} if isinstance(value, tuple) else said
    return value


def _nested(said: Any, tensors: Any) -> Any:
    if isinstance(said, list):
        return [_nested(each, tensors) for each in said]
    if not isinstance(said, dict):
        return said
    if _TENSOR in said:
        return tensors.get_tensor(said[_TENSOR])
    if _DTYPE in said:
        return getattr(torch, said[_DTYPE])
    if _TUPLE in said:
        return tuple(_nested(each, tensors) for each in said[_TUPLE])
    return {key: _nested(each, tensors) for key, each in said[_PAIRS]}
