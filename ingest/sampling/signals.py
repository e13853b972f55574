"""Signals by clip: on a grid by the policies of `resampling`, or at their own stamps."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ingest.recording import Rows, Track
from ingest.sampling.clip import SignalClip, Window
from ingest.sampling.grid import Grid, StampGrid, as_grid
from ingest.sampling.resampling import FOREVER_NS, as_float32, resample

SMALLEST_HEAP = 4096
"""Rows that are gathered before those that nothing needs any more are dropped."""


class SignalSampler:
    """Samples one signal track.

    Only rows that a clip still needs are kept: one maximum age around it, and of held topics, which
    have no maximum age, the last values before it.

    Args:
        track: the track, with its policies and maximum age.
        windows: the clips, in order, not overlapping.
        rate: grid times per second, or the grid; None keeps the track's own stamps. Times of a grid that
            is not steady stand in the clips.
        columns: indices of the columns wanted; None: all.
    """

    def __init__(
        self,
        track: Track,
        windows: Sequence[Window],
        rate: Fraction | Grid | None,
        columns: Sequence[int] | None = None,
    ) -> None:
        self._track = track
        self._windows = list(windows)
        self._grid = None if rate is None else as_grid(rate)
        self._columns = list(range(len(track.columns))) if columns is None else list(columns)
        self._step_ns = self._grid.step_ns if self._grid else 0
        clock = track.clock
        jitter_ns = clock.offset_max_ns - clock.offset_min_ns if clock else 0
        self._wait_ns = track.max_age_ns + jitter_ns + self._step_ns
        """How far from a clip a row can be that it needs, or that may come later than it."""
        self._at = 0
        self._latest_ns = -FOREVER_NS
        self._times = [np.zeros(0, np.int64)]
        self._values = [np.zeros((0, len(track.columns)))]
        self._row_count = 0
        self._fullness = SMALLEST_HEAP

    def push(self, rows: Rows) -> list[tuple[Window, SignalClip]]:
        """Take rows, in roughly time order."""
        if self._at == len(self._windows) or not len(rows.times_ns):
            return []
        self._times.append(rows.times_ns)
        self._values.append(rows.values)
        self._row_count += len(rows.times_ns)
        self._latest_ns = max(self._latest_ns, int(rows.times_ns.max()))
        done = self._completed(self._latest_ns - self._wait_ns)
        if self._row_count > self._fullness:  # before the first clip: a source may begin anywhere
            self._forget(*self._gathered())
        return done

    def lost(self, start_ns: int) -> None:
        """A lost message leaves a gap, which the maximum age bounds."""

    def finish(self) -> list[tuple[Window, SignalClip]]:
        """Return the clips that are left."""
        return self._completed(max((window.stop_ns + 1 for window in self._windows), default=0))

    def _completed(self, until_ns: int) -> list[tuple[Window, SignalClip]]:
        if self._at == len(self._windows) or self._windows[self._at].stop_ns >= until_ns:
            return []
        times, values = self._gathered()
        done = []
        while self._at < len(self._windows) and self._windows[self._at].stop_ns < until_ns:
            window = self._windows[self._at]
            done.append((window, self._clip(window, times, values)))
            self._at += 1
        self._forget(times, values)
        return done

    def _gathered(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all rows that are kept, sorted by time; equal times stay in the order they came."""
        times, values = np.concatenate(self._times), np.concatenate(self._values)
        order = np.argsort(times, kind="stable")
        return times[order], values[order]

    def _forget(self, times: np.ndarray, values: np.ndarray) -> None:
        """Keep the rows that a clip to come can need; of held topics, what holds before them as one."""
        first = len(times)
        if self._at < len(self._windows):
            needed_ns = min(self._windows[self._at].start_ns, self._latest_ns) - self._wait_ns
            first = int(np.searchsorted(times, needed_ns, side="left"))
        held = 1 if first and not self._track.max_age_ns else 0
        self._times = [times[first - held : first], times[first:].copy()]
        self._values = [_last_known(values[:first])[:held], values[first:].copy()]
        self._row_count = len(times) - first + held
        self._fullness = max(SMALLEST_HEAP, 2 * self._row_count)

    def _clip(self, window: Window, times: np.ndarray, values: np.ndarray) -> SignalClip:
        first, after = np.searchsorted(times, (window.start_ns, window.stop_ns), side="left").tolist()
        if self._grid is None:
            native = as_float32(values[first:after, self._columns])
            return SignalClip(native, times[first:after] - window.start_ns)
        track = self._track
        grid_ns = self._grid.times(window)
        held = not track.max_age_ns  # a command holds until the next one: nothing lies between them
        around_ns = (-FOREVER_NS if held else window.start_ns - self._wait_ns, window.stop_ns + self._wait_ns)
        near = slice(*np.searchsorted(times, around_ns, side="left").tolist())
        sampled = resample(
            times[near],
            values[near],
            ["last"] * len(track.kinds) if held else track.kinds,
            () if held else track.quaternions,
            grid_ns,
            self._step_ns,
            track.period_ns,
            track.max_age_ns,
        )
        times_ns = grid_ns - window.start_ns if isinstance(self._grid, StampGrid) else None
        return SignalClip(sampled[:, self._columns], times_ns, fresh=first < after)


def _last_known(values: np.ndarray) -> np.ndarray:
    """Return per column the last value that is not NaN, as [1, D]; without rows [0, D]."""
    if not len(values):
        return values
    known = np.isfinite(values)
    last = len(values) - 1 - np.argmax(known[::-1], axis=0)
    return np.asarray(values[last, np.arange(values.shape[1])])[None]
