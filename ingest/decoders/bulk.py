"""Many messages of one topic at once: serialised, all of one length, one below the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST = 8
"""So many messages of one length are worth it."""


@dataclass(frozen=True, eq=False)
class Bulk:
    """Serialised messages of one length, in the order of the log."""

    times_ns: np.ndarray
    """int64 [N]: log stamps; in a packet, stamps by the track's clock."""
    data: np.ndarray
    """uint8 [N, L], contiguous."""

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or self.times_ns.shape != self.data.shape[:1]:
            raise ValueError(f"messages must be [N] and [N, L], got {self.times_ns.shape}, {self.data.shape}")

    def within(self, start_ns: int, stop_ns: int) -> Bulk:
        """Return the messages with start <= stamp < stop; stamps ascend."""
        first, after = np.searchsorted(self.times_ns, (start_ns, stop_ns), side="left")
        return Bulk(self.times_ns[first:after], self.data[first:after])


def rows_at(data: bytes | memoryview, begins: np.ndarray, length: int) -> np.ndarray:
    """Return bytes [begin, begin + length) for each begin: uint8 [N, length].

    Args:
        data: long enough for each of them.
        begins: int64 [N].
        length: at least 1.
    """
    # items of `length` bytes that begin at every byte: taking some of them copies each in one go
    windows = np.ndarray((len(data) - length + 1,), f"V{length}", data, strides=(1,))
    taken: np.ndarray = windows[begins].view(np.uint8)
    return taken.reshape(len(begins), length)
