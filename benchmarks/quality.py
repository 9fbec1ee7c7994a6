"""Images of poor quality, beside cleanvision 0.3.7 (`pip install cleanvision==0.3.7`), on the same files.

python -m benchmarks.quality --data shared/data

Grocery Store's photos, of which every fifth is spoilt: blurred, dark, light, empty, narrow or tiny.
"""

import argparse
import importlib.util
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageFilter

from cleaner.config import Config
from cleaner.data.scan import scan
from cleaner.data.sources import open_source
from cleaner.methods.quality import SIZE, quality
from cleaner.plan.reading import gather, gather_pixel_quality
from cleaner.plan.runs import cores

SCORES = ("dark", "light", "blurry", "low_information", "odd_aspect_ratio", "odd_size")
EVERY = 5
HEAD = """# Images of poor quality, beside cleanvision 0.3.7

`python -m benchmarks.quality`, 2 cores. The {images:,} photos of Grocery Store, of which every fifth is spoilt: blurred
by 12 pixels, a tenth as bright, washed out, one colour, an eighth as wide, or a twelfth as large. How many images each
finds with the thresholds that both have.

| score | both | ours alone | cleanvision alone | spoilt so | of these both | ours | cleanvision |
|---|---|---|---|---|---|---|---|"""


def spoilt(image: Image.Image, how: str) -> Image.Image:
    match how:
        case "blurry":
            return image.filter(ImageFilter.GaussianBlur(12))
        case "dark":
            return image.point(lambda value: value // 10)
        case "light":
            return image.point(lambda value: 246 + value // 28)
        case "low_information":
            return Image.new("RGB", image.size, image.resize((1, 1)).getpixel((0, 0)))
        case "odd_aspect_ratio":
            return image.crop((0, 0, image.width // 8, image.height))
        case _:
            return image.resize((image.width // 12, image.height // 12))


def write(file: Path, root: Path) -> dict[str, str]:
    """The photos in class folders; how each of those was spoilt that were, by its name."""
    table, found = pq.read_table(file, columns=["image", "label"]), {}
    for number, row in enumerate(table.to_pylist()):
        name = f"{row['label']}/{number:05}.jpg"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        data = row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"]
        if number % EVERY == 0:
            found[name] = SCORES[number // EVERY % len(SCORES)]
            encoded = io.BytesIO()
            spoilt(Image.open(io.BytesIO(data)).convert("RGB"), found[name]).save(encoded, "JPEG", quality=92)
            data = encoded.getvalue()
        (root / name).write_bytes(data)
    return found


def ours(root: Path) -> tuple[dict[str, set[str]], float]:
    """The names of the images below each threshold, and the seconds that it took to read all with all their facts."""
    config, started = Config(), time.monotonic()
    source = open_source(root, config.sources)
    listing = source.listing()
    how = {"max_pixels": config.scan.max_pixels, "workers": cores()}
    part = scan(listing, source=source, start=0, stop=len(listing), **how)
    found = quality(gather(part), gather_pixel_quality(part), spread=config.quality.odd_size)
    seconds = time.monotonic() - started
    least = {name: getattr(config.quality, name) for name in SCORES} | {SIZE: 0.5}
    names = np.array(found.column("path").to_pylist())
    return {
        name: {*names[found.column(name).to_numpy() < np.float32(least[name])].tolist()} for name in SCORES
    }, seconds


def theirs(root: Path) -> tuple[dict[str, set[str]], float]:
    from cleanvision import Imagelab

    started = time.monotonic()
    lab = Imagelab(data_path=str(root), verbose=False)
    lab.find_issues({name: {} for name in SCORES}, n_jobs=cores(), verbose=False)
    seconds = time.monotonic() - started
    issues = lab.issues
    names = np.array([str(Path(path).relative_to(root)) for path in issues.index])
    return {name: {*names[issues[f"is_{name}_issue"].to_numpy()].tolist()} for name in SCORES}, seconds


def lines(root: Path, planted: dict[str, str]) -> Iterator[str]:
    (mine, my_seconds), (peers, peer_seconds) = ours(root), theirs(root)
    for name in SCORES:
        here, there = mine[name], peers[name]
        of = {image for image, how in planted.items() if how == name}
        found = f"{len(here & there)} | {len(here - there)} | {len(there - here)}"
        yield f"| {name} | {found} | {len(of)} | {len(of & here & there)} | {len(of & here)} | {len(of & there)} |"
    images = sum(1 for _ in root.glob("*/*"))
    yield ""
    yield (
        f"Images a second: {images / my_seconds:,.0f} with hashes and all other facts of a manifest, cleanvision"
        f" {images / peer_seconds:,.0f}: {peer_seconds / my_seconds:.1f} times."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    file = parser.parse_args().data / "grocery.parquet"
    if importlib.util.find_spec("cleanvision") is None:
        raise SystemExit("cleanvision is not installed; pip install cleanvision==0.3.7")
    if not file.exists():
        raise SystemExit(f"{file}: is not there; a Parquet of the Grocery Store data set, with image and label")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        planted = write(file, root)
        print(HEAD.format(images=pq.read_metadata(file).num_rows), flush=True)
        for line in lines(root, planted):
            print(line, flush=True)


if __name__ == "__main__":
    main()
