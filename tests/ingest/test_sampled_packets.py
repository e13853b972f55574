"""Packets for a choice of pictures: a decoder of toy streams shows whether anything needed is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.recording import Track
from ingest.sources import sampled_packets
from ingest.sources.needed_packets import need_of
from ingest.sources.packet_choice import Chosen
from ingest.sources.sampled_packets import KeyframesAlone, SampledPictures, can_choose

MS = 1_000_000


@dataclass(frozen=True)
class ToyPacket:
    """A packet, in milliseconds, that says which others its picture refers to."""

    pts: int | None
    dts: int | None
    is_keyframe: bool = False
    refers: tuple[int, ...] = ()
    """Stamps of the pictures that must be in the decoder."""
    is_discard: bool = False
    size: int = 1
    time_base: Fraction = Fraction(1, 1000)


def track(**details: Any) -> Track:
    usual = {"counted": False, "keyframes_hold": True, "delay": None, "ordered": True, "ahead_ns": 0}
    return Track(
        name="video", medium="pictures", topic="#0", codec="x", start_ns=0, stop_ns=10**15, item_count=0,
        details={**usual, **details},
    )  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> list[ToyPacket]:
    """Groups of I, then minigroups of P with B pictures before it; groups may be open, gaps uneven.

    Pictures are first laid out as shown, each with its references, then put into decoding order.
    """
    shown: list[tuple[bool, int]] = []
    """In decoding order: whether a keyframe, and the place in showing order."""
    refers: list[tuple[int, ...]] = []
    place, anchor = 0, -1
    for group in range(draw(st.integers(1, 5))):
        leading = draw(st.integers(0, 3)) if group else 0
        key = place + leading
        shown.append((True, key))
        refers.append(())
        for b in range(leading):  # open group: refer to the anchor before and to the keyframe
            shown.append((False, place + b))
            refers.append((anchor, key))
        place, anchor = key + 1, key
        for _ in range(draw(st.integers(0, 4))):
            count = draw(st.integers(0, 3))
            target = place + count
            shown.append((False, target))
            refers.append((anchor,))
            for b in range(count):
                shown.append((False, place + b))
                refers.append((anchor, target))
            place, anchor = target + 1, target
    gaps = draw(st.lists(st.integers(1, 50), min_size=len(shown), max_size=len(shown)))
    times = np.concatenate([[0], np.cumsum(gaps)[:-1]]).tolist()
    reorder = max(0, *(sum(earlier > at for _, earlier in shown[:k]) for k, (_, at) in enumerate(shown)))
    due = [times[max(0, k - reorder)] - (0 if k >= reorder else 60) for k in range(len(shown))]
    due = [min(stamp, *(times[at] for _, at in shown[k:])) for k, stamp in enumerate(due)]
    return [
        ToyPacket(times[at], due[k], key, tuple(times[r] for r in refers[k]))
        for k, (key, at) in enumerate(shown)
    ]


def decoded(chosen: Sequence[Chosen]) -> dict[int, bool]:
    """Return stamp to whether it decodes truly, as a decoder would that passes over what is not shown and
    not referred to.
    """
    referred = {stamp for one in chosen for stamp in one.packet.refers}
    inside: set[int] = set()
    result: dict[int, bool] = {}
    for one in chosen:
        packet = one.packet
        if one.begins:
            inside = set()
        whole = set(packet.refers) <= inside
        result[packet.pts] = whole
        passed_over = not one.shown and packet.pts not in referred and not packet.is_keyframe
        if whole and not passed_over:
            inside.add(packet.pts)
    return result


def chosen_of(need: Any, packets: Sequence[ToyPacket]) -> list[Chosen]:
    return [*(one for packet in packets for one in need.take(packet)), *need.rest()]


def twin(packets: Sequence[ToyPacket], moments: Sequence[int]) -> set[int]:
    """The slow twin: of each moment, the last stamp at or before it."""
    stamps = [packet.pts for packet in packets if packet.pts is not None and not packet.is_discard]
    return {max(s for s in stamps if s <= moment) for moment in moments if min(stamps) <= moment}


@given(streams(), st.lists(st.integers(0, 900), max_size=12, unique=True))
def test_what_is_wanted_decodes_as_if_everything_were_decoded(
    packets: list[ToyPacket], moments: list[int]
) -> None:
    """Whatever the groups, the gaps and the moments; and whatever else comes out is whole as well."""
    need = SampledPictures(track(), np.array(sorted(moments), np.int64) * MS, 1000 * MS, True)
    chosen = chosen_of(need, packets)
    result = decoded(chosen)
    wanted = twin(packets, moments)
    assert wanted <= {stamp for stamp, whole in result.items() if whole}
    assert all(result.values())
    assert {one.packet.pts for one in chosen if one.shown} == wanted
    order = [packets.index(one.packet) for one in chosen]
    assert order == sorted(set(order))


@given(streams(), st.lists(st.integers(0, 900), min_size=1, max_size=6, unique=True))
def test_no_group_is_decoded_that_nothing_wanted_lies_in(
    packets: list[ToyPacket], moments: list[int]
) -> None:
    """Between two pictures given, no keyframe that serves the second one was passed over."""
    need = SampledPictures(track(), np.array(sorted(moments), np.int64) * MS, 1000 * MS, True)
    chosen = chosen_of(need, packets)
    wanted = twin(packets, moments)
    for one in chosen:
        place = packets.index(one.packet)
        until = next((k for k in range(place, len(packets)) if packets[k].pts in wanted), None)
        assert until is not None, "nothing after the last wanted picture is given"
        keys = [packets[k] for k in range(place + 1, until + 1) if packets[k].is_keyframe]
        last = stamp_of(packets[until])
        serving = [k for k in keys if stamp_of(k) <= last]
        leading = [
            w for k in serving for w in wanted if w < stamp_of(k) and place_of(packets, w) > packets.index(k)
        ]
        assert not serving or leading, "a keyframe that serves all that follows was not begun at"


def stamp_of(packet: ToyPacket) -> int:
    assert packet.pts is not None
    return packet.pts


def place_of(packets: Sequence[ToyPacket], stamp: int) -> int:
    return next(k for k, packet in enumerate(packets) if packet.pts == stamp)


def steady(count: int, keyframe_every: int) -> list[ToyPacket]:
    """Pictures 40 ms apart, each referring to the one before it."""
    return [
        ToyPacket(k * 40, k * 40, not k % keyframe_every, () if not k % keyframe_every else (k * 40 - 40,))
        for k in range(count)
    ]


def test_a_rate_below_the_keyframes_touches_few_packets() -> None:
    """Moments at keyframes: those alone, each begun anew."""
    packets = steady(100, 25)
    need = SampledPictures(track(), np.arange(4) * 1000 * MS, 4000 * MS, True)
    chosen = chosen_of(need, packets)
    assert [(one.packet.pts, one.begins) for one in chosen] == [
        (0, False),
        (1000, True),
        (2000, True),
        (3000, True),
    ]


def test_an_edit_lists_hidden_pictures_are_never_wanted() -> None:
    """They are given where a shown one refers to them."""
    hidden = [ToyPacket(0, 0, True, is_discard=True), ToyPacket(40, 40, refers=(0,), is_discard=True)]
    packets = [*hidden, ToyPacket(80, 80, refers=(40,))]
    chosen = chosen_of(SampledPictures(track(), np.array([20, 60, 100]) * MS, 200 * MS, True), packets)
    assert [(one.packet.pts, one.shown) for one in chosen] == [(0, False), (40, False), (80, True)]


def test_a_packet_without_a_stamp_ends_the_choice_before_it() -> None:
    """Whatever was held is given."""
    packets = [*steady(3, 9), ToyPacket(None, None)]
    chosen = chosen_of(SampledPictures(track(), np.array([500 * MS]), 1000 * MS, True), packets)
    assert [one.packet.pts for one in chosen] == [0, 40, 80, None]


@pytest.mark.parametrize("limit", ["MOST_HELD_PACKETS", "MOST_HELD_BYTES"])
def test_what_is_held_back_is_bounded(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """An hour between two moments: packets are given before the moment comes."""
    monkeypatch.setattr(sampled_packets, limit, 10)
    need = SampledPictures(track(), np.array([3600_000 * MS]), 3601_000 * MS, True)
    assert any(need.take(packet) for packet in steady(20, 1000))


def test_keyframes_alone() -> None:
    """Those that are shown within the window, each begun anew."""
    chosen = chosen_of(need_of(track(), 1000 * MS, 3000 * MS, True, "keyframes"), steady(100, 25))
    assert [(one.packet.pts, one.begins) for one in chosen] == [(1000, True), (2000, True)]
    assert isinstance(need_of(track(), 0, 1, True, "keyframes"), KeyframesAlone)


@pytest.mark.parametrize(
    "odd", [{"ordered": False}, {"delay": 2}, {"counted": True}, {"keyframes_hold": False}]
)
def test_odd_streams_are_not_chosen_from(odd: dict[str, Any]) -> None:
    """Stamps that do not tell which picture is shown when, keyframes that do not stand alone."""
    assert can_choose(track())
    assert not can_choose(track(**odd))
