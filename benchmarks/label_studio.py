"""Seconds to push a batch to a Label Studio server and to pull its answers.

    LABEL_STUDIO_URL=... LABEL_STUDIO_API_KEY=... python -m benchmarks.label_studio [--samples 5000] [--answered 200]

The images are made up, 320 x 240 JPEG; thumbnails and references are embedded. The project is deleted in the end.
"""

import argparse
import io
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from label_studio_sdk import LabelStudio as Client
from PIL import Image

from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.people.reviewers import ReviewBatch
from cleaner.people.reviewers.label_studio import LabelStudio
from cleaner.tables import BATCH, Classes

CLASSES = 100


def write_images(file: Path, samples: int) -> None:
    random, images = np.random.default_rng(0), []
    for _ in range(samples):
        data = io.BytesIO()
        small = random.integers(0, 256, (15, 20, 3), np.uint8)
        Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC).save(data, "JPEG", quality=85)
        images.append(data.getvalue())
    labels = [f"class {number % CLASSES:03d}" for number in range(samples)]
    pq.write_table(pa.table({"image": pa.array(images, pa.binary()), "label": labels}), file, row_group_size=1000)


def batch_of(manifest: pa.Table) -> pa.Table:
    names, n = Classes.of(manifest).names, len(manifest)
    rows = [
        {
            **sample,
            "row": row,
            "asked_because": "kept, but the least sure",
            "guesses": [names[(row + i) % CLASSES] for i in (1, 2, 3)],
            "guess_probs": [0.5, 0.2, 0.1],
            "given_prob": 0.1,
            "people": 1,
            "given_references": [(row + i * CLASSES) % n for i in (1, 2, 3)],
            "guess_references": [(row + 1 + i * CLASSES) % n for i in (1, 2, 3)],
        }
        for row, sample in enumerate(manifest.select(["sample_id", "path", "label"]).to_pylist())
    ]
    return pa.Table.from_pylist(rows, BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--answered", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(folder / "set.parquet", asked.samples)
        source = open_source(folder / "set.parquet")
        manifest = scan(
            source.listing(), source=source, start=0, stop=asked.samples, max_pixels=10**8, workers=os.cpu_count() or 1
        )
        measure(folder, manifest, source, asked.answered)


def measure(folder: Path, manifest: pa.Table, source, answered: int) -> None:
    reviewer, batch = LabelStudio(), ReviewBatch("fine-1", folder, batch_of(manifest), manifest)
    started = time.monotonic()
    reviewer.push(batch, source)
    print(f"pushed {len(batch.asked):,} tasks in {time.monotonic() - started:.1f} s")
    record = json.loads((folder / "fine-1.label_studio.json").read_text())
    client = Client(base_url=os.environ["LABEL_STUDIO_URL"], api_key=os.environ["LABEL_STUDIO_API_KEY"])
    right = [{"from_name": "answer", "to_name": "image", "type": "choices", "value": {"choices": ["right"]}}]
    for task in list(record["tasks"])[:answered]:
        client.annotations.create(id=int(task), result=right, lead_time=2.0)
    started = time.monotonic()
    found = reviewer.pull(batch, print)
    print(f"pulled {len(found):,} answers to {len(batch.asked):,} tasks in {time.monotonic() - started:.1f} s")
    client.projects.delete(id=record["project"])


if __name__ == "__main__":
    main()
