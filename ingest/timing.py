"""The clock's arithmetic: integers in, integers out, nothing else.

A PTS becomes nanoseconds once, rounded down; grid steps round up. Both down would pick the frame
before the right one at 29.97 frames per second:

    frame 1 at 1001/30000 s   = 33 366 666.67 ns   kept as 33 366 666
    grid step 1 at that rate  = 33 366 666.67 ns   asked as 33 366 667   -> frame 1, not frame 0
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

NS = 1_000_000_000
"""Nanoseconds in a second."""
FARTHEST_NS = 2**61
"""A stamp in a file that is farther from 0 than this (73 years) is damaged, and taken for this: what is
worked out from stamps fits int64 then.
"""
FASTEST_HZ = 100_000
"""No pictures and no signals come more often."""
LONGEST_STILL_NS = 3600 * NS
"""Nothing counts for longer than this after its last item."""


_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{0,30})?([eE][+-]?\d{1,2})?(/\d{1,30})?|[+-]?\.\d{1,30}")


def fraction_of(text: str) -> Fraction:
    """Return the number that a text names: `8`, `0.5`, `30000/1001`, `1e-3`.

    Raises:
        ValueError: it names none, or one that nobody means: `1e999999999` fills the memory.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError(f"not a number: {text[:40]!r}")
    try:
        return Fraction(text)
    except ZeroDivisionError as error:
        raise ValueError(f"not a number: {text[:40]!r}") from error


def pts_to_ns(pts: int, time_base: Fraction) -> int:
    """Return a presentation time stamp in nanoseconds, rounded down; see `FARTHEST_NS`."""
    return _bounded(pts * time_base.numerator * NS // time_base.denominator)


def _bounded(time_ns: int) -> int:
    return time_ns if -FARTHEST_NS <= time_ns <= FARTHEST_NS else FARTHEST_NS if time_ns > 0 else -FARTHEST_NS


class Ticks:
    """Stamps of one time base in nanoseconds: `pts_to_ns` for many, as asking a fraction for its parts costs
    more than the arithmetic.

    Args:
        time_base: the unit of the stamps, in seconds.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._times, self._over = time_base.numerator * NS, time_base.denominator

    def ns(self, stamp: int) -> int:
        """Return a stamp in nanoseconds, rounded down; see `FARTHEST_NS`."""
        time_ns = stamp * self._times // self._over
        return time_ns if -FARTHEST_NS <= time_ns <= FARTHEST_NS else _bounded(time_ns)


def ns_to_pts(time_ns: int, time_base: Fraction) -> int:
    """Return the last presentation time stamp at or before a time."""
    return time_ns * time_base.denominator // (time_base.numerator * NS)


def seconds_to_ns(seconds: Fraction) -> int:
    """Return a length in nanoseconds, rounded up, so that a positive length stays positive."""
    return ceil_div(seconds.numerator * NS, seconds.denominator)


def ceil_div(numerator: int, denominator: int) -> int:
    """Return the quotient rounded up; the denominator is positive."""
    return -(-numerator // denominator)


def grid_count(length_ns: int, rate: Fraction) -> int:
    """Return how many grid times a clip of this length has: ceil(length * rate)."""
    return max(0, ceil_div(length_ns * rate.numerator, NS * rate.denominator))


def grid_times(start_ns: int, length_ns: int, rate: Fraction) -> np.ndarray:
    """Return the grid times of a clip, int64 [grid_count]: start + ceil(k * 1e9 / rate)."""
    count = grid_count(length_ns, rate)
    if max(1, count) * rate.denominator * NS < 2**62 and rate.numerator < 2**62:  # fits int64
        k = np.arange(count, dtype=np.int64)
        return start_ns - (-(k * (NS * rate.denominator)) // rate.numerator)
    return np.array(
        [start_ns + ceil_div(k * NS * rate.denominator, rate.numerator) for k in range(count)], np.int64
    )


def index_at_or_before(times_ns: np.ndarray, grid_ns: np.ndarray) -> np.ndarray:
    """Return for each grid time the index of the last item whose time is at or before it; -1: none.

    Args:
        times_ns: int64 [N], non-decreasing. Of equal times the last one counts.
        grid_ns: int64 [K].
    """
    return np.searchsorted(times_ns, grid_ns, side="right").astype(np.int64) - 1


def clip_count(origin_ns: int, stop_ns: int, clip_ns: int) -> int:
    """Return how many clips of this length cover [origin, stop); the last one may be short."""
    return max(0, ceil_div(stop_ns - origin_ns, clip_ns))


def clip_window(origin_ns: int, stop_ns: int, clip_ns: int, index: int) -> tuple[int, int]:
    """Return [start, stop) of one clip; the last one ends with the recording."""
    start_ns = origin_ns + index * clip_ns
    return start_ns, min(start_ns + clip_ns, stop_ns)


def median_period_ns(times_ns: np.ndarray) -> int:
    """Return the median distance of neighbouring times, at least 1; 0 for fewer than two times.

    The lower of the two middle values is taken, so that the answer is one of the distances.
    """
    if len(times_ns) < 2:
        return 0
    gaps = np.diff(np.sort(times_ns))
    return max(1, int(np.sort(gaps)[(len(gaps) - 1) // 2]))


def gaps_longer_than(times_ns: np.ndarray, limit_ns: int, most: int = 100) -> list[tuple[int, int]]:
    """Return up to `most` spans [item, next item) longer than the limit; times are sorted."""
    if limit_ns <= 0 or len(times_ns) < 2:
        return []
    where = np.flatnonzero(np.diff(times_ns) > limit_ns)[:most]
    return [(int(times_ns[i]), int(times_ns[i + 1])) for i in where]


def merge_spans(spans: Sequence[tuple[int, int]], within_ns: int = 0) -> list[tuple[int, int]]:
    """Return the union of half-open spans, sorted; spans closer than `within_ns` become one."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1] + within_ns:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged
