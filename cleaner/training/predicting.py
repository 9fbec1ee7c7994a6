"""What a trained model says of images that nobody has labelled."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cleaner import parts
from cleaner.errors import ImageProblem, InputError, SourceError
from cleaner.evidence.networks import timm
from cleaner.progress import track
from cleaner.run.files import write_atomically, write_table
from cleaner.tables import lists
from cleaner.threads import network_threads, threaded
from cleaner.training.inference import probabilities
from cleaner.training.models import Normalised
from cleaner.training.preprocessing import Preprocessing

TOP = 10
_TOGETHER = 64

PREDICTIONS = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("prob", pa.float32()),
        ("top_labels", pa.list_(pa.string())),
        ("top_probs", pa.list_(pa.float32())),
        ("problem", pa.string()),
    ]
)
"""A row an image: the most probable class and its probability, the ten most probable ones, or why it can't be used."""


@dataclass(frozen=True)
class Model:
    """A network in eval mode, and how images are shown to it."""

    network: Normalised
    classes: tuple[str, ...]
    shown: Preprocessing
    device: torch.device

    @classmethod
    def of(cls, folder: Path) -> "Model":
        """Raises InputError: no model lies there, or it is damaged."""
        if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
            what = "no model lies here; give the folder of a training, with config.json and model.safetensors"
            raise InputError(f"{folder}: {what}")
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            # Its weights are loaded here: timm would take a pickle too.
            network: Any = timm.create_model(f"local-dir:{folder}", pretrained=False)
            network.load_state_dict(load_file(folder / "model.safetensors"))
            classes, settings = tuple(config["label_names"]), config["pretrained_cfg"]
            shown = Preprocessing.told(settings)
            normalised = Normalised(network, shown.mean, shown.std)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise InputError(f"{folder}: its model can't be read ({error}); train it again") from error
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        normalised = normalised.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(normalised, classes, shown, device)

    def probabilities(self, pixels: np.ndarray) -> torch.Tensor:
        """float32 n x classes, on the CPU, of uint8 n x size x size x 3."""
        return probabilities(self.network, torch.from_numpy(pixels).to(self.device)).cpu()


@network_threads()
def predict(model: Model, images: Path, *, max_pixels: int, workers: int) -> pa.Table:
    """PREDICTIONS of all images in a folder and the folders in it, by path.

    Raises:
        SourceError: there is no such folder, or no image in it.
    """
    if not images.is_dir():
        raise SourceError(f"{images}: no such folder; give one of images")
    source = parts.find("sources", "folder")(images)
    paths = source.listing().column("path").to_pylist()
    if not paths:
        raise SourceError(f"{images}: no images; give a folder of some")
    read = source.read(np.arange(len(paths)), paths)
    decoded = threaded(partial(_decoded, shown=model.shown, max_pixels=max_pixels), read, workers=workers)
    rows = _predicted(model, paths, track(decoded, len(paths), "images judged"))
    return pa.Table.from_batches(rows, PREDICTIONS)


def _predicted(model: Model, paths: list[str], decoded: Iterator[np.ndarray | str]) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(paths), _TOGETHER):
        some = paths[start : start + _TOGETHER]
        found = [next(decoded) for _ in some]
        usable = [place for place, image in enumerate(found) if isinstance(image, np.ndarray)]
        problems = [image if isinstance(image, str) else None for image in found]
        yield _rows(model, some, [found[place] for place in usable], usable, problems)


def _rows(
    model: Model, paths: list[str], images: list[Any], usable: list[int], problems: list[str | None]
) -> pa.RecordBatch:
    width = min(TOP, len(model.classes))
    probs, numbers = np.zeros((len(paths), width), np.float32), np.zeros((len(paths), width), np.int64)
    if images:
        best = model.probabilities(np.stack(images)).topk(width)
        probs[usable], numbers[usable] = best.values.numpy(), best.indices.numpy()
    names = np.array(model.classes, object)[numbers]
    unknown = pa.array([problem is not None for problem in problems])
    columns = {
        "path": pa.array(paths, pa.string()),
        "label": pa.array(names[:, 0], pa.string()),
        "prob": pa.array(probs[:, 0]),
        "top_labels": lists(names, pa.string()),
        "top_probs": lists(probs, pa.float32()),
    }
    table = pa.table(columns).to_batches()[0]
    blank = {name: _without(column, unknown) for name, column in zip(columns, table.columns, strict=True)}
    return pa.record_batch(blank | {"path": columns["path"], "problem": pa.array(problems, pa.string())}, PREDICTIONS)


def _without(column: pa.Array, unknown: pa.Array) -> pa.Array:
    """The column with nulls where nothing is known."""
    return column.take(
        pa.array([None if hidden else row for row, hidden in enumerate(unknown.to_pylist())], pa.int64())
    )


def _decoded(data: bytes | OSError, *, shown: Preprocessing, max_pixels: int) -> np.ndarray | str:
    try:
        if isinstance(data, OSError):
            return f"can't be read: {data.strerror or data}"
        return shown.pixels(data, max_pixels=max_pixels)
    except ImageProblem as problem:
        return str(problem)


def write_predictions(table: pa.Table, out: Path) -> tuple[Path, Path]:
    """Write `path,label,prob` as OUT.csv, and everything as OUT.parquet, whatever dots OUT has.

    Raises:
        StorageError: the disk refuses a write.
    """
    flat = table.select(["path", "label", "prob"])
    out = out.with_suffix("") if out.suffix in (".csv", ".parquet") else out
    listed = write_atomically(out.with_name(f"{out.name}.csv"), lambda file: pa_csv.write_csv(flat, file))
    return listed, write_table(out.with_name(f"{out.name}.parquet"), table)
