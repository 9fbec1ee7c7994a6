"""What bytes that can't be opened are, and what is wrong with those that can't be decoded, in words."""

import re
import struct
import zlib
from contextlib import suppress

_ELSEWHERE = (
    (rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", "HEIC: install pillow-heif to read it"),
    (rb"....ftypavi[fs]", "AVIF: install Pillow 11.3 or newer to read it"),
    (rb"\s*<(\?xml|!--|!DOCTYPE svg|svg)[^\0]*<svg|\s*<svg", "SVG: a drawing; convert it to PNG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL: convert it to JPEG or PNG"),
    (rb"version https://git-lfs", "a Git LFS pointer, not the file: fetch it with git lfs pull"),
    (rb"(\.\./)*(\.git)?/annex/objects/", "a git-annex pointer, not the file: fetch it with git annex get"),
)


_HEAD = 4096
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
_PNG = b"\x89PNG\r\n\x1a\n"
_SAMPLES_PER_PIXEL = 277
_TAGS = 1000
_BANDS = 4


def unknown(data: bytes) -> str:
    if data.startswith(_SIGNATURES):
        return "damaged: its header can't be read"
    if (bands := _bands_of_tiff(data)) > _BANDS:
        return f"TIFF of {bands} bands: convert it to RGB"
    return next((remedy for form, remedy in _ELSEWHERE if re.match(form, data[:_HEAD], re.DOTALL)), "no image")


def _bands_of_tiff(data: bytes) -> int:
    """SamplesPerPixel (tag 277) of the first page; 0 of what is no TIFF, or where it can't be read."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return 0
    with suppress(struct.error):
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for entry in range(min(count, _TAGS)):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, start + 2 + 12 * entry)
            if tag == _SAMPLES_PER_PIXEL:
                return int(value)
    return 0


def without_damaged_notes(data: bytes) -> bytes:
    """A PNG without those ancillary chunks, which hold no pixels, whose checksum is wrong: as libpng reads it."""
    if not data.startswith(_PNG):
        return data
    kept, start, place = [], 0, len(_PNG)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end, kind = place + 12 + length, data[place + 4 : place + 8]
        is_ancillary = bool(kind[0] & 0x20)
        if is_ancillary and end <= len(data):
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(data[place + 4 : end - 4]) != checksum:
                kept.append(data[start:place])
                start = end
        place = end
    return b"".join([*kept, data[start:]]) if kept else data


def reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    cut = isinstance(error, EOFError) or "truncated" in text.lower()
    return "truncated" if cut else f"damaged: {text[:100]}"
