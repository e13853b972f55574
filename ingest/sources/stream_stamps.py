"""The stamps of a stream's packets, gathered in file order and judged as a whole."""

from __future__ import annotations

from array import array
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from ingest.timing import FARTHEST_NS, LONGEST_STILL_NS, NS, pts_to_ns

STRAY_NS = 10 * NS
"""A stamp that leaps so far and is taken back by the very next one is damaged."""


class StreamStamps:
    """Takes packets one by one; the properties hold once the last one was added.

    Args:
        time_base: the unit of the stamps.
        has_pts: whether presentation stamps are stored; else decoding stamps stand for them.
    """

    def __init__(self, time_base: Fraction, has_pts: bool) -> None:
        self.time_base = time_base
        self.byte_count = 0
        self.keyframes = 0
        self.without_stamp = 0
        self.discarded = 0
        """Packets that an edit list says to decode but not to show."""
        self.ahead = 0
        """How many ticks a decoding stamp comes after its presentation stamp at most."""
        self.ordered = True
        """Whether every packet has a presentation stamp, and decoding stamps never fall."""
        self.damaged = array("q")
        """Stamps of packets that the demuxer knows to be damaged."""
        self._has_pts = has_pts
        self._latest_dts: int | None = None
        self._stamps = array("q")
        self._durations = array("q")
        self._sizes = array("q")

    def add(self, packet: Any) -> None:
        """Take the next packet."""
        size, dts = packet.size, packet.dts
        stamp = packet.pts if self._has_pts else dts
        self.byte_count += size
        self.keyframes += packet.is_keyframe
        if stamp is None or (dts is not None and self._latest_dts is not None and dts < self._latest_dts):
            self.ordered = False
        if dts is not None:
            self._latest_dts = dts
        if stamp is None:
            self.without_stamp += 1
            return
        if packet.is_corrupt:
            self.damaged.append(stamp)
        if packet.is_discard:
            self.discarded += 1
            return
        self._stamps.append(stamp)
        self._durations.append(packet.duration or 0)
        self._sizes.append(size)
        if dts is not None and dts - stamp > self.ahead:
            self.ahead = dts - stamp

    def __len__(self) -> int:
        """Return the number of packets that are shown and have a stamp."""
        return len(self._stamps)

    def knows(self, packet: Any) -> bool:
        """Say whether a packet of this stamp and size was among those added."""
        stamp = packet.pts if self._has_pts else packet.dts
        same = np.frombuffer(self._stamps, np.int64) == stamp
        return bool((np.frombuffer(self._sizes, np.int64)[same] == packet.size).any())

    @cached_property
    def strays(self) -> np.ndarray:
        """Stamps in ns, int64 [N], that are far away from all others: damaged."""
        return np.sort(stamps_to_ns(self._array(self._stamps)[~self._kept], self.time_base))

    @cached_property
    def times_ns(self) -> np.ndarray:
        """Stamps of all others in ns, int64 [N], ascending."""
        return np.sort(stamps_to_ns(self._array(self._stamps)[self._kept], self.time_base))

    @cached_property
    def first(self) -> int:
        """The least stamp, in ticks; 0 without packets."""
        return int(self._array(self._stamps)[self._kept].min()) if len(self) else 0

    def stop_ns(self, period_ns: int) -> int:
        """Return when the last packet ends; where it has no duration, `period_ns` after it."""
        if not len(self):
            return 0
        stamps = self._array(self._stamps)[self._kept]
        ends = stamps + self._array(self._durations)[self._kept]
        last, end = int(stamps.max()), int(ends.max())
        last_ns = self.in_ns(last)
        return min(self.in_ns(end) if end > last else last_ns + period_ns, last_ns + LONGEST_STILL_NS)

    @cached_property
    def longest_ns(self) -> int:
        """The longest duration of a packet."""
        return self.in_ns(max(self._durations, default=0))

    def in_ns(self, ticks: int) -> int:
        """Return ticks in nanoseconds, rounded down."""
        return pts_to_ns(ticks, self.time_base)

    @cached_property
    def _kept(self) -> np.ndarray:
        return ~is_stray(stamps_to_ns(self._array(self._stamps), self.time_base))

    def _array(self, values: array[int]) -> np.ndarray:
        return np.frombuffer(values, np.int64)


def is_stray(times_ns: np.ndarray) -> np.ndarray:
    """Say which times leap far ahead or back for one packet only: they must be damaged.

    A clock that leaps and goes on from there, and a long still picture, are normal.

    Args:
        times_ns: int64 [N], in file order.

    Returns:
        bool [N]; the first and the last one are never strays.
    """
    stray = np.zeros(len(times_ns), bool)
    leaps = np.diff(times_ns)
    far = np.abs(leaps) > STRAY_NS
    stray[1:-1] = far[:-1] & far[1:] & ((leaps[:-1] > 0) != (leaps[1:] > 0))
    return stray


def stamps_to_ns(stamps: np.ndarray, time_base: Fraction) -> np.ndarray:
    """Return `pts_to_ns` of many stamps at once, int64 [N].

    Whole seconds and the rest are converted apart, so that nothing overflows.
    """
    most = FARTHEST_NS * time_base.denominator // (time_base.numerator * NS)
    if most >= 2**63:  # no stamp is so far away
        return _exact_ns(stamps, time_base)
    times_ns = _exact_ns(np.clip(stamps, -most, most), time_base)
    return np.where(stamps > most, FARTHEST_NS, np.where(stamps < -most, -FARTHEST_NS, times_ns))


def _exact_ns(stamps: np.ndarray, time_base: Fraction) -> np.ndarray:
    seconds, rest = np.divmod(stamps * time_base.numerator, time_base.denominator)
    return np.asarray(seconds * NS + rest * NS // time_base.denominator)


class Interleaving:
    """How far a container's packets are from the order of their decoding times."""

    def __init__(self) -> None:
        self.latest_ns: int | None = None
        """The greatest decoding time so far; one lone packet that is far ahead does not count."""
        self._suspect = False

    def late_ns(self, due_ns: int) -> int:
        """Take the next packet's decoding time; return how far it comes behind others."""
        latest_ns = self.latest_ns
        if latest_ns is None:
            self.latest_ns = due_ns
            return 0
        if due_ns < latest_ns:
            self._suspect = False
            return latest_ns - due_ns
        if due_ns - latest_ns > STRAY_NS and not self._suspect:
            self._suspect = True
            return 0
        self.latest_ns, self._suspect = due_ns, False
        return 0
