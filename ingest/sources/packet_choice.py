"""What chooses packets for a decoder, and the times by which it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ingest.recording import Track
from ingest.timing import NS, Ticks

REORDER_NS = NS
"""A picture whose decoding time is not known is decoded at most this long before it is shown."""
MOST_HELD_BYTES = 64 << 20
"""More than this is not held back while looking for a later keyframe: it is decoded."""


class Chosen(NamedTuple):
    """A packet to decode."""

    packet: Any
    begins: bool = False
    """Decoding begins anew here: what is still inside the decoder comes out first."""
    shown: bool = True
    """False: nobody wants what this packet shows; others may refer to it."""


class Need(Protocol):
    """Takes one track's packets in order and gives back those to decode, in order."""

    def take(self, packet: Any) -> Sequence[Chosen]:
        """Take the next packet; return what is certainly needed by now."""
        ...

    def rest(self) -> Sequence[Chosen]:
        """Return what is needed of all that was held back; nothing follows."""
        ...


class PacketTimes:
    """When the packets of one track are shown and due. All of them have one time base, which is asked for
    once: making a fraction costs more than the arithmetic.

    Args:
        track: the track.
    """

    def __init__(self, track: Track) -> None:
        self._delay = track.details["delay"]
        self._ahead_ns = int(track.details["ahead_ns"])
        self._ticks: Ticks | None = None

    def ns(self, stamp: int, packet: Any) -> int:
        """Return a stamp of a packet in nanoseconds, rounded down."""
        if self._ticks is None:
            self._ticks = Ticks(packet.time_base)
        return self._ticks.ns(stamp)

    def begins_ns(self, packet: Any) -> int | None:
        """Return the time of a packet's own stamp; None if it has none."""
        pts = packet.pts
        stamp = pts if pts is not None and self._delay is None else packet.dts
        return None if stamp is None else self.ns(stamp, packet)

    def shown_by_ns(self, packet: Any) -> int | None:
        """Return the time at which a packet's item is shown, at the latest; None if it has no stamp."""
        if self._delay is None:
            stamp = packet.pts
        else:
            dts = packet.dts
            stamp = packet.pts if dts is None else dts + self._delay
        return None if stamp is None else self.ns(stamp, packet)

    def due_ns(self, packet: Any) -> int | None:
        """Return a time before which no later packet is shown; None if a packet has no stamps."""
        dts = packet.dts
        if dts is not None:
            return self.ns(dts, packet) - self._ahead_ns
        pts = packet.pts
        return None if pts is None else self.ns(pts, packet) - REORDER_NS


def must_begin_first(track: Track) -> bool:
    """Say whether a track can only be decoded from its first packet."""
    return bool(track.details["counted"] or not track.details["keyframes_hold"])
