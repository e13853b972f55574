"""Signals by clip: however the rows come, the clips are those of all rows at once."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.recording import Clock, Rows, Track
from ingest.sampling import signals
from ingest.sampling.clip import SignalClip, Window
from ingest.sampling.resampling import resample
from ingest.sampling.signals import SignalSampler
from ingest.timing import NS, grid_times

NAN = math.nan
Row = tuple[int, list[float]]


def signal_track(
    period_ns: int = 4,
    max_age_ns: int = 12,
    kinds: Sequence[str] = ("linear", "last"),
    jitter_ns: int = 0,
    quaternions: Sequence[tuple[int, int, int, int]] = (),
) -> Track:
    return Track(
        "imu", "signal", "/imu", "made", 0, 2**60, 1,
        period_ns=period_ns, max_age_ns=max_age_ns, kinds=tuple(kinds), quaternions=tuple(quaternions),
        columns=tuple(f"c{i}" for i in range(len(kinds))),
        clock=Clock("header", "made", 0, 0, jitter_ns),
    )  # fmt: skip


def windows_at(*borders: int) -> list[Window]:
    """Return neighbouring windows from border to border."""
    return [Window(i, start, stop) for i, (start, stop) in enumerate(pairwise(borders))]


def rows_of(rows: Sequence[Row], columns: int) -> Rows:
    values = np.array([values for _, values in rows], np.float64).reshape(len(rows), columns)
    return Rows(np.array([time for time, _ in rows], np.int64), values)


def batched(rows: Sequence[Row], sizes: Sequence[int], columns: int) -> list[Rows]:
    """Return the rows in batches of these sizes; the last batch holds the rest."""
    batches, first = [], 0
    for size in [*sizes, len(rows)]:
        batches.append(rows_of(rows[first : first + size], columns))
        first += size
    return batches


def clips_of(sampler: SignalSampler, batches: Sequence[Rows]) -> list[tuple[Window, SignalClip]]:
    done: list[tuple[Window, SignalClip]] = []
    for batch in batches:
        done += sampler.push(batch)
    return done + sampler.finish()


def same(first: SignalClip, second: SignalClip) -> bool:
    """Say whether two clips are equal to the last bit."""
    times = [None if clip.times_ns is None else clip.times_ns.tolist() for clip in (first, second)]
    return (
        first.values.tobytes() == second.values.tobytes()
        and first.values.shape == second.values.shape
        and times[0] == times[1]
        and (first.fresh, first.valid) == (second.fresh, second.valid)
    )


def from_all_rows(
    track: Track, window: Window, rate: Fraction | None, columns: Sequence[int], rows: Sequence[Row]
) -> SignalClip:
    """The slow twin: one clip from everything there is."""
    every = rows_of(sorted(rows, key=lambda row: row[0]), len(track.columns))
    inside = (every.times_ns >= window.start_ns) & (every.times_ns < window.stop_ns)
    if rate is None:
        native = every.values[inside][:, list(columns)].astype(np.float32)
        return SignalClip(native, every.times_ns[inside] - window.start_ns)
    held = not track.max_age_ns
    values = resample(
        every.times_ns,
        every.values,
        ["last"] * len(track.kinds) if held else track.kinds,
        [] if held else track.quaternions,
        grid_times(window.start_ns, window.length_ns, rate),
        int(NS / rate),
        track.period_ns,
        track.max_age_ns,
    )
    return SignalClip(values[:, list(columns)], fresh=bool(inside.any()))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Track, list[Window], list[Row]]:
    """A track, windows, and rows in the order of a log that is late by up to the track's jitter."""
    jitter_ns = draw(st.sampled_from([0, 0, 6]))
    turned = draw(st.booleans())
    track = signal_track(
        max_age_ns=draw(st.sampled_from([0, 3, 12])),
        kinds=["slerp"] * 4 if turned else ["linear", "last", "linear", "last"],
        quaternions=[(0, 1, 2, 3)] if turned else [],
        jitter_ns=jitter_ns,
    )
    number = st.sampled_from([0.0, 1.0, -0.7, 1 / 3, NAN])
    logged = sorted(draw(st.lists(st.integers(-30, 150), max_size=40)))
    rows = [
        (time - draw(st.integers(0, jitter_ns)), draw(st.lists(number, min_size=4, max_size=4)))
        for time in logged
    ]
    borders = sorted(draw(st.lists(st.integers(-10, 130), min_size=2, max_size=6, unique=True)))
    return track, windows_at(*borders), rows


