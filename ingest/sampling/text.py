"""Timed text: the cues that are shown during a clip."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ingest.recording import Cue
from ingest.sampling.clip import TextClip, Window


class TextSampler:
    """Gathers one text track's cues by clip; a cue that spans a border belongs to both clips."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = list(windows)
        self._stops = [window.stop_ns for window in windows]
        self._cues: list[Cue] = []

    def push(self, cue: Cue) -> list[tuple[Window, TextClip]]:
        """Take the next cue. Cues come in any order and text is small: clips are given when the
        reading is over.
        """
        if self._shown_in(cue):
            self._cues.append(cue)
        return []

    def lost(self, start_ns: int) -> None:
        """Nothing else is touched by a lost cue."""

    def finish(self) -> list[tuple[Window, TextClip]]:
        """Return all clips; their cues are sorted by time, equal ones in the order they came."""
        shown: list[list[Cue]] = [[] for _ in self._windows]
        for cue in sorted(self._cues, key=lambda cue: (cue.start_ns, cue.stop_ns)):
            for at in self._shown_in(cue):
                origin_ns = self._windows[at].start_ns
                shown[at].append(Cue(cue.start_ns - origin_ns, cue.stop_ns - origin_ns, cue.text))
        return [(window, TextClip(tuple(cues))) for window, cues in zip(self._windows, shown, strict=True)]

    def _shown_in(self, cue: Cue) -> range:
        """Return the places of the windows in which a cue is shown, if only for a moment."""
        first = after = bisect_right(self._stops, cue.start_ns)
        stop_ns = max(cue.stop_ns, cue.start_ns + 1)
        while after < len(self._windows) and self._windows[after].start_ns < stop_ns:
            after += 1
        return range(first, after)
