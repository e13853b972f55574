"""The integer transform of `frames-dct`: RGB pictures to coefficients of 16x16 blocks, exact everywhere.

Colour first: Y = R + G + B, U = R - B, V = 2G - R - B, whole numbers, and orthogonal (norms √3, √2, √6).
Then each plane's 16x16 blocks meet the two-dimensional DCT-II, its entries scaled by 2^18 / norm and
rounded to integers, so that one unit of an orthonormal transform is 2^18. Of each plane only the low
frequencies u + v up to a limit are computed.

Why it is exact: every sum stays below 2^31, and float64 holds integers up to 2^53, so no
addition ever rounds, in whatever order a device does it. float32 would be twice as fast, but torch can be
told, globally, to do float32 products in TF32 or bfloat16, which are not exact; float64 it leaves alone.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

BLOCK = 16
UNIT_BITS = 18
"""A coefficient of 1 in an orthonormal transform is 2^18."""

ZONE_LIMITS = (12, 5, 5)
"""Y, U and V keep the frequencies with u + v up to this: 91, 21 and 21 of 256."""

COLOUR = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]])
"""Rows Y, U, V over R, G, B."""

CENTRES = (382, 0, 0)
"""Taken from the planes before the transform, near the middle of 0 … 765, so that numbers stay small."""

HALF_RANGES = (383, 255, 510)
"""The largest absolute value of each plane after that."""


@cache
def zone() -> tuple[tuple[int, int, int], ...]:
    """Return (plane, u, v) of each coefficient: by plane, then from low to high frequency; DC is first.

    u counts along the height, v along the width.
    """
    every = [(plane, u, v) for plane in range(3) for u in range(BLOCK) for v in range(BLOCK)]
    kept = [place for place in every if place[1] + place[2] <= ZONE_LIMITS[place[0]]]
    return tuple(sorted(kept, key=lambda place: (place[0], place[1] + place[2], place[1])))


@cache
def plane_slices() -> tuple[slice, slice, slice]:
    """Return where each plane's coefficients stand in `zone`."""
    sizes = [sum(place[0] == plane for place in zone()) for plane in range(3)]
    ends = np.cumsum([0, *sizes]).tolist()
    return slice(ends[0], ends[1]), slice(ends[1], ends[2]), slice(ends[2], ends[3])


def basis_values() -> np.ndarray:
    """Return float64 [coefficients, 256]: the orthonormal DCT-II divided by its plane's norm."""
    x = np.arange(BLOCK)
    rows = np.cos(np.pi * (2 * x[None, :] + 1) * x[:, None] / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    rows[0] = np.sqrt(1 / BLOCK)
    norms = np.sqrt((COLOUR**2).sum(1))
    return np.stack([np.outer(rows[u], rows[v]).ravel() / norms[plane] for plane, u, v in zone()])


@cache
def integer_basis() -> np.ndarray:
    """Return int64 [coefficients, 256]. No entry is close to a tie, so every machine rounds it alike."""
    basis: np.ndarray = np.rint(basis_values() * (1 << UNIT_BITS)).astype(np.int64)
    return basis


@cache
def dc_ranges() -> tuple[int, int, int]:
    """Return the largest absolute DC coefficient of each plane."""
    places = [piece.start for piece in plane_slices()]
    sums = [int(np.abs(integer_basis()[place]).sum()) for place in places]
    return sums[0] * HALF_RANGES[0], sums[1] * HALF_RANGES[1], sums[2] * HALF_RANGES[2]


class BlockTransform:
    """The transform's tables on one device."""

    def __init__(self, device: torch.device) -> None:
        basis = torch.from_numpy(integer_basis()).to(device, torch.float64)
        self._analysis = [basis[piece].t().contiguous() for piece in plane_slices()]
        exact = torch.from_numpy(basis_values()).to(device)
        self._synthesis = [exact[piece].contiguous() for piece in plane_slices()]

    def coefficients(self, frames: Tensor) -> Tensor:
        """Turn uint8 [F, 3, H, W] into float64 integers [F * H/16 * W/16, coefficients]."""
        red, green, blue = (frames[:, channel].to(torch.int16) for channel in range(3))
        outer = red + blue
        planes = (outer + green - CENTRES[0], red - blue, 2 * green - outer)
        parts = [
            _blocks(plane).to(torch.float64) @ matrix
            for plane, matrix in zip(planes, self._analysis, strict=True)
        ]
        return torch.cat(parts, dim=1)

    def frames(self, values: Tensor, height: int, width: int) -> Tensor:
        """Turn coefficients in orthonormal units, float64 [blocks, coefficients], into uint8 [F, 3, H, W]."""
        y, u, v = (
            _unblocked(values[:, piece] @ matrix, height, width)
            for piece, matrix in zip(plane_slices(), self._synthesis, strict=True)
        )
        # The planes were analysed with basis / norm; the same basis / norm takes them back, since
        # the transpose of an orthogonal colour matrix, divided by the norms twice, is its inverse.
        grey = y + CENTRES[0] / 3
        rgb = torch.stack((grey + u - v, grey + 2 * v, grey - u - v), dim=1)
        return rgb.round_().clamp_(0, 255).to(torch.uint8)


def _blocks(plane: Tensor) -> Tensor:
    count, height, width = plane.shape
    shape = (count, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return plane.reshape(shape).permute(0, 1, 3, 2, 4).reshape(-1, BLOCK * BLOCK)


def _unblocked(blocks: Tensor, height: int, width: int) -> Tensor:
    grid = blocks.reshape(-1, height // BLOCK, width // BLOCK, BLOCK, BLOCK)
    return grid.permute(0, 1, 3, 2, 4).reshape(-1, height, width)
