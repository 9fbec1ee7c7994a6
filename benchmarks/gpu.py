"""What a GPU makes of it: every figure of ours that no CPU can give, in order of worth, within the minutes there are.

    python -m benchmarks.gpu [--minutes 8] [--out DIR] [--toy] [--only NAME ...]

Needs torch, timm, scikit-learn, pandas, pyarrow and this checkout; images are made on the spot. Each part runs in a
process of its own. Figures are written to DIR/figures.jsonl as they come, so that the same command goes on with what is
missing; DIR/gpu.md is the table of all. `--toy` is the same at toy size, to see that it works, on a CPU too.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import benchmarks.bare  # noqa: F401
from benchmarks.features import photos
from cleaner.data.images import resized
from cleaner.data.scan import load, scan
from cleaner.data.sources import Source, open_source
from cleaner.evidence.crossfit import Task, assign_folds
from cleaner.evidence.discriminant import OutOfFold
from cleaner.evidence.heads import Samples, fit
from cleaner.evidence.inference import TorchRunner
from cleaner.evidence.networks import timm
from cleaner.evidence.predictors.finetune import Finetune
from cleaner.evidence.predictors.probe import Probe
from cleaner.tables import MANIFEST

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
NETWORKS = ("tf_efficientnet_lite0", "efficientnet_b0", "vit_base_patch16_224")
LEAST = 20.0
"""Seconds without which no part is begun."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    photos: int = 2_048
    side: int = 224
    samples: int = 550_000
    width: int = 1_280
    classes: int = 5_000
    neighbours: int = 200_000
    trained: int = 1_024
    trained_side: int = 380
    trained_network: str = "efficientnet_b4"
    batch: int = 64
    tuned: int = 2_000
    tuned_side: int = 128
    epochs: int = 2
    networks: tuple[str, ...] = NETWORKS


TOY = Size(24, 64, 400, 32, 12, 300, 16, 64, "resnet10t", 8, 60, 64, 1, ("resnet10t",))


class Figure(NamedTuple):
    """One line of the table: a value, and the bound or the peer that it is held against, if there is one."""

    what: str
    value: float
    unit: str
    beside: str = ""
    other: float | None = None


def synchronised() -> float:
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(function: Callable[[], Any], turns: int = 3) -> float:
    """The best of some turns, after one that warms up."""
    function()
    best = float("inf")
    for _ in range(turns):
        started = synchronised()
        function()
        best = min(best, synchronised() - started)
    return best


def made_set(count: int, folder: Path, classes: int = 10) -> tuple[Source, pa.Table]:
    """Photos in a Parquet file, their classes in turn, and their manifest."""
    labels = [f"class {number % classes}" for number in range(count)]
    pq.write_table(pa.table({"image": photos(count, 0), "label": labels}), folder / "photos.parquet")
    source = open_source(folder / "photos.parquet")
    workers = os.cpu_count() or 1
    return source, scan(source.listing(), source=source, start=0, stop=count, max_pixels=10**8, workers=workers)


class Embedder(torch.nn.Module):
    """uint8 n x side x side x 3 -> the network's features."""

    def __init__(self, name: str, side: int) -> None:
        super().__init__()
        extra = {"img_size": side} if name.startswith("vit") else {}
        self.inner = timm.create_model(name, pretrained=False, num_classes=0, **extra).eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shown = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.inner(shown.contiguous(memory_format=torch.channels_last))


def features(size: Size) -> Iterator[Figure]:
    """Features an image: ours beside the bare forward pass, bf16, channels_last; and decoding and copying beside it."""
    with tempfile.TemporaryDirectory() as name:
        source, manifest = made_set(size.photos, Path(name))
        rows, workers = np.arange(len(manifest), dtype=np.int32), os.cpu_count() or 1
        started = time.perf_counter()
        images = list(
            load(source, manifest, rows, read=partial(resized, side=size.side, max_pixels=10**8), workers=workers)
        )
        spent = time.perf_counter() - started
        yield Figure(f"decode to {size.side} px, {workers} threads", len(rows) / spent, "images/s")
        batch = torch.from_numpy(np.stack(images[:256]))
        pinned = batch.pin_memory() if CUDA else batch
        spent = seconds_of(lambda: pinned.to(DEVICE, non_blocking=True))
        yield Figure("copy to the device, pinned", batch.nbytes / spent / 1e9, "GB/s")
        for network in size.networks:
            ours, bare = rates(network, images, size.side)
            yield Figure(f"features, {network}", ours, "images/s", "the bare forward pass", bare)


