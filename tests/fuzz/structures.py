"""Where the length fields of a file lie, so that damage hits them more often than chance would."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Field = tuple[int, int, str]
"""Offset, size in bytes, byte order."""

MOST_FIELDS = 2000
_BOXES_WITH_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta")
_BOXES_OF_NUMBERS = (
    *(
        b"mvhd",
        b"tkhd",
        b"mdhd",
        b"stts",
        b"stsc",
        b"stsz",
        b"stco",
        b"co64",
        b"ctts",
        b"elst",
        b"stsd",
        b"stss",
    ),
    *(b"trun", b"tfhd", b"tfdt", b"sidx", b"trex", b"mfhd", b"avcC", b"hvcC", b"esds", b"colr", b"pasp"),
)


def fields_of(data: bytes) -> list[Field]:
    """Return the length fields of a file whose format shows in its first bytes; none for others."""
    try:
        return [field for field, _ in zip(_fields(data), range(MOST_FIELDS), strict=False)]
    except (struct.error, IndexError, ValueError):
        return []


def _fields(data: bytes) -> Iterator[Field]:
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        yield from _mp4(data, 0, len(data))
    elif data.startswith(b"\x1a\x45\xdf\xa3"):
        yield from _matroska(data)
    elif data.startswith((b"RIFF", b"FORM", b"RF64")):
        yield from _riff(data, "big" if data.startswith(b"FORM") else "little")
    elif data.startswith(b"\x89MCAP0"):
        yield from _mcap(data)
    elif data.startswith(b"#ROSBAG V2.0"):
        yield from _rosbag(data)
    elif data.startswith(b"SQLite format 3"):
        yield from _sqlite(data)
    elif data.startswith(b"PAR1"):
        yield from (
            (len(data) - 8, 4, "little"),
            *((at, 1, "little") for at in range(len(data) - 400, len(data) - 8)),
        )
    elif data[257:262] == b"ustar":
        yield from _tar(data)
    elif data.startswith(b"\x93NUMPY"):
        yield from ((8, 2, "little"), *((at, 1, "little") for at in range(10, 128)))
    elif data.startswith(b"OggS"):
        yield from _ogg(data)
    elif data.startswith(b"fLaC"):
        yield from ((at, 4, "big") for at in range(4, 42))
    elif data.startswith(b"FLV"):
        yield from _flv(data)
    elif data[:1] == b"\x47":
        yield from ((at + inner, 1, "big") for at in range(0, len(data), 188) for inner in (1, 3, 4, 5))


def _mp4(data: bytes, begin: int, end: int) -> Iterator[Field]:
    """ISO/IEC 14496-12, 4.2: uint32 size, type, and what is in it."""
    at = begin
    while at + 8 <= end:
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        yield at, 4, "big"
        if size == 1:
            yield at + 8, 8, "big"
        stop = min(end, at + size) if size >= 8 else end
        if kind in _BOXES_WITH_BOXES:
            yield from _mp4(data, at + 8, stop)
        elif kind in _BOXES_OF_NUMBERS:
            yield from ((place, 4, "big") for place in range(at + 8, min(stop, at + 120) - 3, 4))
        at = stop


def _matroska(data: bytes) -> Iterator[Field]:
    """RFC 8794: an identity and a size of variable lengths; masters are walked into."""
    at = 0
    masters = (
        0x1A45DFA3,
        0x18538067,
        0x1549A966,
        0x1654AE6B,
        0xAE,
        0xE0,
        0xE1,
        0x1F43B675,
        0x1C53BB6B,
        0x114D9B74,
        0xA0,
    )
    while at < len(data):
        identity, size = _vint_bytes(data[at]), 0
        number = int.from_bytes(data[at : at + identity], "big")
        at += identity
        size = _vint_bytes(data[at])
        yield at, size, "big"
        length = int.from_bytes(data[at : at + size], "big") & ((1 << 7 * size) - 1)
        at += size
        if number not in masters:
            if length <= 8:
                yield at, max(1, length), "big"
            at += length


def _vint_bytes(first: int) -> int:
    return 9 - first.bit_length() if first else 8


def _riff(data: bytes, order: str) -> Iterator[Field]:
    at = 12
    yield 4, 4, order
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], order)  # type: ignore[arg-type]
        yield at + 4, 4, order
        if data[at : at + 4] == b"LIST" and data[at + 8 : at + 12] in (b"hdrl", b"strl", b"movi", b"odml"):
            at += 12
            continue
        yield from (
            (place, 4, order) for place in range(at + 8, min(at + 8 + size, at + 72, len(data)) - 3, 4)
        )
        at += 8 + size + size % 2


def _mcap(data: bytes) -> Iterator[Field]:
    yield from _mcap_records(data, 8, len(data) - 8)


def _mcap_records(data: bytes, begin: int, end: int) -> Iterator[Field]:
    at = begin
    while at + 9 <= end:
        op, size = struct.unpack_from("<BQ", data, at)
        yield at + 1, 8, "little"
        content, stop = at + 9, min(end, at + 9 + size)
        if op == 6:  # a chunk: its numbers, then its records
            yield from ((content + place, 8, "little") for place in (0, 8, 16))
            name = int.from_bytes(data[content + 28 : content + 32], "little")
            yield content + 28, 4, "little"
            if not name:
                yield from _mcap_records(data, content + 40, stop)
        elif op == 5:
            yield from ((content, 2, "little"), (content + 6, 8, "little"), (content + 14, 8, "little"))
            yield from (
                (place, 4, "little") for place in range(content + 22, min(stop, content + 110) - 3, 4)
            )
        else:
            yield from ((place, 4, "little") for place in range(content, min(stop, content + 64) - 3, 2))
        at += 9 + size


def _rosbag(data: bytes) -> Iterator[Field]:
    at = 13
    while at + 8 <= len(data):
        header = int.from_bytes(data[at : at + 4], "little")
        yield at, 4, "little"
        inner, stop = at + 4, at + 4 + header
        op = b""
        while inner + 4 <= stop <= len(data):
            size = int.from_bytes(data[inner : inner + 4], "little")
            yield inner, 4, "little"
            name, _, value = data[inner + 4 : inner + 4 + size].partition(b"=")
            op = value if name == b"op" else op
            yield inner + 4 + len(name) + 1, max(1, min(8, len(value))), "little"
            inner += 4 + size
        length = int.from_bytes(data[stop : stop + 4], "little")
        yield stop, 4, "little"
        if op == b"\x02":  # a message: the beginning of its data
            yield from ((place, 4, "little") for place in range(stop + 4, min(stop + 92, len(data)) - 3, 4))
        at = stop + 4 + (0 if op == b"\x05" and b"compression=none" in data[at:stop] else length)


def _sqlite(data: bytes) -> Iterator[Field]:
    page = int.from_bytes(data[16:18], "big") or 4096
    yield from ((place, 4, "big") for place in range(16, 96, 4))
    for at in range(0, len(data), page):
        begin = at + (100 if at == 0 else 0)
        yield from ((begin + place, 2, "big") for place in (1, 3, 5))
        yield from ((begin + 8 + 2 * cell, 2, "big") for cell in range(8))


def _tar(data: bytes) -> Iterator[Field]:
    for at in range(0, len(data), 512):
        if data[at + 257 : at + 262] == b"ustar":
            yield from (
                (at + place, 1, "big") for place in (0, 1, 36, 37, 124, 134, 135, 148, 156, 157, 257, 345)
            )
        if data[at : at + 6] == b"\x93NUMPY":
            yield from ((at + place, 1, "big") for place in (6, 8, 9, *range(20, 90)))


def _ogg(data: bytes) -> Iterator[Field]:
    at = data.find(b"OggS")
    while at >= 0:
        yield from (
            (at + 5, 1, "little"),
            (at + 6, 8, "little"),
            (at + 26, 1, "little"),
            (at + 27, 1, "little"),
        )
        at = data.find(b"OggS", at + 4)


def _flv(data: bytes) -> Iterator[Field]:
    at = 13
    while at + 11 < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        yield from ((at + 1, 4, "big"), (at + 4, 4, "big"), (at + 11, 2, "big"))
        at += 11 + size + 4
