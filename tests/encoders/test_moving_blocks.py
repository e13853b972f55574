"""Blocks over time: the transform, against a slow twin, and its inverse."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from encoders.moving_blocks import (
    GREY,
    WHOLE,
    MovingBlocks,
    block_values,
    colour_matrix,
    cosine_matrix,
    mean_ranges,
    means_of,
)


def random_frames(frames: int) -> torch.Tensor:
    """Noise of all values: float32 [2, frames, 3, 32, 48]."""
    return torch.rand(2, frames, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("frames", [1, 8])
def test_coefficients_are_the_products_of_cosines(frames: int) -> None:
    """One block, one coefficient at a time."""
    pictures = random_frames(frames)
    blocks = MovingBlocks(frames, torch.arange(block_values(frames)))
    found = blocks.coefficients(pictures)
    assert found.shape == (2, 2, 3, block_values(frames))
    block = pictures[1, :, :, 16:, 32:].to(torch.float64) - GREY
    edge, time = cosine_matrix(16), cosine_matrix(frames)
    for plane, moment, y, x in product(range(3), {0, frames - 1}, (0, 5), (0, 15)):
        waves = torch.einsum("t,c,y,x->tcyx", time[moment], colour_matrix()[plane], edge[y], edge[x])
        index = ((plane * frames + moment) * 16 + y) * 16 + x
        assert float(found[1, 1, 2, index]) == pytest.approx(float((waves * block).sum()), abs=1e-2)


@pytest.mark.parametrize("frames", [1, 8])
def test_all_coefficients_bring_pictures_back(frames: int) -> None:
    """The transform is orthonormal: same energy, and its inverse is exact."""
    pictures = random_frames(frames)
    blocks = MovingBlocks(
        frames, torch.randperm(block_values(frames), generator=torch.Generator().manual_seed(0))
    )
    found = blocks.coefficients(pictures)
    assert float(found.square().sum()) == pytest.approx(float((pictures - GREY).square().sum()), rel=1e-4)
    assert torch.allclose(blocks.pictures(found), pictures, atol=1e-2)


@pytest.mark.parametrize("frames", [1, 8])
def test_whole_coefficients_are_exact(frames: int) -> None:
    """Bytes give what 64-bit integers give, which is within a unit of the real transform."""
    pictures = random_frames(frames).to(torch.uint8)
    zone = torch.arange(0, block_values(frames), 5)
    blocks = MovingBlocks(frames, zone)
    found = blocks.whole_coefficients(pictures, 4)
    assert float((found / 4 - blocks.coefficients(pictures.to(torch.float32))).abs().max()) < 1
    time, edge = (
        (part.to(torch.float64) * WHOLE).round().long() for part in (blocks._over_time, blocks._over_edge)
    )
    block = 2 * pictures[1, :, :, 16:, 32:].long() - 255
    planes = (time @ block.reshape(3 * frames, -1)).reshape(-1, 16, 16)
    exact = (edge @ planes @ edge.T).flatten()[zone]
    halves = 2 * WHOLE**3 // 4
    assert found[1, 1, 2].tolist() == [(int(value) + halves // 2) // halves for value in exact]


def test_what_is_not_in_the_zone_is_zero() -> None:
    """With the means alone, each block comes back in its mean colour."""
    pictures = random_frames(8)
    back = MovingBlocks(8, torch.tensor(means_of(8)))
    found = back.pictures(back.coefficients(pictures))
    assert torch.allclose(found[0, 3, :, 4, 20], pictures[0, :, :, :16, 16:32].mean((0, 2, 3)), atol=1e-2)
    assert torch.allclose(found[0, 0, :, 0, 16:32].std(1), torch.zeros(3), atol=1e-3)


def test_no_colour_is_beyond_the_ranges() -> None:
    """Of all corners of the colour cube, the farthest reaches each range, and none goes beyond."""
    corners = torch.tensor(list(product((0.0, 255.0), repeat=3)))
    pictures = corners[:, None, :, None, None].expand(-1, 8, 3, 16, 16)
    found = MovingBlocks(8, torch.tensor(means_of(8))).coefficients(pictures).abs().amax((0, 1, 2))
    assert torch.allclose(found, mean_ranges(8), rtol=1e-4)
