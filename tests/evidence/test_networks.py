import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cleaner.errors import WeightsError
from cleaner.evidence.networks import Embedder, network, normalisation, timm, untrained
from cleaner.evidence.weights import packaged_file

SMALL = "test_resnet"


def saved(path, state) -> str:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return str(path)


@pytest.fixture(scope="module")
def state():
    return untrained(SMALL, image_size=32, classes=7).state_dict()


def test_torchvision_s_transforms_work_beside_the_torch_there_is():
    code = "import cleaner.evidence.networks; from torchvision.transforms import v2; import timm.data; v2.RandAugment()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_packaged_weights_make_a_classifier_that_knows_what_it_sees():
    made = network("tf_efficientnet_lite0", weights=None, image_size=224)
    whole = timm.create_model("tf_efficientnet_lite0")
    stored = torch.load(packaged_file("tf_efficientnet_lite0"), weights_only=True)
    assert len(stored) == len(whole.state_dict())
    for mine, packaged in zip(made.state_dict().values(), stored.values(), strict=False):
        assert torch.equal(mine, packaged)
    assert normalisation("tf_efficientnet_lite0", weights=None) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("keep_head", [True, False])
def test_weights_come_from_a_local_file_with_another_head_or_none(tmp_path, state, keep_head):
    head = timm.get_pretrained_cfg(SMALL).classifier
    kept = {name: tensor for name, tensor in state.items() if keep_head or not name.startswith(head)}
    made = network(SMALL, weights=saved(tmp_path / "w.safetensors", kept), image_size=32, classes=5)
    assert made.num_classes == 5
    assert all(torch.equal(made.state_dict()[name], kept[name]) for name in kept if not name.startswith(head))


def test_another_network_s_weights_are_refused_with_the_first_tensors_that_differ(tmp_path, state):
    file = saved(tmp_path / "w.safetensors", state)
    with pytest.raises(WeightsError, match=r"w\.safetensors: not the weights of test_vit: no tensor cls_token.* more$"):
        network("test_vit", weights=file, image_size=32)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path, state):
    name = next(name for name, tensor in state.items() if tensor.dim() == 4)
    wrong = state | {name: torch.zeros(2, 3, 3, 3)}
    with pytest.raises(WeightsError, match=rf"{name} is \(2, 3, 3, 3\), not "):
        network(SMALL, weights=saved(tmp_path / "w.safetensors", wrong), image_size=32)


def test_a_file_that_holds_no_tensors_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"w\.safetensors: no readable safetensors file"):
        network(SMALL, weights=str(tmp_path / "w.safetensors"), image_size=32)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(WeightsError, match=r"no network resnet81 \(did you mean resnet18"):
        network("resnet81", weights=None, image_size=32)


def test_published_weights_that_cannot_be_had_leave_two_ways_out(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"test_byobnet: no pretrained weights.*setting `weights`.*lite0"):
        network("test_byobnet", weights=None, image_size=32)


def test_published_weights_are_taken_and_what_a_network_has_not_is_not_blamed_on_them(monkeypatch, tmp_path):
    name = "dla46_c"
    file = saved(tmp_path / "w.safetensors", timm.create_model(name).state_dict())
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: file)
    assert network(name, weights=None, image_size=64, classes=3).num_classes == 3
    with pytest.raises(TypeError, match="drop_path_rate"):
        network(name, weights=None, image_size=64, options={"drop_path_rate": 0.1})
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="dla46_c: no pretrained weights to be had"):
        network(name, weights=None, image_size=64)


@pytest.mark.parametrize("name", [SMALL, "test_vit", "test_convnext", "test_efficientnet"])
def test_networks_of_every_family_embed_images_into_a_cosine_of_two_equal_halves(name):
    side = timm.get_pretrained_cfg(name).input_size[-1]
    embedder = Embedder(untrained(name, image_size=side, classes=0), mean=(0.5,) * 3, std=(0.5,) * 3)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8))
    found = embedder(images)
    assert found.shape[0] == 2 and not embedder.training
    assert torch.allclose((found**2).sum(1), torch.tensor(float(found.shape[1])), rtol=1e-3)
