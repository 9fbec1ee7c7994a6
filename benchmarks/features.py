"""Images a second through the default frozen backbone, from encoded images to features, beside torch.

    python -m benchmarks.features [--images N]

600 photos made on the spot (scikit-learn's two sample images, cut at random to 256 x 256 JPEGs) go through
EfficientNet-Lite0 at 224 pixels: by `cleaner.evidence.features.embed`, and by torch eager in channels_last with the
same decoder. The second is timed twice, before and after the first, so that a machine with other work is seen as one.
"""

import argparse
import io
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_sample_images

from cleaner.data.images import resized
from cleaner.data.scan import load, scan
from cleaner.data.sources import Source, open_source
from cleaner.evidence.features import choose, embed
from cleaner.evidence.inference import TorchRunner
from cleaner.evidence.networks import embedder

MAX_PIXELS = 10**8


def photos(count: int, seed: int) -> list[bytes]:

    rng = np.random.default_rng(seed)
    pictures = load_sample_images().images
    encoded = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        top, left = (int(rng.integers(side - 256)) for side in picture.shape[:2])
        out = io.BytesIO()
        Image.fromarray(picture[top : top + 256, left : left + 256]).save(out, "JPEG", quality=90)
        encoded.append(out.getvalue())
    return encoded


def by_torch(source: Source, manifest: pa.Table, workers: int) -> np.ndarray:
    backbone = choose("auto", weights=None, image_size=None, manifest=manifest)
    network = embedder(backbone.name, weights=None, image_size=backbone.image_size)
    run = TorchRunner(network, side=backbone.image_size, batch=16, device="cpu")
    rows = np.arange(len(manifest), dtype=np.int32)
    images = load(
        source, manifest, rows, read=partial(resized, side=backbone.image_size, max_pixels=MAX_PIXELS), workers=workers
    )
    return run(images, len(rows))


def by_us(source: Source, manifest: pa.Table, workers: int) -> np.ndarray:
    backbone = choose("auto", weights=None, image_size=None, manifest=manifest)
    span = {"start": 0, "stop": len(manifest)}
    return embed(manifest, source=source, backbone=backbone, **span, workers=workers, max_pixels=MAX_PIXELS)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=600)
    count, workers = arguments.parse_args().images, os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        labels = [("a", "b")[number % 2] for number in range(count)]
        pq.write_table(pa.table({"image": photos(count, 0), "label": labels}), Path(folder) / "photos.parquet")
        source = open_source(Path(folder) / "photos.parquet")
        manifest = scan(source.listing(), source=source, start=0, stop=count, max_pixels=MAX_PIXELS, workers=workers)
        by_us(source, manifest.slice(0, 8), workers)  # loading and compiling are paid once a process
        seconds, found = [], []
        for function in (by_torch, by_us, by_torch):
            started = time.perf_counter()
            found.append(function(source, manifest, workers).astype(np.float32))
            seconds.append(time.perf_counter() - started)
    torch_seconds = min(seconds[0], seconds[2])
    print(f"ours         {count / seconds[1]:8.1f} images/s")
    print(f"torch eager  {count / torch_seconds:8.1f} images/s (the better of {seconds[0]:.1f} and {seconds[2]:.1f} s)")
    print(f"ratio        {torch_seconds / seconds[1]:8.2f}")
    print(f"largest difference {np.abs(found[1] - found[0]).max() / np.abs(found[0]).max():.1e} of the largest feature")


if __name__ == "__main__":
    main()
