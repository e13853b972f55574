"""A decoded frame's region as RGB in another size: as little work as gives the exact picture.

The region is cut out without a copy; its planes are scaled as they are stored (area average where it
shrinks, bicubic where it grows: swscale, in its bit-exact variants); only the small picture is converted.
Frames of high dynamic range are tone-mapped (see `hdr`); transparency is shown on black.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from ingest.decoders.av_errors import DECODING_ERRORS, words_of
from ingest.decoders.colour import Colour, colour_of, is_limited, rgb_matrix
from ingest.errors import CannotDecode
from ingest.geometry import Region
from ingest.timing import NS

_EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_FULL_COLOUR = _EXACT | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
_PACKED = ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8", "bayer", "xyz", "mono", "x2")
"""Beginnings of the names of formats that hold no luma, or not as bytes: swscale makes RGB of them."""


class Converter:
    """Converts the frames of one stream; keeps what swscale and the cutter need from frame to frame."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()
        self._cutter: _Cutter | None = None

    def rgb(self, frame: Any, width: int, height: int, region: Region) -> np.ndarray:
        """Return uint8 [height, width, 3] of a region of a frame.

        Raises:
            CannotDecode: the frame's pixel format can't be converted.
        """
        try:
            return self._rgb(self._cut(frame, region), colour_of(frame), width, height)
        except DECODING_ERRORS as error:
            cause = f"pixel format {frame.format.name} cannot be converted ({words_of(error)})"
            raise CannotDecode(cause) from error

    def _rgb(self, frame: Any, colour: Colour, width: int, height: int) -> np.ndarray:
        name = frame.format.name
        has_alpha = any(component.is_alpha for component in frame.format.components)
        if frame.format.is_rgb or name.startswith(_PACKED):
            scaled = self._scaled(frame, width, height, "rgba" if has_alpha else "rgb24", _FULL_COLOUR)
            pixels = scaled.to_ndarray()
            return _on_black(pixels[..., :3], pixels[..., 3]) if has_alpha else np.asarray(pixels)
        if name.startswith(("gray", "ya")):
            return self._grey(frame, width, height, has_alpha)
        if frame.format.components[0].bits > 8 and not has_alpha:
            return self._deep(frame, colour, width, height)
        scaled = self._scaled(frame, width, height, "yuva444p" if has_alpha else "yuv444p")
        rgb = _from_yuv(_planes(scaled)[:3], rgb_matrix(colour.weights, colour.full_range))
        return _on_black(rgb, _planes(scaled)[3]) if has_alpha else rgb

    def _grey(self, frame: Any, width: int, height: int, has_alpha: bool) -> np.ndarray:
        scaled = self._scaled(frame, width, height, "yuva444p" if has_alpha else "gray")
        grey = _planes(scaled)[0]
        if is_limited(frame):
            grey = _divided((grey.astype(np.int32) - 16) * 255, 219)
        rgb = np.repeat(grey[:, :, None], 3, axis=2)
        return _on_black(rgb, _planes(scaled)[3]) if has_alpha else rgb

    def _deep(self, frame: Any, colour: Colour, width: int, height: int) -> np.ndarray:
        """Convert what has more than 8 bits: rounded once, at the end."""
        scaled = self._scaled(frame, width, height, "yuv444p12le")
        y, u, v = (plane.astype(np.float32) * np.float32(1 / 16) for plane in _planes(scaled, "<u2"))
        white = 255 if colour.transfer == "sdr" else 1
        rows = rgb_matrix(colour.weights, colour.full_range, white)
        red, green, blue = (row[0] * y + row[1] * u + row[2] * v + row[3] for row in rows)
        if colour.transfer != "sdr":
            from ingest.decoders.hdr import tone_mapped

            return tone_mapped((red, green, blue), colour.transfer)
        return np.asarray(np.rint(np.clip(np.stack((red, green, blue), axis=2), 0, 255)), np.uint8)

    def _scaled(self, frame: Any, width: int, height: int, to: str, flags: Interpolation = _EXACT) -> Any:
        shrinks = width <= frame.width and height <= frame.height
        keeps = not to.startswith("rgb")  # YUV stays as it is: neither matrix nor range changes
        full = keeps or colour_of(frame).full_range
        return self._scaler.reformat(
            frame,
            width,
            height,
            to,
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=(Interpolation.AREA if shrinks else Interpolation.BICUBIC) | flags,
            threads=1,
        )

    def _cut(self, frame: Any, region: Region) -> Any:
        if region == (0, 0, frame.width, frame.height):
            return frame
        key = (frame.width, frame.height, frame.format.name, region)
        if self._cutter is None or self._cutter.key != key:
            self._cutter = _Cutter(frame, region)
        return self._cutter.cut(frame)


class _Cutter:
    """Cuts the same region out of frames of one size and format, without copying a pixel (FFmpeg's crop
    filter moves the planes' pointers).
    """

    def __init__(self, frame: Any, region: Region) -> None:
        self.key = (frame.width, frame.height, frame.format.name, region)
        graph = av.filter.Graph()
        graph.threads = 1
        left, top, width, height = region
        self._in = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, NS)
        )
        crop = graph.add("crop", f"w={width}:h={height}:x={left}:y={top}:exact=1")
        self._out = graph.add("buffersink")
        self._in.link_to(crop)
        crop.link_to(self._out)
        graph.configure()
        self._graph = graph

    def cut(self, frame: Any) -> Any:
        self._in.push(frame)
        return self._out.pull()


def _planes(frame: Any, dtype: str = "u1") -> list[np.ndarray]:
    """Return views of a frame's planes, [H, W] each; all of them must be of full size."""
    lines = [np.frombuffer(plane, dtype) for plane in frame.planes]
    size = np.dtype(dtype).itemsize
    return [
        values.reshape(-1, plane.line_size // size)[: plane.height, : plane.width]
        for values, plane in zip(lines, frame.planes, strict=True)
    ]


def _from_yuv(planes: list[np.ndarray], matrix: np.ndarray) -> np.ndarray:
    import cv2

    return np.asarray(cv2.transform(cv2.merge(planes), matrix))


def _on_black(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return _divided(rgb.astype(np.int32) * alpha[..., None], 255)


def _divided(values: np.ndarray, by: int) -> np.ndarray:
    """Return values / by, rounded and clipped to uint8."""
    return np.asarray(np.clip((2 * values + by) // (2 * by), 0, 255), np.uint8)
