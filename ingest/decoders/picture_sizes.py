"""Width, height and bits of a compressed picture by its header, so that nothing huge is ever unpacked.

    JPEG   segments FF, marker, uint16 length (big-endian, with itself); SOF markers are C0 to CF without C4,
           C8 and CC, and hold uint8 precision, uint16 height, uint16 width
    PNG    uint32 width, height, uint8 bits at 16
    WebP   RIFF; VP8: uint16 width, height (14 bits each) at 26; VP8L: 14 bits each at 21; VP8X: 24 bits at 24
    BMP    int32 width, height (negative: from the top down) at 18
    TIFF   "II" or "MM", 42, offset of a directory of entries: tag, type, count, value; 256 width, 257 height,
           258 bits

Source: ITU-T T.81; PNG specification; WebP container specification; `BITMAPINFOHEADER`; TIFF 6.0.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
SHORT, LONG = 3, 4
"""TIFF's types of numbers."""


class PictureSize(NamedTuple):
    """What a header says."""

    width: int
    height: int
    bits: int
    """Per channel."""


def declared_size(data: memoryview) -> PictureSize | None:
    """Return what a picture's header says; None for kinds that are not known, and where it says nothing."""
    head = bytes(data[:64])
    try:
        if head.startswith(PNG_MAGIC):
            width, height, bits = struct.unpack_from(">IIB", head, 16)
            return PictureSize(width, height, bits)
        if head.startswith(JPEG_MAGIC):
            return _jpeg(data)
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return _webp(head)
        if head.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", head, 18)
            return PictureSize(abs(width), abs(height), 8)
        if head[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(data, "<" if head[:1] == b"I" else ">")
    except struct.error:
        return None
    return None


def _jpeg(data: memoryview) -> PictureSize | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return PictureSize(width, height, 8)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _webp(head: bytes) -> PictureSize | None:
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return PictureSize(width, height, 8)
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", head, 21)
        return PictureSize((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, 8)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return PictureSize(width & 0x3FFF, height & 0x3FFF, 8)
    return None


def _tiff(data: memoryview, order: str) -> PictureSize | None:
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    found = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", data, entry)
        if tag in (256, 257, 258) and kind in (SHORT, LONG):
            form = "H" if kind == SHORT else "I"
            size = struct.calcsize(form) * values
            where = entry + 8 if size <= 4 else struct.unpack_from(f"{order}I", data, entry + 8)[0]
            (found[tag],) = struct.unpack_from(f"{order}{form}", data, where)
    if 256 not in found or 257 not in found:
        return None
    return PictureSize(found[256], found[257], found.get(258, 1))
