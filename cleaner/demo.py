"""The demo's data set: scikit-learn's handwritten digits as image files, with every kind of noise planted.

DIR/images/<class>/*        what a team would have
DIR/truth.csv               path,label,planted: what is true of each file; label is empty for junk
DIR/seeds.csv               path,junk: a few images that people have marked, the seeds of the image noise stage
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from cleaner.methods import duplicates
from cleaner.run.files import write_bytes, write_text
from cleaner.run.finished import SUMMARY
from cleaner.run.store import Store
from cleaner.tables import Action

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FLIPPED = 0.08
JUNK = 60
SEEDS = 12
ODD_MODES = {"L": 25, "P": 20, "CMYK": 15, "RGBA": 15}
EXACT, NEAR, CONFLICTING = 12, 12, 5


@dataclass(frozen=True)
class _File:
    """One file of the demo: `label` is its folder, `truth` what it shows (empty: nothing), `planted` what was done."""

    path: str
    label: str
    truth: str
    planted: str
    data: bytes


def write_demo(folder: Path, *, seed: int) -> Path:
    """Write the data set into `folder`; the same seed gives the same files. Returns the folder of class folders.

    Raises:
        StorageError: the disk refused a write.
    """
    files = _plant(np.random.default_rng(seed))
    for file in files:
        write_bytes(folder / "images" / file.path, file.data)
    write_text(folder / "truth.csv", _csv(("path", "label", "planted"), [(f.path, f.truth, f.planted) for f in files]))
    write_text(folder / "seeds.csv", _csv(("path", "junk"), _marked(files)))
    return folder / "images"


def _csv(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def _marked(files: list[_File]) -> list[tuple[str, str]]:
    """What a person would have marked among the odd files: some junk, some fine."""
    junk = [file for file in files if file.planted == "junk"][:SEEDS]
    fine = [file for file in files if file.planted in ODD_MODES][:SEEDS]
    return [(file.path, str(int(file in junk))) for file in junk + fine]


def _plant(rng: np.random.Generator) -> list[_File]:
    files = _digits(rng)
    picked = rng.permutation(len(files))
    files += _copies([files[i] for i in picked[: EXACT + NEAR + CONFLICTING]], rng)
    files += [_junk(number, rng) for number in range(JUNK)]
    return files + _unreadable(files[0])


def _digits(rng: np.random.Generator) -> list[_File]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    flipped = rng.random(len(digits.target)) < FLIPPED
    shift = rng.integers(1, 10, len(digits.target))
    modes = _modes(len(digits.target), rng)
    files = []
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        label = CLASSES[(digit + shift[number]) % 10] if flipped[number] else CLASSES[digit]
        planted = "wrong label" if flipped[number] else modes[number]
        picture = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
        path, data = _encoded(picture, modes[number], f"{label}/{number:04d}")
        files.append(_File(path, label, CLASSES[digit], planted, data))
    return files


def _modes(count: int, rng: np.random.Generator) -> list[str]:
    """A Pillow mode for each file: RGB for nearly all."""
    odd = [mode for mode, times in ODD_MODES.items() for _ in range(times)]
    modes = np.array(odd + ["RGB"] * (count - len(odd)), dtype=object)
    return list(rng.permutation(modes))


def _encoded(picture: Image.Image, mode: str, stem: str) -> tuple[str, bytes]:
    """A file's path and bytes: PNG, or JPEG for CMYK, which PNG does not know."""
    suffix, settings = ("jpg", {"quality": 95}) if mode == "CMYK" else ("png", {})
    out = io.BytesIO()
    picture.convert(mode).save(out, "JPEG" if suffix == "jpg" else "PNG", **settings)
    return f"{stem}.{suffix}", out.getvalue()


def _copies(originals: list[_File], rng: np.random.Generator) -> list[_File]:
    copies = []
    for number, file in enumerate(originals):
        if number < EXACT:
            copies.append(_File(_beside(file.path, "copy"), file.label, file.truth, "exact duplicate", file.data))
        elif number < EXACT + NEAR:
            path = str(Path(_beside(file.path, "again")).with_suffix(".png"))
            copies.append(_File(path, file.label, file.truth, "near duplicate", _brightened(file.data)))
        else:
            label = str(rng.choice([name for name in CLASSES if name not in (file.truth, file.label)]))
            path = f"{label}/{Path(_beside(file.path, 'copy')).name}"
            copies.append(_File(path, label, file.truth, "wrong label", file.data))
    return copies


