from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.errors import CleanerError, WeightsError
from cleaner.evidence.crossfit import Task
from cleaner.evidence.predictors.finetune import Finetune, _Classifier
from cleaner.progress import listening
from cleaner.tables import EVIDENCE, array

CLASSES, EACH, SIDE = 3, 90, 32
TINY = Finetune(model="test_resnet", pretrained=False, image_size=SIDE, epochs=1, batch_size=16)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def striped(tmp_path_factory):
    """Pictures of stripes in noise, whose direction is the class: a task with five folds."""
    root = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    for number in range(CLASSES * EACH):
        kind = number % CLASSES
        (root / f"{kind}").mkdir(exist_ok=True)
        down, across = np.mgrid[:SIDE, :SIDE]
        along = (down, across, (down + across) / 2**0.5)[kind]
        wave = 127 + 90 * np.sin(along / 1.5 + rng.uniform(0, 6))[..., None] + rng.normal(0, 25, (SIDE, SIDE, 3))
        Image.fromarray(wave.clip(0, 255).astype(np.uint8)).save(root / f"{kind}" / f"{number:03d}.png")
    source = open_source(root)
    listing = source.listing()
    manifest = scan(listing, source=source, start=0, stop=len(listing), max_pixels=10**6, workers=1)
    n = len(manifest)
    everyone = np.ones(n, bool)
    folds = (np.random.default_rng(1).permutation(n) % 5).astype(np.int8)
    labels = array(manifest, "label").astype(np.int32)
    return Task(
        labels=labels,
        train=everyone,
        weights=np.ones(n, np.float32),
        predict=everyone,
        folds=folds,
        finer_folds=folds,
        classes=CLASSES,
        round=1,
        seed=0,
        features=np.zeros((n, 1), np.float16),
        source=source,
        manifest=manifest,
    )


def accuracy(evidence: pa.Table) -> float:
    return float((array(evidence, "given_rank") == 0).mean())


def test_it_learns_what_the_classes_are_and_says_so_out_of_fold(striped):
    found = Finetune(image_size=SIDE, epochs=2, batch_size=16).evidence(striped, (0,))
    assert found.schema == EVIDENCE
    assert array(found, "row").tolist() == np.flatnonzero(striped.folds == 0).tolist()
    assert accuracy(found) > 0.8


@pytest.mark.parametrize("round", [1, 2, 3])
def test_every_scheme_learns(striped, round):
    assert accuracy(replace(TINY, epochs=3).evidence(replace(striped, round=round), (0,))) > 0.6


def test_weights_are_told_by_what_lies_in_their_file_not_by_its_name(tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"one")
    first = Finetune(weights=str(file)).files()
    file.write_bytes(b"two")
    assert first != Finetune(weights=str(file)).files() != Finetune().files() == ""
    with pytest.raises(WeightsError, match=r"predictors\.finetune\.weights = .*none: can't be read"):
        Finetune(weights=str(tmp_path / "none")).files()


def test_labels_without_meaning_are_not_remembered_out_of_fold(striped):
    shuffled = np.random.default_rng(2).permutation(striped.labels)
    found = replace(TINY, epochs=8).evidence(replace(striped, labels=shuffled), (0,))
    assert accuracy(found) < 0.45


def test_a_fold_s_own_labels_have_no_part_in_what_is_said_of_it(striped):
    others = np.where(striped.folds == 2, (striped.labels + 1) % CLASSES, striped.labels).astype(np.int32)
    one, two = (TINY.evidence(task, (2,)) for task in (striped, replace(striped, labels=others)))
    for column in ("top_classes", "top_probs"):
        assert one.column(column).equals(two.column(column))


def test_the_same_seed_gives_the_same_evidence_by_any_threads_cached_or_not_and_leaves_torch_as_it_was(striped):
    before = torch.random.get_rng_state()
    one = TINY.evidence(striped, (1,))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 2)
    assert one.equals(replace(TINY, cache_megabytes=0, workers=1).evidence(striped, (1,)))
    assert torch.get_num_threads() == threads + 2
    torch.set_num_threads(threads)
    assert not one.equals(TINY.evidence(replace(striped, seed=1), (1,)))
    assert torch.equal(before, torch.random.get_rng_state())


def test_only_rows_to_predict_are_spoken_of(striped):
    some = np.arange(len(striped.folds)) % 2 == 0
    found = TINY.evidence(replace(striped, predict=some), (3,))
    assert array(found, "row").tolist() == np.flatnonzero(some & (striped.folds == 3)).tolist()


def test_with_nothing_to_learn_from_it_still_answers(striped):
    nobody = np.zeros(len(striped.folds), bool)
    assert len(TINY.evidence(replace(striped, train=nobody), (4,))) == (striped.folds == 4).sum()


def test_with_nothing_asked_there_is_no_evidence(striped):
    nobody = np.zeros(len(striped.folds), bool)
    assert TINY.evidence(replace(striped, predict=nobody), (4,)).equals(EVIDENCE.empty_table())


def test_an_unknown_network_is_refused_with_the_nearest_names(striped):
    with pytest.raises(WeightsError, match=r"no network resnet81 \(did you mean"):
        replace(TINY, model="resnet81").evidence(striped, (0,))


def test_a_batch_that_the_memory_has_no_room_for_is_learnt_in_parts_and_it_is_said(striped, monkeypatch):
    forward, said = _Classifier.forward, []

    def crowded(model, images):
        if model.training and len(images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(model, images)

    monkeypatch.setattr(_Classifier, "forward", crowded)
    with listening(lambda *_: None, said.append):
        found = replace(TINY, epochs=3).evidence(striped, (0,))
    assert [line.partition(": ")[2] for line in said] == [
        "from here on 8 images at a time",
        "from here on 4 images at a time",
    ]
    assert accuracy(found) > 1.3 / CLASSES


def test_where_there_is_no_room_to_learn_it_says_what_to_do(striped, monkeypatch):
    def full(model, images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(_Classifier, "forward", full)
    with pytest.raises(CleanerError, match="no room for the network and 2 images of 32 px; end what else uses it"):
        TINY.evidence(striped, (0,))
