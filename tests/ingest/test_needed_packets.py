"""Which packets reach a decoder: one group of pictures before a window, a second of sound, what overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest.recording import Track
from ingest.sources import needed_packets
from ingest.sources.needed_packets import PREROLL_NS, need_of
from ingest.timing import NS

MS = 1_000_000


@dataclass(frozen=True)
class FakePacket:
    """A packet in milliseconds."""

    pts: int | None
    dts: int | None
    is_keyframe: bool = False
    duration: int = 40
    size: int = 1
    time_base: Fraction = Fraction(1, 1000)


def track(medium: Any = "pictures", **details: Any) -> Track:
    usual = {
        "counted": False,
        "keyframes_hold": True,
        "delay": None,
        "ahead_ns": 0,
        "longest_ns": 5 * NS,
        "ordered": True,
    }
    return Track(
        name=medium, medium=medium, topic="#0", codec="x", start_ns=0, stop_ns=3600 * NS, item_count=0,
        details={**usual, **details},
    )  # fmt: skip


def needed(
    of: Track, packets: Sequence[FakePacket], start_ms: int, stop_ms: int, *, from_beginning: bool = True
) -> list[FakePacket]:
    need = need_of(of, start_ms * MS, stop_ms * MS, from_beginning)
    taken = [one for packet in packets for one in need.take(packet)]
    return [chosen.packet for chosen in [*taken, *need.rest()]]


def groups(*lengths: int) -> list[FakePacket]:
    """Return pictures 40 ms apart, without reordering: groups of these lengths."""
    starts = {sum(lengths[:k]) for k in range(len(lengths))}
    return [FakePacket(k * 40, k * 40, k in starts) for k in range(sum(lengths))]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(0, 1500), st.integers(1, 800))
def test_pictures_from_the_last_keyframe_before_the_start(
    lengths: list[int], start_ms: int, length_ms: int
) -> None:
    """The slow twin: the last keyframe at or before the start, and all until the stop."""
    packets = groups(*lengths)
    stop_ms = start_ms + length_ms
    keys = [packet.pts for packet in packets if packet.is_keyframe and (packet.pts or 0) <= start_ms]
    first = max(key for key in keys if key is not None)
    twin = [packet for packet in packets if packet.pts is not None and first <= packet.pts < stop_ms]
    assert needed(track(), packets, start_ms, stop_ms) == twin


def test_the_pictures_of_an_open_group_come_with_it() -> None:
    """A keyframe is shown after the two that follow it in the file; they are passed to the decoder too."""
    before = [FakePacket(0, -80, True), FakePacket(40, -40)]
    group = [FakePacket(160, 0, True), FakePacket(80, 40), FakePacket(120, 80), FakePacket(200, 120)]
    assert needed(track(), [*before, *group], 170, 230) == group
    assert needed(track(), [*before, *group], 150, 230) == [*before, *group]


def test_before_the_first_keyframe_nothing_can_be_decoded() -> None:
    """Reading that began in the middle passes over the rest of a group; from the beginning it does not."""
    packets = [FakePacket(0, 0), FakePacket(40, 40), FakePacket(80, 80, True), FakePacket(120, 120)]
    assert needed(track(), packets, 200, 300, from_beginning=False) == packets[2:]
    assert needed(track(), packets, 20, 300, from_beginning=False) == packets[2:]
    assert needed(track(), packets, 20, 300) == packets


def test_a_track_without_true_keyframes_is_decoded_from_its_first_packet() -> None:
    """And so is one that is timed by counting."""
    packets = groups(3, 3, 3)
    for odd in (track(keyframes_hold=False), track(counted=True)):
        assert needed(odd, packets, 300, 400) == packets


def test_decoding_times_that_run_ahead_keep_more() -> None:
    """An edit list moved a picture to 20 ms before its decoding time: it belongs to the window."""
    packets = [FakePacket(0, 0, True), FakePacket(80, 100)]
    assert needed(track(ahead_ns=20 * MS), packets, 0, 100) == packets


def test_packets_without_a_decoding_time_are_kept() -> None:
    """Matroska has none for the first packets after a seek: they may be references."""
    packets = [FakePacket(0, None, True), FakePacket(160, None), FakePacket(80, 0), FakePacket(40, 40)]
    assert needed(track(), packets, 0, 100) == packets


def test_without_presentation_times_a_keyframe_counts_when_it_is_surely_shown() -> None:
    """AVI: a keyframe's picture appears at most `delay` packets after its place."""
    packets = groups(3, 3)
    assert needed(track(delay=2, ahead_ns=2 * MS), packets, 121, 200) == packets
    assert needed(track(delay=2, ahead_ns=2 * MS), packets, 122, 200) == packets[3:]


def test_a_group_too_large_to_hold_is_decoded_instead(monkeypatch: Any) -> None:
    """What is held back is bounded; nothing is lost."""
    monkeypatch.setattr(needed_packets, "MOST_HELD_BYTES", 4)
    packets = groups(9, 3)
    assert needed(track(), packets, 420, 480) == packets


def test_sound_comes_with_its_preroll() -> None:
    """A second before, whatever overlaps; a stamp that may be rounded up by a tick counts as before."""
    packets = [FakePacket(k * 40, k * 40) for k in range(100)]
    stamps = [packet.pts for packet in needed(track("sound"), packets, 2000, 2100)]
    assert PREROLL_NS == NS
    assert stamps == list(range(960, 2101, 40))
    assert needed(track("sound"), packets, 2000, 2080)[-1].pts == 2080


def test_text_comes_from_as_far_back_as_a_cue_lasts() -> None:
    """Sound and text without a stamp are kept."""
    packets = [FakePacket(0, 0, duration=5000), FakePacket(4000, 4000), FakePacket(9000, 9000)]
    assert [p.pts for p in needed(track("text"), packets, 4500, 6000)] == [0, 4000]
    bare = [FakePacket(None, None)]
    assert needed(track("text"), bare, 4500, 6000) == bare
