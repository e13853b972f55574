"""Pixels of `sensor_msgs/Image` in every encoding in common use -> uint8 RGB.

What has more than 8 bits (mono16, rgb16 …) becomes 8 by a stated rule, which the track's details repeat:
value / 257, rounded, so that 0…65535 is 0…255. 16UC1 and 32FC1 are distances and never become colours
(`depth_pictures`).

Source: `sensor_msgs/image_encodings`; REP 118 for depth. Bayer patterns are named by their first row
(`rggb`: red, green), which OpenCV's `COLOR_BayerRGGB2RGB` follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ingest.errors import CannotDecode

RULE_16 = "value / 257"


@dataclass(frozen=True)
class Encoding:
    """How the pixels of an encoding lie in memory, and what they become."""

    dtype: Literal["u1", "u2", "f4"]
    channels: int
    convert: str
    """Empty: RGB or grey as it is; else how it becomes RGB: the name of an OpenCV conversion."""
    rows: tuple[int, int] = (1, 1)
    """Rows in memory per row of the picture, a fraction: 3/2 for planes of half the size."""
    unit_m: float = 0.0
    """Distances: how many metres a value of 1 is; 0 for colours."""

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row without padding."""
        return width * self.channels * np.dtype(self.dtype).itemsize

    def row_count(self, height: int) -> int:
        """Return the rows in memory."""
        return height * self.rows[0] // self.rows[1]

    @property
    def rule(self) -> str:
        """How more than 8 bits become 8; empty for 8."""
        return RULE_16 if self.dtype == "u2" and not self.unit_m else ""


ENCODINGS = {
    "rgb8": Encoding("u1", 3, ""),
    "bgr8": Encoding("u1", 3, "BGR2RGB"),
    "rgba8": Encoding("u1", 4, "RGBA2RGB"),
    "bgra8": Encoding("u1", 4, "BGRA2RGB"),
    "rgb16": Encoding("u2", 3, ""),
    "bgr16": Encoding("u2", 3, "BGR2RGB"),
    "rgba16": Encoding("u2", 4, "RGBA2RGB"),
    "bgra16": Encoding("u2", 4, "BGRA2RGB"),
    "mono8": Encoding("u1", 1, ""),
    "mono16": Encoding("u2", 1, ""),
    # OpenCV's own names say nothing of colours; its order is blue, green, red
    "8UC1": Encoding("u1", 1, ""),
    "8UC3": Encoding("u1", 3, "BGR2RGB"),
    "8UC4": Encoding("u1", 4, "BGRA2RGB"),
    "16UC1": Encoding("u2", 1, "", unit_m=0.001),
    "32FC1": Encoding("f4", 1, "", unit_m=1.0),
    "yuv422": Encoding("u1", 2, "YUV2RGB_UYVY"),
    "uyvy": Encoding("u1", 2, "YUV2RGB_UYVY"),
    "yuv422_yuy2": Encoding("u1", 2, "YUV2RGB_YUY2"),
    "yuyv": Encoding("u1", 2, "YUV2RGB_YUY2"),
    "yuy2": Encoding("u1", 2, "YUV2RGB_YUY2"),
    "nv12": Encoding("u1", 1, "YUV2RGB_NV12", (3, 2)),
    "nv21": Encoding("u1", 1, "YUV2RGB_NV21", (3, 2)),
} | {
    f"bayer_{pattern}{bits}": Encoding("u1" if bits == 8 else "u2", 1, f"Bayer{pattern.upper()}2RGB")
    for pattern in ("rggb", "bggr", "gbrg", "grbg")
    for bits in (8, 16)
}


def encoding_named(name: str) -> Encoding:
    """Return an encoding.

    Raises:
        CannotDecode: it is not known; the message names it.
    """
    found = ENCODINGS.get(name.strip()) or ENCODINGS.get(name.strip().lower())
    if found is None:
        raise CannotDecode(f"pixel encoding {name!r} is not supported")
    return found