rates = st.sampled_from([Fraction(NS), Fraction(NS, 3), Fraction(NS, 7), Fraction(3 * NS, 20), None])


@given(cases(), rates, st.lists(st.integers(0, 9), max_size=20), st.sampled_from([2, 10, 4096]))
def test_clips_are_those_of_all_rows_at_once(
    case: tuple[Track, list[Window], list[Row]], rate: Fraction | None, sizes: list[int], heap: int
) -> None:
    """To the last bit: however the rows are batched, and however early what is over is forgotten."""
    track, windows, rows = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "SMALLEST_HEAP", heap)
        found = clips_of(SignalSampler(track, windows, rate), batched(rows, sizes, 4))
    assert [window for window, _ in found] == windows
    for window, clip in found:
        assert same(clip, from_all_rows(track, window, rate, range(4), rows))


@given(cases(), rates)
def test_a_clip_does_not_depend_on_the_others_asked_for(
    case: tuple[Track, list[Window], list[Row]], rate: Fraction | None
) -> None:
    """Each window by itself gives what all give together."""
    track, windows, rows = case
    batches = [rows_of([row], 4) for row in rows]
    together = clips_of(SignalSampler(track, windows, rate), batches)
    for window, clip in together:
        ((_, alone),) = clips_of(SignalSampler(track, [window], rate), batches)
        assert same(clip, alone)


@given(cases(), rates, st.lists(st.integers(0, 3), max_size=4))
def test_chosen_columns_are_the_same_values(
    case: tuple[Track, list[Window], list[Row]], rate: Fraction | None, columns: list[int]
) -> None:
    """In the order asked for; also part of a quaternion, which is still turned as a whole."""
    track, windows, rows = case
    for window, clip in clips_of(SignalSampler(track, windows, rate, columns), batched(rows, [], 4)):
        assert same(clip, from_all_rows(track, window, rate, columns, rows))


