"""Blocks of 16x16 pixels over all frames of a chunk, as coefficients of an orthonormal transform.

Light and two colour differences, a cosine transform over time, height and width; of all coefficients a block
keeps its zone: those in which pictures have most of their energy. The three means come first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

BLOCK = 16
PLANES = 3
GREY = 127.5
"""Taken from every byte: what a coefficient of zero stands for."""
WHOLE = 1 << 12
"""Of the transform's whole numbers, in one: 510 * sqrt(24) * 4 * 4 * 2^36 < 2^53."""


@dataclass(frozen=True, eq=False)
class MovingBlocks:
    """The transform of chunks of so many frames, to a zone and back."""

    frames: int
    zone: Tensor
    """int64 [n]: index of each coefficient in [3 planes, frames, 16, 16]; those of the means first."""
    _over_time: Tensor = field(init=False)
    """[3 F, 3 F]: from colours frame by frame to planes over time."""
    _over_edge: Tensor = field(init=False)

    def __post_init__(self) -> None:
        device = self.zone.device
        joint = torch.kron(colour_matrix(), cosine_matrix(self.frames))
        order = [plane + PLANES * frame for plane in range(PLANES) for frame in range(self.frames)]
        columns = torch.empty_like(joint)
        columns[:, order] = joint  # pictures come frame by frame, not plane by plane
        object.__setattr__(self, "_over_time", columns.to(torch.float32).to(device))
        object.__setattr__(self, "_over_edge", cosine_matrix(BLOCK).to(torch.float32).to(device))

    def whole_coefficients(self, frames: Tensor, unit: int) -> Tensor:
        """Turn bytes [B, F, 3, H, W] into whole-number coefficients, of so many units in one: float64.

        The transform's numbers are whole, too, and no sum reaches 2^53: every device finds the same.
        """
        time, edge = ((part.to(torch.float64) * WHOLE).round() for part in (self._over_time, self._over_edge))
        twice = 2 * frames.to(torch.float64) - 2 * GREY
        found = _transformed(twice, time, edge).index_select(-1, self.zone)
        return found.mul_(unit / (2 * WHOLE**3)).add_(0.5).floor_()

    @property
    def whole(self) -> int:
        """Coefficients of a block, in and out of the zone."""
        return block_values(self.frames)

    def all_coefficients(self, frames: Tensor) -> Tensor:
        """Turn frames [B, F, 3, H, W], float32 from 0 to 255, into [B, H/16, W/16, 3 F 256]."""
        return _transformed(frames - GREY, self._over_time, self._over_edge)

    def coefficients(self, frames: Tensor) -> Tensor:
        """Turn frames [B, F, 3, H, W], float32 from 0 to 255, into [B, H/16, W/16, n]."""
        return self.all_coefficients(frames).index_select(-1, self.zone)

    def pictures(self, coefficients: Tensor) -> Tensor:
        """Undo `coefficients`; what is not in the zone is zero."""
        batch, height, width, _ = coefficients.shape
        full = coefficients.new_zeros(batch, height, width, self.whole)
        full[..., self.zone] = coefficients
        grid = full.reshape(batch, height, width, -1, BLOCK, BLOCK).permute(0, 3, 1, 4, 2, 5)
        planes = (grid.reshape(-1, BLOCK) @ self._over_edge).reshape(-1, BLOCK, width * BLOCK)
        rows = (self._over_edge.T @ planes).reshape(batch, PLANES * self.frames, -1)
        back: Tensor = (self._over_time.T @ rows) + GREY
        return back.reshape(batch, self.frames, PLANES, height * BLOCK, width * BLOCK)


def _transformed(frames: Tensor, time: Tensor, edge: Tensor) -> Tensor:
    batch, _, _, height, width = frames.shape
    planes = (time @ frames.reshape(batch, -1, height * width)).reshape(-1, BLOCK, width)
    planes = (edge @ planes).reshape(-1, BLOCK) @ edge.T
    grid = planes.reshape(batch, -1, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, height // BLOCK, width // BLOCK, -1)


def block_values(frames: int) -> int:
    """Return how many values a block of so many frames has."""
    return prod((PLANES, frames, BLOCK, BLOCK))


def means_of(frames: int) -> list[int]:
    """Return the indices of the three means in a block's coefficients."""
    return [plane * frames * BLOCK * BLOCK for plane in range(PLANES)]


def mean_ranges(frames: int) -> Tensor:
    """Return float32 [3]: how far from zero each of the three means can be."""
    corners = torch.cartesian_prod(*[torch.tensor([-GREY, GREY], dtype=torch.float64)] * PLANES)
    most = (corners @ colour_matrix().T).abs().amax(0)
    ranges: Tensor = most * float(frames * BLOCK * BLOCK) ** 0.5
    return ranges.to(torch.float32)


def colour_matrix() -> Tensor:
    """Return the orthonormal matrix from red, green, blue to light, red less blue, green less both."""
    rows = torch.tensor([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], dtype=torch.float64)
    return rows / rows.square().sum(1, keepdim=True).sqrt()


def cosine_matrix(size: int) -> Tensor:
    """Return the orthonormal cosine transform [size, size], float64; its first row is the mean.

    >>> cosine_matrix(2).round(decimals=4)
    tensor([[ 0.7071,  0.7071],
            [ 0.7071, -0.7071]], dtype=torch.float64)
    """
    places = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(torch.pi / size * (places + 0.5) * places[:, None])
    return matrix / matrix.square().sum(1, keepdim=True).sqrt()
