import hashlib
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from cleaner.data import images
from cleaner.data.images import decode, facts, read, resized, thumbnail
from cleaner.errors import ImageProblem

LIMIT = 10_000_000
PHOTO = Image.fromarray(load_sample_image("china.jpg"))  # 640 x 427
ORIENTATION = 0x0112


def encoded(image: Image.Image, form: str, **options) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def ramp(dtype: str, high: float) -> np.ndarray:
    return np.linspace(0, high, 64).astype(dtype).reshape(8, 8)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
        ("TIFF", {"compression": "lzw"}),
    ],
)
def test_lossless_formats_give_back_the_pixels(form, options):
    assert (decode(encoded(PHOTO, form, **options), max_pixels=LIMIT) == np.asarray(PHOTO)).all()


def test_a_jpeg_gives_the_pixels_pillow_gives():
    data = encoded(PHOTO, "JPEG", quality=90)
    assert (decode(data, max_pixels=LIMIT) == np.asarray(Image.open(BytesIO(data)))).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_is_turned_upright(orientation, form):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(PHOTO, form, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB"))
    found = facts(data, max_pixels=LIMIT)
    assert (decode(data, max_pixels=LIMIT) == upright).all()
    assert (found.height, found.width) == upright.shape[:2]


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "RGB", "I;16"])
def test_facts_tell_the_mode_of_the_file(mode):
    image = Image.fromarray(ramp("uint16", 65535)) if mode == "I;16" else PHOTO.convert(mode)
    assert facts(encoded(image, "PNG"), max_pixels=LIMIT).mode == mode


def test_facts_tell_size_and_hash_of_the_file():
    data = encoded(PHOTO, "JPEG")
    found = facts(data, max_pixels=LIMIT)
    assert (found.width, found.height, found.bytes, found.problem) == (640, 427, len(data), None)
    assert found.content_hash == hashlib.blake2b(data, digest_size=16).hexdigest()


def test_a_cmyk_jpeg_looks_like_the_photo():
    data = encoded(PHOTO.convert("CMYK"), "JPEG", quality=95)
    assert facts(data, max_pixels=LIMIT).mode == "CMYK"
    assert distance(decode(data, max_pixels=LIMIT), np.asarray(PHOTO)) < 5


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_greys_are_scaled_and_not_clipped(form):
    data = encoded(Image.fromarray(ramp("uint16", 65535)), form)
    pixels = decode(data, max_pixels=LIMIT)
    assert np.abs(pixels[:, :, 0].astype(int) - ramp("float64", 255)).max() <= 1
    assert (pixels == pixels[:, :, :1]).all()


@pytest.mark.parametrize(
    "values", [ramp("float32", 1), ramp("float32", 255), ramp("float32", 4000) - 1000, ramp("int32", 90_000)]
)
def test_fractions_and_large_numbers_run_from_black_to_white(values):
    pixels = decode(encoded(Image.fromarray(values), "TIFF"), max_pixels=LIMIT)
    assert np.abs(pixels[:, :, 0].astype(int) - ramp("float64", 255)).max() <= 1


def test_a_grey_without_any_range_is_black():
    assert not decode(encoded(Image.fromarray(np.full((4, 4), -3.5, np.float32)), "TIFF"), max_pixels=LIMIT).any()


