"""Frames on a grid: at each grid time the last frame whose time is at or before it.

frames       |a      |b  |c          |d
grid       ^       ^       ^       ^
gives     none     a       c       c      (b is decoded, never converted)
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ingest.errors import CannotDecode
from ingest.geometry import Fit, arrange, fit
from ingest.recording import Incident, Picture, Report, Track
from ingest.sampling.clip import PictureClip, Window
from ingest.timing import grid_times


class PictureSampler:
    """Samples one picture track.

    Args:
        track: the track; its `max_age_ns` (0: until the next frame) and `stop_ns` bound how long a
            frame is shown.
        windows: the clips, in order, not overlapping.
        rate: grid times per second.
        size: edge of the square frames, in pixels.
        how: crop, pad or stretch.
        report: told of frames that were wanted but could not be converted.
    """

    def __init__(
        self, track: Track, windows: Sequence[Window], rate: Fraction, size: int, how: Fit, report: Report
    ) -> None:
        self._track = track
        self._windows = list(windows)
        self._rate = rate
        self._size = size
        self._how = how
        self._report = report
        self._current: Picture | None = None
        self._converted: np.ndarray | None = None
        self._frames: list[np.ndarray] = []
        self._times: list[int] = []
        self._at = 0
        self._grid = self._grid_of(0)
        self._step = 0
        self._pending: list[tuple[Window, PictureClip]] = []

    def push(self, picture: Picture) -> list[tuple[Window, PictureClip]]:
        """Take the next frame; frames come in the order they are shown."""
        if self._current is not None and picture.time_ns < self._current.time_ns:
            return []  # a clock that jumps back: what was shown already stays
        done = self._show_until(picture.time_ns)
        self._current, self._converted = picture, None
        return done

    def lost(self, start_ns: int) -> None:
        """End the current frame where the next one should have been."""
        if self._current is not None and start_ns > self._current.time_ns:
            self._pending = self._show_until(start_ns)
            self._current = self._converted = None

    def finish(self) -> list[tuple[Window, PictureClip]]:
        """Show the last frame for as long as the track lasts."""
        return self._show_until(None)

    def _grid_of(self, at: int) -> list[int]:
        if at >= len(self._windows):
            return []
        window = self._windows[at]
        return [int(t) for t in grid_times(window.start_ns, window.length_ns, self._rate)]

    def _show_until(self, until_ns: int | None) -> list[tuple[Window, PictureClip]]:
        """Fill grid times before `until_ns` (None: all that are left) with the current frame."""
        done, self._pending = self._pending, []
        while self._at < len(self._windows):
            while self._step < len(self._grid) and (until_ns is None or self._grid[self._step] < until_ns):
                self._take(self._grid[self._step])
                self._step += 1
            if self._step < len(self._grid):
                break
            done.append((self._windows[self._at], self._clip(self._windows[self._at])))
            self._at += 1
            self._grid, self._step = self._grid_of(self._at), 0
        return done

    def _take(self, time_ns: int) -> None:
        picture = self._current
        if picture is None or picture.time_ns > time_ns or time_ns >= self._track.stop_ns:
            return
        if self._track.max_age_ns and time_ns - picture.time_ns > self._track.max_age_ns:
            return
        if self._converted is None:
            self._converted = self._convert(picture)
        if self._converted is not None:
            self._frames.append(self._converted)
            self._times.append(picture.time_ns)

    def _convert(self, picture: Picture) -> np.ndarray | None:
        geometry = fit(
            picture.width,
            picture.height,
            self._size,
            self._how,
            aspect=Fraction(self._track.sample_aspect),
            rotation=self._track.rotation,
            mirrored=self._track.mirrored,
        )
        try:
            return arrange(picture.rgb(geometry.scaled_width, geometry.scaled_height), geometry)
        except CannotDecode as error:
            stop_ns = picture.stop_ns or picture.time_ns + max(1, self._track.period_ns)
            self._report(Incident("failure", str(error), self._track.name, picture.time_ns, stop_ns))
            self._current = None
            return None

    def _clip(self, window: Window) -> PictureClip:
        frames, times = self._frames, self._times
        self._frames, self._times = [], []
        stacked = np.stack(frames) if frames else np.zeros((0, self._size, self._size, 3), np.uint8)
        return PictureClip(stacked, np.array(times, np.int64) - window.start_ns)
