"""From a stored picture to a square one: aspect ratio, rotation, mirroring, crop or padding.

The region of a stored picture that will be seen is scaled in one step to the size it will need (this
is the only place where pixels are averaged), then mirrored, turned upright, and padded with black.
Regions and sizes are worked out beforehand by `fit`, on numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

Fit = Literal["crop", "pad", "stretch"]
FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")


class Region(NamedTuple):
    """A rectangle of a stored picture, in its pixels. It begins at an even pixel, where colours that are
    stored for pairs of pixels begin as well.
    """

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Geometry:
    """How one stored picture size becomes a square of `size` pixels."""

    size: int
    region: Region
    """What of the stored picture is seen."""
    scaled_width: int
    scaled_height: int
    """Size to scale the region to, before it is turned."""
    rotation: int
    """Clockwise degrees to turn: 0, 90, 180 or 270."""
    mirrored: bool
    """Whether to mirror left to right before turning."""
    left: int
    top: int
    """Where the upright picture's corner lies in the square: above 0 where it is padded."""


@lru_cache(maxsize=256)
def fit(
    width: int,
    height: int,
    size: int,
    how: Fit,
    *,
    aspect: Fraction = Fraction(1),
    rotation: int = 0,
    mirrored: bool = False,
) -> Geometry:
    """Work out how a stored picture becomes a square.

    Args:
        width, height: stored size in pixels.
        size: edge of the square in pixels.
        how: `crop` keeps the largest square in the middle, to the nearest pixel; `pad` keeps everything
            and adds black; `stretch` changes the aspect ratio.
        aspect: width of a stored pixel by its height.
        rotation: clockwise degrees that make the picture upright.
        mirrored: whether the stored picture is mirrored left to right before it is turned.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a picture has at least one pixel, got {width} x {height}")
    turned = rotation % 180 == 90
    region, fitted_width, fitted_height = Region(0, 0, width, height), size, size
    if how == "crop":
        seen_width = min(width, max(1, round(height / aspect)))
        seen_height = min(height, max(1, round(width * aspect)))
        left, top = (width - seen_width) // 2, (height - seen_height) // 2
        region = Region(left - left % 2, top - top % 2, seen_width, seen_height)
    elif how == "pad":
        upright = (Fraction(height), width * aspect) if turned else (width * aspect, Fraction(height))
        fitted_width, fitted_height = (max(1, round(edge * size / max(upright))) for edge in upright)
    scaled_width, scaled_height = (fitted_height, fitted_width) if turned else (fitted_width, fitted_height)
    return Geometry(
        size=size,
        region=region,
        scaled_width=scaled_width,
        scaled_height=scaled_height,
        rotation=rotation % 360,
        mirrored=mirrored,
        left=(size - fitted_width) // 2,
        top=(size - fitted_height) // 2,
    )


def arrange(scaled: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Mirror, turn, and pad a scaled region.

    Args:
        scaled: uint8 [scaled_height, scaled_width, 3].
        geometry: as `fit` returned it for this picture's stored size.

    Returns:
        uint8 [size, size, 3].
    """
    if scaled.shape[:2] != (geometry.scaled_height, geometry.scaled_width):
        wanted = f"{geometry.scaled_width} x {geometry.scaled_height}"
        raise ValueError(f"scaled picture must be {wanted}, got {scaled.shape[1]} x {scaled.shape[0]}")
    upright = scaled[:, ::-1] if geometry.mirrored else scaled
    if geometry.rotation:
        upright = np.rot90(upright, k=-geometry.rotation // 90)
    height, width = upright.shape[:2]
    if (width, height) == (geometry.size, geometry.size):
        return np.ascontiguousarray(upright)
    square = np.zeros((geometry.size, geometry.size, 3), np.uint8)
    square[geometry.top : geometry.top + height, geometry.left : geometry.left + width] = upright
    return square
