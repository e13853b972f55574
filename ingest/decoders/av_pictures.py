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

import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from ingest.errors import CannotDecode
from ingest.recording import Packet, Track
from ingest.timing import NS, pts_to_ns

HD_LINES = 720
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
        self._counted = 0
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
        except EOFError:
            return []
        except (av.error.FFmpegError, OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise CannotDecode(f"{self._track.codec} packet does not decode ({words.lower()})") from error
        return [self._picture(frame) for frame in frames]

    def _picture(self, frame: Any) -> AvPicture:
        if self._track.details.get("counted") or frame.pts is None:
            time_ns = self._track.start_ns + self._counted * (self._track.period_ns or NS // 25)
            self._counted += 1
        else:
            time_ns = pts_to_ns(frame.pts, frame.time_base or self._time_base)
        return AvPicture(time_ns, frame, self._reformatter)


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
        """Return uint8 [height, width, 3], by one call of swscale on the stored planes."""
        frame = self.frame
        shrinks = width * height <= frame.width * frame.height
        matrix, full_range = colour_of(frame)
        try:
            scaled = self._reformatter.reformat(
                frame,
                width,
                height,
                "rgb24",
                src_colorspace=matrix,
                src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
                interpolation=_SHRINK if shrinks else _GROW,
                threads=1,
            )
        except (av.error.FFmpegError, ValueError) as error:
            raise CannotDecode(f"pixel format {frame.format.name} cannot be converted ({error})") from error
        return np.asarray(scaled.to_ndarray())


def colour_of(frame: Any) -> tuple[Colorspace, bool]:
    """Return a frame's YUV matrix and whether it uses the full range, by the rule above."""
    matrix = _MATRICES.get(int(frame.colorspace))
    if matrix is None:
        matrix = Colorspace.ITU709 if frame.height >= HD_LINES else Colorspace.ITU601
    name = frame.format.name
    full = int(frame.color_range) == 2 or name.startswith("yuvj") or frame.format.is_rgb
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
