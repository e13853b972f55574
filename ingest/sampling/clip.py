"""What samplers give: one track's share of one clip, and the windows that clips are cut by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ingest.recording import Cue, DepthCounts


@dataclass(frozen=True)
class Window:
    """One clip of a recording: [start, stop) on the recording's timeline."""

    index: int
    """Its number in the recording."""
    start_ns: int
    stop_ns: int

    @property
    def length_ns(self) -> int:
        """Length in nanoseconds."""
        return self.stop_ns - self.start_ns


@dataclass(frozen=True, eq=False)
class PictureClip:
    """Sampled frames of one clip."""

    frames: Any
    """uint8 [T, size, size, 3], RGB: an array, or a tensor on the GPU that decoded it."""
    times_ns: np.ndarray
    """int64 [T], each frame's own time, relative to the clip's start (may be negative)."""

    @property
    def valid(self) -> int:
        """Number of frames."""
        return len(self.times_ns)


@dataclass(frozen=True, eq=False)
class DepthClip:
    """Sampled depth pictures or range images of one clip."""

    frames: np.ndarray
    """float32 [T, H, W], in metres; NaN where nothing was measured."""
    times_ns: np.ndarray
    """int64 [T], each frame's own time, relative to the clip's start (may be negative)."""
    counts: DepthCounts
    """What became of the measurements of all pictures that are shown."""

    @property
    def valid(self) -> int:
        """Number of frames."""
        return len(self.times_ns)


@dataclass(frozen=True, eq=False)
class SoundClip:
    """Sound of one clip, on its grid."""

    samples: np.ndarray
    """float32 [C, N] at the encoder's rate; silence where the track has none yet or a gap."""

    @property
    def valid(self) -> int:
        """Number of samples per channel."""
        return int(self.samples.shape[1])


@dataclass(frozen=True, eq=False)
class SignalClip:
    """Signal values of one clip."""

    values: np.ndarray
    """float32 [T, D]; NaN where nothing is known."""
    times_ns: np.ndarray | None = None
    """int64 [T] relative to the clip's start, for native stamps; None on a grid."""
    fresh: bool = True
    """Whether a row is stamped within the clip; else everything is held on from before."""

    @property
    def valid(self) -> int:
        """Number of steps, if any of them holds a value; else 0."""
        return len(self.values) if np.isfinite(self.values).any() else 0


@dataclass(frozen=True, eq=False)
class TextClip:
    """Cues that are shown during one clip; times relative to the clip's start."""

    cues: tuple[Cue, ...]

    @property
    def valid(self) -> int:
        """Number of cues."""
        return len(self.cues)


ClipMedia = PictureClip | DepthClip | SoundClip | SignalClip | TextClip


class Sampler(Protocol):
    """Takes one track's media in roughly time order and gives back completed clips."""

    def push(self, item: Any) -> Sequence[tuple[Window, ClipMedia]]:
        """Take one item; return the clips that nothing can change any more."""
        ...

    def lost(self, start_ns: int) -> None:
        """Hear that an item of this time did not decode; items from before it may still come."""
        ...

    def finish(self) -> Sequence[tuple[Window, ClipMedia]]:
        """Return all clips that are left; nothing follows."""
        ...
