"""What one packet of video begins with: is it a keyframe, does it carry the codec's parameters?

Packets in bags come without a container that would say so; their first bytes do.

    H.264 (Annex B)   00 00 01, byte & 31: 5 is a keyframe (IDR), 7 and 8 are parameters
    HEVC (Annex B)    00 00 01, byte >> 1 & 63: 16 to 21 are keyframes (IRAP), 32 to 34 parameters
    VP9               2 bits marker (10), 2 bits profile, show existing, then 0 for a keyframe
    AV1               OBUs: a sequence header (1), then a frame (3, 6) whose type is 0

Source: ITU-T H.264 table 7-1, H.265 table 7-1; VP9 bitstream specification 6.2; AV1 5.3, 5.9.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

CODECS = ("h264", "hevc", "vp9", "av1")
_NAMES = {"h264": ("264", "avc"), "hevc": ("265", "hevc"), "vp9": ("vp9",), "av1": ("av1",)}
_HEAD_BYTES = 1 << 16
"""Parameters and the first slice stand within so many bytes."""


class PacketFacts(NamedTuple):
    """What is known of a packet without decoding it."""

    keyframe: bool
    parameters: bytes
    """H.264, HEVC: the parameter sets in it, as they stand there."""


def codec_named(name: str) -> str:
    """Return which codec a message's format or encoder is; empty for others.

    >>> codec_named("h265"), codec_named("libx264"), codec_named("hevc_nvenc;yuv420p"), codec_named("ffv1")
    ('hevc', 'h264', 'hevc', '')
    """
    first = name.lower().replace("/", ";").partition(";")[0]
    return next((codec for codec, marks in _NAMES.items() if any(mark in first for mark in marks)), "")


def packet_facts(codec: str, data: bytes) -> PacketFacts:
    """Look at a packet of one of `CODECS`."""
    if codec == "vp9":
        return PacketFacts(_vp9_keyframe(data), b"")
    if codec == "av1":
        return PacketFacts(_av1_keyframe(data), b"")
    parameters, keyframe = [], False
    for begin, end, kind in _units(codec, data):
        if kind in ((7, 8) if codec == "h264" else (32, 33, 34)):
            parameters.append(data[begin:end])
        elif kind in ((1, 2, 3, 4, 5) if codec == "h264" else range(32)):  # the picture itself
            keyframe = kind == 5 if codec == "h264" else 16 <= kind <= 21
            break
    return PacketFacts(keyframe, b"".join(parameters))


def _units(codec: str, data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield begin (of the start code), end and kind of the units near a packet's beginning."""
    at = data.find(b"\0\0\1", 0, _HEAD_BYTES)
    while 0 <= at < len(data) - 3:
        following = data.find(b"\0\0\1", at + 3, at + 3 + _HEAD_BYTES)
        kind = data[at + 3] & 31 if codec == "h264" else data[at + 3] >> 1 & 63
        yield at, len(data) if following < 0 else following, kind
        at = following


def _vp9_keyframe(data: bytes) -> bool:
    if not data or data[0] >> 6 != 2:
        return False
    place = 5 if data[0] >> 4 & 3 == 3 else 4  # profile 3 has one more reserved bit
    shows_existing, not_key = data[0] >> (7 - place) & 1, data[0] >> (6 - place) & 1
    return not (shows_existing or not_key)


def _av1_keyframe(data: bytes) -> bool:
    """A temporal unit with a sequence header whose first frame is a keyframe.

    OBU: 1 bit 0, 4 bits type, 1 bit extension, 1 bit has size, 1 bit 0; extension byte; size, LEB128.
    """
    at, described = 0, False
    while at < len(data):
        kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + extended
        size, at = _leb128(data, at) if sized else (len(data) - at, at)
        if kind == 1:
            described = True
        elif kind in (3, 6):  # frame header, frame: show existing 1 bit, type 2 bits (0: key)
            return described and at < len(data) and data[at] >> 5 == 0
        at += size
    return False


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """Return a number in groups of seven bits, lowest first, and where it ends."""
    value = 0
    for index, byte in enumerate(data[at : at + 8]):
        value |= (byte & 127) << 7 * index
        if not byte & 128:
            return value, at + index + 1
    return len(data), at + 8
