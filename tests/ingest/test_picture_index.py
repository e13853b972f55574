"""The table between a picture's place and its time: from packets, for windows and for moments."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_video import Pictures, stored_times_ns, write_video

from ingest.sources import picture_index
from ingest.sources.av_container import Damage, packets_of
from ingest.sources.picture_index import PictureIndex, read_index
from ingest.timing import NS


def index_of(*stamps: int, time_base: Fraction = Fraction(1, NS)) -> PictureIndex:
    return PictureIndex(np.array(stamps, np.int64), time_base)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_the_index_holds_the_containers_stamps_in_the_order_shown(tmp_path: Path, ending: str) -> None:
    """Packets come in decoding order; with B-frames that is another one."""
    pictures = Pictures(frames=20, times=[Fraction(k * k, 90) for k in range(20)], b_frames=3)
    path = write_video(tmp_path / f"cards.{ending}", pictures)
    index = read_index(path, 0)
    assert index.times_ns.tolist() == stored_times_ns(path, pictures)
    assert (index.hidden, index.without_stamp, index.repeated, index.is_damaged) == (0, 0, 0, False)


def test_what_an_edit_list_hides_has_no_place(tmp_path: Path) -> None:
    """An mp4 that begins a second before zero, in one group of pictures: 24 of them are decoded only."""
    pictures = Pictures(frames=60, start=Fraction(-1), keyframe_every=60)
    index = read_index(write_video(tmp_path / "cards.mp4", pictures), 0)
    assert index.hidden == 24
    assert len(index) == 36
    assert index.times_ns[0] == 0


def test_packets_without_a_stamp_are_counted(media: Path) -> None:
    """A raw H.264 stream stores none; FFmpeg makes up decoding stamps, and no others."""
    index = read_index(media / "video" / "count.h264", 0)
    assert len(index) + index.without_stamp == 245
    assert index.without_stamp > 0


def test_repeated_stamps_are_counted() -> None:
    """Two of them are the same as the one before."""
    assert index_of(1, 2, 2, 3, 3).repeated == 2
    assert index_of().repeated == 0


def test_damage_is_known(card_mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the container can't be read, places can't be counted."""
    whole = packets_of

    def broken(container: Any, streams: Any, damage: Damage) -> Iterator[Any]:
        damage.begin("a hole")
        yield from whole(container, streams, damage)

    monkeypatch.setattr(picture_index, "packets_of", broken)
    assert read_index(card_mp4, 0).is_damaged


def shown_at(times: list[int], moment: int) -> int | None:
    """The slow twin: the place of the last picture at or before a moment."""
    before = [place for place, time_ns in enumerate(times) if time_ns <= moment]
    return before[-1] if before else None


@given(
    st.lists(st.integers(-50, 50), max_size=12, unique=True).map(sorted),
    st.integers(-60, 60), st.integers(1, 60), st.lists(st.integers(-70, 130), max_size=12).map(sorted),
)  # fmt: skip
def test_the_places_of_a_window(times: list[int], start: int, length: int, moments: list[int]) -> None:
    """Those that are on at a moment of it; or all, with the one that is on at its start."""
    index, stop = index_of(*times), start + length
    wanted = {shown_at(times, moment) for moment in moments if start <= moment < stop}
    found = index.places(start, stop, np.array(moments, np.int64)).tolist()
    assert found == sorted(place for place in wanted if place is not None)
    everything = index.places(start, stop).tolist()
    inside = [place for place, time_ns in enumerate(times) if start < time_ns < stop]
    on_at_start = [place for place in [shown_at(times, start)] if place is not None]
    assert everything == on_at_start + inside


@given(st.integers(0, 10**7), st.floats(-0.4, 0.4))
def test_a_rounded_time_is_that_of_the_nearest_place(first: int, off: float) -> None:
    """Libraries give seconds as binary fractions, some of 32 bits: four hours are right to a millisecond."""
    time_base = Fraction(1, 30)
    index = PictureIndex(np.arange(first, first + 5, dtype=np.int64), time_base)
    for place in range(5):
        assert index.place_at(float((first + place + off) * time_base)) == place
    if first < 4 * 3600 * 30:
        assert index.place_at(float(np.float32((first + 2) / 30))) == 2


def test_a_time_has_no_place_in_an_empty_stream() -> None:
    """Nothing is nearest."""
    assert index_of().place_at(1.0) == -1
    assert index_of().places(0, NS).tolist() == []
