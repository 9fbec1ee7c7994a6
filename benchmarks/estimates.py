"""What is said of labels where models know little, where images are hard, where classes are many; and how often the
interval of a survey holds.

    python -m benchmarks.estimates [--data DIR] > benchmarks/estimates.md

DIR as for `benchmarks.label_noise`: of it CIFAR-10's images with their true labels and those of CIFAR-10N are read.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score

from benchmarks import noise
from benchmarks.label_noise import Noisy, calibration_error, features_of
from benchmarks.label_rounds import manifest_of, rounds
from benchmarks.surveys import KINDS, Kind, repeated
from cleaner.evidence.fitting import guesses_of
from cleaner.methods import label_noise
from cleaner.methods.belief import believe, fit_of, flag_below
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, matrix

SEED, SAMPLES, REPEATS = 0, 5_000, 300


def hard(data: Path) -> Iterator[Noisy]:
    """Sets of 5,000 images of which models know little, and some of which they know nothing."""
    file = data / "cifar10n_train.parquet"
    columns = pq.read_table(file, columns=["image", "clean_label", "aggre_label"]).slice(0, SAMPLES)
    true, aggregated = (columns.column(name).to_numpy().astype(np.int32) for name in ("clean_label", "aggre_label"))
    features, random = features_of(file, SAMPLES).astype(np.float32), np.random.default_rng(SEED)
    symmetric = noise.symmetric(true, 10, 0.2, SEED)
    for classes, count in ((2, 80), (4, 200), (10, 400), (10, 5_000)):
        made = (random.permutation(count) % classes).astype(np.int32)
        yield Noisy(f"labels at random, {classes} classes, {count:,} images", features[:count], made, made)
    small = [np.asarray(Image.open(io.BytesIO(image)).convert("RGB").resize((8, 8))) for image in _bytes(columns)]
    pixels = (np.stack(small).reshape(SAMPLES, -1) / 255).astype(np.float16)
    for words, labels in (("clean", true), ("aggregate", aggregated), ("symmetric 20 %", symmetric)):
        yield Noisy(f"pixels, {words}", pixels, labels, true)
    for spreads in (1, 2, 3, 4, 6):
        blurred = features + spreads * features.std(0) * random.normal(size=features.shape)
        yield Noisy(f"noise of {spreads} spreads, clean", blurred.astype(np.float16), true, true)
        if spreads == 2:
            yield Noisy(f"noise of {spreads} spreads, symmetric 20 %", blurred.astype(np.float16), symmetric, true)
    main = np.linalg.svd(features - features.mean(0), full_matrices=False)[2]
    for few in (3, 5, 8):
        yield Noisy(f"{few} directions, clean", (features @ main[:few].T).astype(np.float16), true, true)
    yield Noisy("8 directions, symmetric 20 %", (features @ main[:8].T).astype(np.float16), symmetric, true)
    two = np.isin(true, (3, 5))
    cats = (true[two] == 5).astype(np.int32)
    for words, labels in (("clean", cats), ("symmetric 20 %", noise.symmetric(cats, 2, 0.2, SEED))):
        yield Noisy(f"cats and dogs, {words}", features[two].astype(np.float16), labels, cats)


def _bytes(columns: pq.ParquetFile) -> Iterator[bytes]:
    for image in columns.column("image").to_pylist():
        yield image["bytes"] if isinstance(image, dict) else image


def doubted(data: Noisy) -> str:
    """A line: what all rounds come to, and what is said of the models."""
    *_, last = rounds(data.features, data.given, policy="belief", seed=SEED)
    manifest = manifest_of(data.given)
    known = manifest, fold(manifest, []), last.evidence, ANSWER_LOG.empty_table(), last.fit, last.first
    said = label_noise.noise(*known, policy="belief").to_pylist()[0]
    score = pc.fill_null(last.verdicts.column("score"), 0.5).to_numpy()
    right = (matrix(last.evidence, "top_classes")[:, 0] == data.true).mean()
    found = average_precision_score(data.wrong, -score) if data.wrong.any() else np.nan
    cells = [right, data.wrong.mean(), f1_score(data.wrong, last.flagged, zero_division=0), found, last.flagged.mean()]
    shown = " | ".join("-" if np.isnan(cell) else f"{100 * cell:.1f}" for cell in cells)
    error = f"{calibration_error(score, ~data.wrong):.3f}" if said["knowledge"] else "-"
    knows = f"{max(said['information'], 0):.2f} +- {said['error']:.2f}"
    return f"| {data.name} | {shown} | {error} | {knows} | {said['knowledge']:.2f} | {said['gate']:.2f} |"


def of_many_classes(classes: int, each: int) -> str:
    """A line on made-up calibrated predictions, where 60 % of every tenth class carry the next label: how often they
    are estimated to, and what is found."""
    random = np.random.default_rng(SEED)
    n = classes * each
    logits = 8 * random.standard_normal((n, classes), np.float32)
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    true = np.minimum((probs.cumsum(1) < random.random((n, 1), np.float32)).sum(1), classes - 1).astype(np.int32)
    wrong = (true % 10 == 0) & (random.random(n) < 0.6)
    guesses = guesses_of(probs, np.where(wrong, true + 1, true).astype(np.int32))
    found = believe(guesses, np.full(n, -1, np.int8), *fit_of(guesses))
    sick = np.arange(0, classes, 10)
    learnt = found.confusion.of(sick, sick + 1).mean()
    cells = [learnt, f1_score(wrong, found.right < flag_below(found)), average_precision_score(wrong, -found.right)]
    return f"| {classes:,} | {each} | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |"


def coverage(kind: Kind) -> str:
    """A line: with 50, 100 and 300 answers."""
    cells = [repeated(kind, SAMPLES, 0.15, answers, REPEATS) for answers in (50, 100, 300)]
    shown = " | ".join(f"{held:.2f} / {100 * wide:.1f}" for held, wide in cells)
    return f"| {kind.__name__.replace('_', ' ')} | {shown} |"


HEAD = """# What is said where models know little, and how far it holds

`python -m benchmarks.estimates`, 2 cores. CIFAR-10, 5,000 images, features of a default run made worse: as pixels, with
noise of so many of their spreads, as few directions; two classes alone; labels at random. All rounds. In %: how often
the models are right, wrong labels, F1, average precision, what is flagged; the scores' expected calibration error; what
the models know of a label, in nats, whether that counts as knowledge, and how far the gate is open.

| set | right | wrong | F1 | AP | flagged | ECE | nats | knowledge | gate |
|---|---|---|---|---|---|---|---|---|---|"""
MANY = """
60 % of every tenth class carry the next label (made-up, calibrated predictions): how many of these 60 are learnt, in %.

| classes | images of each | learnt | F1 | AP |
|---|---|---|---|---|"""
COVERAGE = f"""
Surveys of {SAMPLES:,} labels, 15 % wrong (none where clean), {REPEATS} of each kind: how many of the intervals of 90 %
hold the truth / their width in points, by what the models think.

| models | 50 answers | 100 answers | 300 answers |
|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    data = parser.parse_args().data
    print(HEAD, *map(doubted, hard(data)), sep="\n", flush=True)
    lines = [of_many_classes(*size) for size in ((20, 200), (200, 200), (2_000, 30))]
    print(MANY, *lines, sep="\n", flush=True)
    print(COVERAGE, *map(coverage, KINDS), sep="\n", flush=True)


if __name__ == "__main__":
    main()
