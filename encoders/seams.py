"""Seams between decoded blocks, mended: what neighbours say of each other's errors.

Each block comes back without knowing its neighbours; where two meet, there is a step. How much of it is an
error, and how far into a block it reaches, was learned for each class: the correction of the eight pixels
next to a seam is linear in a few features of the line of pixels across it.
How it was learned: `encoders.training.seams_fit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.moving_blocks import BLOCK, GREY, colour_matrix

FEATURES = 8
REACH = 8
"""Pixels from the seam that are corrected."""
GENTLE = 6.0
"""A step of so many grey levels is one that any block may have."""
DIRECTIONS, KINDS = 2, 2
"""Seams between columns and between rows; light and the two colour differences."""


@dataclass(frozen=True, eq=False)
class Seams:
    """What was learned for blocks of K classes."""

    weights: Tensor
    """float32 [2 directions, 2 kinds, K, 8 features, 8 pixels]."""
    noise: Tensor
    """float32 [K]: the mean squared error of a class's blocks, per value."""

    def mended(self, pictures: Tensor, classes: Tensor) -> Tensor:
        """Return pictures with their seams mended.

        Args:
            pictures: float32 [B, F, 3, H, W], about 0 to 255.
            classes: int64 [B, H/16, W/16]: of the blocks.
        """
        planes = planes_of(pictures)
        planes = mended_columns(planes, classes, self.noise, self.weights[0])
        planes = mended_columns(planes.mT, classes.mT, self.noise, self.weights[1]).mT
        return pictures_of(planes)

    def to(self, device: torch.device) -> Seams:
        """Return the same on a device."""
        return Seams(self.weights.to(device), self.noise.to(device))


@dataclass(frozen=True, eq=False)
class Side:
    """All blocks, as seen from their left seam, or mirrored from their right one."""

    own: Tensor
    """float32 [B, h, w, 3, F, 16 lines, 16 pixels], from the seam inwards."""
    neighbour: Tensor
    """The same of the block on the other side, away from the seam."""
    inner: Tensor
    """bool [w]: whether there is a block on the other side."""
    limit: Tensor
    """float32 [B, h, w, 1, 1, 1]: how large a step an error can be."""
    blame: Tensor
    """Of the same shape: the block's share of what both are usually wrong by."""

    def features(self) -> Tensor:
        """Return float32 [B, h, w, 3, F, 16 lines, 8]."""
        own, other = self.own, self.neighbour
        slope, their_slope = own[..., 0] - own[..., 1], other[..., 0] - other[..., 1]
        jump = other[..., 0] - own[..., 0]
        step = jump + (their_slope - slope) / 2
        return torch.stack(
            [
                self.blame * step,
                self.blame * step.clamp(-self.limit, self.limit),
                step.clamp(-GENTLE, GENTLE),
                slope,
                their_slope,
                own[..., 1] - own[..., 2],
                self.blame * jump,
                jump.clamp(-self.limit, self.limit),
            ],
            dim=-1,
        )


def sides(planes: Tensor, classes: Tensor, noise: Tensor) -> Iterator[Side]:
    """Yield the left and the right side of all blocks of planes [B, 3, F, H, W]."""
    batch, kinds, frames, height, width = planes.shape
    split = (batch, kinds, frames, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    blocks = planes.reshape(split).permute(0, 3, 5, 1, 2, 4, 6)
    errors = noise[classes]
    limit = (2 * errors.sqrt() + 2)[..., None, None, None]
    columns = torch.arange(width // BLOCK, device=planes.device)
    for shift, edge in ((1, 0), (-1, width // BLOCK - 1)):
        own, other = (blocks, blocks.flip(-1)) if shift == 1 else (blocks.flip(-1), blocks)
        blame = errors / (errors + errors.roll(shift, 2) + 1e-3)
        yield Side(own, other.roll(shift, 2), columns != edge, limit, blame[..., None, None, None])


def mended_columns(planes: Tensor, classes: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
    """Return planes [B, 3, F, H, W] with the seams between columns of blocks mended.

    Args:
        planes: light and two colour differences.
        classes: int64 [B, H/16, W/16].
        noise: [K].
        weights: [2 kinds, K, 8, 8].
    """
    told = weights[:, classes]
    told = torch.stack([told[0], told[1], told[1]], dim=3)
    left, right = (
        torch.einsum("bhwpflk,bhwpkn->bhwpfln", side.features(), told) * side.inner[:, None, None, None, None]
        for side in sides(planes, classes, noise)
    )
    correction = torch.cat([left, right.flip(-1)], dim=-1)
    return planes + correction.permute(0, 3, 4, 1, 5, 2, 6).reshape(planes.shape)


def planes_of(pictures: Tensor) -> Tensor:
    """Turn pictures [B, F, 3, H, W] into planes [B, 3, F, H, W] of light and two colour differences."""
    return torch.einsum("pc,bfcyx->bpfyx", _colours(pictures), pictures - GREY)


def pictures_of(planes: Tensor) -> Tensor:
    """Undo `planes_of`."""
    return torch.einsum("pc,bpfyx->bfcyx", _colours(planes), planes) + GREY


def _colours(like: Tensor) -> Tensor:
    return colour_matrix().to(like.device, like.dtype)