def half_transparent(mode: str) -> Image.Image:
    image = Image.new("RGBA", (8, 4), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (4, 0, 8, 4))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(mode):
    pixels = decode(encoded(half_transparent(mode), "PNG"), max_pixels=LIMIT)
    assert (pixels[:, :4] == 0).all()
    assert (pixels[:, 4:] == 255).all()


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_is_white(form):
    image = Image.new("P", (8, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (4, 0, 8, 4))
    pixels = decode(encoded(image, form, transparency=0), max_pixels=LIMIT)
    assert (pixels[:, :4] == (0, 0, 255)).all()
    assert (pixels[:, 4:] == 255).all()


def test_a_transparent_grey_value_of_sixteen_bits_is_white():
    image = Image.fromarray(np.array([[0, 500]], np.uint16))
    assert decode(encoded(image, "PNG", transparency=500), max_pixels=LIMIT)[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_its_first_frame(form):
    red, blue = Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")
    data = encoded(red, form, save_all=True, append_images=[blue, blue])
    assert distance(decode(data, max_pixels=LIMIT), np.asarray(red)) < 4
    assert facts(data, max_pixels=LIMIT).problem is None


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_a_problem(form, kept):
    data = encoded(PHOTO, form)
    found = facts(data[: int(len(data) * kept)], max_pixels=LIMIT)
    assert found.problem


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_called_truncated_and_keeps_its_size(progressive):
    data = encoded(PHOTO, "JPEG", progressive=progressive)
    found = facts(data[: len(data) // 2], max_pixels=LIMIT)
    assert (found.problem, found.width, found.height, found.mode) == ("truncated", 640, 427, "RGB")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF"])
@pytest.mark.parametrize("kept", [8, 20, 100])
def test_a_file_cut_within_its_header_is_not_called_no_image(form, kept):
    assert facts(encoded(PHOTO, form)[:kept], max_pixels=LIMIT).problem not in (None, "no image")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty file"),
        (b"just some text\n" * 50, "no image"),
        (b"\0" * 1000, "no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image"),
    ],
    ids=["empty", "text", "zeros", "eps"],
)
def test_what_is_no_image_says_so(data, problem):
    found = facts(data, max_pixels=LIMIT)
    assert (found.problem, found.width, found.mode, found.bytes) == (problem, None, None, len(data))
    with pytest.raises(ImageProblem, match=problem):
        decode(data, max_pixels=LIMIT)


def test_an_image_above_the_limit_is_refused_by_its_header():
    data = encoded(PHOTO, "PNG")[:60]  # No pixels are there to decode.
    found = facts(data, max_pixels=1000)
    assert (found.problem, found.width, found.height) == (
        "more than 1,000 pixels: the setting scan.max_pixels, if it is meant",
        640,
        427,
    )


def test_an_image_above_pillows_own_limit_is_refused():
    header = bytearray(encoded(PHOTO, "BMP")[:60])
    header[18:26] = (60_000).to_bytes(4, "little") * 2
    assert (
        facts(bytes(header), max_pixels=10**12).problem
        == "more than 178,956,970 pixels, the most that is ever read; make it smaller"
    )


@pytest.mark.filterwarnings("ignore")  # pytest puts the filters back that cleaner.data.images adds.
@given(st.binary(max_size=300), st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]), st.integers(0, 800))
@settings(max_examples=300, deadline=None)
def test_facts_raise_on_no_bytes_and_agree_with_decode(junk, form, start):
    data = bytearray(encoded(PHOTO.resize((24, 16)), form))
    data[start : start + len(junk)] = junk
    for candidate in (bytes(data), junk):
        found = facts(candidate, max_pixels=100_000)
        try:
            pixels = decode(candidate, max_pixels=100_000)
        except ImageProblem as problem:
            assert found.problem == str(problem)
        else:
            assert found.problem is None
            assert pixels.shape[2] == 3


def test_nothing_is_said_on_screen_about_a_damaged_tiff(capfd):
    data = bytearray(encoded(PHOTO.convert("1"), "TIFF", compression="group4"))
    data[20:400] = bytes(range(190)) * 2
    with warnings.catch_warnings(record=True):
        facts(bytes(data), max_pixels=LIMIT)
    assert capfd.readouterr() == ("", "")


@given(st.integers(1, 700), st.integers(20, 500), st.integers(20, 500))
@settings(max_examples=40, deadline=None)
def test_a_faster_decode_keeps_the_shorter_side(min_side, width, height):
    data = encoded(PHOTO.resize((width, height)), "JPEG")
    pixels = decode(data, max_pixels=LIMIT, min_side=min_side)
    assert min(pixels.shape[:2]) >= min(min_side, width, height)
    assert pixels.shape[0] <= height and pixels.shape[1] <= width


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_models_input_is_the_centre_square(form):
    pixels = resized(encoded(PHOTO, form), side=96, max_pixels=LIMIT)
    wanted = ImageOps.fit(PHOTO, (96, 96), Image.Resampling.BICUBIC)
    assert pixels.shape == (96, 96, 3) and pixels.dtype == np.uint8
    assert distance(pixels, np.asarray(wanted)) < 5


def test_a_small_image_is_enlarged_for_a_model():
    assert resized(encoded(PHOTO.resize((7, 3)), "PNG"), side=64, max_pixels=LIMIT).shape == (64, 64, 3)


def test_a_thumbnail_fits_and_shows_the_whole_image():
    small = Image.open(BytesIO(thumbnail(encoded(PHOTO, "PNG"), side=100, max_pixels=LIMIT)))
    assert (small.format, small.size) == ("JPEG", (100, 67))


def test_a_thumbnail_of_a_small_image_keeps_its_size():
    small = Image.open(BytesIO(thumbnail(encoded(PHOTO.resize((8, 8)), "PNG"), side=100, max_pixels=LIMIT)))
    assert small.size == (8, 8)


