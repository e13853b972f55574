"""From stored pictures to squares, on pictures whose every pixel says where it comes from."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import CannotDecode
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
    try:
        geometry = fit(width, height, size, how, aspect=aspect, rotation=rotation, mirrored=mirrored)
    except CannotDecode:
        assert how == "crop"
        assert max(width * aspect / height, height / (width * aspect)) > 64
        return
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
    """Of 8 x 4 pixels the four columns in the middle are left."""
    geometry = fit(8, 4, 4, "crop")
    assert (geometry.scaled_width, geometry.scaled_height) == (8, 4)
    square = arrange(picture(8, 4), geometry)
    assert square[0, :, 0].tolist() == [2, 3, 4, 5]
    assert square[:, 0, 1].tolist() == [0, 1, 2, 3]


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


def test_a_line_of_pixels_is_not_blown_up_to_be_cropped() -> None:
    """Scaling 4096 x 1 to 256 lines would take 800 MB; the message says what to do."""
    with pytest.raises(CannotDecode, match=r"4096 x 1 pixels .* --fit pad"):
        fit(4096, 1, 256, "crop")
    assert fit(4096, 1, 256, "pad").scaled_height == 1


def test_wrong_sizes_are_refused() -> None:
    """A picture without pixels, and one that is not scaled as it should be."""
    with pytest.raises(ValueError, match="at least one pixel, got 0 x 4"):
        fit(0, 4, 16, "crop")
    with pytest.raises(ValueError, match="must be 16 x 16, got 8 x 4"):
        arrange(picture(8, 4), fit(4, 4, 16, "crop"))
