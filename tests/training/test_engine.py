"""The engine in this process, on a tiny network and images in memory: what it learns from, and how much of each."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from cleaner.errors import CleanerError
from cleaner.training import engine as engines
from cleaner.training import loader
from cleaner.training.balance import epoch_order
from cleaner.training.batch import Stream
from cleaner.training.engine import WEIGHTS, Trainer
from cleaner.training.loader import Images, World, evenly_weighted
from cleaner.training.log import METRICS, STEPS
from cleaner.training.optimisation import optimiser_of, rate, suggested
from cleaner.training.recipe import Network, Phase, Recipe
from cleaner.training.updater import Updater

SIDE = 32
CLASSES = ("left", "right", "whole")


class Pictures:
    """One channel of noise, lit on the left, on the right or everywhere; which rows were asked for."""

    def __init__(self, labels, seed=0):
        rng = np.random.default_rng(seed)
        self.pixels = rng.integers(0, 60, (len(labels), SIDE, SIDE, 3), dtype=np.uint8)
        for image, label in zip(self.pixels, labels, strict=True):
            lit = (slice(0, SIDE // 2), slice(SIDE // 2, SIDE), slice(None))[label]
            image[:, lit] += 120
        self.asked = []

    def __call__(self, rows):
        self.asked += [rows.tolist()]
        return self.pixels[rows]


def images(n=40, *, weights=None, labels=None, pixels=None):
    labels = np.arange(n, dtype=np.int32) % 3 if labels is None else np.asarray(labels, np.int32)
    weights = np.ones(len(labels), np.float32) if weights is None else np.asarray(weights, np.float32)
    return Images(pixels or Pictures(labels), np.arange(len(labels)), labels, weights)


ALONE = World(0, 1)
NONE = Images(Pictures([]), np.arange(0), np.zeros(0, np.int32), np.zeros(0, np.float32))


def engine(folder, learnt=None, *, world=ALONE, network=None, samples=None, loss=None, augment=(), **settings):
    test, seen, seed = settings.pop("test", NONE), settings.pop("validation", NONE), settings.pop("seed", 0)
    phases = settings.pop("phases", (Phase(epochs=2),))
    settings = {"lr": 0.01, "lr_batch": 16, "batch": 8, "effective_batch": 16, "warmup": 0.0} | settings
    told = {"backbone": "test_resnet", "image_size": SIDE, "pretrained": False} | (network or {})
    recipe = Recipe.model_validate(
        {
            "networks": [told],
            "samples": samples or {},
            "loss": loss or {},
            "augment": augment,
            "optimisation": settings | {"phases": [phase.model_dump() for phase in phases]},
        }
    )
    learnt = images() if learnt is None else learnt
    asked = {"classes": CLASSES, "images": learnt, "validation": seen, "test": test, "seed": seed, "world": world}
    return Trainer(folder, recipe, Network.model_validate(told), **asked)


def state(made):
    return {name: tensor.clone() for name, tensor in made.updater.kept.inner.state_dict().items()}


def moved(made):
    """How far each parameter has gone from where it began."""
    began = {name: value.detach().clone() for name, value in made.updater.model.inner.named_parameters()}
    made.train()
    return {
        name: float((value - began[name]).detach().norm())
        for name, value in made.updater.model.inner.named_parameters()
    }


def steps(folder):
    return pq.read_table(folder / STEPS).column("loss").to_pylist()


def test_it_learns(tmp_path):
    validation = images(30, pixels=Pictures(np.arange(30) % 3, seed=9))
    engine(tmp_path, validation=validation, lr=0.05, phases=(Phase(epochs=12),)).train()
    metrics = pq.read_table(tmp_path / METRICS).to_pylist()
    assert metrics[-1]["loss"] < 0.5 * metrics[0]["loss"]
    assert metrics[-1]["validation_accuracy"] > 0.9


def test_every_epoch_has_an_order_of_its_own(tmp_path):
    made = engine(tmp_path)
    first, second = (
        np.concatenate([batch.images.numpy() for step in made.loader.epoch(epoch) for batch in step.batches])[:40]
        for epoch in (0, 1)
    )
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(first.reshape(40, -1), axis=0), np.sort(second.reshape(40, -1), axis=0))


@pytest.mark.parametrize("n", [40, 47, 16, 5])
def test_every_image_is_learnt_from_once_an_epoch_and_counts_the_same(tmp_path, n, monkeypatch):
    seen = []

    def loss(logits, targets):
        seen.append(logits)
        return logits[:, 0] * 0 + 1

    made = engine(tmp_path, images(n))
    monkeypatch.setattr(made.updater, "loss", loss)
    weights = []
    monkeypatch.setattr(
        loader, "augmented", lambda raw, chosen, draws: weights.append(raw.weights) or _augmented(raw, chosen, draws)
    )
    made.train()
    counted = torch.cat(weights)
    epochs = counted.view(2, -1)
    assert (epochs.sum(1) == n).all(), "what a step is filled with does not count"
    assert len({len(each) for each in weights}) == 1, "all batches are as large"
    assert made.loader.steps == -(-n // min(16, n)) and len(steps(tmp_path)) == 2 * made.loader.steps
    assert steps(tmp_path) == pytest.approx([1.0] * 2 * made.loader.steps)


_augmented = loader.augmented


def gradients(made, step):
    made.updater.backward(step)
    return {name: value.grad.clone() for name, value in made.updater.model.named_parameters() if value.grad is not None}


def plain_gradients(model, pictures, labels, weights, of):
    """Of the sum of what is missed, divided by `of`, by torch alone; the network in eval mode, so that no image's
    statistics are another's."""
    model.zero_grad()
    shown = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    missed = nn.functional.cross_entropy(model(shown), torch.from_numpy(labels).long(), reduction="none")
    ((missed * torch.from_numpy(weights)).sum() / of).backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("number", [0, 2])
