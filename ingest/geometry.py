"""From a stored picture to a square one: aspect ratio, rotation, mirroring, crop or padding.

A stored picture is first scaled in one step to the size it will need (this is the only place
where pixels are averaged), then mirrored, turned upright, and cropped or padded with black. Sizes are
worked out beforehand by `fit`, on numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np

from ingest.errors import CannotDecode

Fit = Literal["crop", "pad", "stretch"]
FITS: tuple[Fit, ...] = ("crop", "pad", "stretch")
LONGEST_TO_CROP = 64
"""How many times as long as wide a picture may be to be cropped: all of it is scaled first, and a
damaged header can claim any aspect ratio."""


@dataclass(frozen=True)
class Geometry:
    """How one stored picture size becomes a square of `size` pixels."""

    size: int
    scaled_width: int
    scaled_height: int
    """Size to scale the stored picture to, before it is turned."""
    rotation: int
    """Clockwise degrees to turn: 0, 90, 180 or 270."""
    mirrored: bool
    """Whether to mirror left to right before turning."""
    left: int
    top: int
    """Where the upright picture's corner lies in the square: negative when cropped, positive when
    padded."""


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
        how: `crop` keeps the middle, `pad` keeps everything and adds black, `stretch` changes the
            aspect ratio.
        aspect: width of a stored pixel by its height.
        rotation: clockwise degrees that make the picture upright.
        mirrored: whether the stored picture is mirrored left to right before it is turned.

    Raises:
        CannotDecode: too long for its width to be cropped.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a picture has at least one pixel, got {width} x {height}")
    turned = rotation % 180 == 90
    upright_width, upright_height = (
        (Fraction(height), width * aspect) if turned else (width * aspect, Fraction(height))
    )
    if how == "stretch":
        fitted_width = fitted_height = size
    else:
        shorter, longer = sorted((upright_width, upright_height))
        if how == "crop" and longer > LONGEST_TO_CROP * shorter:
            pixels = f"a picture of {width} x {height} pixels of aspect {aspect}"
            raise CannotDecode(
                f"{pixels} is more than {LONGEST_TO_CROP} times as long as wide, too long to be cropped to a "
                "square; --fit pad shows all of it"
            )
        edge = shorter if how == "crop" else longer
        fitted_width = max(1, round(upright_width * size / edge))
        fitted_height = max(1, round(upright_height * size / edge))
    scaled_width, scaled_height = (fitted_height, fitted_width) if turned else (fitted_width, fitted_height)
    return Geometry(
        size=size,
        scaled_width=scaled_width,
        scaled_height=scaled_height,
        rotation=rotation % 360,
        mirrored=mirrored,
        left=(size - fitted_width) // 2,
        top=(size - fitted_height) // 2,
    )


def arrange(scaled: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Mirror, turn, and crop or pad a scaled picture.

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
    x0, y0 = max(0, -geometry.left), max(0, -geometry.top)
    x1, y1 = min(width, geometry.size - geometry.left), min(height, geometry.size - geometry.top)
    if (x1 - x0, y1 - y0) == (geometry.size, geometry.size):
        return np.ascontiguousarray(upright[y0:y1, x0:x1])
    square = np.zeros((geometry.size, geometry.size, 3), np.uint8)
    square[y0 + geometry.top : y1 + geometry.top, x0 + geometry.left : x1 + geometry.left] = upright[
        y0:y1, x0:x1
    ]
    return square
