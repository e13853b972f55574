"""From stored pictures to squares, on pictures whose every pixel says where it comes from."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.geometry import FITS, Fit, arrange, fit

sides = st.integers(1, 300)
sizes = st.integers(1, 64)
aspects = st.sampled_from([Fraction(1), Fraction(2), Fraction(12, 11), Fraction(1, 3)])
turns = st.sampled_from([0, 90, 180, 270])


def picture(width: int, height: int) -> np.ndarray:
    """Return [height, width, 3]: channel 0 is the column, 1 the row, 2 is 255 (black is none of it)."""
    rgb = np.full((height, width, 3), 255, np.uint8)
    rgb[:, :, 0] = np.arange(width)[None, :]
    rgb[:, :, 1] = np.arange(height)[:, None]
    return rgb


@given(sides, sides, sizes, st.sampled_from(FITS), aspects, turns, st.booleans())
def test_every_picture_becomes_a_square(
    width: int, height: int, size: int, how: Fit, aspect: Fraction, rotation: int, mirrored: bool
) -> None:
    """Of the size asked for; only padding adds black, and it is as wide on both sides."""
    geometry = fit(width, height, size, how, aspect=aspect, rotation=rotation, mirrored=mirrored)
    left, top, seen_width, seen_height = geometry.region
    assert 0 <= left <= width - seen_width
    assert 0 <= top <= height - seen_height
    if how != "crop":
        assert geometry.region == (0, 0, width, height)
    scaled = np.full((geometry.scaled_height, geometry.scaled_width, 3), 255, np.uint8)
    square = arrange(scaled, geometry)
    assert square.shape == (size, size, 3)
    assert square.flags.c_contiguous
    rows, columns = np.flatnonzero(square.any(axis=(1, 2))), np.flatnonzero(square.any(axis=(0, 2)))
    for shown in (rows, columns):
        assert abs(int(shown[0]) - (size - 1 - int(shown[-1]))) <= 1
    if how != "pad":
        assert (square == 255).all()


@given(sides, sides, sizes, aspects, turns)
def test_the_aspect_ratio_is_kept_within_a_pixel(
    width: int, height: int, size: int, aspect: Fraction, rotation: int
) -> None:
    """Padded, the longer side fills the square and the shorter one is as long as it should be."""
    geometry = fit(width, height, size, "pad", aspect=aspect, rotation=rotation)
    turned = rotation in (90, 270)
    shown = (geometry.scaled_height, geometry.scaled_width)
    upright = (Fraction(height), width * aspect)
    if turned:
        shown, upright = shown[::-1], upright[::-1]
    for edge, wanted in zip(shown, upright, strict=True):
        assert edge <= size
        assert abs(edge - wanted * size / max(upright)) <= Fraction(1, 2) or edge == 1


def test_crop_keeps_the_middle() -> None:
    """The largest square, beginning at an even pixel."""
    assert fit(1920, 1080, 256, "crop").region == (420, 0, 1080, 1080)
    assert fit(720, 1280, 256, "crop").region == (0, 280, 720, 720)
    assert fit(855, 480, 256, "crop").region == (186, 0, 480, 480)
    assert fit(4096, 1, 256, "crop").region == (2046, 0, 1, 1)


@given(sides, sides, aspects, turns)
def test_what_is_cropped_is_a_square_to_the_nearest_pixel(
    width: int, height: int, aspect: Fraction, rotation: int
) -> None:
    """As shown, with the aspect ratio of its pixels; no larger square would fit."""
    _, _, seen_width, seen_height = fit(width, height, 16, "crop", aspect=aspect, rotation=rotation).region
    edge = min(width * aspect, Fraction(height))
    assert abs(seen_width * aspect - edge) <= aspect / 2 or seen_width == 1
    assert abs(seen_height - edge) <= Fraction(1, 2) or seen_height == 1


def test_pad_keeps_everything_and_adds_black() -> None:
    """8 x 4 pixels stand in the middle of 8 x 8."""
    square = arrange(picture(8, 4), fit(8, 4, 8, "pad"))
    assert not square[:2].any()
    assert not square[6:].any()
    assert (square[2:6] == picture(8, 4)).all()


def test_stretch_scales_each_side_by_itself() -> None:
    """No pixel is lost or added, whatever the shape."""
    geometry = fit(1920, 2, 16, "stretch", rotation=90)
    assert (geometry.scaled_width, geometry.scaled_height, geometry.left, geometry.top) == (16, 16, 0, 0)


@pytest.mark.parametrize(
    ("rotation", "corner"), [(0, (0, 0)), (90, (0, 3)), (180, (3, 3)), (270, (3, 0)), (450, (0, 3))]
)
def test_turning_is_clockwise(rotation: int, corner: tuple[int, int]) -> None:
    """The stored top left pixel goes to the top right when turned by 90 degrees."""
    stored = np.zeros((4, 4, 3), np.uint8)
    stored[0, 0] = 255
    square = arrange(stored, fit(4, 4, 4, "crop", rotation=rotation))
    assert np.argwhere(square[:, :, 0]).tolist() == [list(corner)]


def test_mirroring_comes_before_turning() -> None:
    """The stored top left pixel goes to the top right, and then by a quarter to the bottom right."""
    stored = np.zeros((4, 4, 3), np.uint8)
    stored[0, 0] = 255
    square = arrange(stored, fit(4, 4, 4, "crop", rotation=90, mirrored=True))
    assert np.argwhere(square[:, :, 0]).tolist() == [[3, 3]]


def test_pixels_that_are_not_square_are_made_square() -> None:
    """4 x 8 pixels twice as wide as high are a square picture."""
    geometry = fit(4, 8, 16, "pad", aspect=Fraction(2))
    assert (geometry.scaled_width, geometry.scaled_height) == (16, 16)
    geometry = fit(8, 4, 16, "pad", aspect=Fraction(1, 2), rotation=90)
    assert (geometry.scaled_width, geometry.scaled_height) == (16, 16)