def _beside(path: str, word: str) -> str:
    file = Path(path)
    return (file.parent / f"{file.stem}_{word}{file.suffix}").as_posix()


def _brightened(data: bytes) -> bytes:
    picture = Image.open(io.BytesIO(data)).convert("RGB").point(lambda value: min(255, int(value * 1.03) + 2))
    return _encoded(picture, "RGB", "")[1]


def _junk(number: int, rng: np.random.Generator) -> _File:
    """Noise, lines, boxes: pictures of nothing, half of them in odd modes as on the web."""
    label = str(rng.choice(CLASSES))
    draw = (_noise, _lines, _boxes)[number % 3]
    mode = ("L", "P", "RGB", "RGB")[number % 4]
    path, data = _encoded(draw(rng), mode, f"{label}/web-{number:03d}")
    return _File(path, label, "", "junk", data)


def _noise(rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))


def _lines(rng: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (8, 8), "white")
    for _ in range(3):
        ImageDraw.Draw(picture).line(
            tuple(rng.integers(0, 8, 4).tolist()), fill=tuple(rng.integers(0, 160, 3).tolist())
        )
    return picture


def _boxes(rng: np.random.Generator) -> Image.Image:
    picture = Image.new("RGB", (8, 8), tuple(rng.integers(60, 256, 3).tolist()))
    left, top = rng.integers(0, 4, 2).tolist()
    ImageDraw.Draw(picture).rectangle((left, top, left + 3, top + 3), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return picture


def _unreadable(whole: _File) -> list[_File]:
    cut = whole.data[: len(whole.data) // 2]
    return [
        _File("zero/cut-short.png", "zero", whole.truth, "unreadable", cut),
        _File("one/not-an-image.png", "one", "", "unreadable", b"<html>404 not found</html>"),
    ]


def measure(folder: Path, run: Path) -> dict[str, tuple[int, int, int]]:
    """What a finished run over the demo found: kind of noise -> (found, planted, flagged in error).

    A wrong label and junk are found when they are not kept; of what was planted right, whatever is not kept (besides
    extra copies of a file) is flagged in error. A near-duplicate is found when it is grouped with another picture.
    """
    truth = pa_csv.read_csv(folder / "truth.csv").to_pandas().set_index("path")
    verdicts = pq.read_table(run / "verdicts.parquet").to_pandas().set_index("path")
    flagged = verdicts["action"] != Action.KEEP
    planted = truth["planted"].reindex(verdicts.index)
    by_stage = verdicts["stage"]
    wrong = planted.isin(["wrong label", "junk"])
    false = int((flagged & ~wrong & ~by_stage.isin(["duplicates", "scan"])).sum())
    return {
        "wrong labels and junk": (int((flagged & wrong).sum()), int(wrong.sum()), false),
        "exact duplicates": _count(flagged & ~wrong & (by_stage == "duplicates"), planted == "exact duplicate"),
        "near duplicates": _count(_grouped(run, verdicts.index), planted == "near duplicate"),
        "unreadable files": _count(flagged & (by_stage == "scan"), planted == "unreadable"),
    }


def _grouped(run: Path, paths: pd.Index) -> pd.Series:
    """Whether each sample is a near-duplicate of an earlier one."""
    summary = json.loads((run / SUMMARY).read_text(encoding="utf-8"))
    found = Store(run).read(summary["versions"]["duplicates"]).to_pandas()
    later = found[(found["kind"] == duplicates.NEAR) & (found["row"] != found["original"])]
    return pd.Series(np.isin(np.arange(len(paths)), later["row"]), index=paths)


def _count(found: pd.Series, planted: pd.Series) -> tuple[int, int, int]:
    return int((found & planted).sum()), int(planted.sum()), int((found & ~planted).sum())
