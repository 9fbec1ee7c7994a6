"""Losses, balance, the learning rate, checkpoints: against what is known of them."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from cleaner.errors import ConfigError, RunError
from cleaner.training import losses
from cleaner.training.balance import epoch_order, wanted
from cleaner.training.checkpoint import read_checkpoint, write_checkpoint
from cleaner.training.optimisation import climb, descend, optimiser_of, rate, suggested
from cleaner.training.recipe import Loss, Optimisation, Phase, read_recipe, recipes


@pytest.fixture
def scored():
    torch.manual_seed(0)
    labels = torch.arange(12) % 5
    return torch.randn(12, 5) * 2, labels, one_hot(labels, 5).float()


def test_cross_entropy_with_smoothing_is_torchs(scored):
    logits, labels, targets = scored
    ours, torchs = (
        losses.smoothed(losses.plain, 0.2)(logits, targets),
        cross_entropy(logits, labels, label_smoothing=0.2, reduction="none"),
    )
    assert torch.allclose(ours, torchs, atol=1e-6)


def test_focal_loss_of_no_focus_is_cross_entropy_and_else_weighs_by_what_is_missed(scored):
    logits, labels, targets = scored
    plain = cross_entropy(logits, labels, reduction="none")
    assert torch.allclose(losses.focal(0)(logits, targets), plain, atol=1e-6)
    assert torch.allclose(losses.focal(2)(logits, targets), (1 - (-plain).exp()) ** 2 * plain, atol=1e-6)
    both = losses.focal_and_plain(2)(logits, targets)
    assert torch.allclose(both, (losses.focal(2)(logits, targets) + plain) / 2, atol=1e-6)


def test_generalised_cross_entropy_goes_from_the_absolute_error_to_cross_entropy(scored):
    logits, labels, targets = scored
    prob = logits.softmax(1)[torch.arange(12), labels]
    assert torch.allclose(losses.generalised(1.0)(logits, targets), 1 - prob, atol=1e-6)
    assert torch.allclose(losses.generalised(1e-3)(logits, targets), -prob.log(), rtol=2e-2)


def test_symmetric_cross_entropy_adds_what_the_reverse_one_says(scored):
    """Of a hard label the reverse is four times the probability of all other classes."""
    logits, labels, targets = scored
    prob = logits.softmax(1)[torch.arange(12), labels]
    expected = 0.5 * -prob.log() + 2 * 4 * (1 - prob)
    assert torch.allclose(losses.symmetric(0.5, 2)(logits, targets), expected, atol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        losses.plain,
        losses.focal(2),
        losses.focal_and_plain(2),
        losses.generalised(0.7),
        losses.symmetric(0.1, 1),
    ],
)
def test_every_loss_takes_mixed_labels_and_falls_towards_them(loss):
    targets = torch.tensor([[0.5, 0.5, 0.0]]).repeat(4, 1)
    logits = torch.zeros(4, 3, requires_grad=True)
    before = loss(logits, targets).mean()
    before.backward()
    with torch.no_grad():
        after = loss(logits - logits.grad, targets).mean()
    assert after < before
    assert logits.grad[0, 2] > 0 > logits.grad[0, 0]


NAMED = {
    "cross_entropy": {},
    "focal": {"gamma": 0.5},
    "focal_cross_entropy": {"gamma": 0.25},
    "generalised": {"q": 0.3},
    "symmetric": {},
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("gap", [17.0, 18.0, 40.0, 120.0, 1e4])
def test_the_slope_of_every_loss_is_a_number_however_far_logits_lie_apart(name, gap):
    logits = torch.tensor([[gap, 0.0, -gap]]).repeat(2, 1).requires_grad_()
    Loss(name=name, **NAMED[name]).made()(logits, torch.eye(3)[[0, 2]]).sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", NAMED)
def test_smoothing_is_a_part_of_every_loss(name, scored):
    logits, _, targets = scored
    plain, smooth = (Loss(name=name, smoothing=share, **NAMED[name]).made() for share in (0.0, 0.3))
    assert torch.allclose(smooth(logits, targets), plain(logits, 0.7 * targets + 0.3 / 5), atol=1e-6)
    assert not torch.allclose(smooth(logits, targets), plain(logits, targets), atol=1e-2)


def test_how_often_classes_are_seen():
    counts = np.array([900, 100, 300, 0])
    assert wanted(counts, "none").tolist() == [900, 100, 300, 0]
    assert wanted(counts, "third").tolist() == [900, 300, 300, 0]
    assert wanted(counts, "class_balanced").tolist() == [433, 433, 433, 0]
    square_root = wanted(counts, "square_root")
    assert square_root[0] / square_root[1] == pytest.approx(3, abs=0.02) and square_root.sum() == 1300


@pytest.mark.parametrize("how", ["none", "third", "square_root", "class_balanced"])
def test_an_epoch_sees_each_image_of_a_class_as_often_as_the_others(how):
    labels = np.repeat([0, 1, 3], [50, 7, 20])
    order = epoch_order(labels, how, np.random.default_rng(0))
    assert np.bincount(labels[order], minlength=4).tolist() == wanted(np.array([50, 7, 0, 20]), how).tolist()
    seen = np.bincount(order, minlength=77)
    for label in (0, 1, 3):
        assert np.ptp(seen[labels == label]) <= 1
    assert not np.array_equal(order, epoch_order(labels, how, np.random.default_rng(1)))
    if how == "none":
        assert sorted(order) == list(range(77))


def rates(**settings):
    made = Optimisation(**settings)
    return [rate(step, 100, 10, made) for step in range(100)]


def test_the_learning_rate_rises_once_and_falls_as_its_schedule_says():
    cosine, constant = rates(schedule="cosine"), rates(schedule="constant")
    assert cosine[0] == pytest.approx(0.1) and max(cosine) == cosine[10] == 1.0
    assert cosine[10:] == sorted(cosine[10:], reverse=True) and cosine[-1] < 0.001
    assert constant[10:] == [1.0] * 90
    cycles = rates(schedule="cyclic", cycles=3)
    assert [step for step in range(11, 100) if cycles[step] > cycles[step - 1]] == [40, 70]
    once = rates(schedule="one_cycle")
    assert once.index(max(once[10:]), 10) == 37 and once[-1] < 0.001


def trained(optimiser, steps, start=None):
    """A small network after so many steps, and what its training is kept as."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3))
    made = optimiser_of(Phase(optimiser=optimiser), model)
    for group in made.param_groups:
        group["lr"] = 0.01
    if start is not None:
        model.load_state_dict(start["model"])
        made.load_state_dict(start["optimiser"])
    for number in steps:
        torch.manual_seed(number)
        made.zero_grad()
        cross_entropy(model(torch.randn(16, 6)), torch.randint(0, 3, (16,))).backward()
        made.step()
    return {"model": model.state_dict(), "optimiser": made.state_dict(), "epoch": 3, "words": ["a", ("b", None)]}


