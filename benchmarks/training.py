"""The engine beside a bare loop, and what cleaning is worth to a model.

    python -m benchmarks.training [--data DIR] [--photos FILE] [--images 5000] [--seeds 3] [--noise N ...]
                                  [--only speed|worth]

DIR (default: ../shared/data beside the checkout) holds `cifar10n_train.parquet` with the columns image (bytes),
clean_label, aggre_label and random_label1, and `cifar10_test.parquet` with image and clean_label: CIFAR-10N
(http://noisylabels.com) and CIFAR-10's test set.

Speed, on CIFAR's images or on those of FILE's column `image`: images a second of the engine, and of forward, backward
and step of the same timm network on the same batches in memory, in turns; then with images that are decoded each time,
beside the lower of what decoding alone and training alone can do; then forward alone beside that of the bare network.
Worth: `cleaner clean` and `cleaner compare` by the recipe `small`, measured on test images whose
labels are right, for two kinds of real noise and for none: there `raw` is what a model could be.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from cleaner.data.images import resized
from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.evidence.networks import timm
from cleaner.training.engine import Trainer
from cleaner.training.inference import predicted
from cleaner.training.loader import Images, World
from cleaner.training.log import METRICS
from cleaner.training.models import Normalised, made, shown_to
from cleaner.training.optimisation import optimiser_of
from cleaner.training.pixels import Decoding
from cleaner.training.recipe import Network, Optimisation, Phase, Recipe, Samples

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NOISE = {"aggregate": "aggre_label", "one person": "random_label1", "none": "clean_label"}
TURNS, STEPS, BATCH, JUDGED = 3, 30, 64, 256


def write_set(table: pa.Table, column: str, file: Path) -> Path:
    """A data set of image bytes whose labels are those of a column."""
    labels = [CLASSES[number] for number in table.column(column).to_pylist()]
    paths = [f"{number:05d}.jpg" for number in range(len(table))]
    pq.write_table(pa.table({"path": paths, "label": labels, "image": table.column("image")}), file)
    return file


def engine_rate(folder: Path, images: Images, network: Network, *, batch: int = BATCH) -> float:
    """Images a second of the engine, without augmentations, in its second epoch."""
    phases = (Phase(optimiser="sgd", epochs=2),)
    optimisation = Optimisation(phases=phases, batch=batch, effective_batch=batch, warmup=0, lr=0.001)
    recipe = Recipe(networks=(network,), optimisation=optimisation, samples=Samples(margin=1.0))
    none = Images(images.pixels, images.rows[:0], images.labels[:0], images.weights[:0])
    engine = Trainer(
        folder,
        recipe,
        network,
        classes=CLASSES,
        images=images,
        validation=none,
        test=none,
        seed=0,
        world=World.around(),
    )
    engine.train()
    return pq.read_table(folder / METRICS).column("images_per_second").to_pylist()[-1]


def bare_rate(images: Images, network: Network, device: torch.device, *, batch: int = BATCH) -> float:
    """Images a second of the bare loop on the same batches."""
    model = timm.create_model(network.backbone, num_classes=len(CLASSES)).to(device)
    model = model.to(memory_format=torch.channels_last).train()
    optimiser = optimiser_of(Phase(optimiser="sgd"), model)
    for group in optimiser.param_groups:
        group["lr"] = 0.001
    half = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
    steps = min(STEPS, len(images) // batch)
    batches = [
        (
            torch.from_numpy(images.pixels(some)).to(device).permute(0, 3, 1, 2).float().div(255),
            torch.from_numpy(images.labels[some].astype(np.int64)).to(device),
        )
        for some in np.split(images.rows[: steps * batch], steps)
    ]
    batches = [(shown.contiguous(memory_format=torch.channels_last), labels) for shown, labels in batches]
    for turn in range(2):
        started = time.perf_counter()
        for shown, labels in batches:
            optimiser.zero_grad()
            with half:
                loss = torch.nn.functional.cross_entropy(model(shown), labels)
            loss.backward()
            optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn:
            return steps * batch / (time.perf_counter() - started)
    raise AssertionError


def judged_rate(images: Images, model: torch.nn.Module, network: Network, device: torch.device) -> float:
    """Images a second of the engine where nothing is learnt, from uint8 in memory to probabilities there."""
    for _ in range(2):
        started = time.perf_counter()
        for _ in predicted(model, images.pixels, images.rows, device):
            pass
    return len(images) / (time.perf_counter() - started)


@torch.inference_mode()
def bare_judged_rate(images: Images, network: Network, device: torch.device) -> float:
    """Images a second of the bare network, on float batches on the device."""
    model = timm.create_model(network.backbone, num_classes=len(CLASSES)).to(device)
    model = model.to(memory_format=torch.channels_last).eval()
    half = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
    shown = [
        torch.from_numpy(images.pixels(some)).to(device).permute(0, 3, 1, 2).float().div(255)
        for some in np.array_split(images.rows, max(1, len(images) // JUDGED))
    ]
    shown = [some.contiguous(memory_format=torch.channels_last) for some in shown]
    for _ in range(2):
        started = time.perf_counter()
        for some in shown:
            with half:
                model(some)
        if device.type == "cuda":
            torch.cuda.synchronize()
    return len(images) / (time.perf_counter() - started)


def speed(photos: Path, network: Network) -> None:
    table = pq.read_table(photos, columns=["image"]).slice(0, STEPS * BATCH)
    labels = (np.arange(len(table)) % len(CLASSES)).astype(np.int32)
    table = table.append_column("label", pa.array(labels))
    device = World.around().device
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(write_set(table, "label", Path(folder) / "set.parquet"))
        listing = source.listing()
        manifest = scan(listing, source=source, start=0, stop=len(listing), max_pixels=10**7, workers=2)
        rows = np.arange(len(table))
        read = partial(resized, side=network.image_size, max_pixels=10**7)
        decoding = Decoding(source, manifest, read, torch.get_num_threads())
        kept = decoding(rows)
        weights = np.ones(len(rows), np.float32)
        memory, read = Images(lambda some: kept[some], rows, labels, weights), Images(decoding, rows, labels, weights)
        ours, bare, decoded, judged, bare_judged = [], [], [], [], []
        shown = shown_to(network)
        untrained = Normalised(made(network, len(CLASSES), np.ones(len(CLASSES))), shown.mean, shown.std)
        untrained = untrained.to(device, memory_format=torch.channels_last)
        for turn in range(TURNS):
            bare_judged.append(bare_judged_rate(memory, network, device))
            judged.append(judged_rate(memory, untrained, network, device))
            bare.append(bare_rate(memory, network, device))
            ours.append(engine_rate(Path(folder) / f"memory-{turn}", memory, network))
            decoded.append(engine_rate(Path(folder) / f"decoded-{turn}", read, network))
        started = time.perf_counter()
        for some in np.split(rows, STEPS):
            decoding(some)
        decode = len(rows) / (time.perf_counter() - started)
    bound = min(decode, statistics.median(bare))
    name = f"{network.backbone} at {network.image_size} px, batch {BATCH}"
    print(f"\n| {name} | images/s | bound | ratio |\n|---|---|---|---|")
    rows_of_table = (
        ("training, in memory", ours, statistics.median(bare)),
        ("training, decoded each time", decoded, bound),
        ("inference, in memory", judged, statistics.median(bare_judged)),
    )
    for what, rates, limit in rows_of_table:
        rate = statistics.median(rates)
        print(f"| {what} | {rate:,.0f} | {limit:,.0f} | {rate / limit:.2f} |")
    print(f"\nbounds: the bare loop {statistics.median(bare):,.0f}, decoding alone {decode:,.0f} images/s")


def worth(data: Path, images: int, seeds: int, noises: list[str], precise: tuple[str, str]) -> None:
    train = pq.read_table(data / "cifar10n_train.parquet").slice(0, images)
    test = pq.read_table(data / "cifar10_test.parquet")
    print(f"\n| noise | wrong | learnt from | images | right on {len(test):,} test images | seeds |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checked = write_set(test, "clean_label", folder / "test.parquet")
        said = []
        for noise in noises:
            column = NOISE[noise]
            wrong = np.mean(np.array(train.column(column)) != np.array(train.column("clean_label")))
            source, run = write_set(train, column, folder / f"{column}.parquet"), folder / column
            command("clean", source, "--run", run, "--runner", "local")
            by_recipe = ("--recipe", "small", *precise)
            told = command("compare", run, "--test", checked, "--seeds", seeds, *by_recipe)
            for row in re.findall(r"^\| \S+ \| (.*) \|$", told, re.MULTILINE)[1:]:
                print(f"| {noise} | {100 * wrong:.1f} % | {row} |", flush=True)
            said += [
                f"- {noise}: {line.partition(': ')[2]}" for line in told.splitlines() if " points, between " in line
            ]
    print("\n" + "\n".join(said))


def command(*words: object) -> str:
    done = subprocess.run([sys.executable, "-m", "flows.cli", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", nargs="+", choices=NOISE, default=[*NOISE])
    parser.add_argument("--precision", default="auto", help="of what cleaning is worth; bfloat16 is fast on some CPUs")
    parser.add_argument("--only", choices=("speed", "worth"))
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--size", type=int, default=64)
    asked = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} cores, no GPU"
    print(f"torch {torch.__version__}, timm {timm.__version__}, {device}")
    if asked.only != "worth":
        speed(
            asked.photos or asked.data / "cifar10n_train.parquet",
            Network(backbone=asked.backbone, image_size=asked.size, pretrained=False),
        )
    if asked.only != "speed":
        worth(
            asked.data, asked.images, asked.seeds, asked.noise, ("--set", f"optimisation.precision={asked.precision}")
        )


if __name__ == "__main__":
    main()
