"""Codes, levels and gradients of finite scalar quantisation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders.fsq import Fsq

levels = st.lists(st.integers(2, 9), min_size=1, max_size=5).map(tuple)


@given(levels)
def test_every_code_comes_back(levels: tuple[int, ...]) -> None:
    """Code to places to code is the identity, over the whole codebook."""
    fsq = Fsq(levels)
    codes = torch.arange(fsq.codebook_size)
    places = fsq.places_of(codes)
    assert torch.equal(fsq.codes(places), codes)
    assert bool((places.amax(0) == torch.tensor(levels) - 1).all())


def test_the_order_of_codes_is_fixed() -> None:
    """Dimension 0 counts fastest: the order is part of every dataset that was ever made."""
    fsq = Fsq((3, 2, 4))
    wanted = [(k0, k1, k2) for k2 in range(4) for k1 in range(2) for k0 in range(3)]
    assert [tuple(int(k) for k in row) for row in fsq.places_of(torch.arange(24))] == wanted


@given(levels, st.integers(0, 2**31))
def test_a_latent_goes_to_the_nearest_level(levels: tuple[int, ...], seed: int) -> None:
    """The place is that of the nearest value, compared one by one, also far outside."""
    fsq = Fsq(levels)
    latents = torch.randn(20, len(levels), generator=torch.Generator().manual_seed(seed)) * 3
    places = fsq.places(latents)
    for row, found in zip(torch.tanh(latents), places, strict=True):
        for value, place, size in zip(row.tolist(), found.tolist(), levels, strict=True):
            distances = [abs(2 * k / (size - 1) - 1 - value) for k in range(size)]
            assert distances[int(place)] <= min(distances) + 1e-6


def test_half_precision_latents_are_taken_as_they_are() -> None:
    """The same number gives the same code in float16 and float32: the rounding is done in float32."""
    fsq = Fsq((40, 10, 8, 5, 4))
    latents = torch.randn(500, 5, generator=torch.Generator().manual_seed(0)).to(torch.float16)
    assert torch.equal(fsq.places(latents), fsq.places(latents.to(torch.float32)))


def test_the_gradient_goes_straight_through() -> None:
    """Training sees the rounded value, and the gradient of tanh."""
    fsq = Fsq((5, 3))
    latents = torch.tensor([[0.3, -0.9]], requires_grad=True)
    out = fsq.straight_through(latents)
    assert torch.allclose(out, fsq.values(fsq.places(latents)))
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert latents.grad is not None
    assert torch.allclose(latents.grad, 1 - torch.tanh(latents.detach()).square())


def test_a_single_level_is_refused() -> None:
    """A dimension that says nothing is a mistake."""
    with pytest.raises(ValueError, match="at least 2 levels"):
        Fsq((8, 1))
