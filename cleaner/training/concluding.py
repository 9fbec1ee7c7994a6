"""What a training leaves beside its weights: how it stands on its test set, and the summary."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from cleaner.evidence.networks import timm
from cleaner.run.files import write_bytes, write_json, write_table
from cleaner.spreadsheets import as_csv
from cleaner.threads import network_threads
from cleaner.training.data import Measured
from cleaner.training.engine import Trainer
from cleaner.training.inference import predicted
from cleaner.training.kept import PREDICTIONS, SUMMARY
from cleaner.training.opened import Training

CONFUSION, CLASSES = "confusion.parquet", "classes.csv"


@network_threads()
def conclude(training: Training, trainer: Trainer, model: nn.Module) -> dict[str, Any]:
    """Write what is measured on the test set, and the summary last."""
    folder, test, classes = training.folder, training.test, np.array(training.version.classes, object)
    found = predicted(model, trainer.test.pixels, test.rows, trainer.world.device)
    probs = torch.cat([some for _, some in found]) if len(test.rows) else torch.zeros(0, len(classes))
    guesses, sure = probs.argmax(1).numpy(), probs.amax(1).numpy() if len(test.rows) else np.zeros(0, np.float32)
    paths = test.of.manifest.column("path").take(pa.array(test.rows))
    columns = {"path": paths, "label": classes[test.labels], "guess": classes[guesses], "prob": sure}
    write_table(folder / PREDICTIONS, pa.table(columns))
    # Of many classes few pairs are there.
    pair, times = np.unique(test.labels.astype(np.int64) * len(classes) + guesses, return_counts=True)
    label, guess = np.divmod(pair, len(classes))
    write_table(folder / CONFUSION, pa.table({"label": classes[label], "guess": classes[guess], "images": times}))
    images = np.bincount(test.labels, minlength=len(classes))
    right = np.bincount(test.labels[test.labels == guesses], minlength=len(classes))
    learnt = np.bincount(training.version.labels, minlength=len(classes))
    _write_classes(folder, classes, learnt, images, right)
    there, seen = images > 0, trainer.chosen["validation_accuracy"]
    summary = {
        "recipe": training.spec.name,
        "network": trainer.network.backbone,
        "image_size": trainer.network.image_size,
        "version": training.spec.version,
        "seed": training.spec.seed,
        "learnt_from": len(training.version.rows),
        "test": _told(test),
        "validation": {**_told(training.validation), "accuracy": seen if np.isfinite(seen) else None},
        "accuracy": float(right.sum() / max(1, images.sum())),
        "mean_class_accuracy": float((right[there] / images[there]).mean()) if there.any() else float("nan"),
        "epochs": training.spec.recipe.optimisation.epochs,
        "epoch": trainer.chosen["epoch"],
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
    }
    write_json(folder / SUMMARY, summary)
    return summary


def _told(some: Measured) -> dict[str, Any]:
    return {"images": len(some.rows), "what": some.words, "labels_known_to_be_right": some.trusted}


def _write_classes(
    folder: Path, classes: np.ndarray, learnt: np.ndarray, images: np.ndarray, right: np.ndarray
) -> None:
    accuracy = pa.array(np.divide(right, images, where=images > 0, out=np.full(len(images), np.nan)), from_pandas=True)
    columns = {"class": classes, "learnt_from": learnt, "tested_on": images, "right": right, "accuracy": accuracy}
    write_bytes(folder / CLASSES, as_csv(pa.table(columns)))
