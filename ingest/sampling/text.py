"""Timed text: the cues that are shown during a clip."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.recording import Cue
from ingest.sampling.clip import TextClip, Window


class TextSampler:
    """Gathers one text track's cues by clip; a cue that spans a border belongs to both clips."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = list(windows)
        self._cues: list[Cue] = []

    def push(self, cue: Cue) -> list[tuple[Window, TextClip]]:
        """Take the next cue. Text is small: clips are given when the reading is over."""
        if cue.start_ns < self._windows[-1].stop_ns and cue.stop_ns > self._windows[0].start_ns:
            self._cues.append(cue)
        return []

    def lost(self, start_ns: int) -> None:
        """Nothing else is touched by a lost cue."""

    def finish(self) -> list[tuple[Window, TextClip]]:
        """Return all clips."""
        cues = sorted(self._cues, key=lambda cue: (cue.start_ns, cue.stop_ns))
        return [
            (
                window,
                TextClip(
                    tuple(
                        Cue(cue.start_ns - window.start_ns, cue.stop_ns - window.start_ns, cue.text)
                        for cue in cues
                        if cue.start_ns < window.stop_ns and cue.stop_ns > window.start_ns
                    )
                ),
            )
            for window in self._windows
        ]
