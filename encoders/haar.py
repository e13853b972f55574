"""The orthonormal Haar transform of groups of 4 frames, and its exact inverse.

Over time and over 8x8 pixels of each colour: per axis, sums and differences of neighbours by sqrt(2), then
the same of the sums. As one product per axis, since a cell is small: a cell's 4 x 8 x 8 x 3 values become as
many coefficients, of the same energy.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

GROUP_FRAMES, CELL = 4, 8


def forward_haar(frames: Tensor) -> Tensor:
    """Turn frames [B, T, 3, H, W] into cells [B, T/4, H/8, W/8, 768]; colour, time, height, width inside."""
    batch, length, _, height, width = frames.shape
    split = frames.reshape(
        batch, length // GROUP_FRAMES, GROUP_FRAMES, 3, height // CELL, CELL, width // CELL, CELL
    )
    cells = split.permute(0, 1, 4, 6, 3, 2, 5, 7)
    time, space = _matrices(frames)
    cells = torch.einsum("...tyx,zx->...tyz", cells, space)
    cells = torch.einsum("...tyx,zy->...tzx", cells, space)
    return torch.einsum("...tyx,zt->...zyx", cells, time).flatten(-4)


def inverse_haar(cells: Tensor) -> Tensor:
    """Turn cells [B, g, h, w, 768] back into frames [B, 4 g, 3, 8 h, 8 w]."""
    batch, groups, height, width, _ = cells.shape
    time, space = _matrices(cells)
    parts = cells.reshape(*cells.shape[:-1], 3, GROUP_FRAMES, CELL, CELL)
    parts = torch.einsum("...tyx,tz->...zyx", parts, time)
    parts = torch.einsum("...tyx,yz->...tzx", parts, space)
    parts = torch.einsum("...tyx,xz->...tyz", parts, space)
    return parts.permute(0, 1, 5, 4, 2, 6, 3, 7).reshape(
        batch, groups * GROUP_FRAMES, 3, height * CELL, width * CELL
    )


def haar_matrix(size: int) -> Tensor:
    """Return the orthonormal Haar matrix [size, size] of a power of two; its first row is the mean.

    >>> haar_matrix(2)
    tensor([[ 0.7071,  0.7071],
            [ 0.7071, -0.7071]])
    """
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < size:
        same = torch.eye(len(matrix), dtype=torch.float64)
        sums = torch.kron(matrix, torch.tensor([[1.0, 1.0]], dtype=torch.float64))
        differences = torch.kron(same, torch.tensor([[1.0, -1.0]], dtype=torch.float64))
        matrix = torch.cat([sums, differences]) / 2**0.5
    return matrix.to(torch.float32)


def _matrices(like: Tensor) -> tuple[Tensor, Tensor]:
    return _on(like.device, like.dtype)


@cache
def _on(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # made while encoding, it is still good for training
        time, space = haar_matrix(GROUP_FRAMES), haar_matrix(CELL)
        return time.to(device, dtype), space.to(device, dtype)
