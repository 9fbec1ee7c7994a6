"""Seconds and memory of all rounds of coarse and fine, beside one fold of scikit-learn's logistic regression.

    python -m benchmarks.rounds_speed [--samples 50000] [--classes 100] [--width 1280]
    python -m benchmarks.rounds_speed --samples 550000 --classes 5000 --width 384 --parts

`--parts`: the parts of one round, beside the bare products of its discriminant.

The features are made up: a direction for each class, noise, a rectifier; a fifth of the labels are drawn at random.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks.label_rounds import first_evidence, manifest_of, rounds
from cleaner.config import Config
from cleaner.methods import label_noise
from cleaner.run.ledger import fold
from cleaner.run.memory import peak_gigabytes
from cleaner.tables import ANSWER_LOG

SEED = 0
_BLOCK = 5000
_STRENGTH = 0.35
_PEER_SAMPLES = 5000


def write_features(file: Path, labels: np.ndarray, classes: int, width: int) -> np.ndarray:
    """Memory-mapped float16 len(labels) x width."""
    random = np.random.default_rng(SEED)
    directions = random.normal(size=(classes, width)).astype(np.float32) * _STRENGTH
    features = np.lib.format.open_memmap(file, "w+", np.float16, (len(labels), width))
    for start in range(0, len(labels), _BLOCK):
        block = directions[labels[start : start + _BLOCK]]
        features[start : start + _BLOCK] = np.maximum(block + random.normal(size=block.shape), 0)
    features.flush()
    return np.load(file, mmap_mode="r")


def time_rounds(features: np.ndarray, labels: np.ndarray) -> float:
    """Seconds."""
    started = time.monotonic()
    for done in rounds(features, labels, policy="belief", seed=SEED):
        seconds = time.monotonic() - started
        print(f"{done.stage} {done.number}: {seconds:.1f} s so far, {done.new} new positives, {done.lost} lost")
    return seconds


def time_parts(features: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, float]]:
    """Seconds of each part of one round, and of the products alone that no discriminant can do without: of all samples
    with the weights of all classes."""
    manifest = manifest_of(labels)
    standing, nobody = fold(manifest, []), ANSWER_LOG.empty_table()
    split = Config().fine.model_dump(exclude={"max_rounds", "predictor"})
    started = time.monotonic()
    known = manifest, standing, first_evidence(features, manifest, seed=SEED), nobody
    yield "evidence", time.monotonic() - started
    started = time.monotonic()
    fit = label_noise.fit(*known, policy=split["policy"])
    yield "how far it is to be believed", time.monotonic() - started
    started = time.monotonic()
    label_noise.verdicts(*known, fit, fit, **split, stage="fine", round=1, by="probe")
    yield "verdicts", time.monotonic() - started
    points = torch.from_numpy(np.asarray(features[:_BLOCK], np.float32))
    weights = torch.from_numpy(np.zeros((labels.max() + 1, points.shape[1]), np.float32))
    started = time.monotonic()
    for _ in range(0, len(labels), _BLOCK):
        points @ weights.T
    yield "the products alone", time.monotonic() - started


def time_peer(features: np.ndarray, labels: np.ndarray) -> float:
    """Seconds of one fit on a part of the samples."""
    some = np.asarray(features[:_PEER_SAMPLES], np.float32)
    started = time.monotonic()
    LogisticRegression().fit(some, labels[:_PEER_SAMPLES])
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"samples": 50_000, "classes": 100, "width": 1280}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--parts", action="store_true")
    asked = parser.parse_args()
    random = np.random.default_rng(SEED)
    true = random.integers(0, asked.classes, asked.samples)
    given = np.where(random.random(asked.samples) < 0.2, random.integers(0, asked.classes, asked.samples), true)
    with tempfile.TemporaryDirectory() as folder:
        features = write_features(Path(folder) / "features.npy", true, asked.classes, asked.width)
        before = peak_gigabytes()
        if asked.parts:
            found = dict(time_parts(features, given))
            print("; ".join(f"{words} {seconds:.1f} s" for words, seconds in found.items()))
            print(f"evidence / products: {found['evidence'] / found['the products alone']:.1f}")
        else:
            print(f"together: {time_rounds(features, given):.1f} s")
        print(f"peak memory {peak_gigabytes():.2f} GB, {before:.2f} GB of it before")
        if asked.parts:
            return
        part = time_peer(features, given)
        scale = 0.8 * asked.samples / _PEER_SAMPLES
        print(f"scikit-learn, one fold of one round: {part * scale:.0f} s, extrapolated from {part:.0f} s for a part")


if __name__ == "__main__":
    main()
