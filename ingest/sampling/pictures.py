"""Frames on a grid: at each grid time the last frame whose time is at or before it.

frames       |a      |b  |c      |lost     |d
grid       ^       ^       ^       ^       ^
gives     none     a       c      none    none   (b is decoded, never converted)
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ingest.errors import CannotDecode
from ingest.geometry import Fit, Geometry, arrange, fit
from ingest.recording import Incident, Picture, Report, Track
from ingest.sampling.clip import PictureClip, Window
from ingest.sampling.grid import Grid, as_grid


class PictureSampler:
    """Samples one picture track.

    Args:
        track: the track. In a file its last frame is shown until its `stop_ns`; in a bag a frame is
            shown until it is older than `max_age_ns` (0: until the next one, however long).
        windows: the clips, in order, not overlapping.
        rate: grid times per second, or the grid.
        size: edge of the square frames, in pixels.
        how: crop, pad or stretch.
        report: told of frames that were wanted but could not be converted, and of those passed over.
    """

    def __init__(
        self,
        track: Track,
        windows: Sequence[Window],
        rate: Fraction | Grid,
        size: int,
        how: Fit,
        report: Report,
    ) -> None:
        self._track = track
        self._windows = list(windows)
        self._steps = as_grid(rate)
        self._size = size
        self._how = how
        self._report = report
        self._current: Picture | None = None
        self._converted: Any = None
        self._missing: list[int] = []
        """Times of frames that can't be had, none before the current one; a heap."""
        self._at = -1
        self._next_window()

    def push(self, picture: Picture) -> list[tuple[Window, PictureClip]]:
        """Take the next frame; frames come in the order they are shown."""
        if self._current is not None and picture.time_ns < self._current.time_ns:
            self._pass_over(picture.time_ns)
            return []
        done = self._show_until(picture.time_ns)
        self._current, self._converted = picture, None
        while self._missing and self._missing[0] <= picture.time_ns:
            heapq.heappop(self._missing)
        return done

    def lost(self, start_ns: int) -> None:
        """Let the frame before this time be shown no longer. Frames from before it may still come: a
        decoder that reorders holds some of them back.
        """
        if self._current is None or start_ns > self._current.time_ns:
            heapq.heappush(self._missing, start_ns)

    def finish(self) -> list[tuple[Window, PictureClip]]:
        """Show the last frame for as long as the track lasts."""
        return self._show_until(None)

    def _next_window(self) -> None:
        self._at += 1
        self._grid: list[int] = []
        if self._at < len(self._windows):
            window = self._windows[self._at]
            self._grid = self._steps.times(window).tolist()
        self._step = 0
        self._times: list[int] = []
        self._frames = room_for(0, self._size)

    def _pass_over(self, time_ns: int) -> None:
        """Say that a clock jumped back: what was shown already stays."""
        if self._windows and self._windows[0].start_ns <= time_ns < self._windows[-1].stop_ns:
            cause = "a frame whose time is before that of the frame before it: passed over"
            self._report(Incident("note", cause, self._track.name, time_ns, time_ns + 1))

    def _show_until(self, until_ns: int | None) -> list[tuple[Window, PictureClip]]:
        """Fill grid times before `until_ns` (None: all that are left) with the current frame."""
        done = []
        while self._at < len(self._windows):
            while self._step < len(self._grid) and (until_ns is None or self._grid[self._step] < until_ns):
                self._take(self._grid[self._step])
                self._step += 1
            if self._step < len(self._grid):
                break
            done.append((self._windows[self._at], self._clip(self._windows[self._at])))
            self._next_window()
        return done

    def _take(self, time_ns: int) -> None:
        picture = self._current
        if picture is None or not self._is_shown(picture.time_ns, time_ns):
            return
        if self._converted is None:
            self._converted = self._convert(picture)
        if self._converted is not None:
            if not self._times:
                self._frames = room_for(len(self._grid) - self._step, self._size, self._converted)
            self._frames[len(self._times)] = self._converted
            self._times.append(picture.time_ns)

    def _is_shown(self, since_ns: int, time_ns: int) -> bool:
        """Say whether the current frame, which began at `since_ns`, is still valid at a time."""
        if time_ns < since_ns or (self._missing and self._missing[0] <= time_ns):
            return False
        track = self._track
        if track.clock is None and time_ns >= track.stop_ns:
            return False
        return not track.max_age_ns or time_ns - since_ns <= track.max_age_ns

    def _convert(self, picture: Picture) -> Any:
        square = squared(picture, self._track, self._size, self._how, self._report)
        if square is None:
            heapq.heappush(self._missing, picture.time_ns)
        return square

    def _clip(self, window: Window) -> PictureClip:
        times_ns = np.array(self._times, np.int64) - window.start_ns
        return PictureClip(self._frames[: len(times_ns)], times_ns)  # the rest was never touched


