"""Bytes to pixels, quickly and safely; facts about an image.

Images come from the web: any bytes may be in a file. Only raster formats that Pillow, and pillow-heif where it is
installed, decode themselves, in this process, are opened; an image's size is read from its header before any pixel is.
"""

import ctypes
import errno
import hashlib
import logging
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

from cleaner.data.decoding import _SIDEWAYS, orientation_of, rgb, upright
from cleaner.data.headers import reason, unknown, without_damaged_notes
from cleaner.data.pixel_quality import SIDE, PixelQuality, pixel_quality
from cleaner.errors import ImageProblem

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

# What Pillow and libtiff grumble about ends as an image's problem, or is harmless. Silenced for good, not around each
# image: `warnings.catch_warnings` is not safe in threads, and libtiff's handlers belong to the process.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
for _libtiff in Path(PIL.__path__[0]).parent.glob("pillow.libs/libtiff*"):
    ctypes.CDLL(str(_libtiff)).TIFFSetErrorHandler(None)
    ctypes.CDLL(str(_libtiff)).TIFFSetWarningHandler(None)

try:
    from pillow_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

Image.init()
# Left out: what starts another program (EPS), is only identified, or has so loose a header that text passes for it.
_SAFE = "AVIF BMP DDS DIB GIF HEIF ICNS ICO JPEG JPEG2000 PCX PNG PPM PSD QOI SGI TGA TIFF WEBP"
FORMATS = tuple(sorted(set(_SAFE.split()) & set(Image.OPEN)))
"""What can be decoded here."""
_REDUCING_GAP = 3.0
_MAX_BYTES = 2**29
_BYTES_A_PIXEL = 12
"""What decoding takes at most, beside a stripe: the decoder's image, its pixels, and these turned upright."""
_BYTES_A_COEFFICIENT = 6
"""Of a pixel of a progressive JPEG at its full size, whatever the scale: three colours of two bytes."""
_BYTES_AT_ONCE = 2**30


@dataclass(frozen=True)
class Facts:
    """What the manifest says of an image.

    Attributes:
        width, height: in pixels, as a person sees the image, turned upright; None where the header can't be read.
        mode: Pillow's mode of the file ("RGB", "L", "P", "CMYK", "I;16", ...); None where the header can't be read.
        bytes: size of the file.
        content_hash: as the function of this name gives it.
        problem: a short reason why the image can't be used, None if it can.
        quality: how good its pixels are; None where it can't be used.
    """

    width: int | None
    height: int | None
    mode: str | None
    bytes: int
    content_hash: str
    problem: str | None
    quality: PixelQuality | None = None