def rates(name: str, images: list[np.ndarray], side: int) -> tuple[float, float]:
    """Images a second by ours, from arrays to arrays, and of the bare forward pass on the device."""
    network = Embedder(name, side)
    run = TorchRunner(network, side=side, batch=256 if CUDA else 4, device=DEVICE)
    ours = len(images) / seconds_of(lambda: run(iter(images), len(images)), 2)
    shown = torch.from_numpy(np.stack(images[:256])).to(DEVICE)

    def forward() -> None:
        with torch.inference_mode(), torch.autocast(DEVICE, torch.bfloat16, enabled=CUDA):
            network(shown)

    return ours, len(shown) / seconds_of(forward)


def made_features(size: Size, width: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """float32 samples x width around a direction for each class, and the classes."""
    labels = random.integers(0, size.classes, size.samples)
    centers = random.standard_normal((size.classes, width), np.float32)
    points = np.empty((size.samples, width), np.float32)
    for start in range(0, size.samples, 50_000):
        some = labels[start : start + 50_000]
        points[start : start + len(some)] = centers[some] * 0.3 + random.standard_normal((len(some), width), np.float32)
    return points, labels


def judges(size: Size) -> Iterator[Figure]:
    """Discriminants of 20 folds, and one pass of softmax heads of 5, over all samples."""
    random = np.random.default_rng(0)
    points, labels = made_features(size, size.width, random)
    folds, weights = random.integers(0, 20, size.samples), np.ones(size.samples, np.float32)
    on_device = torch.from_numpy(points).to(DEVICE)
    named = f"{size.samples:,} x {size.width:,} x {size.classes:,}"

    def discriminants() -> None:
        found = OutOfFold.of(on_device, labels, weights, folds, size.classes)
        for fold, part in enumerate(found.parts):
            linear = found.without(fold).linear(0.1)
            for start in range(0, len(part), 4_096):
                linear.logits(on_device[torch.from_numpy(part[start : start + 4_096]).to(DEVICE)])

    started = synchronised()
    discriminants()
    yield Figure(f"discriminants of 20 folds, {named}", synchronised() - started, "s")
    learns = torch.from_numpy((folds[:, None] % 5 != np.arange(5)).astype(np.float32)).to(DEVICE)
    samples = Samples(on_device, torch.from_numpy(labels).to(DEVICE), learns, size.classes)
    variances = on_device[:10_000].var(0)
    penalties = torch.full((5,), 1e-5, device=DEVICE)
    started = synchronised()
    fit(samples, variances, penalties, passes=1)
    spent = synchronised() - started
    flops = 4 * size.samples * size.width * size.classes * 5
    yield Figure(f"one pass of 5 heads, {named}", spent, "s")
    yield Figure("one pass of 5 heads, computed", flops / spent / 1e12, "TFLOP/s")


def neighbours(size: Size) -> Iterator[Figure]:
    """The 17 nearest of each of 256-d unit vectors: by torch on the device, and by faiss where it is there."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((size.neighbours, 256), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    on_device = torch.from_numpy(vectors).to(DEVICE)

    def by_torch() -> None:
        for start in range(0, size.neighbours, 4_096):
            (on_device[start : start + 4_096] @ on_device.T).topk(17)

    asked = min(size.neighbours, 20_000)
    spent = seconds_of(by_torch, 1)
    faiss_seconds = None
    try:
        import faiss
    except ImportError:
        pass
    else:
        index = faiss.IndexFlatIP(256)
        index.add(vectors)
        started = time.perf_counter()
        index.search(vectors[:asked], 17)
        faiss_seconds = (time.perf_counter() - started) * size.neighbours / asked
    yield Figure(f"neighbours of {size.neighbours:,}, torch", spent, "s", "faiss on the CPU", faiss_seconds)


def training(size: Size) -> Iterator[Figure]:
    """The engine beside timm's bare loop, on the same batches in memory."""
    from benchmarks.training import bare_rate, engine_rate
    from cleaner.training.loader import Images, World
    from cleaner.training.recipe import Network

    random = np.random.default_rng(0)
    count, side = size.trained, size.trained_side
    kept = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.int32)
    images = Images(lambda rows: kept[rows], np.arange(count), labels, np.ones(count, np.float32))
    network = Network(backbone=size.trained_network, image_size=side, pretrained=False)
    with tempfile.TemporaryDirectory() as name:
        bare = bare_rate(images, network, World.around().device, batch=size.batch)
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        ours = engine_rate(Path(name) / "engine", images, network, batch=size.batch)
    named = f"training {network.backbone} at {side} px, batch {size.batch}"
    yield Figure(named, ours, "images/s", "the bare loop", bare)
    if CUDA:
        yield Figure(f"{named}: memory", torch.cuda.max_memory_allocated() / 2**30, "GiB")


