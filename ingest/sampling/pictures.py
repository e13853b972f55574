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

from ingest.recording import DepthPicture, Incident, Picture, Report, Track
from ingest.sampling.clip import DepthClip, PictureClip, Window
from ingest.sampling.frames import Frames
from ingest.sampling.grid import Grid, as_grid

Done = list[tuple[Window, PictureClip | DepthClip]]


class PictureSampler:
    """Samples one track of pictures, of colours or of distances.

    Args:
        track: the track. In a file its last frame is shown until its `stop_ns`; in a bag a frame is
            shown until it is older than `max_age_ns` (0: until the next one, however long).
        windows: the clips, in order, not overlapping.
        rate: grid times per second, or the grid.
        frames: what pictures become.
        report: told of frames that are passed over.
    """

    def __init__(
        self,
        track: Track,
        windows: Sequence[Window],
        rate: Fraction | Grid,
        frames: Frames,
        report: Report,
    ) -> None:
        self._track = track
        self._windows = list(windows)
        self._steps = as_grid(rate)
        self._made = frames
        self._report = report
        self._current: Picture | DepthPicture | None = None
        self._converted: Any = None
        self._missing: list[int] = []
        """Times of frames that can't be had, none before the current one; a heap."""
        self._at = -1
        self._next_window()

    def push(self, picture: Picture | DepthPicture) -> Done:
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

    def finish(self) -> Done:
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
        self._frames = self._made.room(0)

    def _pass_over(self, time_ns: int) -> None:
        """Say that a clock jumped back: what was shown already stays."""
        if self._windows and self._windows[0].start_ns <= time_ns < self._windows[-1].stop_ns:
            cause = "a frame whose time is before that of the frame before it: passed over"
            self._report(Incident("note", cause, self._track.name, time_ns, time_ns + 1))

    def _show_until(self, until_ns: int | None) -> Done:
        """Fill grid times before `until_ns` (None: all that are left) with the current frame."""
        done: Done = []
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
                self._frames = self._made.room(len(self._grid) - self._step, self._converted)
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

    def _convert(self, picture: Picture | DepthPicture) -> Any:
        frame = self._made.frame_of(picture)
        if frame is None:
            heapq.heappush(self._missing, picture.time_ns)
        return frame

    def _clip(self, window: Window) -> PictureClip | DepthClip:
        stamps_ns = np.array(self._times, np.int64)
        frames = self._frames[: len(stamps_ns)]  # the rest was never touched
        return self._made.clip(frames, stamps_ns, window.start_ns)


class EachPictureSampler:
    """Gives every picture that comes, at its own time.

    Args:
        windows: the clips, in order, not overlapping.
        frames: what pictures become.
    """

    def __init__(self, windows: Sequence[Window], frames: Frames) -> None:
        self._windows = deque(windows)
        self._made = frames
        self._frames: list[Any] = []
        self._times: list[int] = []

    def push(self, picture: Picture | DepthPicture) -> Done:
        """Take the next frame; one whose time is not after that of the frame before it is passed over."""
        time_ns = picture.time_ns
        done: Done = []
        while self._windows and time_ns >= self._windows[0].stop_ns:
            done.append(self._clip())
        inside = self._windows and time_ns >= self._windows[0].start_ns
        if inside and not (self._times and time_ns <= self._times[-1]):
            frame = self._made.frame_of(picture)
            if frame is not None:
                self._frames.append(frame)
                self._times.append(time_ns)
        return done

    def lost(self, start_ns: int) -> None:
        """Nothing to do: no other frame stands in for one that is lost."""

    def finish(self) -> Done:
        """Return the clips that are left."""
        return [self._clip() for _ in range(len(self._windows))]

    def _clip(self) -> tuple[Window, PictureClip | DepthClip]:
        window = self._windows.popleft()
        frames = self._made.room(len(self._frames), next(iter(self._frames), None))
        for number, frame in enumerate(self._frames):
            frames[number] = frame
        clip = self._made.clip(frames, np.array(self._times, np.int64), window.start_ns)
        self._frames, self._times = [], []
        return window, clip