def pixels_to_rgb(
    data: np.ndarray | memoryview | bytes,
    encoding: str,
    width: int,
    height: int,
    step_bytes: int,
    *,
    big_endian: bool = False,
) -> np.ndarray:
    """Return uint8 [height, width, 3].

    Args:
        data: the rows, `step_bytes` apart; the padding of the last row may be missing.
        encoding: one of `ENCODINGS`.
        step_bytes: 0 for rows without padding.

    Raises:
        CannotDecode: the encoding is not known or has no colours, or the sizes do not fit the data.
    """
    raw = np.frombuffer(data, np.uint8)
    kind = check_sizes(len(raw), encoding, width, height, step_bytes)
    if kind.unit_m:
        raise CannotDecode(f"a picture of distances ({encoding}) among pictures of colours")
    pixels = np.ascontiguousarray(pixel_rows(raw, kind, width, height, step_bytes, big_endian=big_endian))
    if not pixels.dtype.isnative:
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    if kind.convert:
        import cv2

        pixels = cv2.cvtColor(pixels, getattr(cv2, f"COLOR_{kind.convert}"))
    if pixels.dtype == np.uint16:
        pixels = to_8_bits(pixels)
    return _three(pixels)


def check_sizes(size_bytes: int, encoding: str, width: int, height: int, step_bytes: int) -> Encoding:
    """Return the encoding of a picture whose sizes fit its bytes.

    Raises:
        CannotDecode: they do not, or the encoding is not known.
    """
    kind = encoding_named(encoding)
    row_bytes, rows = kind.row_bytes(width), kind.row_count(height)
    step_bytes = step_bytes or row_bytes
    if width < 1 or height < 1 or step_bytes < row_bytes or size_bytes < (rows - 1) * step_bytes + row_bytes:
        size = f"{width} x {height} {encoding} pixels, rows of {step_bytes} bytes"
        raise CannotDecode(f"a picture's sizes do not fit its {size_bytes} bytes ({size})")
    if (kind.channels == 2 and width % 2) or (kind.rows != (1, 1) and (width % 2 or height % 2)):
        raise CannotDecode(f"a {encoding} picture can't be {width} x {height}: its colours come in pairs")
    return kind


def pixel_rows(
    raw: np.ndarray, kind: Encoding, width: int, height: int, step_bytes: int, *, big_endian: bool
) -> np.ndarray:
    """Return a view [rows, width] or [rows, width, channels] of a picture's bytes, in its byte order.

    Args:
        raw: uint8 [N], of which `check_sizes` has said that it is long enough.
        kind: the encoding.
        step_bytes: from row to row; 0 for rows without padding.
        big_endian: whether values of several bytes begin with the highest.
    """
    dtype = np.dtype((">" if big_endian else "<") + kind.dtype)
    row_bytes, rows = kind.row_bytes(width), kind.row_count(height)
    step_bytes = step_bytes or row_bytes
    lines = np.lib.stride_tricks.as_strided(raw, (rows, row_bytes), (step_bytes, 1), writeable=False)
    shape = (rows, width) if kind.channels == 1 else (rows, width, kind.channels)
    strides = (step_bytes, dtype.itemsize * kind.channels, dtype.itemsize)[: len(shape)]
    return np.lib.stride_tricks.as_strided(lines.view(dtype), shape, strides, writeable=False)


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Return uint8: value / 257, rounded to the nearest."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _three(pixels: np.ndarray) -> np.ndarray:
    """Return grey as three equal channels."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def scaled(rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the picture in another size: by area where it shrinks, linear where it grows."""
    import cv2

    if rgb.shape[1] > width or rgb.shape[0] > height:
        smaller = min(rgb.shape[1], width), min(rgb.shape[0], height)
        rgb = cv2.resize(rgb, smaller, interpolation=cv2.INTER_AREA)
    if rgb.shape[1] < width or rgb.shape[0] < height:
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(rgb)
