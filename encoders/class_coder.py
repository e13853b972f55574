"""Numbers of classified blocks to tokens and back: the common half of `frames-dct` and `sound-mdct`.

The class of a block says which of its coefficients are kept, with how many levels each, and where their
levels stand in the tokens (`allotment`). All arithmetic up to the tokens is on whole numbers below 2^53 in
float64, where it is exact in any order and on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import isqrt

import numpy as np
import torch
from torch import Tensor

from encoders.allotment import CENTRES, OPEN_CENTRE, STEPS, Field

SCALE_BITS = 36
"""A coefficient times its multiplier is 2^36 per level."""

PRODUCT_LIMIT = 1 << 52
"""What such a product must stay below, so that half a level can be added exactly."""


@dataclass(frozen=True)
class Levels:
    """How one coefficient is cut into 2^bits levels."""

    multiplier: int
    """Brings the coefficient to 2^36 per level."""
    values: np.ndarray
    """float64 [2^bits], rising: what each level stands for."""
    zero_inside: bool = False
    """Whether zero lies in the middle of a level, or parts two."""
    bias: int = 0
    """Added to the coefficient, in stored units: which of the two levels beside zero it falls into."""


@cache
def laplace_levels(bits: int, deviation: int, deviation_bits: int, unit_bits: int, bias: int = 0) -> Levels:
    """Return the levels that suit a Laplace distribution.

    Args:
        bits: at least 1.
        deviation: the standard deviation, times 2^deviation_bits.
        deviation_bits: see there.
        unit_bits: the coefficient 1 is stored as 2^unit_bits.
        bias: see `Levels`.
    """
    half = 1 << bits >> 1
    multiplier = (1 << (SCALE_BITS - unit_bits + 10 + deviation_bits)) // (STEPS[bits] * deviation)
    inside = np.arange(half - 1) * STEPS[bits] + CENTRES[bits]
    positive = np.append(inside, (half - 1) * STEPS[bits] + OPEN_CENTRE) * (
        deviation / (1 << (10 + deviation_bits))
    )
    return Levels(multiplier, np.concatenate([-positive[::-1], positive]), bias=bias)


def even_levels(bits: int, span: int, unit_bits: int) -> Levels:
    """Return levels that lie evenly over [-span, span] (in stored units), zero in the middle of one."""
    count = 1 << bits
    multiplier = ((count - 1) << SCALE_BITS) // (2 * span)
    values = (np.arange(count) - count // 2) * (2 * span / (count - 1) / (1 << unit_bits))
    return Levels(multiplier, values, zero_inside=True)


def deviation_of(exponent: int) -> int:
    """Return 2^(exponent / 4) * 2^20, rounded down, in exact integers: the root of a variance 2^(e/2)."""
    return isqrt(isqrt(1 << (exponent + 80)))


class ClassCoder:
    """Quantises rows of coefficients, each by the tables of its class.

    Args:
        layouts: for each class, its fields and their levels.
        coefficient_count: of a row.
        token_count: of a row.
        largest: the largest absolute coefficient; products with it must stay exact.
        device: where it computes.
    """

    def __init__(
        self,
        layouts: Sequence[Sequence[tuple[Field, Levels]]],
        coefficient_count: int,
        token_count: int,
        largest: int,
        device: torch.device,
    ) -> None:
        worst = max(levels.multiplier for layout in layouts for _, levels in layout)
        if worst * largest >= PRODUCT_LIMIT:
            raise ValueError(
                f"a multiplier of {worst} times a coefficient of {largest} is not exact in float64"
            )
        self._tables = [_Table.of(layout, coefficient_count, token_count, device) for layout in layouts]

    def encode(self, rows: Tensor, classes: Tensor) -> Tensor:
        """Turn whole numbers, float64 [R, coefficients], and int64 [R] into int32 [R, tokens].

        The bits that the layouts reserve are zero.
        """
        return self._by_class(rows, classes, _Table.tokens)

    def decode(self, tokens: Tensor, classes: Tensor) -> Tensor:
        """Turn int64 [R, tokens] and int64 [R] into float64 coefficients [R, coefficients], 1 being 1."""
        return self._by_class(tokens, classes, _Table.values)

    def _by_class(self, rows: Tensor, classes: Tensor, work: Callable[[_Table, Tensor], Tensor]) -> Tensor:
        # Rows of one class stand together, so that each class's tables are used once.
        order = torch.argsort(classes, stable=True)
        counts = torch.bincount(classes, minlength=len(self._tables)).tolist()
        groups = zip(self._tables, torch.split(rows[order], counts), strict=True)
        parts = [work(table, group) for table, group in groups if len(group)]
        together = torch.cat(parts or [work(self._tables[0], rows)])
        result = torch.empty_like(together)
        result[order] = together
        return result


@dataclass(frozen=True, eq=False)
class _Table:
    """One class's way from coefficients to tokens and back; F fields."""

    coefficient_count: int
    places: Tensor
    """int64 [F]: which coefficients."""
    multipliers: Tensor
    offsets: Tensor
    """float64 [F]: added to a scaled coefficient."""
    halves: Tensor
    """float64 [F]: half the number of levels."""
    packing: Tensor
    """float64 [F, tokens]: 2^shift in the field's token."""
    tokens_of: Tensor
    shifts: Tensor
    masks: Tensor
    """int64 [F]: the way back."""
    stand_ins: Tensor
    """float64 [F, 256]: what each level stands for."""

    @classmethod
    def of(
        cls,
        layout: Sequence[tuple[Field, Levels]],
        coefficient_count: int,
        token_count: int,
        device: torch.device,
    ) -> _Table:
        fields = [field for field, _ in layout]
        packing = np.zeros((len(fields), token_count))
        stand_ins = np.zeros((len(fields), 256))
        for row, (field, levels) in enumerate(layout):
            packing[row, field.token] = 1 << field.shift
            stand_ins[row, : len(levels.values)] = levels.values
        numbers = {
            "multipliers": [levels.multiplier for _, levels in layout],
            "offsets": [
                levels.zero_inside / 2 + levels.bias * levels.multiplier / (1 << SCALE_BITS)
                for _, levels in layout
            ],
            "halves": [1 << field.bits >> 1 for field in fields],
        }
        indices = {
            "places": [field.place for field in fields],
            "tokens_of": [field.token for field in fields],
            "shifts": [field.shift for field in fields],
            "masks": [(1 << field.bits) - 1 for field in fields],
        }
        return cls(
            coefficient_count=coefficient_count,
            packing=torch.from_numpy(packing).to(device),
            stand_ins=torch.from_numpy(stand_ins).to(device),
            **{name: torch.tensor(row, dtype=torch.float64, device=device) for name, row in numbers.items()},
            **{name: torch.tensor(row, dtype=torch.int64, device=device) for name, row in indices.items()},
        )

    def tokens(self, rows: Tensor) -> Tensor:
        scaled = (rows[:, self.places] * self.multipliers).mul_(2.0**-SCALE_BITS).add_(self.offsets).floor_()
        levels = torch.minimum(torch.maximum(scaled, -self.halves), self.halves - 1).add_(self.halves)
        return (levels @ self.packing).to(torch.int32)

    def values(self, tokens: Tensor) -> Tensor:
        levels = (tokens[:, self.tokens_of] >> self.shifts) & self.masks
        values = torch.zeros((len(tokens), self.coefficient_count), dtype=torch.float64, device=tokens.device)
        values[:, self.places] = self.stand_ins.gather(1, levels.t()).t()
        return values


def likeliest_class(squares: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """Return the class of each row: the smallest of squares @ weights + biases, the first where equal.

    With weights 1/variance and biases ln(variance), summed over a class's coefficients, this is the class
    under which independent normal coefficients are most likely. All numbers are whole and sums below 2^53.

    Args:
        squares: float64 [R, coefficients].
        weights: float64 [coefficients, classes].
        biases: float64 [classes].
    """
    costs = (squares @ weights).add_(biases)
    # argmin does not promise which of equals it gives.
    numbers = torch.arange(len(biases), device=costs.device)
    return torch.where(costs == costs.amin(1, keepdim=True), numbers, len(biases)).amin(1)
