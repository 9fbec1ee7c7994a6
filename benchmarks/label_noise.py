"""Which wrong labels are found, beside cleanlab on the same features.

    python -m benchmarks.label_noise --data DIR > benchmarks/label_noise.md

DIR (default: ../shared/data beside the checkout) holds `cifar10n_train.parquet` with the columns image (bytes),
clean_label, aggre_label and random_label1 (CIFAR-10 and http://noisylabels.com; CC BY-NC 4.0) and `grocery.parquet`
with image, label and coarse_label (https://github.com/marcusklasson/GroceryStoreDataset; MIT). Nearly all of the time
is scikit-learn's.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import noise
from benchmarks.label_rounds import Round, rounds
from cleaner.data.scan import scan
from cleaner.data.sources.parquet_images import ParquetImages
from cleaner.evidence.features import choose, embed
from cleaner.tables import array, matrix

SEED = 0
FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)
SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


@dataclass(frozen=True)
class Noisy:
    """Features n x d float16, the labels given and the true ones."""

    name: str
    features: np.ndarray
    given: np.ndarray
    true: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        return self.given != self.true


@dataclass(frozen=True)
class Found:
    """What one method found: F1 and share of what it flags, average precision of its order, seconds."""

    f1: float
    precision: float
    flagged: float
    seconds: float = 0.0
    by: str = ""


def features_of(file: Path) -> np.ndarray:
    """A default run's features of the column `image`."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.parquet"
        image = pq.read_table(file, columns=["image"]).column("image")
        pq.write_table(
            pa.table({"image": image, "label": ["none", "some"] * (len(image) // 2) + ["none"] * (len(image) % 2)}),
            images,
        )
        source = ParquetImages.open(images)
        span = {"source": source, "start": 0, "stop": len(image), "workers": 2, "max_pixels": 10**8}
        manifest = scan(source.listing(), **span)
        return embed(manifest, backbone=choose("auto", weights=None, image_size=None, manifest=manifest), **span)


def cifar(data: Path) -> Iterator[Noisy]:
    file = data / "cifar10n_train.parquet"
    features = features_of(file)
    columns = pq.read_table(file, columns=["clean_label", "aggre_label", "random_label1"])
    true, aggregated, person = (column.to_numpy().astype(np.int32) for column in columns.columns)
    for n in (5_000, 20_000):
        part = slice(n)
        yield Noisy(f"CIFAR-10N aggregate, {n:,}", features[part], aggregated[part], true[part])
        yield Noisy(f"CIFAR-10N one person, {n:,}", features[part], person[part], true[part])
    part = slice(5_000)
    for name, made in {
        "symmetric 40 %": noise.symmetric(true[part], 10, 0.4, SEED),
        "pairs 40 %": noise.pair(true[part], 10, 0.4, SEED),
        "clean": true[part],
    }.items():
        yield Noisy(f"CIFAR-10 {name}, 5,000", features[part], made, true[part])


def grocery(data: Path) -> Iterator[Noisy]:
    file = data / "grocery.parquet"
    features = features_of(file)
    columns = pq.read_table(file, columns=["label", "coarse_label"])
    true, groups = (column.to_numpy().astype(np.int32) for column in columns.columns)
    rows = _at_most(true, 30)
    true, groups, features = true[rows], groups[rows], features[rows]
    for name, made in {
        "symmetric 20 %": noise.symmetric(true, 81, 0.2, SEED),
        "look-alikes 20 %": noise.within_groups(true, groups, 0.2, SEED),
        "by neighbours 10 %": noise.by_neighbors(true, features, 0.1, SEED),
        "clean": true,
        "symmetric 10 %": noise.symmetric(true, 81, 0.1, SEED),
        "symmetric 40 %": noise.symmetric(true, 81, 0.4, SEED),
        "by neighbours 20 %": noise.by_neighbors(true, features, 0.2, SEED),
    }.items():
        yield Noisy(f"Grocery {name}, 30 a class", features, made, true)


def _at_most(labels: np.ndarray, count: int) -> np.ndarray:
    """Rows of at most `count` samples of each class."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    return np.sort(np.concatenate([order[labels[order] == label][:count] for label in np.unique(labels)]))


def ours(data: Noisy, policy: str) -> tuple[Found, Round]:
    """What cleaner finds, and its first round."""
    started = time.monotonic()
    all_rounds = list(rounds(data.features, data.given, policy=policy, seed=SEED))
    seconds = time.monotonic() - started
    last = all_rounds[-1]
    return _judged(data, last.flagged, array(last.verdicts, "score"), seconds, policy), all_rounds[0]


def _judged(data: Noisy, flagged: np.ndarray, score: np.ndarray, seconds: float, by: str) -> Found:
    precision = average_precision_score(data.wrong, -score) if data.wrong.any() else np.nan
    return Found(f1_score(data.wrong, flagged, zero_division=0), precision, flagged.mean(), seconds, by)


def cleanlab_on(data: Noisy, probs: np.ndarray) -> dict[str, Found]:
    """What each filter flags, with the best of the three scores' average precisions."""
    scores = [get_label_quality_scores(data.given, probs, method=method, adjust_pred_probs=False) for method in SCORES]
    best = (
        max(scores, key=lambda score: _judged(data, score < 0, score, 0, "").precision)
        if data.wrong.any()
        else scores[0]
    )
    return {by: _judged(data, find_label_issues(data.given, probs, filter_by=by), best, 0, by) for by in FILTERS}


def probabilities(evidence: pa.Table, classes: int) -> np.ndarray:
    """n x classes from evidence: what is left beside the ten named classes is shared equally by the others."""
    named, probs = matrix(evidence, "top_classes"), matrix(evidence, "top_probs").astype(np.float64)
    found = np.repeat(np.clip(1 - probs.sum(1), 1e-9, 1)[:, None] / max(1, classes - named.shape[1]), classes, axis=1)
    np.put_along_axis(found, named, probs, 1)
    return found / found.sum(1, keepdims=True)


def regression(data: Noisy, standardise: bool) -> tuple[np.ndarray, float]:
    """scikit-learn's probabilities, out of fold with its defaults, and the seconds they took."""
    model = make_pipeline(*[StandardScaler()] * standardise, LogisticRegression())
    started = time.monotonic()
    probs = cross_val_predict(model, data.features.astype(np.float32), data.given, cv=5, method="predict_proba")
    return probs, time.monotonic() - started


def _best(found: list[Found], of: Callable[[Found], float]) -> Found:
    return max(found, key=of)


def compare(data: Noisy) -> tuple[str, str]:
    """A line of the first table, and one of the second."""
    belief, first = ours(data, "belief")
    recipe, _ = ours(data, "accv")
    fits = [regression(data, standardise) for standardise in (False, True)]
    theirs = [cleanlab_on(data, probs) for probs, _ in fits]
    on_ours = list(cleanlab_on(data, probabilities(first.evidence, int(data.given.max()) + 1)).values())
    peers = [found for each in theirs for found in each.values()]
    cells = [belief.f1, _best(peers, lambda f: f.f1).f1, _best(on_ours, lambda f: f.f1).f1, recipe.f1]
    cells += [belief.precision, _best(peers, lambda f: f.precision).precision, on_ours[0].precision, recipe.precision]
    shown = " | ".join("-" if np.isnan(cell) else f"{100 * cell:.1f}" for cell in cells)
    seconds = f"{belief.seconds:.0f} | {fits[0][1]:.0f}"
    line = f"| {data.name} | {100 * data.wrong.mean():.1f} | {shown} | {100 * belief.flagged:.1f} | {seconds} |"
    each = " | ".join(_cell([found[name] for found in theirs]) for name in FILTERS)
    return line, f"| {data.name} | {each} |"


def _cell(found: list[Found]) -> str:
    """The better of two F1s and what that one flags, in %."""
    better = _best(found, lambda f: (f.f1, -f.flagged))
    return f"{100 * better.f1:.1f} ({100 * better.flagged:.1f})"


HEAD = """# Wrong labels found, beside cleanlab 2.9.0

`python -m benchmarks.label_noise`, 2 cores, one seed, features of a default run. F1 and average precision (AP) in %.
"LR": cleanlab on scikit-learn's `cross_val_predict(LogisticRegression())`, 5 folds, its best filter and score (chosen
by the truth) and the better of raw and standardised features; "same": cleanlab's best on the probabilities of cleaner's
own first round; "accv": the recipe's rule. "LR s": one `cross_val_predict` on raw features.

| set | wrong | F1 | F1 LR | F1 same | F1 accv | AP | AP LR | AP same | AP accv | flagged | s | LR s |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    data = parser.parse_args().data
    print(HEAD, flush=True)
    details = []
    for source in (cifar, grocery):
        for noisy in source(data):
            line, detail = compare(noisy)
            print(line, flush=True)
            details.append(detail)
    print("\nF1 of each of cleanlab's filters on LR, and what it flags:\n")
    print(f"| set | {' | '.join(FILTERS)} |\n|{'---|' * (len(FILTERS) + 1)}")
    print("\n".join(details))


if __name__ == "__main__":
    main()
