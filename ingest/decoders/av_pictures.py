"""Video packets to pictures, through PyAV: one thread, nothing converted before it is wanted.

Colour: the frame's own matrix and range are honoured. Where the stream does not say, BT.709 is
taken from 720 lines up and BT.601 below, limited range except for the `yuvj` formats. BT.2020
matrices are honoured; HDR transfer curves are not tone-mapped yet.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from ingest.decoders.av_errors import DECODING_ERRORS, words_of
from ingest.errors import CannotDecode
from ingest.recording import Packet, Track
from ingest.timing import NS, pts_to_ns

HD_LINES = 720
UNSAID_RATE = Fraction(25)
"""Frames per second where neither stamps nor the container say."""
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: getattr(Colorspace, "BT2020", Colorspace.ITU709),
    10: getattr(Colorspace, "BT2020", Colorspace.ITU709),
}
"""Matrix coefficients as numbered by ITU-T H.273, table 4."""
_LIMITED, _FULL = 1, 2
"""FFmpeg's AVColorRange."""
_SHRINK = (
    Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
)
_GROW = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
)


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
        self._context = context
        self._reformatter = VideoReformatter()
        self._rate = Fraction(track.declared_rate or UNSAID_RATE)
        self._known = Fraction(track.start_ns, NS)
        """The last time that a frame brought with it, in seconds."""
        self._counted = 0
        """Frames since then."""
        if context.is_open:
            context.flush_buffers()
        else:
            context.thread_count = 1

    def decode(self, packet: Packet) -> Iterable[AvPicture]:
        """Return the frames that this packet completes, in the order they are shown."""
        return self._frames(packet.data)

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
        if stamp is not None:
            self._known, self._counted = stamp * (frame.time_base or self._time_base), 0
        time = self._known + self._counted / self._rate
        self._counted += 1
        return AvPicture(pts_to_ns(1, time), frame, self._reformatter)


def counted_ns(count: int, rate: Fraction) -> int:
    """Return how long so many frames of a steady rate last, rounded down."""
    return count * NS * rate.denominator // rate.numerator


class AvPicture:
    """A decoded frame, converted on demand; see `ingest.recording.Picture`."""

    def __init__(self, time_ns: int, frame: Any, reformatter: VideoReformatter) -> None:
        self.time_ns = time_ns
        self.stop_ns = 0
        self.width: int = frame.width
        self.height: int = frame.height
        self.frame = frame
        self._reformatter = reformatter

    def rgb(self, width: int, height: int) -> np.ndarray:
        """Return uint8 [height, width, 3], by one call of swscale on the stored planes.

        What is transparent is shown on black.

        Raises:
            CannotDecode: parts of the picture are missing (decoders fill them in by guessing), or its
                format can't be converted.
        """
        frame = self.frame
        if frame.is_corrupt:
            raise CannotDecode("parts of this picture are damaged or missing")
        if any(component.is_alpha for component in frame.format.components):
            scaled = self._converted(width, height, "rgba")
            return _divided(scaled[..., :3].astype(np.int32) * scaled[..., 3:], 255)
        scaled = self._converted(width, height, "rgb24")
        if frame.format.name.startswith("gray") and int(frame.color_range) == _LIMITED:
            return _divided((scaled.astype(np.int32) - 16) * 255, 219)  # swscale takes every grey as full
        return scaled

    def _converted(self, width: int, height: int, pixel_format: str) -> np.ndarray:
        frame = self.frame
        shrinks = width <= frame.width and height <= frame.height
        matrix, full_range = colour_of(frame)
        try:
            scaled = self._reformatter.reformat(
                frame,
                width,
                height,
                pixel_format,
                src_colorspace=matrix,
                src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
                interpolation=_SHRINK if shrinks else _GROW,
                threads=1,
            )
        except DECODING_ERRORS as error:
            cause = f"pixel format {frame.format.name} cannot be converted ({words_of(error)})"
            raise CannotDecode(cause) from error
        return np.asarray(scaled.to_ndarray())


def _divided(values: np.ndarray, by: int) -> np.ndarray:
    """Return values / by, rounded and clipped to uint8."""
    return np.asarray(np.clip((2 * values + by) // (2 * by), 0, 255), np.uint8)


def colour_of(frame: Any) -> tuple[Colorspace, bool]:
    """Return a frame's YUV matrix and whether it uses the full range, by the rule above."""
    matrix = _MATRICES.get(int(frame.colorspace))
    if matrix is None:
        matrix = Colorspace.ITU709 if frame.height >= HD_LINES else Colorspace.ITU601
    name = frame.format.name
    full = int(frame.color_range) == _FULL or name.startswith("yuvj") or frame.format.is_rgb
    return matrix, full


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
