"""Which wrong labels and which junk are found, beside cleanlab on the same features.

    python -m benchmarks.label_noise [--data DIR] [--only WORDS] > benchmarks/label_noise.md

DIR (default: ../shared/data beside the checkout) holds `cifar10n_train.parquet` with the columns image (bytes),
clean_label, aggre_label and random_label1 (CIFAR-10 and http://noisylabels.com; CC BY-NC 4.0) and `grocery.parquet`
with image, label and coarse_label (https://github.com/marcusklasson/GroceryStoreDataset; MIT),
`cifar10n_aggregate_probs.parquet` with given_label, true_label and a column of 10 probabilities for each network
(https://github.com/cleanlab/label-error-detection-benchmarks) and `offtopic.parquet` with image. Much of the time is
scikit-learn's.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import noise
from benchmarks.label_rounds import Round, first_evidence, manifest_of, rounds
from cleaner.config import Config
from cleaner.data.scan import scan
from cleaner.data.sources.parquet_images import ParquetImages
from cleaner.evidence.crossfit import evidence_table
from cleaner.evidence.features import choose, embed
from cleaner.methods import image_noise, label_noise
from cleaner.methods.prevalence import cut, draw, shares
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, Action, Answer, array, matrix

SEED = 0
SEEDS = (0, 1, 2)
ANSWERS = (0, 50, 100)
MARKS = (0, 1, 5, 20, 100)
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
    """What one method found: F1 and share of what it flags, average precision of its order, how far its scores are from
    the truth (expected calibration error, 15 bins), seconds."""

    f1: float
    precision: float
    flagged: float
    error: float
    seconds: float = 0.0
    by: str = ""


def features_of(file: Path, most: int | None = None) -> np.ndarray:
    """A default run's features of the first images of the column `image`."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.parquet"
        image = pq.read_table(file, columns=["image"]).column("image")[:most]
        pq.write_table(
            pa.table({"image": image, "label": ["none", "some"] * (len(image) // 2) + ["none"] * (len(image) % 2)}),
            images,
        )
        source = ParquetImages.open(images)
        span = {"source": source, "start": 0, "stop": len(image), "workers": 2, "max_pixels": 10**8}
        manifest = scan(source.listing(), **span)
        return embed(manifest, backbone=choose("auto", weights=None, image_size=None, manifest=manifest), **span)


def cifar(data: Path, features: np.ndarray, seed: int) -> Iterator[Noisy]:
    file = data / "cifar10n_train.parquet"
    columns = pq.read_table(file, columns=["clean_label", "aggre_label", "random_label1"])
    true, aggregated, person = (column.to_numpy().astype(np.int32) for column in columns.columns)
    for n in (5_000, 20_000) if seed == SEED else (5_000,):
        part = slice(n)
        yield Noisy(f"CIFAR-10N aggregate, {n:,}", features[part], aggregated[part], true[part])
        yield Noisy(f"CIFAR-10N one person, {n:,}", features[part], person[part], true[part])
    part = slice(5_000)
    for name, made in {
        "symmetric 40 %": noise.symmetric(true[part], 10, 0.4, seed),
        "pairs 40 %": noise.pair(true[part], 10, 0.4, seed),
        "clean": true[part],
    }.items():
        yield Noisy(f"CIFAR-10 {name}, 5,000", features[part], made, true[part])


def grocery(data: Path, features: np.ndarray, seed: int) -> Iterator[Noisy]:
    file = data / "grocery.parquet"
    columns = pq.read_table(file, columns=["label", "coarse_label"])
    true, groups = (column.to_numpy().astype(np.int32) for column in columns.columns)
    rows = _at_most(true, 30)
    true, groups, features = true[rows], groups[rows], features[rows]
    for name, made in {
        "symmetric 20 %": noise.symmetric(true, 81, 0.2, seed),
        "look-alikes 20 %": noise.within_groups(true, groups, 0.2, seed),
        "by neighbours 10 %": noise.by_neighbors(true, features, 0.1, seed),
        "clean": true,
        "symmetric 10 %": noise.symmetric(true, 81, 0.1, seed),
        "symmetric 40 %": noise.symmetric(true, 81, 0.4, seed),
        "by neighbours 20 %": noise.by_neighbors(true, features, 0.2, seed),
    }.items():
        yield Noisy(f"Grocery {name}, 30 a class", features, made, true)


def _at_most(labels: np.ndarray, count: int) -> np.ndarray:
    """Rows of at most `count` samples of each class."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    return np.sort(np.concatenate([order[labels[order] == label][:count] for label in np.unique(labels)]))


def ours(data: Noisy, policy: str, seed: int = SEED) -> tuple[Found, Round]:
    """What cleaner finds, and its first round."""
    started = time.monotonic()
    all_rounds = list(rounds(data.features, data.given, policy=policy, seed=seed))
    seconds = time.monotonic() - started
    last = all_rounds[-1]
    return _judged(data, last.flagged, array(last.verdicts, "score"), seconds, policy), all_rounds[0]


def _judged(data: Noisy, flagged: np.ndarray, score: np.ndarray, seconds: float, by: str) -> Found:
    precision = average_precision_score(data.wrong, -score) if data.wrong.any() else np.nan
    error = calibration_error(np.asarray(score, float), ~data.wrong)
    return Found(f1_score(data.wrong, flagged, zero_division=0), precision, flagged.mean(), error, seconds, by)


def calibration_error(score: np.ndarray, right: np.ndarray) -> float:
    """How far the mean score and the share of right labels are apart, over 15 bins of the score."""
    part = np.minimum((score * 15).astype(int), 14)
    return sum(abs(score[part == i].sum() - right[part == i].sum()) for i in range(15)) / len(score)


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


def compare(data: Noisy, others: list[Noisy]) -> tuple[str, str]:
    """A line of the first table, and one of the second; `others` is the same set with other seeds."""
    belief, first = ours(data, "belief")
    found = [belief, *(ours(other, "belief", seed)[0] for seed, other in zip(SEEDS[1:], others, strict=False))]
    recipe, _ = ours(data, "accv")
    fits = [regression(data, standardise) for standardise in (False, True)]
    theirs = [cleanlab_on(data, probs) for probs, _ in fits]
    on_ours = list(cleanlab_on(data, probabilities(first.evidence, int(data.given.max()) + 1)).values())
    peers = [found for each in theirs for found in each.values()]
    mean = {name: float(np.mean([getattr(each, name) for each in found])) for name in ("f1", "precision", "flagged")}
    error = np.mean([each.error for each in found])
    cells = [mean["f1"], _best(peers, lambda f: f.f1).f1, _best(on_ours, lambda f: f.f1).f1, recipe.f1]
    cells += [mean["precision"], _best(peers, lambda f: f.precision).precision, on_ours[0].precision, recipe.precision]
    shown = " | ".join("-" if np.isnan(cell) else f"{100 * cell:.1f}" for cell in cells)
    seconds = f"{belief.seconds:.0f} | {fits[0][1]:.0f}"
    flagged = f"{100 * mean['flagged']:.1f} | {error:.3f}"
    line = f"| {data.name} | {100 * data.wrong.mean():.1f} | {shown} | {flagged} | {seconds} |"
    each = " | ".join(_cell([found[name] for found in theirs]) for name in FILTERS)
    return line, f"| {data.name} | {each} |"


def _cell(found: list[Found]) -> str:
    """The better of two F1s and what that one flags, in %."""
    better = _best(found, lambda f: (f.f1, -f.flagged))
    return f"{100 * better.f1:.1f} ({100 * better.flagged:.1f})"


def strong(data: Path) -> Iterator[str]:
    """Lines on the probabilities of networks trained end to end: one round of `fine`."""
    table = pq.read_table(data / "cifar10n_aggregate_probs.parquet")
    given, true = (table.column(f"{name}_label").to_numpy().astype(np.int32) for name in ("given", "true"))
    for name in table.column_names[2:]:
        probs = np.stack(table.column(name).to_numpy()).astype(np.float32)
        noisy, rows = Noisy(name, probs, given, true), np.arange(len(given), dtype=np.int32)
        evidence = evidence_table(rows, (rows % 5).astype(np.int8), probs, given)
        manifest = manifest_of(given)
        split = Config().fine.model_dump(exclude={"max_rounds", "predictor"})
        standing = fold(manifest, [])
        known = manifest, standing, evidence, ANSWER_LOG.empty_table()
        fit = label_noise.fit(*known, policy=split["policy"])
        said = label_noise.verdicts(*known, fit, fit, **split, stage="fine", round=1, by=name)
        found = _judged(noisy, array(said, "action") != Action.KEEP, array(said, "score"), 0, name)
        top = f1_score(noisy.wrong, probs.argmax(1) != given)
        peer = _best(list(cleanlab_on(noisy, probs.astype(np.float64)).values()), lambda each: each.f1)
        cells = [noisy.wrong.mean(), found.f1, top, peer.f1, found.precision, found.flagged]
        yield f"| {name} | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} | {found.error:.3f} |"


def answered(data: Noisy, seed: int) -> list[Found]:
    """What the last round's evidence finds when people have answered none, 50 and 100 questions, by the truth."""
    last = list(rounds(data.features, data.given, policy="belief", seed=seed))[-1]
    manifest = manifest_of(data.given)
    doubt = 1 - pc.fill_null(last.verdicts.column("score"), 0.5).to_numpy().astype(float)
    split = Config().fine.model_dump(exclude={"max_rounds", "predictor"})
    found = []
    for count in ANSWERS:
        stratum = cut(doubt, count)
        rows = draw(stratum, shares(stratum, doubt, count), seed=seed)[:count] if count else []
        asked = last.verdicts.take(pa.array(rows, pa.int64()))
        known = manifest, fold(manifest, []), last.evidence, _said(data, asked)
        fit = label_noise.fit(*known, policy=split["policy"])
        said = label_noise.verdicts(*known, fit, last.first, **split, stage="fine", round=1, by="probe")
        found.append(_judged(data, array(said, "action") != Action.KEEP, array(said, "score"), 0, f"{count} answers"))
    return found


def _said(data: Noisy, asked: pa.Table) -> pa.Table:
    """ANSWER_LOG: the true answers on the rows of VERDICTS."""
    rows = array(asked, "row")
    right = (~data.wrong)[rows]
    true, given = ([f"{labels[row]:05d}" for row in rows] for labels in (data.true, data.given))
    known = {
        "content_hash": asked.column("sample_id"),
        "sample_id": asked.column("sample_id"),
        "label": given,
        "answer": [Answer.RIGHT if yes else Answer.ANOTHER for yes in right],
        "new_label": [None if yes else label for yes, label in zip(right, true, strict=True)],
    }
    return pa.table([known.get(part.name, pa.nulls(len(asked), part.type)) for part in ANSWER_LOG], ANSWER_LOG)


def answers_line(sets: list[Noisy]) -> str:
    """F1, average precision and calibration error after each number of answers, means over seeds."""
    each = [answered(data, seed) for seed, data in zip(SEEDS, sets, strict=False)]
    cells = [
        f"{100 * np.mean([f.f1 for f in found]):.1f} / {100 * np.mean([f.precision for f in found]):.1f}"
        f" / {np.mean([f.error for f in found]):.3f}"
        for found in zip(*each, strict=True)
    ]
    return f"| {sets[0].name} | {' | '.join(cells)} |"


def junk(data: Path, sets: dict[str, tuple[np.ndarray, np.ndarray]]) -> Iterator[str]:
    """Lines on photos that show no class, mixed into `sets` of features and labels: what is found without marks, and
    with so many of each kind."""
    strange = features_of(data / "offtopic.parquet")
    for name, (features, labels) in sets.items():
        for share in (0.0, 0.005, 0.02, 0.08):
            random = np.random.default_rng(SEED)
            count = int(share * len(labels))
            mixed = np.concatenate([features, strange[random.permutation(len(strange))[:count]]])
            given = np.concatenate([labels, random.integers(0, labels.max() + 1, count)]).astype(np.int32)
            yield junk_line(name, mixed, given, len(labels))
        yield junk_line(f"{name}, a second camera", second_camera(features), labels, len(labels))
        yield junk_line(f"{name}, labels shuffled", features, random.permutation(labels), len(labels))
        for count in (30, 150):
            yield junk_line(f"{name}, placeholders", *placeholders(features, labels, count), len(labels))


def junk_line(name: str, features: np.ndarray, given: np.ndarray, good: int) -> str:
    """A line on images of which the first `good` are no junk."""
    manifest = manifest_of(given)
    evidence = first_evidence(features, manifest, seed=SEED)
    cells = [dropped(manifest, evidence, features, good, marks) for marks in MARKS]
    return f"| {name} | {good:,} | {len(given) - good} | {' | '.join(cells)} |"


def second_camera(features: np.ndarray) -> np.ndarray:
    """Features of which for 6 % of the images all but the 64 principal directions is twice as far from the mean."""
    values = features.astype(np.float32)
    middle = values.mean(0)
    main = np.linalg.svd((values - middle)[:4_000], full_matrices=False)[2][:64]
    rest = (values - middle) - (values - middle) @ main.T @ main
    moved = np.random.default_rng(SEED).random(len(values)) < 0.06
    return (values + np.where(moved[:, None], rest, 0)).astype(np.float16)


def placeholders(features: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many that are nearly one image, under random labels, beside the rest."""
    random, values = np.random.default_rng(SEED), features.astype(np.float32)
    one, other = (values[random.integers(0, len(values), count)] for _ in range(2))
    made = (values[17] + 0.2 * (one - other)).astype(np.float16)
    given = np.concatenate([labels, random.integers(0, labels.max() + 1, count)]).astype(np.int32)
    return np.concatenate([features, made]), given


def dropped(manifest: pa.Table, evidence: pa.Table, features: np.ndarray, good: int, marked: int) -> str:
    """How many junk images are found, and how many good ones lost, with so many of each marked."""
    random, n = np.random.default_rng(SEED), len(manifest)
    if marked and n - good < marked:
        return "-"
    rows = np.concatenate([good + random.permutation(n - good)[:marked], random.permutation(good)[:marked]])
    marks = pa.table({"row": pa.array(rows, pa.int32()), "junk": rows >= good}).sort_by("row")
    standing = fold(manifest, [])
    likely = image_noise.judged(manifest, standing, evidence, marks, features, seed=SEED)
    said = image_noise.verdicts(manifest, standing, evidence, likely, threshold=0.9)
    found = np.setdiff1d(array(said, "row"), rows)
    return f"{(found >= good).sum()} / {(found < good).sum()}"


HEAD = """# Wrong labels found, beside cleanlab 2.9.0

`python -m benchmarks.label_noise`, 2 cores, features of a default run. F1 and average precision (AP) in %; ECE:
expected calibration error of the scores. cleaner's F1, AP, flagged and ECE are means of three seeds, of folds and of
injected noise (but for the sets of 20,000: one seed).
"LR": cleanlab on scikit-learn's `cross_val_predict(LogisticRegression())`, 5 folds, its best filter and score (chosen
by the truth) and the better of raw and standardised features; "same": cleanlab's best on the probabilities of cleaner's
own first round; "accv": the recipe's rule. "LR s": one `cross_val_predict` on raw features.
[How many labels are right by their scores](reliability.svg): `python -m benchmarks.reliability`.

| set | wrong | F1 | F1 LR | F1 same | F1 accv | AP | AP LR | AP same | AP accv | flagged | ECE | s | LR s |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""
STRONG = """
Networks trained end to end on CIFAR-10N's aggregate labels, 50,000 images, out-of-sample probabilities as published;
"top": what is not the likeliest class is flagged; "cleanlab": its best filter.

| network | wrong | F1 | F1 top | F1 cleanlab | AP | flagged | ECE |
|---|---|---|---|---|---|---|---|"""
ANSWERED = """
When people answer a calibration batch (drawn at random, more of it where labels are doubtful), by the truth:
F1 / AP / ECE of the last round's evidence over all samples, those answered included as the models see them.

| set | no answer | 50 answers | 100 answers |
|---|---|---|---|"""
JUNK = """
Photos of other things (ImageNet's) mixed in under random labels, a second camera (6 % of the images with all but the
principal directions twice as far out), shuffled labels, placeholders (nearly one image under random labels): junk found
beside what is marked / good images lost, with so many images of each kind marked:

| set | good images | junk | no mark | 1 + 1 | 5 + 5 | 20 + 20 | 100 + 100 |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--only", default="", help="only the sets with these words in their names")
    asked = parser.parse_args()
    data = asked.data
    print(HEAD, flush=True)
    details, told, sets = [], [], {}
    for source, file, most in ((cifar, "cifar10n_train", 20_000), (grocery, "grocery", None)):
        features = features_of(data / f"{file}.parquet", most)
        first, *others = ({noisy.name: noisy for noisy in source(data, features, seed)} for seed in SEEDS)
        for name, noisy in first.items():
            if asked.only not in name:
                continue
            same = [other[name] for other in others if name in other]
            line, detail = compare(noisy, same)
            print(line, flush=True)
            details.append(detail)
            told += [answers_line([noisy, *same])] if noisy.wrong.any() else []
        sets |= {name: (noisy.features, noisy.true) for name, noisy in first.items() if "clean" in name}
    print(STRONG, *strong(data), sep="\n", flush=True)
    print(ANSWERED, *told, sep="\n", flush=True)
    print(JUNK, *junk(data, sets), sep="\n", flush=True)
    print("\nF1 of each of cleanlab's filters on LR, and what it flags:\n")
    print(f"| set | {' | '.join(FILTERS)} |\n|{'---|' * (len(FILTERS) + 1)}")
    print("\n".join(details))


if __name__ == "__main__":
    main()