@pytest.mark.parametrize(
    "optimiser", ["sgd", "radam", "adamw", "lamb", "lion", "rmsprop", "lookahead_radam", "adafactorbv"]
)
def test_what_is_kept_and_read_again_goes_on_as_if_nothing_had_been(tmp_path, optimiser):
    whole = trained(optimiser, range(6))
    write_checkpoint(tmp_path / "kept", trained(optimiser, range(3)))
    kept = read_checkpoint(tmp_path / "kept")
    assert kept["words"] == ["a", ("b", None)] and kept["epoch"] == 3
    again = trained(optimiser, range(3, 6), start=kept)
    assert all(torch.equal(whole["model"][name], again["model"][name]) for name in whole["model"])


def test_a_damaged_checkpoint_is_said_to_be_one(tmp_path):
    file = tmp_path / "kept"
    write_checkpoint(file, {"a": torch.ones(9)})
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"kept: is damaged \(.*\); delete it to train from the start"):
        read_checkpoint(file)


def test_sharpness_is_looked_for_along_the_gradient_and_everything_put_back():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    (weight**2).sum().backward()
    before = climb([weight], 0.5)
    assert torch.allclose(weight.detach(), torch.tensor([3.3, 4.4])) and weight.grad is None
    descend(before)
    assert torch.equal(weight.detach(), torch.tensor([3.0, 4.0]))


def test_norms_and_biases_do_not_decay():
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8))
    groups = optimiser_of(Phase(optimiser="adamw", weight_decay=0.5), model).param_groups
    decayed = {group["weight_decay"]: len(group["params"]) for group in groups}
    assert decayed == {0.0: 3, 0.5: 1}


def test_an_unknown_optimiser_is_refused():
    with pytest.raises(ConfigError, match="optimiser sdg"):
        optimiser_of(Phase(optimiser="sdg"), nn.Linear(2, 2))


def test_the_recipes_that_come_with_it_can_be_read():
    assert {"accv2020", "finetune", "small", "strong"} <= set(recipes())
    for name in recipes():
        assert read_recipe(name, []).description
    published = read_recipe("accv2020", [])
    assert [(network.backbone[:18], network.image_size) for network in published.networks] == [
        ("tf_efficientnet_b4", 380),
        ("tf_efficientnet_b5", 456),
    ]
    assert (published.optimisation.lr, published.optimisation.effective_batch) == (0.03, 2000)
    assert [phase.optimiser for phase in published.optimisation.phases] == ["radam", "sgd"]
    assert published.loss.smoothing == 0.2 and published.optimisation.schedule == "cosine"


def test_everything_wrong_with_a_recipe_is_told_at_once(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        """
        network = []
        [[networks]]
        backbon = "resnet18"
        [[augment]]
        name = "flipp"
        [[augment]]
        name = "crop"
        smallest = 2
        [optimisation]
        lr = -1
        """
    )
    with pytest.raises(ConfigError) as error:
        read_recipe(str(file), ["loss.smooth=1"])
    for part in (
        "unknown setting network (did you mean networks?)",
        "unknown setting networks.0.backbon (did you mean backbone?)",
        "networks.0.backbone is missing",
        "optimisation.lr = -1",
        "unknown setting loss.smooth",
    ):
        assert part in str(error.value)
    file.write_text(
        '[[networks]]\nbackbone = "resnet18"\n[[augment]]\nname = "flipp"\n[[augment]]\nname = "crop"\nsmallest = 2'
    )
    with pytest.raises(ConfigError, match=r"no augmentation flipp.*; augmentations.crop.smallest = 2"):
        read_recipe(str(file), [])


@pytest.mark.parametrize("name", ["big", "nowhere.toml"])
def test_a_recipe_that_is_not_there(name):
    with pytest.raises(ConfigError, match=name):
        read_recipe(name, [])


def test_the_rate_where_the_loss_falls_most_steeply_is_suggested():
    rates = np.geomspace(1e-6, 10, 120)
    losses_ = 2 - 1 / (1 + np.exp(-3 * np.log10(rates / 0.01))) + 5 * (rates > 3)
    assert 0.004 < suggested(rates, losses_) < 0.025