def test_a_ramp_is_a_ramp() -> None:
    """A value of 1 a second, measured at 100 Hz with steps of its own, is read off any grid."""
    rows = [(k * NS // 100 + 3_333_333, [k / 100 + 0.003333333, k]) for k in range(400)]
    track = signal_track(NS // 100, 3 * NS // 100)
    windows = windows_at(0, NS, 2 * NS)
    for (window, clip), (_, coarse) in zip(
        clips_of(SignalSampler(track, windows, Fraction(150)), [rows_of(rows, 2)]),
        clips_of(SignalSampler(track, windows, Fraction(10)), [rows_of(rows, 2)]),
        strict=True,
    ):
        grid = window.index + np.arange(150) / 150
        known = grid > 0.0034
        assert clip.values[known, 0] == pytest.approx(grid[known], abs=1e-6)
        assert np.isnan(clip.values[~known]).all()
        assert coarse.values[1:, 0] == pytest.approx(window.index + np.arange(1, 10) / 10, abs=0.005)


def test_held_topics_hold_without_limit_and_are_never_mixed() -> None:
    """A command stands until the next one; a clip in which none comes says so."""
    track = signal_track(max_age_ns=0, kinds=["linear", "linear"])
    rows = [(0, [1.0, NAN]), (1, [NAN, 5.0]), (35, [3.0, NAN])]
    found = clips_of(
        SignalSampler(track, windows_at(0, 20, 40, 60), Fraction(NS, 10)), batched(rows, [1, 1], 2)
    )
    assert [clip.values.tolist() for _, clip in found] == [
        [[1.0, pytest.approx(NAN, nan_ok=True)], [1.0, 5.0]],
        [[1.0, 5.0], [1.0, 5.0]],
        [[3.0, 5.0], [3.0, 5.0]],
    ]
    assert [clip.fresh for _, clip in found] == [True, True, False]


def test_a_late_row_of_a_held_topic_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds before a clip is folded into one row, but not before the log's disorder is over."""
    monkeypatch.setattr(signals, "SMALLEST_HEAP", 1)
    track = signal_track(max_age_ns=0, jitter_ns=6)
    sampler = SignalSampler(track, windows_at(100, 101), Fraction(NS))
    for row in ((0, [1.0, 1.0]), (10, [NAN, 2.0]), (5, [7.0, NAN]), (11, [NAN, 3.0])):
        sampler.push(rows_of([row], 2))
    assert sampler.finish()[0][1].values.tolist() == [[7.0, 3.0]]


def test_native_rows_keep_their_own_times() -> None:
    """Relative to the clip, half open, equal times in the order they came; what float32 can't hold is NaN."""
    rows = [(10, [2.0, 0.0]), (5, [1.0, 0.0]), (10, [3.0, 1e300]), (20, [4.0, 0.0])]
    first, second = (
        clip
        for _, clip in clips_of(
            SignalSampler(signal_track(), windows_at(5, 20, 30), None), [rows_of(rows, 2)]
        )
    )
    assert first.times_ns is not None
    assert first.times_ns.tolist() == [0, 5, 5]
    assert first.values[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(first.values[2, 1])
    assert second.times_ns is not None
    assert second.times_ns.tolist() == [0]


def test_a_clip_without_a_value_has_no_length() -> None:
    """All steps are there, none is valid."""
    ((_, clip),) = clips_of(
        SignalSampler(signal_track(), windows_at(100, 120), Fraction(NS)), [rows_of([(0, [1, 2])], 2)]
    )
    assert clip.values.shape == (20, 2)
    assert clip.valid == 0


def test_a_clip_at_the_end_of_time_comes_too() -> None:
    """A clip may end after the latest stamp that counts as one."""
    rows = rows_of([(2**62, [1.0, 2.0])], 2)
    ((_, clip),) = clips_of(SignalSampler(signal_track(), windows_at(2**62 - 5, 2**62 + 5), None), [rows])
    assert clip.values.tolist() == [[1.0, 2.0]]


def test_clips_come_as_soon_as_nothing_can_change_them() -> None:
    """After a maximum age, the jitter and a step, and not later."""
    sampler = SignalSampler(signal_track(max_age_ns=12, jitter_ns=5), windows_at(0, 20, 40), Fraction(NS))
    given_at = [len(sampler.push(rows_of([(time, [1, 2])], 2))) for time in (0, 20, 38, 39, 58, 59)]
    assert given_at == [0, 0, 0, 1, 0, 1]
    assert sampler.finish() == []


@pytest.mark.parametrize("max_age_ns", [0, 3 * NS // 1000])
@pytest.mark.parametrize("first_clip", [0, 400])
def test_memory_holds_a_clip_however_long_the_topic(max_age_ns: int, first_clip: int) -> None:
    """1 kHz in single rows: neither clips that are over nor what comes before the first one is kept."""
    track = signal_track(NS // 1000, max_age_ns)
    windows = windows_at(*range(first_clip * NS, 401 * NS, NS))
    sampler = SignalSampler(track, windows, Fraction(50))
    row = np.ones((1, 2))
    most = 0
    tracemalloc.start()
    try:
        for k in range(20_000):
            sampler.push(Rows(np.array([k * NS // 1000]), row.copy()))
            if k % 500 == 0:
                most = max(most, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert most < 3_000_000  # 4096 single rows are 1.7 MB
