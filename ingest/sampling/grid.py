"""The times at which a clip's tracks are sampled: steps of a steady rate, or the stamps of one track."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ingest.sampling.clip import Window
from ingest.timing import NS, grid_times


@dataclass(frozen=True)
class SteadyGrid:
    """Steps of a steady rate from each clip's start."""

    rate: Fraction

    @property
    def step_ns(self) -> int:
        """Distance of two steps."""
        return int(NS / self.rate)

    def times(self, window: Window) -> np.ndarray:
        """Return the times of a clip: int64 [T]."""
        return grid_times(window.start_ns, window.length_ns, self.rate)


@dataclass(frozen=True, eq=False)
class StampGrid:
    """The stamps of a reference track."""

    stamps_ns: np.ndarray
    """int64 [N], ascending, no two equal."""

    @property
    def step_ns(self) -> int:
        """A moment: what is sampled at stamps is interpolated there, never averaged around them."""
        return 1

    def times(self, window: Window) -> np.ndarray:
        """Return the times of a clip: int64 [T]."""
        first, after = np.searchsorted(self.stamps_ns, (window.start_ns, window.stop_ns), side="left")
        return self.stamps_ns[first:after]


Grid = SteadyGrid | StampGrid


def as_grid(rate: Fraction | Grid) -> Grid:
    """Return a grid; a rate is a steady one."""
    return SteadyGrid(rate) if isinstance(rate, Fraction) else rate