def test_gradients_are_those_of_the_weighted_loss_over_the_effective_batch(tmp_path, number):
    """The third step has 8 of 16 images: each of them counts as much as one of a whole step."""
    weights = np.linspace(0.2, 2, 40).astype(np.float32)
    pictures = Pictures(np.arange(40) % 3)
    made = engine(tmp_path, images(40, weights=weights, pixels=pictures), batch=5)
    made.updater.model.eval()
    for step in made.loader.epoch(0):
        found = gradients(made, step)
        made.updater.model.zero_grad()
        if step.number == number:
            break
    order = epoch_order(made.loader.images.labels, "none", Stream.ORDER.rng(0, 0))
    rows = order[16 * number : 16 * number + 16]
    expected = plain_gradients(
        made.updater.model, pictures.pixels[rows], made.loader.images.labels[rows], weights[rows], 16
    )
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-5), name


def test_weights_have_a_mean_of_one_and_what_counts_nothing_teaches_nothing(tmp_path):
    weights = np.where(np.arange(40) < 20, 3, 1)
    assert evenly_weighted(images(weights=weights)).weights.mean() == pytest.approx(1)
    assert set(evenly_weighted(images(weights=weights)).weights) == {np.float32(1.5), np.float32(0.5)}
    wrong = np.where(np.arange(40) % 2 == 0, np.arange(40) % 3, (np.arange(40) + 1) % 3)
    believed = (np.arange(40) % 2 == 0).astype(np.float32)
    pictures = Pictures(np.arange(40) % 3)
    made = engine(
        tmp_path,
        images(labels=wrong, weights=believed, pixels=pictures),
        validation=images(40, pixels=pictures),
        phases=(Phase(epochs=12),),
        lr=0.05,
    )
    made.train()
    assert pq.read_table(tmp_path / METRICS).column("validation_accuracy").to_pylist()[-1] > 0.9


def test_what_is_tested_on_is_not_learnt_from(tmp_path):
    """Nor is it looked at before the end; the validation images are, after each epoch."""
    pictures, rows = Pictures(np.arange(40) % 3), np.arange(40)
    learnt, seen, tested = rows[rows % 4 > 1], rows[rows % 4 == 1], rows[rows % 4 == 0]
    sets = [
        Images(pictures, some, (some % 3).astype(np.int32), np.ones(len(some), np.float32))
        for some in (learnt, seen, tested)
    ]
    engine(tmp_path, sets[0], validation=sets[1], test=sets[2]).train()
    asked = [row for some in pictures.asked for row in some]
    # A step that lacks some is filled with others of them.
    assert set(asked) == {*learnt.tolist(), *seen.tolist()} and all(asked.count(row) == 2 for row in seen.tolist())


