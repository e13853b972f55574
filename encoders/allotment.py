"""Which coefficient of a block gets how many bits, and where they stand in the block's tokens.

A coefficient of variance 2^(e/2) that gets b bits is quantised to 2^b levels, uniform but for the two
outermost, which are open. For the Laplace distribution that such coefficients follow, the best step, the
remaining distortion and the centre of mass of a cell are known in closed form; they are frozen below.
Bits go, one decision at a time, to the coefficient that they help most. Only additions, products and
comparisons of the same numbers happen here, so that every machine comes to the same table.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

MOST_BITS = 8
MOST_SLACK = 32
TOKEN_BITS = 16

STEPS = (0, 1024, 1154, 717, 440, 266, 158, 92, 53)
"""The best step for b bits, in 1/1024 standard deviations (1 bit has no inner cell: any step does)."""

CENTRES = (0, 724, 430, 300, 198, 125, 76, 45, 26)
"""How far into an inner cell, from its end nearer to zero, its centre of mass lies, likewise."""

OPEN_CENTRE = 724
"""The same for an open cell: 1024 / √2."""

DISTORTIONS = (1.0, 0.5, 0.17619, 0.062567, 0.021997, 0.007585, 0.002554, 0.00083884, 0.00026906)
"""Mean squared error for b bits, in variances."""

VARIANCES = (1.0, 1.4142135623730951)
"""2^(e/2) for e = 0 and 1; the other powers are whole doublings."""


def variance(exponent: int) -> float:
    """Return 2^(exponent / 2), the same on every machine."""
    return VARIANCES[exponent % 2] * float(1 << (exponent // 2))


def allot(exponents: Sequence[int | None], dc_squares: Sequence[float], bit_count: int) -> list[int]:
    """Return the bits of each coefficient; together they are exactly `bit_count`.

    Args:
        exponents: of each coefficient's variance; None marks a DC, which is quantised uniformly over its
            whole range.
        dc_squares: the square of each DC's range, in their order.
        bit_count: at most 8 for each coefficient.
    """
    squares = iter(dc_squares)
    curves = [
        _dc_curve(next(squares)) if exponent is None else [variance(exponent) * d for d in DISTORTIONS]
        for exponent in exponents
    ]
    bits = [0] * len(curves)
    queue = [_best_raise(curve, 0, place) for place, curve in enumerate(curves)]
    heapq.heapify(queue)
    left = bit_count
    while left and queue:
        _, place, wanted = heapq.heappop(queue)
        wanted = min(wanted, bits[place] + left)
        left -= wanted - bits[place]
        bits[place] = wanted
        if wanted < MOST_BITS:
            heapq.heappush(queue, _best_raise(curves[place], wanted, place))
    if left:
        raise ValueError(f"{bit_count} bits are more than {len(bits)} coefficients take")
    return bits


def _dc_curve(square: float) -> list[float]:
    return [square / (12.0 * 4**bits) for bits in range(MOST_BITS + 1)]


def _best_raise(curve: Sequence[float], bits: int, place: int) -> tuple[float, int, int]:
    gains = [((curve[bits] - curve[more]) / (more - bits), -more) for more in range(bits + 1, len(curve))]
    gain, more = max(gains)
    return -gain, place, -more


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

    Where they leave room that nothing fits into, as few bits as possible stay unused, and zero.

    Args:
        exponents: see `allot`.
        dc_squares: see `allot`.
        token_count: tokens of 16 bits.
        reserved_bits: highest bits of the first token that are left free.
    """
    room = token_count * TOKEN_BITS - reserved_bits
    for bit_count in range(room, room - MOST_SLACK, -1):
        fields = pack(allot(exponents, dc_squares, bit_count), token_count, reserved_bits)
        if fields is not None:
            return fields
    raise ValueError(f"{len(exponents)} coefficients do not fill {token_count} tokens")


def pack(bits: Sequence[int], token_count: int, reserved_bits: int) -> list[Field] | None:
    """Lay coefficients into tokens, the largest and lowest first, none cut in two; None if they don't fit."""
    room = [TOKEN_BITS] * token_count
    room[0] -= reserved_bits
    fields = []
    for place in sorted((place for place, count in enumerate(bits) if count), key=lambda place: -bits[place]):
        token = next((token for token, free in enumerate(room) if free >= bits[place]), None)
        if token is None:
            return None
        room[token] -= bits[place]
        fields.append(Field(place, bits[place], token, room[token]))
    return fields
