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
from typing import Any

from ingest.recording import Moments, Track
from ingest.sources.packet_choice import MOST_HELD_BYTES, Chosen, Need, PacketTimes, must_begin_first
from ingest.sources.sampled_packets import KeyframesAlone, SampledPictures, can_choose
from ingest.timing import NS

PREROLL_NS = NS
"""Sound is decoded from one second before a window: codecs need up to 80 ms (Opus) or a bit
reservoir (MP3) before their output is exact."""


def need_of(
    track: Track, start_ns: int, stop_ns: int, from_beginning: bool, moments: Moments | None = None
) -> Need:
    """Return what a track needs for [start, stop).

    Args:
        track: the track.
        start_ns, stop_ns: the window.
        from_beginning: whether the packets begin with the recording's first.
        moments: which pictures are wanted; None: all of them.
    """
    if track.medium == "sound":
        return _Around(track, start_ns - PREROLL_NS, stop_ns)
    if track.medium == "text":
        return _Around(track, start_ns - track.details["longest_ns"], stop_ns)
    if moments is not None and can_choose(track):
        if isinstance(moments, str):
            return KeyframesAlone(track, start_ns, stop_ns)
        return SampledPictures(track, moments, stop_ns, from_beginning)
    begins = start_ns <= track.start_ns or must_begin_first(track)
    return _Pictures(track, None if begins else start_ns, stop_ns, from_beginning)


class _Around:
    """Whatever overlaps a span; packets without a stamp are kept."""

    def __init__(self, track: Track, start_ns: int, stop_ns: int) -> None:
        self._times = PacketTimes(track)
        self._start_ns = start_ns
        self._stop_ns = stop_ns

    def take(self, packet: Any) -> Sequence[Chosen]:
        pts = packet.pts
        if pts is None:
            return (Chosen(packet),)
        begins_ns = self._times.ns(pts - 1, packet)  # a stamp may be rounded up by a tick
        ends_ns = self._times.ns(pts + (packet.duration or 0), packet)
        return (Chosen(packet),) if begins_ns < self._stop_ns and ends_ns >= self._start_ns else ()

    def rest(self) -> Sequence[Chosen]:
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
        self._times = PacketTimes(track)
        self._start_ns = start_ns
        self._stop_ns = stop_ns
        self._decodable = from_beginning
        self._held: list[Chosen] = []
        self._held_bytes = 0

    def take(self, packet: Any) -> Sequence[Chosen]:
        due = self._times.due_ns(packet)
        if due is not None and due >= self._stop_ns:
            return ()
        if self._start_ns is None:
            return self._once_decodable(packet)
        if due is not None and due > self._start_ns:
            return self._release(packet)
        shown_ns = self._times.shown_by_ns(packet) if packet.is_keyframe else None
        if shown_ns is not None and shown_ns <= self._start_ns:
            self._held, self._held_bytes, self._decodable = [], 0, True
        if self._decodable:
            self._held.append(Chosen(packet))
            self._held_bytes += packet.size
        if self._held_bytes > MOST_HELD_BYTES:
            self._start_ns = None
            return self.rest()
        return ()

    def rest(self) -> Sequence[Chosen]:
        held, self._held = self._held, []
        return held

    def _release(self, packet: Any) -> Sequence[Chosen]:
        self._start_ns = None
        return [*self.rest(), *self._once_decodable(packet)]

    def _once_decodable(self, packet: Any) -> Sequence[Chosen]:
        """Pass over what comes before the first keyframe where reading began in the middle."""
        self._decodable = self._decodable or packet.is_keyframe
        return (Chosen(packet),) if self._decodable else ()