def read(file: Path) -> bytes | OSError:
    """A file's bytes, or why they can't be had. No image is larger than 512 MiB; such a file is not read."""
    try:
        if file.stat().st_size > _MAX_BYTES:
            return OSError(errno.EFBIG, f"larger than {_MAX_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        return error


def content_hash(data: bytes) -> str:
    """BLAKE2b of a file's bytes, 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def unchanged(images: Iterable[bytes | OSError], hashes: Iterable[str | None]) -> Iterator[bytes | OSError]:
    """The images, with an OSError in the place of each that has another content hash now than it is said to have."""
    for image, known in zip(images, hashes, strict=True):
        same = isinstance(image, OSError) or known is None or content_hash(image) == known
        yield image if same else OSError("it has changed since it was scanned")


def facts(data: bytes, *, max_pixels: int, formats: Sequence[str] = FORMATS) -> Facts:
    """The facts of an encoded image. Raises on no bytes whatever; decodes, at a small scale where it can, so that a
    truncated image is found."""
    width = height = mode = problem = seen = None
    try:
        with _opened(data, max_pixels, formats) as image:
            (width, height), mode = image.size, image.mode
            seen = pixel_quality(_pixels(image, data, max_pixels=max_pixels, min_side=SIDE))
            if orientation_of(image) in _SIDEWAYS:
                width, height = height, width
    except ImageProblem as found:
        problem = str(found)
    return Facts(width, height, mode, len(data), content_hash(data), problem, None if problem else seen)


def decode(data: bytes, *, max_pixels: int, min_side: int | None = None) -> np.ndarray:
    """The image as a person sees it: uint8, height x width x 3, RGB.

    The first frame of an animation, upright, deep greys scaled to eight bits, what is transparent on white.

    Args:
        data: the encoded image.
        max_pixels: a larger image is refused unseen; Pillow's own limit (178,956,970 by default) holds besides.
        min_side: a JPEG may be decoded at a smaller scale, several times faster, as long as its shorter side keeps this
            many pixels. An image whose shorter side has fewer comes at its full size.

    Raises:
        ImageProblem: it can't be; the message is a short reason.
    """
    with _opened(data, max_pixels, FORMATS) as image:
        return _pixels(image, data, max_pixels=max_pixels, min_side=min_side)


def resized(data: bytes, *, side: int, max_pixels: int) -> np.ndarray:
    """A model's input: the centre square of the image, antialiased to uint8, side x side x 3, RGB.

    Raises:
        ImageProblem: the image can't be decoded.
    """
    image = Image.fromarray(decode(data, max_pixels=max_pixels, min_side=side))
    edge = min(image.size)
    left, top = (image.width - edge) / 2, (image.height - edge) / 2
    square = (left, top, left + edge, top + edge)
    small = image.resize((side, side), Image.Resampling.BICUBIC, box=square, reducing_gap=_REDUCING_GAP)
    return np.asarray(small)


def thumbnail(data: bytes, *, side: int, max_pixels: int) -> bytes:
    """A JPEG of the whole image that fits into side x side pixels; a smaller image keeps its size.

    Raises:
        ImageProblem: the image can't be decoded.
    """
    image = Image.fromarray(decode(data, max_pixels=max_pixels, min_side=side))
    image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


@contextmanager
def _opened(data: bytes, max_pixels: int, formats: Sequence[str]) -> Iterator[Image.Image]:
    """The image with only its header read. Whatever goes wrong in the block becomes an ImageProblem."""
    if not data:
        raise ImageProblem("empty file")
    try:
        with Image.open(BytesIO(without_damaged_notes(data)), formats=list(formats)) as image:
            yield image
    except ImageProblem:
        raise
    except UnidentifiedImageError as error:
        raise ImageProblem(unknown(data)) from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)
        if most < max_pixels:
            raise ImageProblem(f"more than {most:,} pixels, the most that is ever read; make it smaller") from error
        raise _too_large(max_pixels) from error
    except Exception as error:  # Pillow's decoders raise whatever damaged bytes lead to
        raise ImageProblem(reason(error)) from error


def _too_large(max_pixels: int) -> ImageProblem:
    return ImageProblem(f"more than {max_pixels:,} pixels: the setting scan.max_pixels, if it is meant")


class _Budget:
    """Bytes that all threads together may have in images being decoded; one image alone may have more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._freed = threading.Condition()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Wait until there is room for `size` bytes, and hold them within the block."""
        with self._freed:
            self._freed.wait_for(lambda: self._taken == 0 or self._taken + size <= self._most)
            self._taken += size
        try:
            yield
        finally:
            with self._freed:
                self._taken -= size
                self._freed.notify_all()


_budget = _Budget(_BYTES_AT_ONCE)


def _pixels(image: Image.Image, data: bytes, *, max_pixels: int, min_side: int | None) -> np.ndarray:
    if image.width * image.height > max_pixels:
        raise _too_large(max_pixels)
    whole = image.width * image.height * _BYTES_A_COEFFICIENT if image.info.get("progressive") else 0
    if min_side is not None:
        image.draft(None, (min_side, min_side))  # From here on the image has the size at which it will be decoded.
    with _budget.take(whole + image.width * image.height * _BYTES_A_PIXEL):
        pixels = _turbo(image, data, min_side)
        if pixels is None:
            pixels = rgb(image)
        return upright(pixels, orientation_of(image))


def _turbo(image: Image.Image, data: bytes, min_side: int | None) -> np.ndarray | None:
    """The pixels of a plain JPEG by libjpeg-turbo; None where the image is not that, or should better go to Pillow."""
    if simplejpeg is None or image.format not in ("JPEG", "MPO") or image.mode not in ("L", "RGB"):
        return None
    try:
        return simplejpeg.decode_jpeg(data, "RGB", min_height=min_side or 0, min_width=min_side or 0)
    except ValueError as error:
        if "premature end" in str(error).lower():
            raise ImageProblem("truncated") from error
        return None
