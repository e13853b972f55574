"""Signals by clip: on a grid by the policies of `resampling`, or at their own stamps."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ingest.recording import Rows, Track
from ingest.sampling.clip import SignalClip, Window
from ingest.sampling.resampling import FOREVER_NS, resample
from ingest.timing import NS, grid_times


class SignalSampler:
    """Samples one signal track.

    Only rows that a clip still needs are kept: one maximum age around it, and the last row before
    (held topics have no maximum age).

    Args:
        track: the track, with its policies and maximum age.
        windows: the clips, in order, not overlapping.
        rate: grid times per second; None keeps the track's own stamps.
        columns: indices of the columns wanted; None: all.
    """

    def __init__(
        self,
        track: Track,
        windows: Sequence[Window],
        rate: Fraction | None,
        columns: Sequence[int] | None = None,
    ) -> None:
        self._track = track
        self._windows = list(windows)
        self._rate = rate
        self._columns = list(range(len(track.columns))) if columns is None else list(columns)
        self._times: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._latest_ns = -FOREVER_NS
        self._at = 0
        clock = track.clock
        jitter_ns = clock.offset_max_ns - clock.offset_min_ns if clock else 0
        self._wait_ns = track.max_age_ns + max(0, jitter_ns) + self._step_ns()

    def push(self, rows: Rows) -> list[tuple[Window, SignalClip]]:
        """Take rows, in roughly time order."""
        if not len(rows.times_ns):
            return []
        self._times.append(rows.times_ns)
        self._values.append(rows.values)
        self._latest_ns = max(self._latest_ns, int(rows.times_ns.max()))
        return self._completed(self._latest_ns - self._wait_ns)

    def lost(self, start_ns: int) -> None:
        """A lost message leaves a gap, which the maximum age bounds."""

    def finish(self) -> list[tuple[Window, SignalClip]]:
        """Return the clips that are left."""
        return self._completed(FOREVER_NS)

    def _step_ns(self) -> int:
        return int(NS / self._rate) if self._rate else 0

    def _completed(self, until_ns: int) -> list[tuple[Window, SignalClip]]:
        if self._at >= len(self._windows) or self._windows[self._at].stop_ns >= until_ns:
            return []
        times, values = self._gathered()
        done = []
        while self._at < len(self._windows) and self._windows[self._at].stop_ns < until_ns:
            window = self._windows[self._at]
            done.append((window, self._clip(window, times, values)))
            self._at += 1
        if self._at < len(self._windows):
            self._forget(times, values, self._windows[self._at].start_ns)
        return done

    def _gathered(self) -> tuple[np.ndarray, np.ndarray]:
        if not self._times:
            return np.zeros(0, np.int64), np.zeros((0, len(self._track.columns)))
        times, values = np.concatenate(self._times), np.concatenate(self._values)
        order = np.argsort(times, kind="stable")
        return times[order], values[order]

    def _forget(self, times: np.ndarray, values: np.ndarray, start_ns: int) -> None:
        """Drop rows that the clip at `start_ns` and later ones can't need."""
        first = int(np.searchsorted(times, start_ns - self._wait_ns, side="left"))
        if not self._track.max_age_ns:
            # what is held: per column the last value before the clip, folded into one row
            first = int(np.searchsorted(times, start_ns - self._step_ns(), side="right"))
            held = _last_known(values[:first])
            if first and held is not None:
                self._times = [times[first - 1 : first], times[first:]]
                self._values = [held[None], values[first:]]
                return
        self._times, self._values = [times[first:]], [values[first:]]

    def _clip(self, window: Window, times: np.ndarray, values: np.ndarray) -> SignalClip:
        inside = (times >= window.start_ns) & (times < window.stop_ns)
        if self._rate is None:
            native = values[inside][:, self._columns].astype(np.float32)
            return SignalClip(native, times[inside] - window.start_ns)
        grid = grid_times(window.start_ns, window.length_ns, self._rate)
        track = self._track
        held = not track.max_age_ns  # a command holds until the next one: nothing lies between them
        sampled = resample(
            times,
            values,
            ["last"] * len(track.kinds) if held else track.kinds,
            () if held else track.quaternions,
            grid,
            self._step_ns(),
            track.period_ns,
            track.max_age_ns,
        )
        return SignalClip(sampled[:, self._columns], fresh=bool(inside.any()))


def _last_known(values: np.ndarray) -> np.ndarray | None:
    """Return per column the last value that is not NaN; None without rows."""
    if not len(values):
        return None
    known = np.isfinite(values)
    last = len(values) - 1 - np.argmax(known[::-1], axis=0)
    return np.asarray(values[last, np.arange(values.shape[1])])
