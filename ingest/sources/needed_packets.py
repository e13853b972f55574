"""Which packets a window needs, stream by stream, so that nothing else reaches a decoder.

    keyframe          start_ns               stop_ns
       v                 v                      v
       I──P──P──I──P──P──P──P──P──I──P──P──P──P──)P──P
                ^                              ^
                from here ...                  ... to here, by decoding time

Packets come in decoding order; how far before the window reading began does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ingest.recording import Track
from ingest.timing import NS, pts_to_ns

PREROLL_NS = NS
"""Sound is decoded from one second before a window: codecs need up to 80 ms (Opus) or a bit
reservoir (MP3) before their output is exact."""
REORDER_NS = NS
"""A picture whose decoding time is not known is decoded at most this long before it is shown."""
MOST_HELD_BYTES = 64 << 20
"""More than this is not held back while looking for a later keyframe: it is decoded."""


class Need(Protocol):
    """Takes one track's packets in order and gives back those to decode, in order."""

    def take(self, packet: Any) -> Sequence[Any]:
        """Take the next packet; return what is certainly needed by now."""
        ...

    def rest(self) -> Sequence[Any]:
        """Return what is needed of all that was held back; nothing follows."""
        ...


def need_of(track: Track, start_ns: int, stop_ns: int, from_beginning: bool) -> Need:
    """Return what a track needs for [start, stop).

    Args:
        track: the track.
        start_ns, stop_ns: the window.
        from_beginning: whether the packets begin with the recording's first.
    """
    if track.medium == "sound":
        return _Around(start_ns - PREROLL_NS, stop_ns)
    if track.medium == "text":
        return _Around(start_ns - track.details["longest_ns"], stop_ns)
    begins = start_ns <= track.start_ns or must_begin_first(track)
    return _Pictures(track, None if begins else start_ns, stop_ns, from_beginning)


def shown_by_ns(track: Track, packet: Any) -> int | None:
    """Return the time at which a packet's item is shown, at the latest; None if it has no stamp."""
    delay = track.details["delay"]
    stamp = packet.pts if delay is None or packet.dts is None else packet.dts + delay
    return None if stamp is None else pts_to_ns(stamp, packet.time_base)


def must_begin_first(track: Track) -> bool:
    """Say whether a track can only be decoded from its first packet."""
    return bool(track.details["counted"] or not track.details["keyframes_hold"])


class _Around:
    """Whatever overlaps a span; packets without a stamp are kept."""

    def __init__(self, start_ns: int, stop_ns: int) -> None:
        self._start_ns = start_ns
        self._stop_ns = stop_ns

    def take(self, packet: Any) -> Sequence[Any]:
        if packet.pts is None:
            return (packet,)
        begins_ns = pts_to_ns(packet.pts - 1, packet.time_base)  # a stamp may be rounded up by a tick
        ends_ns = pts_to_ns(packet.pts + (packet.duration or 0), packet.time_base)
        return (packet,) if begins_ns < self._stop_ns and ends_ns >= self._start_ns else ()

    def rest(self) -> Sequence[Any]:
        return ()


class _Pictures:
    """From the last keyframe shown at or before the start; None: from the first packet.

    Packets are held until the decoding time passes the start: only then no better keyframe can come.

    Args:
        track: the track.
        start_ns, stop_ns: the window.
        from_beginning: whether the packets begin with the recording's first.
    """

    def __init__(self, track: Track, start_ns: int | None, stop_ns: int, from_beginning: bool) -> None:
        self._track = track
        self._start_ns = start_ns
        self._stop_ns = stop_ns
        self._decodable = from_beginning
        self._held: list[Any] = []
        self._held_bytes = 0

    def take(self, packet: Any) -> Sequence[Any]:
        due_ns = self._due_ns(packet)
        if due_ns is not None and due_ns >= self._stop_ns:
            return ()
        if self._start_ns is None:
            return self._once_decodable(packet)
        if due_ns is not None and due_ns > self._start_ns:
            return self._release(packet)
        shown_ns = shown_by_ns(self._track, packet) if packet.is_keyframe else None
        if shown_ns is not None and shown_ns <= self._start_ns:
            self._held, self._held_bytes, self._decodable = [], 0, True
        if self._decodable:
            self._held.append(packet)
            self._held_bytes += packet.size
        if self._held_bytes > MOST_HELD_BYTES:
            self._start_ns = None
            return self.rest()
        return ()

    def rest(self) -> Sequence[Any]:
        held, self._held = self._held, []
        return held

    def _release(self, packet: Any) -> Sequence[Any]:
        self._start_ns = None
        return [*self.rest(), *self._once_decodable(packet)]

    def _once_decodable(self, packet: Any) -> Sequence[Any]:
        """Pass over what comes before the first keyframe where reading began in the middle."""
        self._decodable = self._decodable or packet.is_keyframe
        return (packet,) if self._decodable else ()

    def _due_ns(self, packet: Any) -> int | None:
        """Return a time before which no later packet is shown; None if it has no stamps."""
        if packet.dts is not None:
            return pts_to_ns(packet.dts, packet.time_base) - int(self._track.details["ahead_ns"])
        return None if packet.pts is None else pts_to_ns(packet.pts, packet.time_base) - REORDER_NS
