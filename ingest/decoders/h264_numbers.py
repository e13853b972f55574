"""Was a picture lost between two packets of H.264? Their frame numbers tell.

A decoder that misses a reference goes on and gives wrong pictures without a word. Each picture's slice
header has `frame_num`, which counts reference pictures modulo a power of two that the parameters name.

Source: ITU-T H.264, sections 7.3.2.1.1 (sequence parameter set), 7.3.3 (slice header), 7.4.3 (frame_num).
"""

from __future__ import annotations

_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
"""Profiles whose parameters say more about colour."""


class _Bits:
    """Reads bits of a unit, highest first; the bytes that keep start codes out (00 00 03) are taken out.

    Raises:
        IndexError: the unit ends too early.
    """

    def __init__(self, unit: bytes) -> None:
        self._data = unit.replace(b"\0\0\3", b"\0\0")
        self._at = 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def ue(self) -> int:
        """Return an unsigned Exp-Golomb number."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def se(self) -> int:
        """Return a signed one."""
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)


class FrameNumbers:
    """Follows the frame numbers of a stream, packet by packet."""

    def __init__(self) -> None:
        self._bits = 0
        """Of a frame number; 0: not known, or gaps are allowed."""
        self._planes = False
        self._previous: int | None = None

    def follows(self, data: bytes) -> bool:
        """Take in a packet (Annex B); return False where a reference picture before it is missing."""
        try:
            return self._follows(data)
        except IndexError:  # cut short: the decoder will say so
            return True

    def _follows(self, data: bytes) -> bool:
        at = data.find(b"\0\0\1")
        while 0 <= at < len(data) - 4:
            kind, is_reference = data[at + 3] & 31, data[at + 3] >> 5 & 3
            if kind == 7:
                self._read_parameters(_Bits(data[at + 4 : at + 1024]))
            elif kind in (1, 5):
                return self._read_slice(_Bits(data[at + 4 : at + 64]), kind == 5, bool(is_reference))
            at = data.find(b"\0\0\1", at + 3)
        return True

    def _read_slice(self, bits: _Bits, keyframe: bool, is_reference: bool) -> bool:
        if not self._bits:
            return True
        bits.ue(), bits.ue(), bits.ue()
        if self._planes:
            bits.take(2)
        number = bits.take(self._bits)
        previous, most = self._previous, 1 << self._bits
        if keyframe or is_reference:
            self._previous = number
        return keyframe or previous is None or (number - previous) % most <= 1

    def _read_parameters(self, bits: _Bits) -> None:
        profile = bits.take(8)
        bits.take(16)
        bits.ue()
        self._planes = False
        if profile in _WITH_CHROMA:
            chroma = bits.ue()
            self._planes = bool(chroma == 3 and bits.take(1))
            bits.ue(), bits.ue(), bits.take(1)
            if bits.take(1):
                for index in range(8 if chroma != 3 else 12):
                    if bits.take(1):
                        _skip_scaling(bits, 16 if index < 6 else 64)
        number_bits = bits.ue() + 4
        kind = bits.ue()
        if kind == 0:
            bits.ue()
        elif kind == 1:
            bits.take(1), bits.se(), bits.se()
            for _ in range(bits.ue()):
                bits.se()
        bits.ue()
        self._bits = 0 if bits.take(1) else number_bits


def _skip_scaling(bits: _Bits, count: int) -> None:
    """Pass over a scaling list: section 7.3.2.1.1.1."""
    last = following = 8
    for _ in range(count):
        if following:
            following = (last + bits.se()) % 256
        last = following or last
