import subprocess
import sys

import numpy as np
import pytest
import torch

from cleaner.errors import CleanerError
from cleaner.evidence.inference import OpenvinoRunner, TorchRunner
from cleaner.evidence.networks import embedder
from cleaner.progress import listening

SIDE = 64


@pytest.fixture(scope="module")
def network():
    return embedder("tf_efficientnet_lite0", weights=None, image_size=SIDE)


@pytest.fixture(scope="module")
def openvino(network):
    return OpenvinoRunner(lambda: network, side=SIDE, batch=4, threads=2)


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
    alone = OpenvinoRunner(lambda: network, side=SIDE, batch=4, threads=1)
    assert np.array_equal(alone(iter(images), len(images)), openvino(iter(images), len(images)))


def test_no_images_give_no_features_of_the_right_width(network, openvino):
    for run in (openvino, TorchRunner(network, side=SIDE, batch=4, device="cpu")):
        assert run(iter([]), 0).shape == (0, 1392)


def test_openvino_s_telemetry_neither_writes_nor_speaks(tmp_path):
    code = """
import sys, numpy, torch
from cleaner.errors import CleanerError
from cleaner.evidence.inference import runner

class Means(torch.nn.Module):
    def forward(self, images):
        return images.float().mean((1, 2))

print(runner(Means, side=8, threads=1)(iter([numpy.full((8, 8, 3), 7, numpy.uint8)]), 1))
assert "openvino" in sys.modules and "openvino_telemetry" not in sys.modules
"""
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("[[7. 7. 7.]]\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "cleaner" / "networks"


def run_kept(network, images, name="a-network"):
    made = []

    def make():
        made.append(network)
        return network

    found = OpenvinoRunner(make, side=SIDE, batch=4, threads=2, name=name)(iter(images), len(images))
    return found, len(made)


def test_a_kept_network_gives_the_same_features_without_being_made(network, openvino, images, places):
    first, made = run_kept(network, images)
    again, made_again = run_kept(network, images)
    assert (made, made_again) == (1, 0)
    assert np.array_equal(first, again)
    assert np.array_equal(first, openvino(iter(images), len(images))), "nor does it matter whether it is kept"
    assert [path.name.startswith("a-network-") for path in places.iterdir()] == [True]
    assert run_kept(network, images, "another")[1] == 1


def test_a_kept_network_that_is_damaged_is_made_again(network, images, places):
    first, _ = run_kept(network, images)
    (graph,) = places.glob("*/network.xml")
    graph.write_text("<net>")
    again, made = run_kept(network, images)
    assert made == 1
    assert np.array_equal(first, again)


def test_where_nothing_can_be_kept_it_works_all_the_same(network, images, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert run_kept(network, images)[1] == 1
    assert run_kept(network, images)[1] == 1


class Crowded(torch.nn.Module):
    """A network for which the memory has room for so many images at a time."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.seen.append(len(images))
        return images.float().mean((1, 2))


def test_a_batch_that_the_memory_has_no_room_for_is_halved_and_it_is_said():
    images = np.random.default_rng(0).integers(0, 256, (21, SIDE, SIDE, 3), np.uint8)
    crowded, said = Crowded(room=3), []
    run = TorchRunner(crowded, side=SIDE, batch=8, device="cpu")
    with listening(lambda *_: None, said.append):
        found = run(iter(images), 21)
    assert np.array_equal(found, TorchRunner(Crowded(room=8), side=SIDE, batch=8, device="cpu")(iter(images), 21))
    assert set(crowded.seen) == {2}
    assert [line.partition(": ")[2] for line in said] == [
        "from here on 4 images at a time",
        "from here on 2 images at a time",
    ]


def test_where_there_is_no_room_for_one_image_it_says_what_to_do():
    run = TorchRunner(Crowded(room=0), side=SIDE, batch=8, device="cpu")
    with pytest.raises(CleanerError, match=f"no room for the network and one image of {SIDE} px; end what else"):
        run(iter(np.zeros((3, SIDE, SIDE, 3), np.uint8)), 3)
