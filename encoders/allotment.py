"""Which coefficient of a block gets how many bits, and where they stand in the block's tokens.

A coefficient of variance 2^(e/2) that gets b bits is quantised to 2^b levels, uniform but for the two
outermost, which are open. For the Laplace distribution that such coefficients follow, the best step, the
remaining distortion and the centre of mass of a cell are known in closed form; they are frozen below.
Each bit goes where it helps most. Only differences, products and comparisons of the same numbers happen
here, so that every machine comes to the same table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

MOST_BITS = 8
TOKEN_BITS = 16

STEPS = (0, 1024, 1154, 717, 440, 266, 158, 92, 53)
"""The best step for b bits, in 1/1024 standard deviations (1 bit has no inner cell: any step does)."""

CENTRES = (0, 724, 430, 300, 198, 125, 76, 45, 26)
"""How far into an inner cell, from its end nearer to zero, its centre of mass lies, likewise."""

OPEN_CENTRE = 724
"""The same for an open cell: 1024 / √2."""

DISTORTIONS = (1.0, 0.5, 0.17619, 0.062567, 0.021997, 0.007585, 0.002554, 0.00083884, 0.00026906)
"""Mean squared error for b bits, in variances."""

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""How tables of exponents are written: one character each."""

VARIANCES = (1.0, 1.4142135623730951)
"""2^(e/2) for e = 0 and 1; the other powers are whole doublings."""


def variance(exponent: int) -> float:
    """Return 2^(exponent / 2), the same on every machine."""
    return VARIANCES[exponent % 2] * float(1 << (exponent // 2))


def bit_order(exponents: Sequence[int | None], dc_squares: Sequence[float], bit_count: int) -> list[int]:
    """Return which coefficient gets the first bit, which the second, and so on.

    Args:
        exponents: of each coefficient's variance; None marks a DC, which is quantised evenly over its
            whole range.
        dc_squares: the square of each DC's range, in their order.
        bit_count: at most 8 for each coefficient.
    """
    squares = iter(dc_squares)
    helps: list[tuple[float, int]] = []
    for place, exponent in enumerate(exponents):
        gains = _dc_gains(next(squares)) if exponent is None else laplace_gains(exponent)
        helps.extend((-gain, place) for gain in gains)
    if bit_count > len(helps):
        raise ValueError(f"{bit_count} bits are more than {len(exponents)} coefficients take")
    # Each further bit of a coefficient helps less than the one before, so sorting keeps their order.
    return [place for _, place in sorted(helps)[:bit_count]]


@cache
def laplace_gains(exponent: int) -> tuple[float, ...]:
    """Return by how much the first bit, the second … lowers the squared error of a coefficient."""
    return tuple(variance(exponent) * (before - after) for before, after in pairwise(DISTORTIONS))


def _dc_gains(square: float) -> list[float]:
    return [square / (12.0 * 4**bits) - square / (48.0 * 4**bits) for bits in range(MOST_BITS)]


@dataclass(frozen=True)
class Field:
    """Where one coefficient's level stands."""

    place: int
    """Index of the coefficient."""
    bits: int
    token: int
    """Index of the token in its block."""
    shift: int
    """Of its lowest bit in the token."""


def lay_out(
    exponents: Sequence[int | None], dc_squares: Sequence[float], token_count: int, reserved_bits: int
) -> list[Field]:
    """Allot all bits of a block's tokens and lay the coefficients into them.

    Where they leave room that nothing fits into, the bits that came last are taken back until the rest
    fits; what stays unused is zero.

    Args:
        exponents: see `bit_order`.
        dc_squares: see `bit_order`.
        token_count: tokens of 16 bits.
        reserved_bits: highest bits of the first token that are left free.
    """
    order = bit_order(exponents, dc_squares, token_count * TOKEN_BITS - reserved_bits)
    bits = [0] * len(exponents)
    for place in order:
        bits[place] += 1
    for last in reversed(order):
        fields = pack(bits, token_count, reserved_bits)
        if fields is not None:
            return fields
        bits[last] -= 1
    raise AssertionError("nothing always fits")


def pack(bits: Sequence[int], token_count: int, reserved_bits: int) -> list[Field] | None:
    """Lay coefficients into tokens, the largest and lowest first, none cut in two; None if they don't fit."""
    room = [TOKEN_BITS] * token_count
    room[0] -= reserved_bits
    fields: list[Field] = []
    for size in range(MOST_BITS, 0, -1):
        token = 0
        for place in [place for place, count in enumerate(bits) if count == size]:
            # Equal sizes come one after the other, so what one did not fit into, no later one will.
            while token < token_count and room[token] < size:
                token += 1
            if token == token_count:
                return None
            room[token] -= size
            fields.append(Field(place, size, token, room[token]))
    return fields
