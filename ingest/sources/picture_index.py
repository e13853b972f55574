"""When each picture of a video stream is shown: the table between a picture's place and its time.

Libraries that hand out frame number k say nothing of when it is shown, or say it in their own way. The
container's stamps, in the order in which pictures are shown, are the answer; one pass over the packets
gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ingest.sources.av_container import Damage, open_container, packets_of
from ingest.sources.stream_stamps import stamps_to_ns
from ingest.timing import index_at_or_before


@dataclass(frozen=True, eq=False)
class PictureIndex:
    """The stamps of one stream's pictures, in the order in which they are shown."""

    stamps: np.ndarray
    """int64 [N], in ticks, ascending."""
    time_base: Fraction
    without_stamp: int = 0
    """Packets that have none."""
    hidden: int = 0
    """Pictures that an edit list says to decode but not to show; they have no place."""
    is_damaged: bool = False
    """Whether the container could not be read everywhere."""

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def times_ns(self) -> np.ndarray:
        """The stamps in nanoseconds, rounded down, int64 [N]."""
        return stamps_to_ns(self.stamps, self.time_base)

    @property
    def repeated(self) -> int:
        """How many stamps are the same as the one before."""
        return int((np.diff(self.stamps) == 0).sum())

    def places(self, start_ns: int, stop_ns: int, wanted_ns: np.ndarray | None = None) -> np.ndarray:
        """Return the places of the pictures that are shown in [start, stop), ascending, int64 [K].

        Args:
            start_ns, stop_ns: the window; the picture that is on at its start belongs to it.
            wanted_ns: only pictures that are on at one of these times, int64; None: all.
        """
        times_ns = self.times_ns
        if wanted_ns is not None:
            inside = wanted_ns[(wanted_ns >= start_ns) & (wanted_ns < stop_ns)]
            places = np.unique(index_at_or_before(times_ns, inside))
            return np.asarray(places[places >= 0])
        first = max(0, int(index_at_or_before(times_ns, np.array([start_ns]))[0]))
        return np.arange(first, np.searchsorted(times_ns, stop_ns), dtype=np.int64)

    def place_at(self, seconds: float) -> int:
        """Return the place whose stamp is nearest to a time; libraries round stamps to binary fractions."""
        moments = self.stamps * float(self.time_base)
        after = int(np.searchsorted(moments, seconds))
        near = [place for place in (after - 1, after) if 0 <= place < len(moments)]
        return min(near, key=lambda place: abs(moments[place] - seconds), default=-1)


def read_index(path: Path, stream: int) -> PictureIndex:
    """Read the stamps of all packets of one video stream.

    Raises:
        CannotOpen: the file can't be opened.
    """
    damage = Damage()
    stamps: list[int] = []
    without = hidden = 0
    with open_container(path) as container:
        wanted = container.streams[stream]
        for packet in packets_of(container, [wanted], damage):
            if packet.is_discard:
                hidden += 1
            elif packet.pts is None:
                without += 1
            else:
                stamps.append(packet.pts)
        time_base = wanted.time_base or Fraction(1, 1_000_000)
    ordered = np.sort(np.array(stamps, np.int64))
    return PictureIndex(ordered, time_base, without, hidden, bool(damage.places))
