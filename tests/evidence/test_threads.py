"""The same bytes on any number of cores: pools of threads of every size give what one thread gives."""

import os
import subprocess
import sys

import pytest

_COMPUTING = """
import hashlib, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import pyarrow as pa
import torch
from cleaner.data.sources.folder import Folder
from cleaner.evidence import neighbors
from cleaner.evidence.crossfit import Task, assign_folds
from cleaner.evidence.inference import TorchRunner
from cleaner.evidence.networks import untrained
from cleaner.evidence.predictors.probe import Probe
from cleaner.people.grid import _clusters
from cleaner.methods.image_noise import _distances
from cleaner.tables import MANIFEST

torch.set_num_threads(int(sys.argv[1]))
random = np.random.default_rng(0)
n, classes, width = 6_000, 120, 160
true = random.integers(0, classes, n)
centers = random.normal(size=(classes, width))
features = (centers[true] + random.normal(size=(n, width)) * 1.5).astype(np.float16)
labels = np.where(random.random(n) < 0.2, random.integers(0, classes, n), true).astype(np.int32)
rows, alone = np.arange(n, dtype=np.int32), np.full(n, -1, np.int32)

def said(name, *arrays):
    digest = hashlib.blake2b(digest_size=8)
    for values in arrays:
        digest.update(np.ascontiguousarray(values).tobytes())
    print(name, digest.hexdigest())

def evidence(**settings):
    keys = np.arange(len(labels), dtype=np.uint64)
    folds, finer = (assign_folds(labels, alone, keys, folds=3, finer=count) for count in (1, 2))
    every = np.ones(n, bool)
    task = Task(labels=labels, train=every, weights=every.astype(np.float32), predict=every, folds=folds,
        finer_folds=finer, classes=classes, round=1, seed=0, features=features, source=Folder(Path()),
        manifest=MANIFEST.empty_table())
    table = Probe(passes=4, trial=1_500, **settings).evidence(task, (0, 1, 2))
    said(f"evidence {settings}", *(np.array(table.column(name).to_pylist()) for name in table.column_names))

evidence()
evidence(heads_until=0, dimensions=64)
pairs = neighbors.near_pairs(features, rows, similarity=0.5)
said("pairs", pairs.first, pairs.second, pairs.cosine)
neighbors._FLAT_UNTIL = 1_000
pairs = neighbors.near_pairs(features, rows, similarity=0.5)
said("pairs of an inverted file", pairs.first, pairs.second, pairs.cosine)
said("clusters", _clusters(features[:2_000].astype(np.float32), 40, 0))
said("distances", _distances(features, rows, 0))
torch.manual_seed(0)
network = untrained("tf_efficientnet_lite0", image_size=64, classes=10)

class Seen(torch.nn.Module):
    def forward(self, images):
        return network(images.permute(0, 3, 1, 2).float() / 255)

images = random.integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
said("features by torch", TorchRunner(Seen().eval(), side=64, batch=4, device="cpu")(iter(images), 9))
"""


def computed_by(threads: int) -> dict[str, str]:
    environment = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, "-c", _COMPUTING, str(threads)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.slow
def test_any_number_of_threads_gives_the_same_bytes():
    one = computed_by(1)
    assert len(one) == 7
    for threads in (2, 16):
        assert computed_by(threads) == one, threads
