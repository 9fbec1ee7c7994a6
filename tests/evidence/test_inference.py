import subprocess
import sys

import numpy as np
import pytest
import torch

from cleaner.evidence.inference import OpenvinoRunner, TorchRunner, runner
from cleaner.evidence.networks import embedder

SIDE = 64


@pytest.fixture(scope="module")
def network():
    return embedder("tf_efficientnet_lite0", weights=None, image_size=SIDE)


@pytest.fixture(scope="module")
def openvino(network):
    return OpenvinoRunner(network, side=SIDE, batch=4, threads=2)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, SIDE, SIDE, 3), np.uint8)


def test_openvino_agrees_with_torch_to_a_hundred_thousandth_of_the_largest_feature(network, openvino, images):
    ours = openvino(iter(images), len(images))
    with torch.inference_mode():
        reference = network(torch.from_numpy(images)).numpy()
    assert np.abs(ours - reference).max() <= 1e-5 * np.abs(reference).max()
    cosines = (ours * reference).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(reference, axis=1)
    assert cosines.min() > 0.99999


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_an_image_s_features_do_not_depend_on_its_company(kind, network, openvino, images):
    run = openvino if kind == "openvino" else TorchRunner(network, side=SIDE, batch=4, device="cpu")
    together = run(iter(images), len(images))
    one_by_one = np.concatenate([run(iter([image]), 1) for image in images])
    assert np.array_equal(together, one_by_one)


def test_the_number_of_threads_changes_nothing(network, openvino, images):
    alone = OpenvinoRunner(network, side=SIDE, batch=4, threads=1)
    assert np.array_equal(alone(iter(images), len(images)), openvino(iter(images), len(images)))


@pytest.mark.parametrize("make", [runner, lambda n, side, threads: TorchRunner(n, side=side, batch=4, device="cpu")])
def test_no_images_give_no_features_of_the_right_width(make, network):
    assert make(network, side=SIDE, threads=1)(iter([]), 0).shape == (0, 1392)


def test_openvino_s_telemetry_neither_writes_nor_speaks(tmp_path):
    code = """
import sys, numpy, torch
from cleaner.evidence.inference import runner

class Means(torch.nn.Module):
    def forward(self, images):
        return images.float().mean((1, 2))

print(runner(Means(), side=8, threads=1)(iter([numpy.full((8, 8, 3), 7, numpy.uint8)]), 1))
assert "openvino" in sys.modules and "openvino_telemetry" not in sys.modules
"""
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("[[7. 7. 7.]]\n", "")
    assert list(tmp_path.iterdir()) == []
