"""Numbers to codes by comparison alone: the part that all scalar quantisers share.

A staircase has rising edges; a value's code is the number of edges at or below it, plus the lowest code.
Edges and values are float32 and only compared, so that every device gives the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encoders.errors import WrongInput


@dataclass(frozen=True, eq=False)
class Staircase:
    """One staircase per column, on one device."""

    edges: Tensor
    """float32 [D, E], rising; columns with fewer edges end in infinity."""
    values: Tensor
    """float32 [D, E + 1]: what a step stands for; the last is repeated."""
    low: Tensor
    high: Tensor
    """float32 [D]: values below or above saturate."""
    top: Tensor
    """int64 [D]: the highest step, which is the number of edges that are no padding."""

    @classmethod
    def of(
        cls,
        edges: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        spans: Sequence[tuple[float, float]],
        device: torch.device,
    ) -> Staircase:
        """Build it from each column's E rising edges, E + 1 values (none: it stands for NaN), span."""
        longest = max((len(column) for column in edges), default=0)
        edge_table = np.full((len(edges), longest), np.inf, np.float32)
        value_table = np.full((len(edges), longest + 1), np.nan, np.float32)
        for row, (column_edges, column_values) in enumerate(zip(edges, values, strict=True)):
            edge_table[row, : len(column_edges)] = column_edges
            value_table[row, : len(column_values)] = column_values
            value_table[row, len(column_values) :] = column_values[-1] if len(column_values) else np.nan
        bounds = np.array(spans, np.float32).reshape(len(edges), 2)
        top = np.array([len(column) for column in edges], np.int64)
        arrays = (edge_table, value_table, bounds[:, 0], bounds[:, 1], top)
        return cls(*(torch.from_numpy(array.copy()).to(device) for array in arrays))

    def steps(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Find the step of each value.

        Args:
            rows: float32 [R, D]; NaN has no step.

        Returns:
            int64 [R, D], -1 where there is no step; and bool [R, D], true where the value saturated.
        """
        columns = rows.t().contiguous()
        steps = torch.searchsorted(self.edges, columns, right=True).t()
        steps = torch.minimum(steps, self.top)
        missing = torch.isnan(rows)
        outside = ((rows < self.low) | (rows > self.high)) & ~missing
        return steps.masked_fill(missing, -1), outside

    def stand_ins(self, steps: Tensor) -> Tensor:
        """Return the values that steps [R, D] stand for, NaN for -1.

        Raises:
            WrongInput: a step is above its column's top.
        """
        if bool((steps > self.top).any()):
            row, column = (steps > self.top).nonzero()[0].tolist()
            raise WrongInput(
                f"column {column} has {int(self.top[column]) + 1} steps, from 0; "
                f"row {row} has step {int(steps[row, column])}"
            )
        picked = self.values.gather(1, steps.clamp(min=0).t()).t()
        return picked.masked_fill(steps < 0, float("nan"))
