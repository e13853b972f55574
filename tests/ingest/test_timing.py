"""The clock's arithmetic, against fractions and slow loops."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.timing import (
    FARTHEST_NS,
    NS,
    ceil_div,
    clip_count,
    clip_window,
    gaps_longer_than,
    grid_count,
    grid_times,
    index_at_or_before,
    median_period_ns,
    merge_spans,
    ns_to_pts,
    pts_to_ns,
    seconds_to_ns,
)

NTSC = Fraction(30000, 1001)
times = st.integers(-(2**55), 2**55)
lengths = st.integers(1, 20 * NS)
time_bases = st.builds(Fraction, st.integers(1, 2000), st.integers(1, 1_000_000_000))
rates = st.sampled_from([NTSC, Fraction(24000, 1001), Fraction(8), Fraction(1, 3), Fraction(29.97)])


def test_stamps_become_nanoseconds_rounded_down() -> None:
    """Frame 1 at 29.97 fps is kept as 33 366 666 ns; a stamp before zero is rounded down as well."""
    assert pts_to_ns(1, 1 / NTSC) == 33_366_666
    assert pts_to_ns(-1, 1 / NTSC) == -33_366_667
    assert pts_to_ns(90_000, Fraction(1, 90_000)) == NS


@given(st.integers(-(2**40), 2**40), time_bases)
def test_stamps_become_nanoseconds_as_fractions_do(pts: int, time_base: Fraction) -> None:
    """The twin: the exact product, floored."""
    exact_ns = math.floor(pts * time_base * NS)
    assert pts_to_ns(pts, time_base) == min(max(exact_ns, -FARTHEST_NS), FARTHEST_NS)


@given(times, time_bases)
def test_a_stamp_is_the_last_one_at_or_before_a_time(time_ns: int, time_base: Fraction) -> None:
    """The stamp found is not after the time, and the next one is."""
    pts = ns_to_pts(time_ns, time_base)
    assert pts * time_base * NS <= time_ns < (pts + 1) * time_base * NS


@given(st.integers(), st.integers(1))
def test_ceil_div_is_the_ceiling(numerator: int, denominator: int) -> None:
    """Also below zero."""
    assert ceil_div(numerator, denominator) == math.ceil(Fraction(numerator, denominator))


def test_a_positive_length_stays_positive() -> None:
    """A tenth of a nanosecond is one."""
    assert seconds_to_ns(Fraction(1, 10 * NS)) == 1
    assert seconds_to_ns(Fraction(4)) == 4 * NS


@given(times, lengths, rates)
@example(0, 4 * NS, NTSC)
@example(-7, 33_366_667, NTSC)
@example(0, 1, Fraction(1, 3))
def test_the_grid_is_what_fractions_say(start_ns: int, length_ns: int, rate: Fraction) -> None:
    """The twin: k from 0 while k is less than the length in steps, rounded up; each time rounded up."""
    expected: list[int] = []
    while len(expected) < math.ceil(Fraction(length_ns, NS) * rate):
        expected.append(start_ns + math.ceil(len(expected) * NS / rate))
    grid = grid_times(start_ns, length_ns, rate)
    assert grid.dtype == np.int64
    assert grid.tolist() == expected
    assert len(grid) == grid_count(length_ns, rate)


def test_grid_steps_meet_the_frames_of_a_29_97_video() -> None:
    """A grid at the video's own rate picks each frame once: stamps round down, grid steps up."""
    frames = np.array([pts_to_ns(k, 1 / NTSC) for k in range(300)])
    grid = grid_times(0, seconds_to_ns(300 / NTSC), NTSC)
    assert index_at_or_before(frames, grid).tolist() == list(range(300))


def test_a_grid_of_no_length_is_empty() -> None:
    """Nothing lies in a window that ends where it starts, or before, at whatever rate."""
    for rate in (Fraction(8), NTSC, Fraction(1, 10**12), Fraction(10**30)):
        assert grid_times(5, 0, rate).tolist() == []
        assert grid_times(5, -3, rate).tolist() == []


def test_a_window_shorter_than_a_step_has_one_grid_time() -> None:
    """Its start."""
    assert grid_times(17, 1, Fraction(8)).tolist() == [17]
    assert grid_times(17, 1, Fraction(1, 10**12)).tolist() == [17]


@given(st.lists(st.integers(-50, 50)), st.lists(st.integers(-60, 60)))
def test_the_last_item_at_or_before_is_found_as_a_loop_finds_it(items: list[int], grid: list[int]) -> None:
    """The twin: try them all; of equal times the last one counts; -1 where there is none."""
    items.sort()
    found = index_at_or_before(np.array(items, np.int64), np.array(grid, np.int64))
    expected = [max((i for i, item in enumerate(items) if item <= t), default=-1) for t in grid]
    assert found.tolist() == expected


@given(times, st.integers(0, 10**6), st.integers(1, 10**5))
def test_clips_cover_the_recording_and_never_overlap(origin_ns: int, length_ns: int, clip_ns: int) -> None:
    """Laid end to end they are the recording; all but the last have the full length."""
    clip_ns = max(clip_ns, length_ns // 50)
    stop_ns = origin_ns + length_ns
    count = clip_count(origin_ns, stop_ns, clip_ns)
    windows = [clip_window(origin_ns, stop_ns, clip_ns, index) for index in range(count)]
    borders = [origin_ns, *(stop for _, stop in windows)]
    assert [start for start, _ in windows] == borders[:-1]
    assert borders[-1] == stop_ns
    assert all(stop - start == clip_ns for start, stop in windows[:-1])
    assert all(stop > start for start, stop in windows)


def test_the_median_period_is_one_of_the_distances() -> None:
    """The lower of two middle ones, whatever the order of the times; at least 1; 0 for one time."""
    assert median_period_ns(np.array([0, 10, 40, 100])) == 30
    assert median_period_ns(np.array([100, 0, 10, 40, 50])) == 10
    assert median_period_ns(np.array([5, 5, 5])) == 1
    assert median_period_ns(np.array([5])) == 0
    assert median_period_ns(np.array([], np.int64)) == 0


def test_gaps_are_the_spans_longer_than_the_limit() -> None:
    """A span of exactly the limit is none; there are at most as many as asked for."""
    times_ns = np.array([0, 10, 40, 50, 90])
    assert gaps_longer_than(times_ns, 10) == [(10, 40), (50, 90)]
    assert gaps_longer_than(times_ns, 30) == [(50, 90)]
    assert gaps_longer_than(times_ns, 10, most=1) == [(10, 40)]
    assert gaps_longer_than(times_ns, 0) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)).map(lambda s: (s[0], s[0] + s[1]))))
def test_merged_spans_hold_the_same_moments(spans: list[tuple[int, int]]) -> None:
    """The twin: sets of moments. What is left is sorted and neither overlaps nor touches."""
    merged = merge_spans(spans)
    assert {t for start, stop in merged for t in range(start, stop)} == {
        t for start, stop in spans for t in range(start, stop)
    }
    assert all(before[1] < after[0] for before, after in pairwise(merged))


@pytest.mark.parametrize(("within_ns", "expected"), [(4, [(0, 2), (7, 8)]), (5, [(0, 8)])])
def test_spans_close_to_each_other_become_one(within_ns: int, expected: list[tuple[int, int]]) -> None:
    """Five apart is within five, not within four."""
    assert merge_spans([(7, 8), (0, 2)], within_ns) == expected
