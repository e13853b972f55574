"""Pictures of ROS messages: every encoding gives the pixel it stands for."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from made_bags import jpeg, png
from made_cards import draw_card

from ingest.decoders.ros_pictures import RosPicture, RosPictures, facts_of
from ingest.decoders.ros_pixels import ENCODINGS, pixels_to_rgb, scaled
from ingest.errors import CannotDecode
from ingest.geometry import Region
from ingest.recording import Packet

WIDTH, HEIGHT = 8, 6

# (memory of one pixel, what it becomes)
PIXELS: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "rgb8": (bytes([10, 20, 30]), (10, 20, 30)),
    "bgr8": (bytes([10, 20, 30]), (30, 20, 10)),
    "rgba8": (bytes([10, 20, 30, 99]), (10, 20, 30)),
    "bgra8": (bytes([10, 20, 30, 99]), (30, 20, 10)),
    "rgb16": (struct.pack("<3H", 257 * 10, 257 * 20 + 128, 257 * 30 + 129), (10, 20, 31)),
    "bgr16": (struct.pack("<3H", 257 * 10, 257 * 20, 257 * 30), (30, 20, 10)),
    "rgba16": (struct.pack("<4H", 257 * 10, 257 * 20, 257 * 30, 7), (10, 20, 30)),
    "bgra16": (struct.pack("<4H", 257 * 10, 257 * 20, 257 * 30, 7), (30, 20, 10)),
    "mono8": (bytes([77]), (77, 77, 77)),
    "mono16": (struct.pack("<H", 65535), (255, 255, 255)),
    "8UC1": (bytes([77]), (77, 77, 77)),
    "8UC3": (bytes([10, 20, 30]), (30, 20, 10)),
    "8UC4": (bytes([10, 20, 30, 40]), (30, 20, 10)),
    # Y 126, U 110, V 150: by BT.601, 1.164 (Y - 16) = 128.04, R = that + 1.596 x 22, …
    "yuv422": (bytes([110, 126, 150, 126]), (163, 117, 92)),
    "uyvy": (bytes([110, 126, 150, 126]), (163, 117, 92)),
    "yuv422_yuy2": (bytes([126, 110, 126, 150]), (163, 117, 92)),
    "yuyv": (bytes([126, 110, 126, 150]), (163, 117, 92)),
    "yuy2": (bytes([126, 110, 126, 150]), (163, 117, 92)),
}


def image(encoding: str, data: bytes, step: int, **others: Any) -> SimpleNamespace:
    fields = {
        "encoding": encoding, "data": np.frombuffer(data, np.uint8), "width": WIDTH, "height": HEIGHT,
        "step": step, "is_bigendian": 0,
    }  # fmt: skip
    return SimpleNamespace(**fields | others)


def rgb_of(message: SimpleNamespace, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    (picture,) = RosPictures(lambda data: data).decode(Packet("x", 5, message))
    assert (picture.time_ns, picture.stop_ns) == (5, 0)
    return picture.rgb(width, height)


def plane(encoding: str, padding: int = 0) -> tuple[bytes, int]:
    """Return a picture of one colour, with padding after each row but the last, and its step."""
    pixel, _ = PIXELS[encoding]
    per_pixel = len(pixel) // (2 if ENCODINGS[encoding].channels == 2 else 1)
    row = pixel * (WIDTH * per_pixel // len(pixel))
    return (row + b"\xee" * padding) * (HEIGHT - 1) + row, len(row) + padding


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", PIXELS)
def test_every_encoding_gives_its_pixel(encoding: str, padding: int) -> None:
    """A picture of one colour has that colour everywhere, padded rows or not."""
    data, step = plane(encoding, padding)
    found = rgb_of(image(encoding, data, step))
    assert found.dtype == np.uint8
    assert found.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(found.astype(int) - PIXELS[encoding][1]).max() <= (1 if "yu" in encoding else 0)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_have_their_colours(pattern: str, bits: int) -> None:
    """A mosaic of a plain colour gives that colour, whichever pixel comes first."""
    colour = {"r": 200, "g": 100, "b": 50}
    tile = np.array([colour[letter] for letter in pattern]).reshape(2, 2)
    mosaic = np.tile(tile, (HEIGHT // 2, WIDTH // 2)).astype(np.uint8)
    data = (mosaic.astype(np.uint16) * 257).tobytes() if bits == 16 else mosaic.tobytes()
    found = rgb_of(image(f"bayer_{pattern}{bits}", data, WIDTH * bits // 8))
    assert found[2:-2, 2:-2].tolist() == np.full((HEIGHT - 4, WIDTH - 4, 3), (200, 100, 50)).tolist()


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_half_size_colour_planes(encoding: str) -> None:
    """NV12 has U before V in its second plane, NV21 V before U."""
    pair = [110, 150] if encoding == "nv12" else [150, 110]
    data = bytes([126]) * WIDTH * HEIGHT + bytes(pair * (WIDTH // 2) * (HEIGHT // 2))
    found = rgb_of(image(encoding, data, WIDTH))
    assert np.abs(found.astype(int) - (163, 117, 92)).max() <= 1


@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bayer_rggb16"])
def test_big_endian_is_the_same_picture(encoding: str) -> None:
    """The same values in the other byte order give the same picture."""
    size = np.dtype(ENCODINGS[encoding].dtype).itemsize
    count = WIDTH * HEIGHT * ENCODINGS[encoding].channels
    values = np.linspace(0, 60000, count).astype(f"<{ENCODINGS[encoding].dtype}")
    step = WIDTH * ENCODINGS[encoding].channels * size
    little = rgb_of(image(encoding, values.tobytes(), step))
    big = rgb_of(image(encoding, values.byteswap().tobytes(), step, is_bigendian=1))
    assert np.array_equal(little, big)
    assert little.max() > little.min()


def test_unknown_encoding_is_named() -> None:
    """A picture of unknown encoding is refused by name before anything is decoded."""
    with pytest.raises(CannotDecode, match="pixel encoding 'rgb10' is not supported"):
        rgb_of(image("rgb10", b"", 0))


@pytest.mark.parametrize(
    ("encoding", "others"),
    [
        ("rgb8", {"width": 9}),
        ("rgb8", {"height": 7}),
        ("rgb8", {"step": 20}),
        ("rgb8", {"width": 0}),
        ("rgb8", {"width": 2**32 - 1, "height": 2**32 - 1}),
        ("rgb8", {"step": 2**32 - 1}),
    ],
)
def test_sizes_that_do_not_fit_are_refused(encoding: str, others: dict[str, int]) -> None:
    """Sizes are checked against the bytes before anything is made of them."""
    data, step = plane(encoding)
    message = image(encoding, data, step)
    for name, value in others.items():
        setattr(message, name, value)
    with pytest.raises(CannotDecode, match="sizes do not fit"):
        facts_of(message)


@pytest.mark.parametrize("encoding", ["yuyv", "nv12"])
def test_odd_sizes_of_paired_colours_are_refused(encoding: str) -> None:
    """Colours that two pixels share need even sizes."""
    message = image(encoding, bytes(1000), 0, width=7)
    with pytest.raises(CannotDecode, match="in pairs"):
        facts_of(message)


def compressed(data: bytes, picture_format: str) -> SimpleNamespace:
    return SimpleNamespace(format=picture_format, data=np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("picture_format", ["jpeg", "rgb8; jpeg compressed bgr8", ""])
def test_jpeg(picture_format: str) -> None:
    """A JPEG has its size without being decoded, and its colours."""
    card = draw_card(7, 80, 64)
    message = compressed(jpeg(card), picture_format)
    assert facts_of(message)[:2] == (80, 64)
    error = np.abs(rgb_of(message, 80, 64).astype(int) - card)
    assert error.mean() < 4


def test_png_is_exact() -> None:
    """A PNG gives back its very pixels."""
    card = draw_card(7, 80, 64)
    message = compressed(png(card), "bgr8; png compressed bgr8")
    assert facts_of(message)[:2] == (80, 64)
    assert np.array_equal(rgb_of(message, 80, 64), card)


def png_of(values: np.ndarray) -> bytes:
    return cv2.imencode(".png", values)[1].tobytes()


def test_grey_and_alpha_png() -> None:
    """Grey becomes three equal channels; alpha is dropped."""
    grey = np.full((4, 5), 9, np.uint8)
    assert rgb_of(compressed(png_of(grey), "mono8; png"), 5, 4).tolist() == np.full((4, 5, 3), 9).tolist()
    blue = np.full((4, 5, 4), (200, 100, 50, 3), np.uint8)
    found = rgb_of(compressed(png_of(blue), "bgra8; png"), 5, 4)
    assert found[0, 0].tolist() == [50, 100, 200]


def test_png_of_16_bits() -> None:
    """A 16-bit PNG is depth where its format says so, and brightness otherwise."""
    values = np.full((4, 5), 2000, np.uint16)
    depth = facts_of(compressed(png_of(values), "16UC1; png compressed "))
    assert (depth.rule, depth.is_depth) == ("", True)
    bright = compressed(png_of(values), "mono16; png compressed ")
    assert facts_of(bright).rule == "value / 257"
    assert rgb_of(bright, 5, 4)[0, 0, 0] == 8


@pytest.mark.parametrize(
    ("data", "picture_format", "cause"),
    [
        (b"", "jpeg", "damaged"),
        (b"no picture at all", "jpeg", "damaged"),
        (b"123", "16UC1; compressedDepth", "no header"),
        (bytes(12) + b"rvl data", "16UC1; compressedDepth rvl", "not PNG"),
    ],
)
def test_damaged_compressed_pictures_are_refused(data: bytes, picture_format: str, cause: str) -> None:
    """What is no picture is refused with a cause."""
    with pytest.raises(CannotDecode, match=cause):
        rgb_of(compressed(data, picture_format))


def test_cut_pictures_are_refused() -> None:
    """A JPEG or PNG that lost its end is refused, not shown half grey."""
    whole = draw_card(3, 80, 64)
    for data in (jpeg(whole), png(whole)):
        with pytest.raises(CannotDecode):
            rgb_of(compressed(data[: len(data) // 2], ""))


def test_scaling() -> None:
    """Pictures shrink by area and grow linearly, in each direction by itself."""
    stripes = np.zeros((4, 4, 3), np.uint8)
    stripes[::2] = 200
    assert scaled(stripes, 2, 2).tolist() == np.full((2, 2, 3), 100).tolist()
    assert scaled(stripes, 4, 4).tolist() == stripes.tolist()
    mixed = scaled(stripes, 8, 2)
    assert mixed.tolist() == np.full((2, 8, 3), 100).tolist()
    grown = scaled(np.array([[[0] * 3, [100] * 3]], np.uint8), 4, 1)
    assert grown[0, :, 0].tolist() == [0, 25, 75, 100]


def test_pixels_are_read_without_a_step() -> None:
    """A step of 0 means rows without padding."""
    data, _ = plane("rgb8")
    assert pixels_to_rgb(data, "rgb8", WIDTH, HEIGHT, 0)[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(("width", "height"), [(256, 144), (640, 360), (160, 90), (500, 300)])
def test_a_jpeg_that_shrinks_is_decoded_smaller(width: int, height: int) -> None:
    """It looks as decoded in full and averaged: within what a JPEG's own rounding makes."""
    x, y = np.meshgrid(np.linspace(0, 1, 1280), np.linspace(0, 1, 720))
    smooth = np.stack([x, y, (1 + np.sin(40 * x * y)) / 2], axis=2)
    data = np.frombuffer(jpeg((smooth * 255).astype(np.uint8)), np.uint8)
    message = SimpleNamespace(format="jpeg", data=data)
    picture = RosPicture(0, 1280, 720, message)
    whole = np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1])
    full = scaled(whole, width, height)
    assert np.abs(picture.rgb(width, height).astype(int) - full).mean() < 1.5
    region = Region(280, 0, 720, 720)
    cut = scaled(whole[:, 280:1000], 256, 256)
    assert np.abs(picture.rgb(256, 256, region).astype(int) - cut).mean() < 1.5
