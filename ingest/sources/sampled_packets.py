"""Which packets a choice of pictures needs: nothing else is decoded, and not a pixel changes.

    moments        v        v        v                 v
    shown     I  b  B  b  P  b  B  b  I  b  P  b  P  b  I  b  P
    wanted    *        *           *                 *

A picture is wanted if a moment lies between its stamp and the next picture's. Packets come in decoding
order, and each needs only what comes before it; so the packets after the last wanted picture of a group
are dropped, decoding begins anew at the keyframe before the next one, and of what lies between, the
decoder hears which pictures nobody wants: it passes over those that no other one refers to.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingest.recording import Track
from ingest.sources.packet_choice import MOST_HELD_BYTES, Chosen, PacketTimes, must_begin_first

MOST_HELD_PACKETS = 5000
"""As many packets are held back at most, however small."""
MOST_REORDERED = 64
"""As many pictures are usually out of order at most."""


def can_choose(track: Track) -> bool:
    """Say whether a track's stamps tell which pictures are shown when, and its keyframes stand alone.

    Otherwise everything from the keyframe before a window to its end is decoded.
    """
    details = track.details
    return bool(details["ordered"] and details["delay"] is None and not must_begin_first(track))


class SampledPictures:
    """The packets for the pictures that are shown at given moments; see `Need`.

    Args:
        track: one that `can_choose`.
        moments: int64 [N], ascending, in ns.
        stop_ns: end of the window; no moment lies behind it.
        from_beginning: whether the packets begin with the recording's first.
    """

    def __init__(self, track: Track, moments: np.ndarray, stop_ns: int, from_beginning: bool) -> None:
        self._times = PacketTimes(track)
        self._moments: list[int] = moments.tolist()
        self._stop_ns = stop_ns
        self._decodable = from_beginning
        self._held: deque[_Held] = deque()
        self._undecided = 0
        """How many of those held have been judged; all of them unwanted."""
        self._held_bytes = 0
        self._shown: list[int] = []
        """Times of pictures, ascending, as far as they can still matter."""

    def take(self, packet: Any) -> Sequence[Chosen]:
        """Take the next packet; return what is certainly needed by now."""
        due = self._times.due_ns(packet)
        if due is not None and due >= self._stop_ns:
            return ()
        self._decodable = self._decodable or packet.is_keyframe
        if not self._decodable:
            return ()
        time_ns = self._times.shown_by_ns(packet)
        if time_ns is None:
            return [*self._all_held(), Chosen(packet)]
        self._held.append(_Held(packet, time_ns, bool(packet.is_discard)))
        self._held_bytes += packet.size
        if not packet.is_discard:
            insort(self._shown, time_ns)
            self._forget(due)
        chosen = self._judge(due)
        if self._held_bytes > MOST_HELD_BYTES or len(self._held) > MOST_HELD_PACKETS:
            chosen += self._all_held()
        return chosen

    def rest(self) -> Sequence[Chosen]:
        """Return what is needed of all that was held back; nothing follows."""
        return self._judge(None, last=True)

    def _judge(self, due: int | None, last: bool = False) -> list[Chosen]:
        """Judge the packets held, in order, as far as it is known which picture follows each.

        Args:
            due: no later packet is shown before this time; None: unknown.
            last: no packet follows.
        """
        chosen: list[Chosen] = []
        while self._undecided < len(self._held):
            held = self._held[self._undecided]
            wanted = self._is_wanted(held, due, last)
            if wanted is None:
                break
            self._undecided += 1
            held.wanted = wanted
            if wanted:
                chosen += self._release(due, last)
        return chosen

    def _is_wanted(self, held: _Held, due: int | None, last: bool) -> bool | None:
        """Say whether a moment falls to a picture; None: a picture that is not here yet may decide."""
        if held.discard:
            return False
        place = bisect_right(self._shown, held.time_ns)
        known_ns = self._shown[place] if place < len(self._shown) else None
        first = bisect_right(self._moments, held.time_ns - 1)
        if first == len(self._moments):
            return False
        moment = self._moments[first]
        if known_ns is not None and moment >= known_ns:
            return False
        if last or (due is not None and moment < due):
            return True
        return True if known_ns is not None and due is not None and known_ns <= due else None

    def _release(self, due: int | None, last: bool) -> list[Chosen]:
        """Give what was judged, from the last keyframe that serves the last of it: the only one wanted."""
        group = [self._take_out() for _ in range(self._undecided)]
        self._undecided = 0
        wanted_ns = group[-1].time_ns
        for place in range(len(group) - 1, 0, -1):
            key = group[place]
            if key.packet.is_keyframe and key.time_ns <= wanted_ns:
                # pictures that come after a keyframe and are shown before it need what is before it
                leading = [held for held in self._held if held.time_ns < key.time_ns]
                if any(self._is_wanted(held, due, last) is not False for held in leading):
                    continue
                for held in leading:
                    self._held.remove(held)
                    self._held_bytes -= held.packet.size
                after = [held for held in group[place + 1 :] if held.time_ns >= key.time_ns]
                return [
                    Chosen(key.packet, begins=True, shown=key.wanted),
                    *(Chosen(held.packet, shown=held.wanted) for held in after),
                ]
        return [Chosen(held.packet, shown=held.wanted) for held in group]

    def _take_out(self) -> _Held:
        held = self._held.popleft()
        self._held_bytes -= held.packet.size
        return held

    def _all_held(self) -> list[Chosen]:
        judged, self._undecided = self._undecided, 0
        group = [self._take_out() for _ in range(len(self._held))]
        return [Chosen(held.packet, shown=place >= judged) for place, held in enumerate(group)]

    def _forget(self, due: int | None) -> None:
        """Drop times from before every packet that is held or still to come."""
        if due is not None and len(self._shown) > 2 * MOST_REORDERED:
            least = min((held.time_ns for held in self._held), default=due)
            del self._shown[: bisect_left(self._shown, min(least, due))]


@dataclass(eq=False)
class _Held:
    packet: Any
    time_ns: int
    discard: bool
    wanted: bool = False


class KeyframesAlone:
    """The keyframes that are shown in [start, stop), each to be decoded by itself; see `Need`."""

    def __init__(self, track: Track, start_ns: int, stop_ns: int) -> None:
        self._times = PacketTimes(track)
        self._start_ns = start_ns
        self._stop_ns = stop_ns

    def take(self, packet: Any) -> Sequence[Chosen]:
        """Take the next packet."""
        time_ns = self._times.shown_by_ns(packet)
        if not packet.is_keyframe or packet.is_discard or time_ns is None:
            return ()
        return (Chosen(packet, begins=True),) if self._start_ns <= time_ns < self._stop_ns else ()

    def rest(self) -> Sequence[Chosen]:
        """Return nothing: nothing is held back."""
        return ()
