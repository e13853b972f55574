"""Depth pictures of every kind become metres, and each value is one that was measured."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decoders.depth_pictures import RosDepth, RosDepths, nearest
from ingest.decoders.ros_pictures import RosPictures, facts_of
from ingest.errors import CannotDecode
from ingest.geometry import Region
from ingest.recording import DepthCounts, Packet


def raw(values: np.ndarray, encoding: str, padding: int = 0, **others: Any) -> SimpleNamespace:
    """Return an Image of these values, its rows padded."""
    height, width = values.shape
    rows = [row.tobytes() + b"\xee" * padding for row in values]
    fields = {
        "encoding": encoding, "data": np.frombuffer(b"".join(rows), np.uint8), "width": width,
        "height": height, "step": width * values.itemsize + padding, "is_bigendian": 0,
    }  # fmt: skip
    return SimpleNamespace(**fields | others)


def packed(values: np.ndarray, picture_format: str, before: bytes = b"") -> SimpleNamespace:
    """Return a CompressedImage that holds a PNG."""
    data = before + cv2.imencode(".png", values)[1].tobytes()
    return SimpleNamespace(format=picture_format, data=np.frombuffer(data, np.uint8))


def metres_of(message: SimpleNamespace) -> list[float]:
    """Return a message's distances at its own size, 0 where there is none."""
    (picture,) = RosDepths(lambda data: data).decode(Packet("x", 5, message))
    assert (picture.time_ns, picture.stop_ns) == (5, 0)
    metres, counts = picture.metres(picture.width, picture.height)
    assert metres.dtype == np.float32
    assert counts == (metres.size, int(np.isnan(metres).sum()), 0, 0)
    return [float(value) for value in np.nan_to_num(metres).ravel()]


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("big", [False, True])
def test_millimetres_and_metres(padding: int, big: bool) -> None:
    """16UC1 is millimetres, 32FC1 metres, in either byte order and with padded rows."""
    order = ">" if big else "<"
    millimetres = np.array([[0, 1000, 1234], [65535, 1, 20]], f"{order}u2")
    expected = [0, 1, 1.234, 65.535, 0.001, 0.02]
    message = raw(millimetres, "16UC1", padding, is_bigendian=int(big))
    assert metres_of(message) == pytest.approx(expected)
    metres = np.array([[0, 1, np.nan], [np.inf, -1, 20.5]], f"{order}f4")
    message = raw(metres, "32FC1", padding, is_bigendian=int(big))
    assert metres_of(message) == [0, 1, 0, 0, 0, 20.5]


def test_foxglove_names_no_byte_order() -> None:
    """A RawImage is little-endian."""
    message = raw(np.array([[1500]], "<u2"), "16UC1")
    del message.is_bigendian
    assert metres_of(message) == [1.5]


def test_pngs() -> None:
    """A PNG of 16 bits is millimetres by itself and behind the header of compressedDepth."""
    values = np.array([[0, 2000]], np.uint16)
    assert metres_of(packed(values, "16UC1; png compressed ")) == [0, 2]
    assert metres_of(packed(values, "16UC1; compressedDepth", bytes(12))) == [0, 2]
    assert facts_of(packed(values, "mono16; png compressed ")).is_depth is False


def test_inverse_depth() -> None:
    """Behind the header of a 32FC1 are 16-bit values of inverse depth: metres = A / (value - B)."""
    inverse = np.array([[0, 51, 101, 11]], np.uint16)  # none, 2 m, 1 m, 10 m
    message = packed(inverse, "32FC1; compressedDepth png", struct.pack("<iff", 0, 100.0, 1.0))
    assert facts_of(message) == (4, 1, "32FC1; compressedDepth png", "", True)
    assert metres_of(message) == [0, 2, 1, 10]


def test_damage_is_named() -> None:
    """No header, no PNG, several values per pixel, sizes that do not fit: each says what is wrong."""
    for message, words in (
        (SimpleNamespace(format="32FC1; compressedDepth png", data=bytes(5)), "no header"),
        (SimpleNamespace(format="16UC1; compressedDepth rvl", data=bytes(40)), "rvl.* is not PNG"),
        (packed(np.zeros((2, 2, 3), np.uint16), "16UC1; png"), "3 values per pixel"),
        (raw(np.zeros((2, 2), "<u2"), "16UC1", height=9), "sizes do not fit"),
    ):
        with pytest.raises(CannotDecode, match=words):
            metres_of(message)


def test_colours_and_distances_do_not_mix() -> None:
    """A message of the other kind is refused by either decoder."""
    colours = raw(np.zeros((2, 2), np.uint8), "mono8")
    with pytest.raises(CannotDecode, match=r"of colours \(mono8\) among pictures of distances"):
        metres_of(colours)
    depth = raw(np.zeros((2, 2), "<u2"), "16UC1")
    with pytest.raises(CannotDecode, match=r"of distances \(16UC1\) among pictures of colours"):
        RosPictures(lambda data: data).decode(Packet("x", 5, depth))


@given(st.integers(1, 700), st.integers(1, 700))
def test_nearest_takes_the_middle(stored: int, wanted: int) -> None:
    """Pixel k of the result is the stored one in which its middle lies; none lies outside."""
    found = nearest(stored, wanted)
    assert found.tolist() == [int((k + 0.5) / wanted * stored + 1e-9) for k in range(wanted)]
    assert 0 <= found[0] <= found[-1] < stored


def test_a_region_is_sampled_not_averaged() -> None:
    """Of a region, every pixel is the stored one at its middle; nothing between near and far appears."""
    values = np.where(np.arange(96) < 41, 1000, 9000).astype("<u2") + np.arange(64)[:, None].astype("<u2")
    picture = RosDepth(0, 96, 64, raw(values.astype("<u2"), "16UC1"))
    metres, counts = picture.metres(30, 20, Region(20, 4, 60, 40))
    expected = values[4:44, 20:80][1::2, 1::2] / 1000
    assert np.allclose(metres, expected)
    assert counts == DepthCounts(600)
