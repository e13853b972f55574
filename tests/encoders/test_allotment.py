"""Bits by coefficient: the frozen constants, the greedy choice, and the packing."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.allotment import (
    CENTRES,
    DISTORTIONS,
    MOST_BITS,
    OPEN_CENTRE,
    STEPS,
    TOKEN_BITS,
    bit_order,
    laplace_gains,
    lay_out,
    pack,
    variance,
)
from encoders.frames_fsq import TOKEN_COUNTS as FRAME_TOKEN_COUNTS
from encoders.frames_fsq import class_fields as frame_fields
from encoders.sound_transform import HEAD_BITS
from encoders.sound_transform import TOKEN_COUNTS as SOUND_TOKEN_COUNTS
from encoders.sound_transform import class_fields as sound_fields


def laplace_distortion(bits: int, step: float) -> float:
    """Integrate the squared error of the Laplace distribution of variance 1 over all cells, numerically."""
    cells = 1 << bits >> 1
    total, rate = 0.0, sqrt(2)
    for cell in range(cells):
        low = cell * step
        high = low + step if cell < cells - 1 else low + 40.0
        x = np.linspace(low, high, 20_001)
        density = rate / 2 * np.exp(-rate * x)
        centre = np.trapezoid(x * density, x) / np.trapezoid(density, x)
        total += 2 * float(np.trapezoid((x - centre) ** 2 * density, x))
    return total


@pytest.mark.parametrize("bits", range(1, MOST_BITS + 1))
def test_the_frozen_steps_are_the_best(bits: int) -> None:
    """Distortion is as stated, and neither a larger nor a smaller step lowers it."""
    step = STEPS[bits] / 1024
    assert laplace_distortion(bits, step) == pytest.approx(DISTORTIONS[bits], rel=2e-3)
    for other in (0.97, 1.03):
        assert laplace_distortion(bits, step * other) >= DISTORTIONS[bits] * (1 - 2e-3)


@pytest.mark.parametrize("bits", range(2, MOST_BITS + 1))
def test_the_frozen_centres_are_centres_of_mass(bits: int) -> None:
    """Within a cell [0, s), an exponential's mean is 1/r - s / (e^(rs) - 1)."""
    step, rate = STEPS[bits] / 1024, sqrt(2)
    assert CENTRES[bits] == round(1024 * (1 / rate - step / (exp(rate * step) - 1)))
    assert round(1024 / rate) == OPEN_CENTRE


@given(st.integers(0, 60))
def test_each_further_bit_helps_less(exponent: int) -> None:
    """Gains fall, so that sorting them never gives a second bit before the first."""
    gains = laplace_gains(exponent)
    assert list(gains) == sorted(gains, reverse=True)
    assert variance(exponent) == pytest.approx(2 ** (exponent / 2))


def greedy(exponents: list[int], bit_count: int) -> list[int]:
    """The slow twin: bit by bit, wherever it lowers the error most; of equals the first."""
    bits = [0] * len(exponents)
    for _ in range(bit_count):
        gains = [
            variance(e) * (DISTORTIONS[b] - DISTORTIONS[b + 1]) if b < MOST_BITS else -1.0
            for e, b in zip(exponents, bits, strict=True)
        ]
        bits[gains.index(max(gains))] += 1
    return bits


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.data())
def test_bits_go_where_they_help_most(exponents: list[int], data: st.DataObject) -> None:
    """The sorted choice is the greedy one."""
    count = data.draw(st.integers(0, MOST_BITS * len(exponents)))
    order = bit_order(exponents, [], count)
    assert [order.count(place) for place in range(len(exponents))] == greedy(exponents, count)


def test_too_many_bits_are_refused() -> None:
    """More bits than coefficients can take is our own mistake, and said."""
    with pytest.raises(ValueError, match="17 bits are more than 2 coefficients take"):
        bit_order([1, 1], [], 17)


def test_a_wide_dc_gets_bits_first() -> None:
    """A DC, quantised over its whole range, has the error of that range, whatever its variance."""
    assert bit_order([None, 10], [1e6], 3) == [0, 0, 0]
    assert bit_order([None, 40], [1.0], 3) == [1, 1, 1]


@given(st.lists(st.integers(0, 8), max_size=40), st.integers(1, 8), st.integers(0, 11))
def test_packed_fields_never_overlap(bits: list[int], tokens: int, reserved: int) -> None:
    """Each field stands whole in one token, below the reserved bits, and no two share a bit."""
    fields = pack(bits, tokens, reserved)
    if fields is None:
        assert sum(bits) + reserved > tokens * TOKEN_BITS - 8 * tokens  # it was nearly full
        return
    taken = [(1 << TOKEN_BITS) - (1 << TOKEN_BITS - reserved)] + [0] * (tokens - 1)
    for field in fields:
        mask = ((1 << field.bits) - 1) << field.shift
        assert mask < 1 << TOKEN_BITS
        assert not taken[field.token] & mask
        taken[field.token] |= mask
    assert {field.place: field.bits for field in fields} == {i: b for i, b in enumerate(bits) if b}


@pytest.mark.parametrize("tokens", FRAME_TOKEN_COUNTS)
def test_every_kind_of_block_fills_its_tokens(tokens: int) -> None:
    """No class leaves more than 3 % of a block's bits unused, and the three DCs are always there."""
    for fields in frame_fields(tokens):
        used = 5 + sum(field.bits for field in fields)
        assert 0.97 * tokens * TOKEN_BITS <= used <= tokens * TOKEN_BITS
        assert {0, 91, 112} <= {field.place for field in fields}


@pytest.mark.parametrize("tokens", SOUND_TOKEN_COUNTS)
def test_every_kind_of_spectrum_fills_its_tokens(tokens: int) -> None:
    """Few bits of a step are unused: 2 % over all classes; a quarter in one that is a narrow band."""
    used = [HEAD_BITS + sum(field.bits for field in fields) for fields in sound_fields(tokens)]
    assert 0.75 * tokens * TOKEN_BITS <= min(used) <= max(used) <= tokens * TOKEN_BITS
    assert sum(used) >= 0.98 * len(used) * tokens * TOKEN_BITS


def test_what_does_not_fit_is_taken_back() -> None:
    """Three coefficients of 6 bits do not fit a token of 16: the last bits to come go first."""
    fields = lay_out([40, 40, 40], [], token_count=1, reserved_bits=0)
    assert sum(field.bits for field in fields) <= TOKEN_BITS
    assert len(fields) == 3