def tuned_task(size: Size, folder: Path) -> Task:
    source, manifest = made_set(size.tuned, folder)
    n = len(manifest)
    labels = (np.arange(n) % 10).astype(np.int32)
    keys = np.random.default_rng(0).integers(0, 2**63, n).astype(np.uint64)
    folds = assign_folds(labels, np.full(n, -1, np.int32), keys, folds=5)
    every = np.ones(n, bool)
    return Task(
        labels=labels,
        train=every,
        weights=every.astype(np.float32),
        predict=every,
        folds=folds,
        finer_folds=folds,
        classes=10,
        round=1,
        seed=0,
        features=np.zeros((n, 1), np.float16),
        source=source,
        manifest=manifest,
    )


def tuner(size: Size) -> Finetune:
    name = "tf_efficientnet_lite0" if CUDA else size.trained_network
    workers = os.cpu_count() or 1
    return Finetune(model=name, pretrained=False, image_size=size.tuned_side, epochs=size.epochs, workers=workers)


def finetune(size: Size) -> Iterator[Figure]:
    """Cross-prediction of five folds by networks trained end to end."""
    with tempfile.TemporaryDirectory() as name:
        task, predictor = tuned_task(size, Path(name)), tuner(size)
        started = synchronised()
        predictor.evidence(task, (0, 1, 2, 3, 4))
        spent = synchronised() - started
    shown = size.tuned * 4 * size.epochs
    yield Figure(f"finetune, 5 folds of {size.tuned:,} photos, {size.epochs} epochs", spent, "s")
    yield Figure("finetune, learnt", shown / spent, "images/s")


def same_bytes(size: Size) -> Iterator[Figure]:
    """Two runs of each predictor: 1 where they give the same bytes."""
    with tempfile.TemporaryDirectory() as name:
        task, predictor = tuned_task(size, Path(name)), tuner(size)
        one, other = (predictor.evidence(task, (0,)) for _ in range(2))
        yield Figure("finetune twice gives the same bytes", float(one.equals(other)), "yes")
    unused: Any = None
    random, few = np.random.default_rng(0), min(size.samples, 20_000)
    labels = (np.arange(few) % 50).astype(np.int32)
    alone, keys = np.full(few, -1, np.int32), np.random.default_rng(0).integers(0, 2**63, few).astype(np.uint64)
    folds, finer = (assign_folds(labels, alone, keys, folds=5, finer=count) for count in (1, 4))
    every = np.ones(few, bool)
    task = Task(
        labels=labels,
        train=every,
        weights=every.astype(np.float32),
        predict=every,
        folds=folds,
        finer_folds=finer,
        classes=50,
        round=1,
        seed=0,
        features=random.standard_normal((few, 64), np.float32).astype(np.float16),
        source=unused,
        manifest=MANIFEST.empty_table(),
    )
    one, other = (Probe().evidence(task, (0, 1, 2, 3, 4)) for _ in range(2))
    yield Figure("heads and discriminants twice give the same bytes", float(one.equals(other)), "yes")


