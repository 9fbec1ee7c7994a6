import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.errors import WeightsError
from cleaner.evidence.features import Backbone, ShardedFeatures, check, choose, embed, shard_size, sound
from cleaner.evidence.pixel_features import pixel_features
from cleaner.progress import listening

LITE = "tf_efficientnet_lite0"
LIMITS = {"max_pixels": 10**7, "workers": 2}
BACKBONES = [Backbone("pixels", 8, ""), Backbone(LITE, 64, "packaged")]


def sized(*sides: int) -> pa.Table:
    """A manifest of square images of these sides; 0 is an unusable one."""
    width = [side or None for side in sides]
    problem = [None if side else "no image" for side in sides]
    columns = {"width": pa.array(width, pa.int32()), "height": pa.array(width, pa.int32())}
    return pa.table({**columns, "problem": pa.array(problem, pa.string())})


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Source and manifest of nine images, the fifth unusable."""
    root = tmp_path_factory.mktemp("few")
    rng = np.random.default_rng(0)
    files = []
    for _ in range(9):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(out, "PNG")
        files.append(out.getvalue())
    files[4] = b"broken"
    pq.write_table(pa.table({"image": files, "label": ["a", "b", "a"] * 3}), root / "few.parquet")
    source = open_source(root / "few.parquet")
    return source, scan(source.listing(), source=source, start=0, stop=9, **LIMITS)


def test_auto_takes_pixels_for_tiny_images_only():
    assert choose("auto", weights=None, image_size=None, manifest=sized(8, 8, 8, 300)) == Backbone("pixels", 8, "")
    small = choose("auto", weights=None, image_size=None, manifest=sized(32, 32, 0, 0, 0))
    assert small == Backbone(LITE, 160, "packaged")
    assert choose("auto", weights=None, image_size=None, manifest=sized(500, 640)).image_size == 224
    assert choose("auto", weights=None, image_size=96, manifest=sized(500)).image_size == 96


def test_a_network_made_for_one_size_gets_it():
    chosen = choose("vit_tiny_patch16_224", weights=None, image_size=None, manifest=sized(32))
    assert chosen.image_size == 224 and chosen.weights_hash.startswith("published:timm/vit_tiny_patch16_224")


def test_a_weights_file_counts_by_what_is_in_it_not_by_where_it_lies(tmp_path):
    (tmp_path / "a").write_bytes(b"1"), (tmp_path / "b").write_bytes(b"1"), (tmp_path / "c").write_bytes(b"2")
    a, b, c = (choose("resnet18", weights=tmp_path / n, image_size=64, manifest=sized(32)) for n in "abc")
    assert a == b != c and b.weights == str(tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet81", None, "did you mean resnet18"),
        ("resnet18", "missing.safetensors", r"features\.weights = missing\.safetensors: can't be read"),
        ("pixels", "some.safetensors", "the backbone pixels has no weights"),
    ],
)
def test_a_backbone_that_cannot_be_had_is_refused_before_any_work(name, weights, message):
    with pytest.raises(WeightsError, match=message):
        check(name, weights=weights and Path(weights))


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_an_image_s_features_depend_on_nothing_but_the_image(few, backbone):
    source, manifest = few
    whole = embed(manifest, source=source, backbone=backbone, start=0, stop=9, **LIMITS)
    assert whole.dtype == np.float16 and len(whole) == 9
    one_by_one = [
        embed(manifest, source=source, backbone=backbone, start=n, stop=n + 1, max_pixels=10**7, workers=1)
        for n in range(9)
    ]
    assert np.array_equal(whole, np.concatenate(one_by_one))


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_an_unusable_image_has_no_features_and_a_shard_of_them_is_as_wide_as_others(few, backbone):
    source, manifest = few
    whole = embed(manifest, source=source, backbone=backbone, start=3, stop=6, **LIMITS)
    assert not whole[1].any() and whole[0].any() and whole[2].any()
    nothing = embed(manifest, source=source, backbone=backbone, start=4, stop=5, **LIMITS)
    assert nothing.shape == (1, whole.shape[1]) and not nothing.any()


def test_a_local_network_embeds_too(few, tmp_path):
    from cleaner.evidence.networks import untrained

    save_file(untrained("test_resnet", image_size=64, classes=4).state_dict(), tmp_path / "w.safetensors")
    source, manifest = few
    backbone = choose("test_resnet", weights=tmp_path / "w.safetensors", image_size=64, manifest=manifest)
    assert embed(manifest, source=source, backbone=backbone, start=0, stop=9, **LIMITS).any(1).sum() == 8


def test_who_listens_hears_of_every_usable_image(few):
    source, manifest = few
    heard = []
    with listening(lambda *said: heard.append(said)):
        embed(manifest, source=source, backbone=BACKBONES[0], start=0, stop=9, **LIMITS)
    assert heard[0] == ("images embedded", 0, 8) and heard[-1] == ("images embedded", 8, 8)


def test_pixels_tell_handwritten_digits_apart():
    digits = load_digits()
    images = np.repeat((digits.images[..., None] * 255 / 16).astype(np.uint8), 3, axis=3)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    assert cross_val_score(model, pixel_features(images), digits.target, cv=folds).mean() > 0.975


@given(st.lists(st.integers(0, 22), unique=True).map(sorted), st.integers(1, 25))
def test_shards_read_like_the_whole(rows, each):
    whole = np.random.default_rng(0).standard_normal((23, 3)).astype(np.float16)
    features = ShardedFeatures([whole[start : start + each] for start in range(0, 23, each)])
    assert features.shape == whole.shape
    assert np.array_equal(features[np.array(rows, int)], whole[np.array(rows, int)])
    assert np.array_equal(features[5:20], whole[5:20]) and np.array_equal(features[:], whole)


@pytest.mark.parametrize(
    ("images_per_second", "most", "size"), [(170, 10_000, 10_000), (51, 10_000, 2_000), (9, 10_000, 500), (0.1, 99, 50)]
)
def test_a_shard_is_at_most_a_minute_of_work_in_round_numbers(images_per_second, most, size):
    assert shard_size(images_per_second, most) == size
    assert shard_size(images_per_second, 30) == 30


def test_an_image_whose_features_are_no_numbers_gets_a_problem(judged):
    shards = np.ones((50, 4), np.float16), np.ones((31, 4), np.float16)
    shards[0][7, 2], shards[1][3, 0] = np.nan, np.inf
    before, after = judged.manifest.column("problem").to_pylist(), sound(judged.manifest, *shards)
    assert after.schema == judged.manifest.schema
    now = after.column("problem").to_pylist()
    assert [row for row in range(81) if now[row] != before[row]] == [7, 53]
    assert after.column("problem")[7].as_py() == "its features are no numbers"
