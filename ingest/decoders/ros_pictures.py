"""`sensor_msgs/Image` and `CompressedImage` -> pictures, decoded only when somebody wants them.

`CompressedImage.format` is `FORMAT`, or `ENCODING; FORMAT compressed …`. Pictures of distances are told
apart here, and read by `depth_pictures`.

Source: `compressed_image_transport`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ingest.decoders.picture_sizes import JPEG_MAGIC, PNG_MAGIC, PictureSize, declared_size
from ingest.decoders.promised import as_promised
from ingest.decoders.ros_pixels import (
    RULE_16,
    check_sizes,
    pixels_to_rgb,
    scaled,
    to_8_bits,
)
from ingest.errors import CannotDecode
from ingest.geometry import Region
from ingest.recording import Packet

IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
DEPTH_HEADER_BYTES = 12
DEPTH_ENCODINGS = ("16UC1", "32FC1")
"""Encodings of distances; formats of compressed pictures begin with them."""
LARGEST_PIXELS = 100_000_000
"""A compressed picture that claims to be larger is taken for damage."""


class Facts(NamedTuple):
    """What is known of a picture without decoding it."""

    width: int
    height: int
    pixel_format: str
    rule: str
    """How more than 8 bits become 8; empty for 8, and for distances."""
    is_depth: bool = False
    """Whether its values are distances."""


@dataclass(eq=False)
class RosPicture:
    """A picture that is still a message."""

    time_ns: int
    width: int
    height: int
    message: Any
    stop_ns: int = 0

    def rgb(self, width: int, height: int, region: Region | None = None) -> np.ndarray:
        """See `Picture`. A JPEG that shrinks to half or less is decoded at a half, quarter or eighth of
        its size: the codec's own transform, of fewer coefficients, averages as it does so.
        """
        seen = region or Region(0, 0, self.width, self.height)
        shrink = _shrink(self.message, seen, width, height)
        pixels, is_bgr = _pixels(self.message, shrink)
        left, top = seen.left // shrink, seen.top // shrink
        pixels = pixels[top : top + seen.height // shrink, left : left + seen.width // shrink]
        small = scaled(pixels, width, height)
        return np.ascontiguousarray(small[:, :, ::-1]) if is_bgr else small  # few pixels by now


class RosPictures:
    """Decoder of one picture track.

    Args:
        deserialize: turns bytes into messages; raises `CannotDecode`.
    """

    def __init__(self, deserialize: Callable[[Any], Any]) -> None:
        self._deserialize = deserialize

    def decode(self, packet: Packet) -> list[RosPicture]:
        """See `Decoder`."""
        message = self._deserialize(packet.data)
        facts = facts_of(message)
        if facts.is_depth:
            raise CannotDecode(f"a picture of distances ({facts.pixel_format}) among pictures of colours")
        return [RosPicture(packet.time_ns, facts.width, facts.height, message)]

    def flush(self) -> list[RosPicture]:
        """See `Decoder`."""
        return []


def facts_of(message: Any) -> Facts:
    """Return what is known of a picture without decoding it.

    Raises:
        CannotDecode: its kind is not supported, or it is damaged in a way that already shows.
    """
    with as_promised("a picture"):
        return _facts(message)


def _facts(message: Any) -> Facts:
    if hasattr(message, "encoding"):
        width, height = int(message.width), int(message.height)
        kind = check_sizes(len(message.data), message.encoding, width, height, int(message.step))
        return Facts(width, height, message.encoding, kind.rule, kind.unit_m > 0)
    packed = "compressedDepth" in message.format
    width, height, bits = size_of(depth_png(message) if packed else np.frombuffer(message.data, np.uint8))
    is_depth = packed or (bits > 8 and message.format.startswith(DEPTH_ENCODINGS))
    return Facts(width, height, message.format, RULE_16 if bits > 8 and not is_depth else "", is_depth)


def depth_png(message: Any) -> np.ndarray:
    """Return the PNG file in a `compressedDepth` picture, behind its header.

    Raises:
        CannotDecode: there is none.
    """
    data = np.frombuffer(message.data, np.uint8)
    if len(data) < DEPTH_HEADER_BYTES:
        raise CannotDecode("a compressedDepth picture has no header")
    data = data[DEPTH_HEADER_BYTES:]
    if data[: len(PNG_MAGIC)].tobytes() != PNG_MAGIC:
        raise CannotDecode(f"a compressedDepth picture ({message.format}) is not PNG: not supported")
    return data


def _shrink(message: Any, seen: Region, width: int, height: int) -> int:
    """Return by how much a JPEG can be decoded smaller, so that its region is no smaller than asked for;
    1 for every other picture, and where the region does not lie on whole pixels then.
    """
    if hasattr(message, "encoding") or bytes(message.data[:3]) != JPEG_MAGIC:
        return 1
    for shrink in (8, 4, 2):
        enough = seen.width >= shrink * width and seen.height >= shrink * height
        if enough and all(edge % shrink == 0 for edge in seen):
            return shrink
    return 1


def _pixels(message: Any, shrink: int = 1) -> tuple[np.ndarray, bool]:
    """Return uint8 [H, W, 3], and whether it is blue, green, red instead of red, green, blue."""
    if hasattr(message, "encoding"):
        rgb = pixels_to_rgb(
            message.data,
            message.encoding,
            int(message.width),
            int(message.height),
            int(message.step),
            big_endian=bool(getattr(message, "is_bigendian", False)),  # Foxglove's is always little
        )
        return rgb, False
    pixels = unpacked(np.frombuffer(message.data, np.uint8), shrink)
    if pixels.dtype == np.uint16:
        pixels = to_8_bits(pixels)
    if pixels.ndim == 2:
        return _grey(pixels), False
    # OpenCV gives blue, green, red [, alpha]
    return (pixels if pixels.shape[2] == 3 else np.ascontiguousarray(pixels[:, :, :3])), True


def unpacked(data: np.ndarray, shrink: int = 1) -> np.ndarray:
    """Return the pixels of a JPEG, PNG or whatever else OpenCV reads, as they are stored.

    Args:
        data: the file's bytes.
        shrink: 2, 4 or 8 decodes a JPEG at that part of its size, in colour.
    """
    import cv2

    size_of(data)  # what is unpacked is of a size that was looked at
    if data[:3].tobytes() == JPEG_MAGIC and b"\xff\xd9" not in data[-1024:].tobytes():
        raise CannotDecode("a JPEG picture is cut short")
    try:
        # "unchanged" also leaves EXIF's turning alone: a topic's pictures are as its camera gives them
        flags = cv2.IMREAD_UNCHANGED
        if shrink > 1:
            flags = getattr(cv2, f"IMREAD_REDUCED_COLOR_{shrink}") | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise CannotDecode("a compressed picture is damaged") from error
    if pixels is None:
        raise CannotDecode("a compressed picture is damaged, or of a kind that OpenCV does not read")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise CannotDecode(f"a compressed picture of {pixels.dtype} values is not supported")
    return np.asarray(pixels)


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[:, :, None], 3, axis=2)


def size_of(data: np.ndarray) -> PictureSize:
    """Return width, height and bits per channel of a compressed picture, without decoding it.

    Raises:
        CannotDecode: it is of a kind that is not read, or too large to be true.
    """
    size = declared_size(data.data)
    if size is None:
        raise CannotDecode(
            "a compressed picture is damaged, or of another kind than JPEG, PNG, WebP, BMP and TIFF"
        )
    if not 0 < size.width * size.height <= LARGEST_PIXELS:
        raise CannotDecode(f"a compressed picture claims to be {size.width} x {size.height} pixels large")
    return size
