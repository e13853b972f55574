"""Which AV1 packets no other one refers to: read from the frames' headers.

All that one AV1 frame hands on to others (pixels, probabilities, motion, segments) goes through the eight
reference slots. A shown frame that refreshes none of them can be left out, and nothing else changes.

Source: AV1 Bitstream & Decoding Process Specification, 5.3 (OBU header), 5.5 (sequence header), 5.9.2
(uncompressed header). Where a stream uses what is not read here (layers, decoder models), the answer is that
something may refer to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME, _REDUNDANT_HEADER, _TILE_LIST = 1, 3, 6, 7, 8
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3
_CHOSEN_BY_FRAME = 2
_CONFIGURATION_BYTES = 4
"""What stands before the OBUs in a container's `av1C`."""


class CannotTell(Exception):
    """The stream uses something whose fields are not read here."""


@dataclass(frozen=True)
class SequenceHeader:
    """What of a sequence header the frames' headers depend on."""

    frame_id_bits: int
    """0: frames have no numbers."""
    order_hint_bits: int
    screen_content: int
    integer_motion: int
    """0, 1, or 2: chosen by each frame."""


class Av1References:
    """Reads the packets of one stream.

    Args:
        extradata: of the stream; may be empty.
    """

    def __init__(self, extradata: bytes) -> None:
        self._sequence: SequenceHeader | None = None
        if extradata[:1] == b"\x81":
            try:
                self.nothing_refers_to(memoryview(extradata)[_CONFIGURATION_BYTES:])
            except IndexError:
                self._sequence = None

    def nothing_refers_to(self, data: memoryview) -> bool:
        """Say whether a packet shows one frame, and no other packet can need it."""
        frames = 0
        try:
            for kind, body in _units(data):
                if kind == _SEQUENCE_HEADER:
                    self._sequence = _sequence_header(_Bits(body))
                    return False
                if kind in (_FRAME_HEADER, _FRAME):
                    frames += 1
                    if not self._sequence or not _is_loose(_Bits(body), self._sequence):
                        return False
                elif kind in (_REDUNDANT_HEADER, _TILE_LIST):
                    return False
        except (CannotTell, IndexError):
            return False
        return frames == 1


def _units(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield type and content of each open bitstream unit."""
    at = 0
    while at < len(data):
        head = data[at]
        at += 1
        if head & 0x04:  # an extension: temporal and spatial layers
            raise CannotTell
        size = len(data) - at
        if head & 0x02:
            size, at = _leb128(data, at)
        yield head >> 3 & 15, data[at : at + size]
        at += size


def _leb128(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, at + place + 1
    raise CannotTell


class _Bits:
    """Reads numbers of so many bits, the highest bit first; raises `IndexError` behind the end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def read(self, bits: int) -> int:
        value = 0
        for at in range(self._at, self._at + bits):
            value = value << 1 | (self._data[at >> 3] >> (7 - (at & 7)) & 1)
        self._at += bits
        return value


def _sequence_header(bits: _Bits) -> SequenceHeader:
    bits.read(3)  # profile
    bits.read(1)  # still picture
    if bits.read(1):  # reduced header: every frame is a key frame
        raise CannotTell
    if bits.read(1):  # timing information
        raise CannotTell
    delays = bits.read(1)
    for _ in range(bits.read(5) + 1):  # operating points
        bits.read(12)
        if bits.read(5) > 7:  # level
            bits.read(1)  # tier
        if delays and bits.read(1):
            bits.read(4)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    bits.read(width_bits)
    bits.read(height_bits)
    frame_id_bits = 0
    if bits.read(1):
        frame_id_bits = bits.read(4) + 2
        frame_id_bits += bits.read(3) + 1
    bits.read(3)  # superblock size, filter intra, intra edge filter
    bits.read(4)  # inter-intra, masked, warped, dual filter
    has_order = bits.read(1)
    if has_order:
        bits.read(2)  # joint compound, reference motion vectors
    screen_content = _CHOSEN_BY_FRAME if bits.read(1) else bits.read(1)
    integer_motion = _CHOSEN_BY_FRAME
    if screen_content:
        integer_motion = _CHOSEN_BY_FRAME if bits.read(1) else bits.read(1)
    order_hint_bits = bits.read(3) + 1 if has_order else 0
    return SequenceHeader(frame_id_bits, order_hint_bits, screen_content, integer_motion)


def _is_loose(bits: _Bits, sequence: SequenceHeader) -> bool:
    """Say whether a frame is shown and refreshes no reference."""
    if bits.read(1):  # shows an existing frame, which may refresh all of them
        return False
    frame_type, shown = bits.read(2), bits.read(1)
    if not shown or frame_type in (_KEY, _SWITCH):
        return False
    error_resilient = bits.read(1)
    bits.read(1)  # probabilities are not updated
    screen_content = sequence.screen_content
    if screen_content == _CHOSEN_BY_FRAME:
        screen_content = bits.read(1)
    if screen_content and sequence.integer_motion == _CHOSEN_BY_FRAME:
        bits.read(1)
    bits.read(sequence.frame_id_bits)
    bits.read(1)  # another size
    bits.read(sequence.order_hint_bits)
    if not error_resilient and frame_type != _INTRA_ONLY:
        bits.read(3)  # primary reference
    return bits.read(8) == 0