def train_once(folder: Path, size: Size, epochs: int) -> Path:
    """A training of so many epochs in `folder`, from where it was; the file of its weights."""
    from cleaner.training.engine import WEIGHTS, Trainer
    from cleaner.training.loader import Images, World
    from cleaner.training.recipe import Network, Optimisation, Phase, Recipe
    from cleaner.training.recipe import Samples as Shown

    count, side = size.trained, 64
    kept = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    images = Images(
        lambda rows: kept[rows], np.arange(count), (np.arange(count) % 10).astype(np.int32), np.ones(count, np.float32)
    )
    none = Images(images.pixels, images.rows[:0], images.labels[:0], images.weights[:0])
    network = Network(backbone="resnet10t", image_size=side, pretrained=False)
    phases = (Phase(optimiser="sgd", epochs=epochs),)
    optimisation = Optimisation(phases=phases, batch=16, effective_batch=16, warmup=0, lr=0.001)
    recipe = Recipe(networks=(network,), optimisation=optimisation, samples=Shown(margin=1.0))
    classes = tuple(map(str, range(10)))
    Trainer(
        folder,
        recipe,
        network,
        classes=classes,
        images=images,
        validation=none,
        test=none,
        seed=0,
        world=World.around(),
    ).train()
    return folder / WEIGHTS


def killed(size: Size) -> Iterator[Figure]:
    """A training that is killed after its first epoch and goes on, beside one that is not."""
    from safetensors.torch import load_file

    from cleaner.training.log import METRICS

    epochs = 6
    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        weights = train_once(whole, size, epochs)
        child = subprocess.Popen([*command(size), "--child", "train", str(broken), str(epochs)])
        while child.poll() is None and not (broken / METRICS).exists():
            time.sleep(0.01)
        child.kill()
        child.wait()
        done = pq.read_metadata(broken / METRICS).num_rows
        again = train_once(broken, size, epochs)
        one, other = load_file(weights), load_file(again)
        apart = max(float((one[key].float() - other[key].float()).abs().max()) for key in one)
        same = float(weights.read_bytes() == again.read_bytes())
        yield Figure(f"training killed after {done} of {epochs} epochs and resumed gives the same bytes", same, "yes")
        yield Figure("largest difference of a weight", apart, "")


def forward_rate(size: Size) -> float:
    """Images a second of the first network's bare forward pass."""
    network = Embedder(size.networks[0], size.side).to(DEVICE).to(memory_format=torch.channels_last)
    shown = torch.zeros((256 if CUDA else 4, size.side, size.side, 3), dtype=torch.uint8, device=DEVICE)

    def forward() -> None:
        with torch.inference_mode(), torch.autocast(DEVICE, torch.bfloat16, enabled=CUDA):
            for _ in range(20 if CUDA else 1):
                network(shown)

    return len(shown) * (20 if CUDA else 1) / seconds_of(forward)


