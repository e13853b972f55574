"""A stream of MP3 in arbitrary pieces -> its frames.

Frame header, 4 bytes, big-endian, from the highest bit: 11 sync (all 1), 2 version (0: 2.5, 2: 2, 3: 1),
2 layer (1: III), 1 no checksum, 4 bit rate index, 2 sample rate index, 1 padding, 1 private, 2 mode
(3: mono). A frame of layer III has 1152 samples (versions 2 and 2.5: 576) and
`samples / 8 * bit rate / sample rate + padding` bytes.

Source: ISO/IEC 11172-3 and 13818-3.
"""

from __future__ import annotations

from typing import NamedTuple

BIT_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
BIT_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

FRAMES_FOR_CERTAINTY = 3
"""So many headers in a row, each where the one before says, and the stream is MP3 for certain: by
chance that happens less than once in 2^50."""


class FrameHeader(NamedTuple):
    """What a frame says of itself."""

    size_bytes: int
    samples: int
    sample_rate: int
    channels: int


def frame_header(data: bytes | bytearray, at: int = 0) -> FrameHeader | None:
    """Return the header at an offset; None where there is none."""
    if at + 4 > len(data):
        return None
    word = int.from_bytes(data[at : at + 4], "big")
    version, layer = word >> 19 & 3, word >> 17 & 3
    rate_index, speed_index = word >> 10 & 3, word >> 12 & 15
    if word >> 21 != 0x7FF or version == 1 or layer != 1 or rate_index == 3 or speed_index in (0, 15):
        return None
    samples = 1152 if version == 3 else 576
    bit_rate = (BIT_RATES_1 if version == 3 else BIT_RATES_2)[speed_index] * 1000
    sample_rate = SAMPLE_RATES[version][rate_index]
    size_bytes = samples // 8 * bit_rate // sample_rate + (word >> 9 & 1)
    return FrameHeader(size_bytes, samples, sample_rate, 1 if word >> 6 & 3 == 3 else 2)


def certain_header(data: bytes) -> FrameHeader | None:
    """Return the first frame's header if the data is MP3 for certain, from its first byte on."""
    at, first = 0, frame_header(data)
    for _ in range(FRAMES_FOR_CERTAINTY):
        header = frame_header(data, at)
        if first is None or header is None or header.sample_rate != first.sample_rate:
            return None
        at += header.size_bytes
    return first


class Mp3Frames:
    """Cuts a stream into frames; what is no frame (tags, damage) is passed over."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._sample_rate = 0
        """Of the frame before; 0 when the stream has to be found first."""

    @property
    def at_border(self) -> bool:
        """Whether no frame has been begun."""
        return not self._kept

    def push(self, piece: bytes) -> list[tuple[bytes, FrameHeader]]:
        """Return the frames that this piece completes."""
        self._kept += piece
        frames, at = [], 0
        while found := self._next(at):
            at, header = found
            if at + header.size_bytes > len(self._kept):
                break
            frames.append((bytes(self._kept[at : at + header.size_bytes]), header))
            at += header.size_bytes
            self._sample_rate = header.sample_rate
        del self._kept[: max(at, self._useless(at))]
        return frames

    def _next(self, at: int) -> tuple[int, FrameHeader] | None:
        """Return where the next frame begins, and its header."""
        while at + 4 <= len(self._kept):
            header = frame_header(self._kept, at)
            in_step = header is not None and header.sample_rate == self._sample_rate
            if header and (in_step or self._followed(at + header.size_bytes)):
                return at, header
            self._sample_rate = 0
            at += 1
        return None

    def _followed(self, at: int) -> bool:
        """Return whether a header stands where one should, as far as can be seen."""
        return at + 4 > len(self._kept) or frame_header(self._kept, at) is not None

    def _useless(self, at: int) -> int:
        """Return how many bytes can't be part of a frame."""
        rest = len(self._kept) - at
        return len(self._kept) - 3 if rest > 3 and self._next(at) is None else at