class EachPictureSampler:
    """Gives every picture that comes, at its own time.

    Args:
        track: the track.
        windows: the clips, in order, not overlapping.
        size: edge of the square frames, in pixels.
        how: crop, pad or stretch.
        report: told of frames that could not be converted.
    """

    def __init__(self, track: Track, windows: Sequence[Window], size: int, how: Fit, report: Report) -> None:
        self._track = track
        self._windows = deque(windows)
        self._size = size
        self._how = how
        self._report = report
        self._frames: list[Any] = []
        self._times: list[int] = []

    def push(self, picture: Picture) -> list[tuple[Window, PictureClip]]:
        """Take the next frame; one whose time is not after that of the frame before it is passed over."""
        time_ns = picture.time_ns
        done = []
        while self._windows and time_ns >= self._windows[0].stop_ns:
            done.append(self._clip())
        inside = self._windows and time_ns >= self._windows[0].start_ns
        if inside and not (self._times and time_ns <= self._times[-1]):
            square = squared(picture, self._track, self._size, self._how, self._report)
            if square is not None:
                self._frames.append(square)
                self._times.append(time_ns)
        return done

    def lost(self, start_ns: int) -> None:
        """Nothing to do: no other frame stands in for one that is lost."""

    def finish(self) -> list[tuple[Window, PictureClip]]:
        """Return the clips that are left."""
        return [self._clip() for _ in range(len(self._windows))]

    def _clip(self) -> tuple[Window, PictureClip]:
        window = self._windows.popleft()
        frames = room_for(len(self._frames), self._size, next(iter(self._frames), None))
        for number, frame in enumerate(self._frames):
            frames[number] = frame
        clip = PictureClip(frames, np.array(self._times, np.int64) - window.start_ns)
        self._frames, self._times = [], []
        return window, clip


def squared(picture: Picture, track: Track, size: int, how: Fit, report: Report) -> Any:
    """Return a picture upright and square, uint8 [size, size, 3]; None, reported, if it can't be had.

    It is an array, or a tensor on the GPU that decoded it.
    """
    try:
        geometry = fit(
            picture.width,
            picture.height,
            size,
            how,
            aspect=Fraction(track.sample_aspect),
            rotation=track.rotation,
            mirrored=track.mirrored,
        )
        scaled = picture.rgb(geometry.scaled_width, geometry.scaled_height, geometry.region)
        return _arranged(scaled, geometry)
    except CannotDecode as error:
        stop_ns = picture.stop_ns or picture.time_ns + max(1, track.period_ns)
        report(Incident("failure", str(error), track.name, picture.time_ns, stop_ns))
        return None


def room_for(count: int, size: int, like: Any = None) -> Any:
    """Return room for frames, uint8 [count, size, size, 3]: an array, or a tensor where `like` is one."""
    shape = (count, size, size, 3)
    return np.empty(shape, np.uint8) if like is None or is_array(like) else like.new_empty(shape)


def is_array(pixels: Any) -> bool:
    """Say whether pixels lie in the machine's memory, and not in a GPU's as a tensor."""
    return isinstance(pixels, np.ndarray)


def _arranged(scaled: Any, geometry: Geometry) -> Any:
    if is_array(scaled):
        return arrange(scaled, geometry)
    from ingest.decoders.backends.device_conversion import arranged

    return arranged(scaled, geometry)