def two(size: Size) -> Iterator[Figure]:
    """Two processes on one card, each with a forward pass of its own, beside one alone."""
    alone = forward_rate(size)
    children = [
        subprocess.Popen([*command(size), "--child", "rate"], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    rates = [float(child.communicate()[0]) for child in children]
    yield Figure("two processes on one card, together", sum(rates), "images/s", "one alone", alone)


PARTS: dict[str, Callable[[Size], Iterator[Figure]]] = {
    "features": features,
    "training": training,
    "judges": judges,
    "finetune": finetune,
    "same_bytes": same_bytes,
    "killed": killed,
    "neighbours": neighbours,
    "two": two,
}
"""In order of worth."""


def command(size: Size) -> list[str]:
    return [sys.executable, "-m", "benchmarks.gpu", *(["--toy"] if size == TOY else [])]


def machine() -> str:
    card = torch.cuda.get_device_name() if CUDA else f"no GPU, {os.cpu_count()} cores"
    driver = ""
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split("\n")[0].strip()
    versions = f"torch {torch.__version__}, timm {timm.__version__}, Python {platform.python_version()}"
    return ", ".join(filter(None, [card, driver and f"driver {driver}", versions]))


def kept(file: Path) -> list[dict[str, Any]]:
    """The figures that are there; half a line, as a kill leaves it, is none."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def table(figures: list[dict[str, Any]]) -> str:
    """All figures as Markdown, a table for each machine that they come from."""
    lines = ["# On a GPU", "", "Made by `python -m benchmarks.gpu`.", ""]
    for where in dict.fromkeys(figure["machine"] for figure in figures):
        lines += [f"{where}:", "", "| what | | beside | | ratio |", "|---|---|---|---|---|"]
        for figure in (each for each in figures if each["machine"] == where):
            if "failed" in figure:
                lines.append(f"| {figure['part']} | failed: {figure['failed']} | | | |")
            elif "what" in figure:
                other = figure["other"]
                beside = f"{figure['beside']} | {other:,.4g} | {figure['value'] / other:.2f}" if other else " | | "
                lines.append(f"| {figure['what']} | {figure['value']:,.4g} {figure['unit']} | {beside} |")
        lines.append("")
    return "\n".join(lines)


def run_part(name: str, size: Size, file: Path, where: str, seconds: float) -> None:
    """Let a process of its own measure a part; what it finds is written as it comes, and that it ended at the end."""
    process = subprocess.Popen(
        [*command(size), "--child", "part", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    timer = time.monotonic() + seconds
    assert process.stdout is not None and process.stderr is not None
    with file.open("a") as out:

        def write(**said: Any) -> None:
            out.write(json.dumps({"part": name, "machine": where, "toy": size == TOY, **said}) + "\n")
            out.flush()

        ending = threading.Timer(max(0.0, timer - time.monotonic()), process.kill)
        ending.start()
        complaints: list[str] = []
        listener = threading.Thread(target=complaints.extend, args=(process.stderr,), daemon=True)
        listener.start()
        for line in process.stdout:
            if line.startswith("{"):
                write(**json.loads(line))
                print(line.strip(), flush=True)
        status = process.wait()
        ending.cancel()
        listener.join(5)
        if status == 0:
            write(ended=True)
        elif status != -9:
            write(failed=(complaints or ["nothing was said"])[-1].strip()[:200])


def child(words: list[str], size: Size) -> None:
    if words[0] == "train":
        train_once(Path(words[1]), size, int(words[2]))
    elif words[0] == "rate":
        print(forward_rate(size))
    else:
        for figure in PARTS[words[1]](size):
            print(json.dumps(figure._asdict()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("gpu-figures"))
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    size, until = TOY if asked.toy else Size(), time.monotonic() + 60 * asked.minutes
    if asked.child:
        child(asked.child, size)
        return
    asked.out.mkdir(parents=True, exist_ok=True)
    file, where = asked.out / "figures.jsonl", machine()
    print(where, flush=True)
    for name in asked.only:
        before = [figure for figure in kept(file) if (figure["machine"], figure["toy"]) == (where, asked.toy)]
        left = until - time.monotonic()
        if any(figure["part"] == name and "ended" in figure for figure in before):
            print(f"{name}: measured before", flush=True)
        elif left < LEAST and not asked.toy:
            print(f"{name}: no time left", flush=True)
        else:
            others = [figure for figure in kept(file) if figure not in before or figure["part"] != name]
            file.write_text("".join(json.dumps(figure) + "\n" for figure in others))
            run_part(name, size, file, where, left)
        (asked.out / "gpu.md").write_text(table(kept(file)))


if __name__ == "__main__":
    main()
