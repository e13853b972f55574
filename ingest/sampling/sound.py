"""Sound on the recording's timeline: mixed, resampled, silence where there is none.

Decoded chunks that follow each other without a break form a segment. A segment is resampled as one
stream and laid onto each clip's grid by its first sample's time, so that positions are counted in
samples and rounded once (at most half a sample off). A chunk whose stamp differs from the counted
position by more than `BREAK_NS` starts a new segment: gaps become silence of the right length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np

from ingest.recording import Sound, Track
from ingest.sampling.clip import SoundClip, Window
from ingest.timing import NS, grid_count

BREAK_NS = 3_000_000
"""Containers round stamps to as much as a millisecond (Matroska, FLV); more than 3 ms is a break."""


class Resampler(Protocol):
    """Mixes and resamples one unbroken stream of sound."""

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take float32 [C, N]; return float32 [C', M], the first M samples not yet given."""
        ...

    def flush(self) -> np.ndarray:
        """Return what is left, float32 [C', M]."""
        ...


MakeResampler = Callable[[str, int], Resampler]
"""Makes a resampler for a channel layout and a sample rate."""


class SoundSampler:
    """Lays one sound track onto the grids of its clips.

    Args:
        track: the track; its `stop_ns` bounds the valid length.
        windows: the clips, in order, not overlapping.
        sample_rate: of the result, in Hz.
        channels: of the result.
        make_resampler: called at the start of each segment.
    """

    def __init__(
        self,
        track: Track,
        windows: Sequence[Window],
        sample_rate: int,
        channels: int,
        make_resampler: MakeResampler,
    ) -> None:
        self._track = track
        self._windows = list(windows)
        self._rate = sample_rate
        self._channels = channels
        self._make_resampler = make_resampler
        self._lengths = [grid_count(window.length_ns, Fraction(sample_rate)) for window in windows]
        self._at = 0
        self._canvas: dict[int, np.ndarray] = {}
        """Clips of which at least one sample is known."""
        self._segment: _Segment | None = None

    def push(self, sound: Sound) -> list[tuple[Window, SoundClip]]:
        """Take the next chunk."""
        if self._at == len(self._windows) or not sound.samples.shape[1]:
            return []
        segment = self._segment
        if segment is None or not segment.continues_with(sound):
            self._end_segment()
            resampler = self._make_resampler(sound.layout, sound.sample_rate)
            self._segment = segment = _Segment(sound, resampler)
        self._lay(segment, segment.push(sound.samples))
        return self._completed(segment.out_time_ns(self._rate))

    def lost(self, start_ns: int) -> None:
        """Break the stream; the next chunk's stamp says where it goes on."""
        self._end_segment()

    def finish(self) -> list[tuple[Window, SoundClip]]:
        """Return the clips that are left."""
        self._end_segment()
        return self._completed(None)

    def _end_segment(self) -> None:
        if self._segment is not None:
            self._lay(self._segment, self._segment.flush())
            self._segment = None

    def _lay(self, segment: _Segment, samples: np.ndarray) -> None:
        """Copy resampled samples onto the clips they fall into; clips given away stay as they were."""
        first, count = segment.given, samples.shape[1]
        segment.given += count
        if not count:
            return
        for at in range(self._at, len(self._windows)):
            # where the segment's output sample 0 lies on this clip's grid, rounded to the nearest
            zero = _round_half_up((segment.start_ns - self._windows[at].start_ns) * self._rate, NS)
            begin, end = zero + first, zero + first + count
            length = self._lengths[at]
            if begin >= length:
                continue
            if end <= 0:
                break
            canvas = self._canvas.get(at)
            if canvas is None:
                canvas = self._canvas[at] = np.zeros((self._channels, length), np.float32)
            left, right = max(0, begin), min(length, end)
            canvas[:, left:right] = samples[:, left - begin : right - begin]

    def _completed(self, until_ns: int | None) -> list[tuple[Window, SoundClip]]:
        done = []
        # one millisecond more, so that rounding can't touch a clip that was given away
        while self._at < len(self._windows) and (
            until_ns is None or until_ns > self._windows[self._at].stop_ns + 1_000_000
        ):
            window = self._windows[self._at]
            done.append((window, self._clip(window)))
            self._at += 1
        return done

    def _clip(self, window: Window) -> SoundClip:
        canvas = self._canvas.pop(self._at, None)
        if canvas is None:  # not a single sample: the track has not begun, is over, or is lost here
            return SoundClip(np.zeros((self._channels, 0), np.float32))
        lasts_ns = min(window.stop_ns, self._track.stop_ns) - window.start_ns
        return SoundClip(canvas[:, : grid_count(lasts_ns, Fraction(self._rate))])


class _Segment:
    """Chunks that follow each other without a break, being resampled."""

    def __init__(self, first: Sound, resampler: Resampler) -> None:
        self.start_ns = first.start_ns
        self.sample_rate = first.sample_rate
        self.layout = first.layout
        self.taken = 0
        """Input samples so far."""
        self.given = 0
        """Output samples so far."""
        self._resampler = resampler

    def continues_with(self, sound: Sound) -> bool:
        if (sound.sample_rate, sound.layout) != (self.sample_rate, self.layout):
            return False
        expected_ns = self.start_ns + self.taken * NS // self.sample_rate
        return abs(sound.start_ns - expected_ns) <= BREAK_NS

    def push(self, samples: np.ndarray) -> np.ndarray:
        self.taken += samples.shape[1]
        return self._resampler.push(samples)

    def flush(self) -> np.ndarray:
        return self._resampler.flush()

    def out_time_ns(self, rate: int) -> int:
        return self.start_ns + self.given * NS // rate


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
