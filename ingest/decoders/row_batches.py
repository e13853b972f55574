"""Rows of a signal track, given in batches: few enough calls, and clips are complete soon."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.recording import Rows

BATCH_ROWS = 64
BATCH_NS = 250_000_000
"""Rows are given in batches of so many, or of so much time."""


class RowBatches:
    """Gathers rows. Infinite values (a laser that got no echo) become NaN: there is no number to
    learn from.
    """

    def __init__(self) -> None:
        self._times: list[int] = []
        self._rows: list[Sequence[float] | np.ndarray] = []

    def add(self, time_ns: int, row: Sequence[float] | np.ndarray) -> list[Rows]:
        """Take in a row; return what is ready."""
        done = []
        if self._times and not (0 <= time_ns - self._times[0] < BATCH_NS):
            done = self.flush()
        self._times.append(time_ns)
        self._rows.append(row)
        return done if len(self._times) < BATCH_ROWS else [*done, *self.flush()]

    def flush(self) -> list[Rows]:
        """Return what is left."""
        if not self._times:
            return []
        values = np.array(self._rows, np.float64)
        values[np.isinf(values)] = np.nan
        rows = Rows(np.array(self._times, np.int64), values)
        self._times, self._rows = [], []
        return [rows]
