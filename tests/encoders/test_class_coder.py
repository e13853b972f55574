"""Quantising rows by class, against a slow twin in Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders.allotment import Field
from encoders.class_coder import (
    SCALE_BITS,
    ClassCoder,
    Levels,
    deviation_of,
    even_levels,
    laplace_levels,
    likeliest_class,
)

CPU = torch.device("cpu")
UNIT_BITS = 10
LARGEST = 1 << 20


def layout(*fields: tuple[int, int, int, int], even: bool = False) -> list[tuple[Field, Levels]]:
    made = []
    for place, bits, token, shift in fields:
        laplace = laplace_levels(bits, deviation_of(8 + 4 * place), 20, UNIT_BITS)
        levels = even_levels(bits, LARGEST, UNIT_BITS) if even else laplace
        made.append((Field(place, bits, token, shift), levels))
    return made


LAYOUTS = [
    layout((0, 4, 0, 12), (1, 3, 1, 0)),
    layout((2, 8, 1, 8), (1, 1, 0, 3)),
    layout((0, 5, 0, 0), even=True),
]


def twin(row: list[int], number: int) -> list[int]:
    tokens = [0, 0]
    for field, levels in LAYOUTS[number]:
        scaled = row[field.place] * levels.multiplier
        half_level = (1 << SCALE_BITS - 1) if levels.zero_inside else 0
        level = ((scaled + half_level) >> SCALE_BITS) + (1 << field.bits >> 1)
        tokens[field.token] += min(max(level, 0), (1 << field.bits) - 1) << field.shift
    return tokens


@given(
    st.lists(
        st.tuples(st.lists(st.integers(-LARGEST, LARGEST), min_size=3, max_size=3), st.integers(0, 2)),
        min_size=1,
    )
)
def test_tokens_are_those_of_exact_arithmetic(rows: list[tuple[list[int], int]]) -> None:
    """Whatever the rows and their classes, each row's tokens are those of whole-number arithmetic."""
    coder = ClassCoder(LAYOUTS, 3, 2, LARGEST, CPU)
    values = torch.tensor([row for row, _ in rows], dtype=torch.float64)
    classes = torch.tensor([number for _, number in rows])
    tokens = coder.encode(values, classes)
    assert tokens.tolist() == [twin(row, number) for row, number in rows]


@given(st.integers(0, 2), st.integers(0, 65535), st.integers(0, 65535))
def test_tokens_survive_the_way_back(number: int, first: int, second: int) -> None:
    """What tokens stand for becomes the same tokens again: levels stand for values inside themselves."""
    coder = ClassCoder(LAYOUTS, 3, 2, LARGEST, CPU)
    masks = [0, 0]
    for field, _ in LAYOUTS[number]:
        masks[field.token] |= ((1 << field.bits) - 1) << field.shift
    tokens = torch.tensor([[first & masks[0], second & masks[1]]])
    classes = torch.tensor([number])
    values = coder.decode(tokens, classes)
    again = coder.encode((values * (1 << UNIT_BITS)).round(), classes)
    assert again.tolist() == tokens.tolist()


def test_no_rows_are_no_rows() -> None:
    """Nothing in, nothing out, of the right shape."""
    coder = ClassCoder(LAYOUTS, 3, 2, LARGEST, CPU)
    none = torch.zeros(0, dtype=torch.int64)
    assert coder.encode(torch.zeros((0, 3), dtype=torch.float64), none).shape == (0, 2)
    assert coder.decode(torch.zeros((0, 2), dtype=torch.int64), none).shape == (0, 3)


def test_products_that_could_round_are_refused() -> None:
    """A coder whose products might pass 2^52 is never made."""
    with pytest.raises(ValueError, match="is not exact in float64"):
        ClassCoder(LAYOUTS, 3, 2, 1 << 40, CPU)


@pytest.mark.parametrize("exponent", range(61))
def test_deviations_are_roots_of_variances(exponent: int) -> None:
    """2^(e/4) in whole numbers, to one part in a million."""
    assert deviation_of(exponent) == pytest.approx(2 ** (exponent / 4) * 2**20, rel=1e-6)


@pytest.mark.parametrize("bits", range(1, 9))
def test_levels_rise_and_mirror(bits: int) -> None:
    """Values rise with the level; Laplace levels mirror about zero, even ones have zero."""
    laplace = laplace_levels(bits, deviation_of(10), 20, UNIT_BITS).values
    assert np.all(np.diff(laplace) > 0)
    assert np.array_equal(laplace, -laplace[::-1])
    even = even_levels(bits, LARGEST, UNIT_BITS).values
    assert even[len(even) // 2] == 0
    assert np.all(np.diff(even) > 0)


def test_the_first_of_equal_classes_is_taken() -> None:
    """Where two classes cost the same, the smaller number wins, in every row."""
    squares = torch.tensor([[1.0, 4.0], [4.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    weights = torch.tensor([[2.0, 1.0, 1.0, 2.0], [1.0, 2.0, 2.0, 1.0]], dtype=torch.float64)
    biases = torch.zeros(4, dtype=torch.float64)
    assert likeliest_class(squares, weights, biases).tolist() == [0, 1, 0]
    assert likeliest_class(squares, weights, torch.tensor([9.0, 9, 0, 0]).double()).tolist() == [3, 2, 2]
