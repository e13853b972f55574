"""Depth pictures in bags -> metres, nearest-sampled: every value of the result is one that was measured.

    16UC1                          millimetres; 0 is no reading
    32FC1                          metres; NaN, infinite and 0 are no reading
    16UC1 as a PNG                 the same millimetres
    16UC1; compressedDepth png     12 bytes, then a PNG of millimetres
    32FC1; compressedDepth png     12 bytes (int32 kind, float32 A, float32 B, little-endian), then a PNG of
                                   inverse depth: metres = A / (value - B); 0 is no reading

A stored row y becomes row floor((y' + 1/2) * height / height') of the smaller picture, y' its row there;
columns likewise. Nothing is averaged: between a cup and the wall behind it there is nothing.

Source: REP 118; `sensor_msgs/image_encodings`; `compressed_depth_image_transport`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingest.decoders.ros_pictures import Facts, depth_png, facts_of, unpacked
from ingest.decoders.ros_pixels import check_sizes, pixel_rows
from ingest.errors import CannotDecode
from ingest.geometry import Region
from ingest.recording import DepthCounts, Packet

DEPTH_HEADER = struct.Struct("<iff")
RULE = "metres by pixel, nearest-sampled; no reading is NaN"


@dataclass(eq=False)
class RosDepth:
    """A depth picture that is still a message."""

    time_ns: int
    width: int
    height: int
    message: Any
    stop_ns: int = 0

    def metres(self, width: int, height: int, region: Region | None = None) -> tuple[np.ndarray, DepthCounts]:
        """See `DepthPicture`."""
        seen = region or Region(0, 0, self.width, self.height)
        rows = seen.top + nearest(seen.height, height)
        columns = seen.left + nearest(seen.width, width)
        metres = _metres(self.message, rows, columns)
        metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
        return metres, DepthCounts(metres.size, int(np.isnan(metres).sum()))


class RosDepths:
    """Decoder of one depth track.

    Args:
        deserialize: turns bytes into messages; raises `CannotDecode`.
    """

    def __init__(self, deserialize: Callable[[Any], Any]) -> None:
        self._deserialize = deserialize

    def decode(self, packet: Packet) -> list[RosDepth]:
        """See `Decoder`."""
        message = self._deserialize(packet.data)
        facts: Facts = facts_of(message)
        if not facts.is_depth:
            raise CannotDecode(f"a picture of colours ({facts.pixel_format}) among pictures of distances")
        return [RosDepth(packet.time_ns, facts.width, facts.height, message)]

    def flush(self) -> list[RosDepth]:
        """See `Decoder`."""
        return []


def nearest(stored: int, wanted: int) -> np.ndarray:
    """Return which of `stored` rows (or columns) each of `wanted` ones is: the one at its middle."""
    return (2 * np.arange(wanted) + 1) * stored // (2 * wanted)


def _metres(message: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return float32 [rows, columns] of a picture; whatever is no reading as it comes."""
    if hasattr(message, "encoding"):
        width, height, step = int(message.width), int(message.height), int(message.step)
        raw = np.frombuffer(message.data, np.uint8)
        kind = check_sizes(len(raw), message.encoding, width, height, step)
        big_endian = bool(getattr(message, "is_bigendian", False))  # Foxglove's is always little
        pixels = pixel_rows(raw, kind, width, height, step, big_endian=big_endian)
        return _scaled(pixels[np.ix_(rows, columns)], kind.unit_m)
    if "compressedDepth" not in message.format:
        pixels = _one_channel(unpacked(np.frombuffer(message.data, np.uint8)), message)
        return _scaled(pixels[np.ix_(rows, columns)], 0.001)
    pixels = _one_channel(unpacked(depth_png(message)), message)[np.ix_(rows, columns)]
    if not message.format.startswith("32FC1"):
        return _scaled(pixels, 0.001)
    _, a, b = DEPTH_HEADER.unpack(bytes(message.data[: DEPTH_HEADER.size]))
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    metres[pixels == 0] = np.nan
    return np.asarray(metres)


def _scaled(values: np.ndarray, unit_m: float) -> np.ndarray:
    return (values.astype(np.float64) * unit_m).astype(np.float32)


def _one_channel(pixels: np.ndarray, message: Any) -> np.ndarray:
    if pixels.ndim != 2:
        raise CannotDecode(
            f"a depth picture ({message.format}) has {pixels.shape[2]} values per pixel, not 1"
        )
    return pixels
