"""Video packets to pictures, through PyAV: one thread, nothing converted before it is wanted."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from ingest.decoders.av1_references import Av1References
from ingest.decoders.av_conversion import Converter
from ingest.decoders.av_errors import DECODING_ERRORS, words_of
from ingest.decoders.av_limits import prepare
from ingest.errors import CannotDecode
from ingest.geometry import Region
from ingest.recording import Packet, Track
from ingest.timing import NS, Ticks, pts_to_ns

UNREFERRED_KNOWN = {"h264", "mpeg1video", "mpeg2video"}
UNSAID_RATE = Fraction(25)
"""Frames per second where neither stamps nor the container say."""


class PictureDecoder:
    """Decodes one video stream.

    Args:
        track: the track being decoded.
        context: the stream's codec context.
        time_base: the unit of the packets' stamps.
    """

    def __init__(self, track: Track, context: Any, time_base: Fraction) -> None:
        self._track = track
        self._time_base = time_base
        self._ticks = Ticks(time_base)
        self._context = context
        self._converter = Converter()
        self._rate = Fraction(track.declared_rate or UNSAID_RATE)
        self._begins = Fraction(track.start_ns, NS)
        self._stamp: int | None = None
        """The last one that a frame brought with it."""
        self._counted = 0
        """Frames since then."""
        self._may_skip = may_skip_unreferred(context)
        self._av1 = Av1References(bytes(context.extradata or b"")) if track.codec == "av1" else None
        if context.is_open:
            context.flush_buffers()
        else:
            prepare(context)

    def decode(self, packet: Packet) -> Iterable[AvPicture]:
        """Return the frames that this packet completes, in the order they are shown."""
        before = self._begin_anew() if packet.begins else []
        if (
            self._av1 is not None
            and self._av1.nothing_refers_to(memoryview(packet.data))
            and not packet.shown
        ):
            return before
        wanted = packet.shown or not self._may_skip
        self._context.skip_frame = "DEFAULT" if wanted else "NONREF"
        return [*before, *self._frames(packet.data)]

    def _is_loose(self, packet: Packet) -> bool:
        return self._av1 is not None and self._av1.nothing_refers_to(memoryview(packet.data))

    def _begin_anew(self) -> list[AvPicture]:
        try:
            return self._frames(None)
        finally:
            self._context.flush_buffers()

    def flush(self) -> Iterable[AvPicture]:
        """Return the frames still inside."""
        return self._frames(None)

    def _frames(self, packet: Any) -> list[AvPicture]:
        try:
            frames = self._context.decode(packet)
        except EOFError:  # flushed before
            return []
        except DECODING_ERRORS as error:
            raise CannotDecode(f"a {self._track.codec} packet does not decode ({words_of(error)})") from error
        return [self._picture(frame) for frame in frames]

    def _picture(self, frame: Any) -> AvPicture:
        stamp = frame.pts
        delay = self._track.details["delay"]
        if delay is not None:  # no presentation stamps: shown in the order and at the pace of the packets
            stamp = None if frame.dts is None else frame.dts - delay
        if stamp is None:
            known = self._begins if self._stamp is None else self._stamp * self._time_base
            time_ns = pts_to_ns(1, known + self._counted / self._rate)
        else:
            self._stamp, self._counted = stamp, 0
            time_ns = self._ticks.ns(stamp)
        self._counted += 1
        return AvPicture(time_ns, frame, self._converter)


def may_skip_unreferred(context: Any) -> bool:
    """Say whether the decoder knows which pictures no other one refers to, and leaves those out exactly.

    H.264 says so of every picture (`nal_ref_idc`), MPEG-1 and 2 by the B pictures' type, HEVC within a
    temporal layer only: with several layers, pictures of a higher one may refer to it.
    """
    if context.name == "hevc":
        return hevc_layers(context.extradata or b"") == 1
    return context.name in UNREFERRED_KNOWN


def hevc_layers(extradata: bytes) -> int:
    """Return the number of temporal layers by the first video parameter set; 0 if there is none.

    The set's NAL header is 40 01; then 4 bits of id, 2 flags, 6 bits of layers, 3 bits with the number of
    temporal layers minus 1 (ITU-T H.265, 7.3.2.1).
    """
    at = extradata.find(b"\x40\x01")
    if at < 0 or at + 4 > len(extradata):
        return 0
    return (extradata[at + 3] >> 1 & 7) + 1


def counted_ns(count: int, rate: Fraction) -> int:
    """Return how long so many frames of a steady rate last, rounded down."""
    return count * NS * rate.denominator // rate.numerator


class AvPicture:
    """A decoded frame, converted on demand; see `ingest.recording.Picture`."""

    def __init__(self, time_ns: int, frame: Any, converter: Converter) -> None:
        self.time_ns = time_ns
        self.stop_ns = 0
        self.width: int = frame.width
        self.height: int = frame.height
        self.frame = frame
        self._converter = converter

    def rgb(self, width: int, height: int, region: Region | None = None) -> np.ndarray:
        """See `Picture`.

        Raises:
            CannotDecode: parts of the picture are missing (decoders fill them in by guessing), or its
                format can't be converted.
        """
        if self.frame.is_corrupt:
            raise CannotDecode("parts of this picture are damaged or missing")
        seen = region or Region(0, 0, self.width, self.height)
        return self._converter.rgb(self.frame, width, height, seen)


def display_rotation(frame: Any) -> tuple[int, bool, str]:
    """Read a frame's display matrix.

    Returns:
        Clockwise degrees (a multiple of 90), whether to mirror left to right first, and what is odd
        about the matrix ("" if nothing).

    Source: ISO/IEC 14496-12, section 6.2.2: x' = a x + c y, y' = b x + d y, y pointing down.
    """
    matrix = next((s for s in frame.side_data.keys() if s.type.name == "DISPLAYMATRIX"), None)  # noqa: SIM118
    if matrix is None:
        return 0, False, ""
    a, b, _, c, d = struct.unpack("<5i", bytes(matrix)[:20])
    if a * d - b * c == 0:
        return 0, False, f"it cannot be inverted (a={a}, b={b}, c={c}, d={d})"
    mirrored = a * d - b * c < 0
    degrees = math.degrees(math.atan2(-b if mirrored else b, -a if mirrored else a))
    nearest = round(degrees / 90) * 90
    if abs(degrees - nearest) > 5:
        return 0, mirrored, f"it turns by {degrees:.0f} degrees, which is no multiple of 90"
    return nearest % 360, mirrored, ""
