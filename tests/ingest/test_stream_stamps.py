"""The arithmetic of packet stamps: nanoseconds, ends, strays, and how badly packets are interleaved."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ingest.sources.stream_stamps import Interleaving, StreamStamps, is_stray, stamps_to_ns
from ingest.timing import NS, pts_to_ns

TIME_BASES = st.sampled_from(
    [Fraction(1, 90_000), Fraction(1, 1000), Fraction(1001, 30_000), Fraction(1, 14_112_000), Fraction(1, 25)]
)


@dataclass
class FakePacket:
    """What the stamps are read from."""

    pts: int | None
    dts: int | None = None
    duration: int = 0
    size: int = 10
    is_keyframe: bool = False
    is_discard: bool = False
    is_corrupt: bool = False


def stamps_of(*packets: FakePacket, has_pts: bool = True) -> StreamStamps:
    stamps = StreamStamps(Fraction(1, 1000), has_pts)
    for packet in packets:
        stamps.add(packet)
    return stamps


@given(st.lists(st.integers(-(2**33), 2**40), min_size=1), TIME_BASES)
def test_many_stamps_become_the_same_nanoseconds_as_one(stamps: list[int], time_base: Fraction) -> None:
    """Rounded down, also before zero and after weeks: int64 must not overflow on the way."""
    assume(all(abs(pts_to_ns(stamp, time_base)) < 2**62 for stamp in stamps))  # 146 years
    many = stamps_to_ns(np.array(stamps, np.int64), time_base)
    assert many.dtype == np.int64
    assert many.tolist() == [pts_to_ns(stamp, time_base) for stamp in stamps]


def test_the_end_is_that_of_the_packet_that_lasts_longest() -> None:
    """Packets come in decoding order, so the last one in the file need not end last."""
    stamps = stamps_of(FakePacket(0, 0, 40), FakePacket(120, 40, 40), FakePacket(40, 80, 40))
    assert (stamps.first, stamps.stop_ns(7)) == (0, 160_000_000)
    assert stamps.times_ns.tolist() == [0, 40_000_000, 120_000_000]


def test_a_last_packet_without_a_duration_lasts_one_period() -> None:
    """Containers leave the last duration out, or all of them."""
    assert stamps_of(FakePacket(0, 0, 40), FakePacket(40, 40)).stop_ns(41) == 40_000_041


def test_packets_that_are_not_shown_do_not_count() -> None:
    """An edit list drops what comes before it; what has no stamp is only counted."""
    dropped = FakePacket(-80, -80, 40, is_discard=True)
    stamps = stamps_of(dropped, FakePacket(0, -40, 40, is_keyframe=True), FakePacket(None))
    assert (len(stamps), stamps.first, stamps.discarded, stamps.without_stamp) == (1, 0, 1, 1)
    assert (stamps.byte_count, stamps.keyframes) == (30, 1)


def test_decoding_stamps_may_run_ahead_of_presentation() -> None:
    """An edit list can move pictures before their decoding time; by how much bounds what must be read."""
    assert stamps_of(FakePacket(0, -40), FakePacket(60, 80)).ahead == 20
    assert stamps_of(FakePacket(0, -40), FakePacket(60, 0)).ahead == 0


def test_without_presentation_stamps_decoding_stamps_count() -> None:
    """AVI: what FFmpeg guesses is left alone."""
    stamps = stamps_of(FakePacket(2, 0, 1), FakePacket(1, 1, 1), has_pts=False)
    assert stamps.times_ns.tolist() == [0, 1_000_000]


def test_a_packet_is_known_by_its_stamp_and_size() -> None:
    """A demuxer that numbers packets anew after a seek gives known stamps to other packets."""
    stamps = stamps_of(FakePacket(0, 0, size=10), FakePacket(40, 40, size=20))
    assert stamps.knows(FakePacket(40, 40, size=20))
    assert not stamps.knows(FakePacket(0, 0, size=20))
    assert not stamps.knows(FakePacket(80, 80, size=20))


def test_a_lone_leap_is_a_stray() -> None:
    """One damaged bit puts a packet years away; the next one is back."""
    leap = 2**31 * 1_000_000
    times = np.array([0, 40, 80, leap, 160, 200], np.int64)
    assert np.flatnonzero(is_stray(times)).tolist() == [3]
    stamps = stamps_of(
        *(FakePacket(k * 40, k * 40, 40) for k in range(9)), FakePacket(2**31), FakePacket(360)
    )
    assert stamps.strays.tolist() == [2**31 * 1_000_000]
    assert stamps.stop_ns(40_000_000) == 400_000_000


@given(st.lists(st.integers(0, 100 * NS), max_size=40))
def test_a_clock_that_goes_on_has_no_strays(gaps: list[int]) -> None:
    """However long its gaps: a still picture may be shown for an hour."""
    assert not is_stray(np.cumsum(np.array([0, *gaps], np.int64))).any()


@pytest.mark.parametrize("leap", [3600 * NS, -3600 * NS])
def test_a_clock_that_leaps_and_goes_on_has_no_strays(leap: int) -> None:
    """Two recordings in one file, or a counter that was set anew."""
    before = np.arange(10) * 40_000_000
    assert not is_stray(np.concatenate([before, before + leap])).any()


def test_lateness_is_measured_against_the_latest_of_all_streams() -> None:
    """Sound that is stored half a second behind the pictures is half a second late."""
    order = Interleaving()
    assert [order.late_ns(due) for due in (0, 500, 0, 600, 100)] == [0, 0, 500, 0, 500]


def test_a_lone_packet_from_the_future_makes_nobody_late() -> None:
    """Two in a row do: then the clock has leapt."""
    order = Interleaving()
    assert [order.late_ns(due) for due in (0, 10**15, 40, 80)] == [0, 0, 0, 0]
    assert [order.late_ns(due) for due in (10**15, 10**15 + 40, 10**15)] == [0, 0, 40]