@pytest.mark.parametrize(
    ("accuracies", "losses", "best"),
    [((0.2, 0.9, 0.5), (1, 1, 1), 2), ((0.5, 0.5, 0.5), (2, 1, 1), 2), ((0.9, 0.2, 0.2), (1, 1, 1), 1)],
)
def test_the_best_epoch_is_kept_where_that_is_wanted_through_a_kill_too(
    tmp_path, monkeypatch, accuracies, losses, best
):
    after = []

    def measured(made):
        after.append(state(made))
        epoch = (len(after) - 1) % 3
        return float(losses[epoch]), float(accuracies[epoch])

    monkeypatch.setattr(Trainer, "_measured", measured)
    settings = {"phases": (Phase(epochs=3),), "network": {"ema": 0.9}, "validation": images(9)}
    last = engine(tmp_path / "last", **settings)
    last.train()
    assert last.chosen["epoch"] == 3
    made = engine(tmp_path / "best", select="best", **settings)
    written = made.train().inner.state_dict()
    assert made.chosen["epoch"] == best
    assert all(torch.equal(value, after[3 + best - 1][name]) for name, value in written.items())
    for stop in (1, 2, 3):
        keep = Trainer._keep

        def ended(made, progress, keep=keep, stop=stop):
            keep(made, progress)
            if progress.epoch == stop:
                raise KeyboardInterrupt

        del after[:]
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Trainer, "_keep", ended)
            engine(tmp_path / f"{stop}", select="best", **settings).train()
        again = engine(tmp_path / f"{stop}", select="best", **settings)
        again.train()
        assert again.chosen["epoch"] == best
        assert (tmp_path / f"{stop}" / WEIGHTS).read_bytes() == (tmp_path / "best" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("balance", ["none", "class_balanced", "third"])
def test_the_prior_is_that_of_what_is_seen_and_stays(tmp_path, balance):
    labels = np.repeat([0, 1, 2], [30, 8, 2])
    weights = np.repeat([1.0, 0.5, 1.0], [30, 8, 2])
    made = engine(
        tmp_path,
        images(labels=labels, weights=weights),
        network={"prior_bias": True},
        samples={"balance": balance},
    )
    seen = {"none": [30, 4, 2], "class_balanced": [13, 6.5, 13], "third": [30, 5, 10]}[balance]
    expected = np.log(np.array(seen) / sum(seen))
    assert made.updater.model.inner.get_classifier().bias.detach().numpy() == pytest.approx(expected, abs=1e-5)
    gone = moved(made)
    bias = made.updater.model.inner.get_classifier().bias
    assert bias.detach().numpy() == pytest.approx(expected, abs=1e-5)
    assert max(gone.values()) > 0.01


def test_every_step_has_the_rate_of_its_schedule_and_phase(tmp_path):
    phases = (Phase(epochs=2), Phase(epochs=2, lr=0.1))
    made = engine(tmp_path, images(48), phases=phases, lr=0.02, warmup=1.0)
    used = []
    backward = made.updater.backward
    made.updater.backward = lambda step: used.append(made.updater.optimiser.param_groups[0]["lr"]) or backward(step)
    made.train()
    shares = [rate(number, 12, 3, made.settings) for number in range(12)]
    expected = [0.02 * share * (1 if number < 6 else 0.1) for number, share in enumerate(shares)]
    assert used == pytest.approx(expected)
    assert pq.read_table(tmp_path / STEPS).column("lr").to_pylist() == pytest.approx(expected)


def test_a_gradient_is_clipped(tmp_path):
    free = moved(engine(tmp_path / "free", phases=(Phase(epochs=1, momentum=0.0, weight_decay=0),)))
    held = moved(engine(tmp_path / "held", clip=1e-4, phases=(Phase(epochs=1, momentum=0.0, weight_decay=0),)))
    # Three steps of a gradient of at most so much at a rate of .01, which falls.
    assert sum(each**2 for each in held.values()) ** 0.5 <= 3 * 0.01 * 1e-4 * 1.05
    assert sum(each**2 for each in free.values()) ** 0.5 > 1e-3


def test_what_is_kept_is_the_moving_average(tmp_path):
    plain = engine(tmp_path / "plain", phases=(Phase(epochs=3),))
    average = engine(tmp_path / "average", network={"ema": 0.9}, phases=(Phase(epochs=3),))
    plain.train(), average.train()
    for name, value in plain.updater.model.state_dict().items():
        assert torch.equal(value, average.updater.model.state_dict()[name])
    apart = [not torch.equal(value, state(plain)[name]) for name, value in state(average).items() if value.ndim > 1]
    assert all(apart)


def test_the_average_is_measured_and_written(tmp_path):
    from safetensors.torch import load_file

    made = engine(tmp_path, network={"ema": 0.9}, validation=images(9))
    made.train()
    written = load_file(tmp_path / WEIGHTS)
    assert all(
        torch.equal(value, written[name]) for name, value in made.updater.average.module.inner.state_dict().items()
    )


@pytest.mark.parametrize(
    "phases", [(Phase(epochs=3),), (Phase(optimiser="radam", epochs=1), Phase(sam=0.05, epochs=2))]
)
def test_ended_within_an_epoch_it_goes_on_from_its_checkpoint_to_the_same_bytes(tmp_path, phases, monkeypatch):
    settings = {
        "phases": phases,
        "network": {"ema": 0.9, "dropout": 0.2},
        "augment": ({"name": "mixcut"}, {"name": "flip"}),
    }
    engine(tmp_path / "whole", **settings).train()
    monkeypatch.setattr(engines, "_KEEP_EVERY", 0.0)
    done = [0]
    update = Updater.update

    def ended(made, *words):
        done[0] += 1
        if done[0] in (2, 6, 9):
            raise KeyboardInterrupt
        return update(made, *words)

    monkeypatch.setattr(Updater, "update", ended)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            engine(tmp_path / "ended", **settings).train()
    engine(tmp_path / "ended", **settings).train()
    assert done[0] == 9 + 3, "nothing is done twice"
    for name in (WEIGHTS, STEPS):
        assert (tmp_path / "ended" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    columns = ["epoch", "loss", "lr"]
    whole, again = (pq.read_table(tmp_path / each / METRICS, columns=columns) for each in ("whole", "ended"))
    assert whole.equals(again)


def test_another_number_of_processes_is_said_when_it_goes_on(tmp_path, monkeypatch):
    from cleaner.progress import listening

    engine(tmp_path, phases=(Phase(epochs=1),)).train()
    said = []
    # The second of them: alone it would wait for the first.
    monkeypatch.setattr(Updater, "_forward", property(lambda made: made.updater.model))
    with listening(lambda *_: None, said.append):
        engine(tmp_path, world=World(0, 2), phases=(Phase(epochs=1),))._resumed()
        assert said == [], "nothing is left to do"
        engine(tmp_path, world=World(0, 2), phases=(Phase(epochs=2),))._resumed()
    assert "it began with 1 process and goes on with 2: the same recipe, but not the same bytes" in said


@pytest.mark.parametrize(("size", "batch"), [(1, 64), (2, 32), (8, 8)])
def test_the_effective_batch_is_the_recipes_by_any_number_of_processes(tmp_path, size, batch):
    made = [
        engine(tmp_path, images(200), world=World(rank, size), batch=64, effective_batch=64, lr=0.4, lr_batch=64)
        for rank in range(size)
    ]
    assert {(each.loader.effective, each.loader.batch, each.loader.steps, each.lr) for each in made} == {
        (64, batch, 4, 0.4)
    }
    order = epoch_order(made[0].loader.images.labels, "none", Stream.ORDER.rng(0, 0))
    chosen = [[], [], [], []]
    for each in made:
        for number, step in enumerate(each.loader.epoch(0)):
            for micro_batch in step.batches:
                chosen[number] += [int(count) for count in micro_batch.weights]
            assert step.images == (64, 64, 64, 8)[number]
    assert [sum(counts) for counts in chosen] == [64, 64, 64, 8]
    assert len(order) == 200


def test_draws_are_the_same_whichever_process_takes_a_micro_batch(tmp_path):
    def micro_batches(world):
        made = engine(
            tmp_path, world=world, batch=4, effective_batch=16, augment=({"name": "mixcut"}, {"name": "crop"})
        )
        return [[batch.images for batch in step.batches] for step in made.loader.epoch(1)]

    alone, first, second = (micro_batches(world) for world in (World(0, 1), World(0, 2), World(1, 2)))
    for whole, one, other in zip(alone, first, second, strict=True):
        together = [image for pair in zip(one, other, strict=True) for image in pair]
        assert all(torch.equal(a, b) for a, b in zip(whole, together, strict=True))


def test_each_micro_batch_of_a_step_has_draws_of_its_own(tmp_path):
    """The same image everywhere: what is cut out of it tells the draws apart."""
    pictures = Pictures([0])
    same = Images(
        lambda rows: pictures.pixels[rows * 0], np.arange(32), np.zeros(32, np.int32), np.ones(32, np.float32)
    )
    made = engine(tmp_path, same, batch=4, effective_batch=16, augment=({"name": "crop"},))
    seen = [batch.images for epoch in (0, 1) for step in made.loader.epoch(epoch) for batch in step.batches]
    assert len(seen) == 16
    assert not any(torch.equal(one, other) for place, one in enumerate(seen) for other in seen[:place])


def test_a_second_look_for_sharpness_leaves_the_statistics_alone(tmp_path):
    sharp = engine(tmp_path / "sharp", phases=(Phase(sam=0.1, epochs=1, lr=1e-12, weight_decay=0),))
    plain = engine(tmp_path / "plain", phases=(Phase(epochs=1, lr=1e-12, weight_decay=0),))
    sharp.train(), plain.train()
    one, other = ({name: value for name, value in state(made).items() if "running" in name} for made in (sharp, plain))
    assert one and all(torch.allclose(value, other[name], atol=1e-6) for name, value in one.items())


def test_what_a_network_does_not_let_decay_does_not_behind_our_wrapper(tmp_path):
    made = engine(tmp_path, network={"backbone": "test_vit", "image_size": 160})
    groups = optimiser_of(Phase(optimiser="adamw", weight_decay=0.5), made.updater.model.inner).param_groups
    decays = {id(value): group["weight_decay"] for group in groups for value in group["params"]}
    names = dict(made.updater.model.inner.named_parameters())
    assert decays[id(names["pos_embed"])] == 0 and decays[id(names["cls_token"])] == 0
    assert decays[id(names["blocks.0.attn.qkv.weight"])] == 0.5
    made._resumed()
    used = {
        id(value): group["weight_decay"] for group in made.updater.optimiser.param_groups for value in group["params"]
    }
    assert used[id(names["pos_embed"])] == 0


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_a_loss_that_became_nan_is_told_with_its_step_and_gap(tmp_path, name):
    """48 images are three steps of two batches: the ninth batch is the first of the second epoch's second step."""
    made = engine(tmp_path, images(48), loss={"name": name}, phases=(Phase(epochs=3),))
    loss, calls = made.updater.loss, []

    def broken(logits, targets):
        calls.append(logits)
        return loss(logits, targets) * (float("nan") if len(calls) == 9 else 1)

    made.updater.loss = broken
    told = (
        r"in step 2 of 3 of epoch 2 the loss, {}, became NaN or infinite \(logits of one image lay up to [\d.]+ apart"
    )
    with pytest.raises(CleanerError, match=told.format(name)):
        made.train()
    assert not any("nan" in f"{row}" for row in pq.read_table(tmp_path / METRICS).column("loss").to_pylist())


def test_streams_of_chance_are_apart():
    drawn = {
        tuple(stream.rng(*key).integers(0, 2**62, 4)) for stream in Stream for key in ((7,), (7, 1), (7, 1, 2), (1, 7))
    }
    assert len(drawn) == 4 * 4


def test_the_rate_that_is_suggested_learns_and_lies_well_below_the_last_that_was_tried(tmp_path):
    learnt, phases = images(64), (Phase(epochs=4),)
    rates, losses = engine(tmp_path / "tried", learnt, phases=phases, batch=16).tried_rates()
    best, ended = suggested(rates, losses), []
    assert best < 0.3 * rates[-1]
    for times in (0.01, 1):
        folder = tmp_path / f"{times}"
        engine(folder, learnt, phases=phases, lr=best * times, schedule="constant", batch=16).train()
        ended += pq.read_table(folder / METRICS).column("loss").to_pylist()[-1:]
    assert ended[1] < 0.7 * ended[0]


def test_the_board_shows_the_metrics(tmp_path):
    engine(tmp_path, phases=(Phase(epochs=1),)).train()
    assert list((tmp_path / "tensorboard").iterdir())
