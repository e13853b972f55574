"""Pictures that another library decodes, as the packets of a source: each one checked against the index.

The library is asked for places, and says for each frame when it believes it is shown. A frame whose time
is not that of its place is not the one that was asked for: it is lost, and told, and never used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

from ingest.decoders.av_conversion import Converter
from ingest.decoders.av_pictures import AvPicture
from ingest.decoders.backends import BY_PLACE, reader_class
from ingest.errors import CannotDecode
from ingest.recording import Packet, Track
from ingest.sources.picture_index import PictureIndex, read_index
from ingest.sources.ranges import at_hand


def is_placed(track: Track) -> bool:
    """Say whether a track's pictures come from a library that decodes by itself."""
    return track.details.get("decoder") in BY_PLACE


class PlacedPictures:
    """The pictures of one track by one library.

    Args:
        path: the file.
        track: a picture track of it, whose details name the library.
        index: of the track's stream; None: it is read.
    """

    def __init__(self, path: Path, track: Track, index: PictureIndex | None = None) -> None:
        self.index = index or read_index(path, track.details["stream"])
        self._path = path
        self._track = track
        self._name = track.details["decoder"]

    def read(self, start_ns: int, stop_ns: int, wanted_ns: np.ndarray | None = None) -> Iterator[Packet]:
        """Yield what is shown in [start, stop), in order.

        A packet's data is the picture, or the `CannotDecode` that stands for it.

        Args:
            start_ns, stop_ns: the window.
            wanted_ns: see `PictureIndex.places`.
        """
        places = self.index.places(start_ns, stop_ns, wanted_ns)
        yield from (
            Packet(self._track.name, time_ns, data)
            for time_ns, data in zip(self.index.times_ns[places].tolist(), self._decoded(places), strict=True)
        )

    def _decoded(self, places: np.ndarray) -> Iterator[AvPicture | CannotDecode]:
        given = 0
        cause = "it gave fewer frames than it was asked for"
        try:
            for item in self._checked(places.tolist()):
                given += 1
                yield item
        except (MemoryError, OSError):  # the machine's fault
            raise
        except Exception as error:  # libraries raise what they like
            cause = type(error).__name__
        for _ in range(len(places) - given):
            yield CannotDecode(f"{self._name} can't decode this picture ({cause})")

    def _checked(self, places: list[int]) -> Iterator[AvPicture | CannotDecode]:
        index, converter = self.index, Converter()
        first_seconds = float(index.stamps[0] * index.time_base) if len(index) else 0.0
        reader = reader_class(self._name)(at_hand(self._path), self._track.details["stream"], first_seconds)
        times_ns = index.times_ns
        for place, placed in zip(places, reader.read(places), strict=False):
            if index.place_at(placed.seconds) == place:
                frame = av.VideoFrame.from_ndarray(placed.rgb, "rgb24")
                yield AvPicture(int(times_ns[place]), frame, converter)
            else:
                yield CannotDecode(f"{self._name} gives another frame than the one it was asked for")


class PicturesAsTheyAre:
    """Decodes the packets of `PlacedPictures`: they hold pictures already."""

    def decode(self, packet: Packet) -> list[AvPicture]:
        """Return the picture.

        Raises:
            CannotDecode: it can't be had.
        """
        if isinstance(packet.data, CannotDecode):
            raise packet.data
        return [packet.data]

    def flush(self) -> list[AvPicture]:
        """Nothing is kept."""
        return []


def merged(packets: Iterator[Packet], placed: Sequence[Iterator[Packet]]) -> Iterator[Packet]:
    """Yield all packets, the placed ones no later than others of their time: nothing piles up."""
    waiting = [(first, more) for more in placed if (first := next(more, None)) is not None]
    for packet in packets:
        while waiting and min(first.time_ns for first, _ in waiting) <= packet.time_ns:
            yield _advance(waiting)
        yield packet
    while waiting:
        yield _advance(waiting)


def _advance(waiting: list[tuple[Packet, Iterator[Packet]]]) -> Packet:
    """Take the earliest packet, and put the next one of its track in its place."""
    at = min(range(len(waiting)), key=lambda i: waiting[i][0].time_ns)
    first, more = waiting.pop(at)
    following = next(more, None)
    if following is not None:
        waiting.insert(at, (following, more))
    return first


__all__ = ["PicturesAsTheyAre", "PlacedPictures", "is_placed", "merged"]
