"""From luma and colour differences to RGB, by the definition in ITU-T H.273.

Where a stream does not say, BT.709 is taken from 720 lines up and BT.601 below, limited range except
for the `yuvj` formats: as players do.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

HD_LINES = 720
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""Kr and Kb by matrix coefficients' number (H.273, table 4): BT.709, FCC, BT.601 (two), SMPTE 240M, BT.2020
(two)."""
_NAMES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
_LIMITED, _FULL = 1, 2
"""FFmpeg's AVColorRange."""
_TRANSFERS = {16: "pq", 18: "hlg"}
"""Transfer characteristics of high dynamic range (H.273, table 3); all others are shown as they are."""


class Colour(NamedTuple):
    """How a frame's samples are to be understood."""

    matrix: str
    """`bt601`, `bt709`, `bt2020`, `fcc` or `smpte240m`."""
    full_range: bool
    transfer: str = "sdr"
    """`sdr`, `pq` or `hlg`."""

    @property
    def weights(self) -> tuple[float, float]:
        """Kr and Kb."""
        return next(_WEIGHTS[number] for number, name in _NAMES.items() if name == self.matrix)


def colour_of(frame: Any) -> Colour:
    """Return what a frame says of its colours, completed by the rule above."""
    unsaid = "bt709" if frame.height >= HD_LINES else "bt601"
    name = frame.format.name
    full = int(frame.color_range) == _FULL or name.startswith("yuvj") or frame.format.is_rgb
    transfer = _TRANSFERS.get(int(getattr(frame, "color_trc", 2)), "sdr")
    return Colour(_NAMES.get(int(frame.colorspace), unsaid), full, transfer)


def is_limited(frame: Any) -> bool:
    """Say whether a frame declares limited range."""
    return int(frame.color_range) == _LIMITED


@lru_cache(maxsize=16)
def rgb_matrix(weights: tuple[float, float], full_range: bool, white: float = 255) -> np.ndarray:
    """Return float32 [3, 4] that takes (Y, Cb, Cr, 1), 8 bits, to R'G'B' in [0, white].

    Limited range: Y' in 16 to 235, differences in 16 to 240 (H.273, equations 26 to 28).
    """
    kr, kb = weights
    kg = 1 - kr - kb
    luma, difference, black = (255.0, 255.0, 0.0) if full_range else (219.0, 224.0, 16.0)
    red, blue = 2 * (1 - kr), 2 * (1 - kb)
    by_unit = np.array([[1, 0, red], [1, -kb * blue / kg, -kr * red / kg], [1, blue, 0]])
    matrix = by_unit * (white / np.array([luma, difference, difference]))
    offsets = -matrix @ np.array([black, 128.0, 128.0])
    return np.concatenate([matrix, offsets[:, None]], axis=1).astype(np.float32)
