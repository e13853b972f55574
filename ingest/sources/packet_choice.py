"""What chooses packets for a decoder, and the times by which it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ingest.recording import Track
from ingest.timing import NS, pts_to_ns

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


def shown_by_ns(track: Track, packet: Any) -> int | None:
    """Return the time at which a packet's item is shown, at the latest; None if it has no stamp."""
    delay = track.details["delay"]
    stamp = packet.pts if delay is None or packet.dts is None else packet.dts + delay
    return None if stamp is None else pts_to_ns(stamp, packet.time_base)


def due_ns(track: Track, packet: Any) -> int | None:
    """Return a time before which no later packet is shown; None if a packet has no stamps."""
    if packet.dts is not None:
        return pts_to_ns(packet.dts, packet.time_base) - int(track.details["ahead_ns"])
    return None if packet.pts is None else pts_to_ns(packet.pts, packet.time_base) - REORDER_NS


def must_begin_first(track: Track) -> bool:
    """Say whether a track can only be decoded from its first packet."""
    return bool(track.details["counted"] or not track.details["keyframes_hold"])
