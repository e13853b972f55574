"""The integer picture transform: exact, and nearly orthogonal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders.block_transform import (
    BLOCK,
    CENTRES,
    COLOUR,
    HALF_RANGES,
    UNIT_BITS,
    BlockTransform,
    basis_values,
    dc_ranges,
    integer_basis,
    plane_slices,
    zone,
)

CPU = torch.device("cpu")


def exact_coefficients(frames: np.ndarray) -> np.ndarray:
    """The slow twin: the same coefficients in Python's own integers, block by block."""
    count, _, height, width = frames.shape
    rows = []
    for frame in range(count):
        for top in range(0, height, BLOCK):
            for left in range(0, width, BLOCK):
                block = frames[frame, :, top : top + BLOCK, left : left + BLOCK].astype(object)
                planes = [sum(int(COLOUR[p, c]) * block[c] for c in range(3)) - CENTRES[p] for p in range(3)]
                rows.append(
                    [
                        (integer_basis()[i].astype(object) * planes[plane].ravel()).sum()
                        for i, (plane, _, _) in enumerate(zone())
                    ]
                )
    return np.array(rows, dtype=object)


@pytest.mark.parametrize("content", ["noise", "black", "white", "extremes"])
def test_coefficients_are_exact(content: str) -> None:
    """float64 products give the very integers that exact arithmetic gives, also at the extremes."""
    random = np.random.default_rng(0)
    frames = {
        "noise": random.integers(0, 256, (2, 3, 32, 16)),
        "black": np.zeros((1, 3, 16, 16)),
        "white": np.full((1, 3, 16, 16), 255),
        "extremes": random.integers(0, 2, (2, 3, 16, 32)) * 255,
    }[content].astype(np.uint8)
    fast = BlockTransform(CPU).coefficients(torch.from_numpy(frames))
    assert fast.dtype == torch.float64
    assert np.array_equal(fast.numpy().astype(object), exact_coefficients(frames))


def test_no_sum_can_round() -> None:
    """The largest sum that any picture can give stays below 2^53, and below what the quantiser takes."""
    largest = max(
        int(np.abs(integer_basis()[piece]).sum(1).max()) * HALF_RANGES[plane]
        for plane, piece in enumerate(plane_slices())
    )
    assert largest < 1 << 31 < 1 << 53


def test_the_matrix_is_the_same_everywhere() -> None:
    """No entry lies so close to a tie that another machine's cosine could round it the other way."""
    scaled = basis_values() * (1 << UNIT_BITS)
    assert np.abs(np.abs(scaled - np.floor(scaled)) - 0.5).min() > 1e-7


def test_the_colour_transform_is_orthogonal() -> None:
    """Y, U and V are at right angles, so that their errors do not add up to a tint."""
    assert np.array_equal(COLOUR @ COLOUR.T, np.diag([3, 2, 6]))


def test_frames_come_back_from_their_low_frequencies() -> None:
    """A picture that has only the frequencies of the zone comes back to within a rounding."""
    y, x = np.mgrid[0:32, 0:48]
    smooth = 128 + 60 * np.cos(np.pi * (2 * (x % 16) + 1) * 3 / 32) * np.cos(np.pi * (2 * (y % 16) + 1) / 32)
    frame = torch.from_numpy(np.stack([smooth, smooth * 0.5, 255 - smooth])).round().to(torch.uint8)[None]
    transform = BlockTransform(CPU)
    back = transform.frames(transform.coefficients(frame) / (1 << UNIT_BITS), 32, 48)
    assert (back.int() - frame.int()).abs().max() <= 1


def test_a_dc_covers_black_to_white() -> None:
    """The stated ranges are those of uniform pictures: white for Y, red and blue for U, green for V."""
    colours = torch.tensor([[255, 255, 255], [255, 0, 0], [0, 255, 0]], dtype=torch.uint8)
    frames = colours[:, :, None, None].expand(3, 3, 16, 16)
    coefficients = BlockTransform(CPU).coefficients(frames)
    found = [int(coefficients[i, piece.start]) for i, piece in enumerate(plane_slices())]
    assert found == list(dc_ranges())


def test_the_zone_goes_from_low_to_high() -> None:
    """Each plane's coefficients are its lowest, DC first, none twice."""
    assert len(set(zone())) == len(zone()) == 133
    for plane, piece in enumerate(plane_slices()):
        places = zone()[piece]
        assert {place[0] for place in places} == {plane}
        assert places[0][1:] == (0, 0)
        sums = [u + v for _, u, v in places]
        assert sums == sorted(sums)