def test_a_file_that_cannot_be_read_gives_its_error(tmp_path):
    assert isinstance(read(tmp_path / "none.jpg"), FileNotFoundError)
    assert isinstance(read(tmp_path), IsADirectoryError)


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
def test_photos_of_phones_look_as_they_are(form):
    found = facts(encoded(PHOTO, form, quality=95), max_pixels=LIMIT)
    assert (found.width, found.height, found.problem) == (640, 427, None)
    pixels = decode(encoded(PHOTO, form, quality=95), max_pixels=LIMIT).astype(int)
    assert np.abs(pixels - np.asarray(PHOTO)).mean() < 4


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (encoded(PHOTO, "HEIF"), "HEIC: install pillow-heif to read it"),
        (encoded(PHOTO, "AVIF"), "AVIF: install Pillow 11.3 or newer to read it"),
        (b'<?xml version="1.0"?>\n<!-- made by -->\n<svg xmlns="x"></svg>', "SVG: a drawing; convert it to PNG"),
        (b"<svg></svg>", "SVG: a drawing; convert it to PNG"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL: convert it to JPEG or PNG"),
        (b"<html><svg></svg></html>", "no image"),
    ],
)
def test_what_a_decoder_is_missing_for_is_told_with_the_remedy(data, remedy):
    assert facts(data, max_pixels=LIMIT, formats=["JPEG", "PNG"]).problem == remedy


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_broken_exif_does_not_break_the_image(form):
    stream = BytesIO()
    PHOTO.save(stream, form, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert facts(stream.getvalue(), max_pixels=LIMIT).problem is None
    assert decode(stream.getvalue(), max_pixels=LIMIT).shape == (427, 640, 3)
    stream = BytesIO()
    PHOTO.save(stream, form, exif=b"Exif\0\0nonsense")
    assert facts(stream.getvalue(), max_pixels=LIMIT).problem is None


def test_threads_that_decode_huge_images_share_a_budget_of_memory(tmp_path):
    Image.new("RGBA", (6000, 6000)).save(tmp_path / "huge.png")
    program = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from cleaner.data.images import facts
from cleaner.run.memory import peak_gigabytes
data = Path(sys.argv[1]).read_bytes()
with ThreadPoolExecutor(6) as pool:
    assert {found.problem for found in pool.map(lambda _: facts(data, max_pixels=10**8), range(6))} == {None}
print(peak_gigabytes())
"""
    command = [sys.executable, "-c", program, str(tmp_path / "huge.png")]
    peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert peak < 1.5, "six at once took ten times the pixels each"


@pytest.mark.parametrize(("progressive", "together"), [(False, True), (True, False)])
def test_of_the_budget_an_image_takes_the_size_at_which_it_is_decoded(monkeypatch, progressive, together):
    data = encoded(Image.new("RGB", (8000, 6000), "green"), "JPEG", progressive=progressive)
    monkeypatch.setattr(images, "_budget", images._Budget(2**28))
    decoded = threading.Event()
    other = threading.Thread(target=lambda: (decode(data, max_pixels=10**8, min_side=256), decoded.set()))
    with images._budget.take(2**27):
        other.start()
        assert decoded.wait(60 if together else 1) == together, "at its full size it would have to wait"
    other.join()
    assert decoded.is_set()


@pytest.mark.parametrize(
    ("most", "white"),
    [(255, 255), (256, 1_023), (1_023, 1_023), (4_095, 4_095), (4_096, 16_383), (16_384, 65_535), (65_535, 65_535)],
)
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_ten_to_fourteen_bits_in_a_file_of_sixteen_are_no_night(form, most, white):
    values = np.linspace(0, most, 256).astype(np.uint16).reshape(16, 16)
    found = decode(encoded(Image.fromarray(values), form), max_pixels=10**6)
    assert np.array_equal(found[:, :, 0], np.rint(values * (255 / white)).astype(np.uint8))


def png_with(kind, content, *, damaged):
    data = encoded(PHOTO.resize((24, 16)), "PNG")
    checksum = zlib.crc32(kind + content) ^ damaged
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize("kind", [b"tEXt", b"iCCP", b"tRNS", b"eXIf"])
def test_a_wrong_checksum_of_a_note_in_a_png_is_no_damage(kind):
    whole = decode(encoded(PHOTO.resize((24, 16)), "PNG"), max_pixels=10**6)
    assert np.array_equal(decode(png_with(kind, b"key\0anything", damaged=1), max_pixels=10**6), whole)


def test_a_wrong_checksum_of_pixels_is_damage():
    data = bytearray(encoded(PHOTO.resize((24, 16)), "PNG"))
    data[data.index(b"IDAT") + 8] ^= 1
    assert "damaged" in (facts(bytes(data), max_pixels=10**6).problem or "")
    cut = png_with(b"tEXt", b"x" * 50, damaged=1)[:60]
    assert facts(cut, max_pixels=10**6).problem


def tiff_of(bands):
    """A TIFF's header and tags, little-endian and big-endian, without pixels."""
    for mark, order in ((b"II*\0", "<"), (b"MM\0*", ">")):
        tags = [(256, 3, 1, 8), (257, 3, 1, 8), (277, 3, 1, bands)]
        packed = b"".join(struct.pack(f"{order}HHIHH", tag, kind, count, value, 0) for tag, kind, count, value in tags)
        yield mark + struct.pack(f"{order}IH", 8, len(tags)) + packed + bytes(4)


def test_what_is_no_image_here_is_named_as_what_it_is():
    for data in tiff_of(5):
        assert facts(data, max_pixels=10**6).problem == "TIFF of 5 bands: convert it to RGB"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    assert facts(pointer, max_pixels=10**6).problem == "a Git LFS pointer, not the file: fetch it with git lfs pull"
    annexed = b"/annex/objects/SHA256E-s5--00.jpg\n"
    assert "git annex get" in facts(annexed, max_pixels=10**6).problem
    for data in (b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*" + bytes(4), b"II*\0\x08\0\0\0\xff\xff"):
        assert facts(data, max_pixels=10**6).problem
