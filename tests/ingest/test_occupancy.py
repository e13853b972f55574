"""Clips in which nothing can be are not planned; clips in which something may be always are."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ingest.occupancy import occupied_clips
from ingest.recording import Clock, Recording, Track
from ingest.timing import gaps_longer_than

CLIP_NS = 100
HOUR_NS = 3_600_000_000_000


def track(times_ns: list[int], max_age_ns: int = 30) -> Track:
    """A bag's track with items at these times, 10 ns apart where nothing is missing."""
    return Track(
        name="a", medium="signal", topic="/a", codec="t", start_ns=times_ns[0], stop_ns=times_ns[-1] + 10,
        item_count=len(times_ns), period_ns=10, max_age_ns=max_age_ns, clock=Clock("log", "made"),
        gaps=tuple(gaps_longer_than(_array(times_ns), 30)),
    )  # fmt: skip


def _array(times_ns: list[int]):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.array(times_ns, np.int64)


def clips_of(ranges: list[tuple[int, int]]) -> set[int]:
    return {first + i for first, count in ranges for i in range(count)}


def test_five_messages_in_six_days_are_a_handful_of_clips() -> None:
    """The time between two stretches of messages is not planned."""
    first, second = track([0, 10, 20]), replace(track([6 * 24 * HOUR_NS]), name="b")
    ranges = occupied_clips(Recording("rosbag2", (first, second)), CLIP_NS)
    assert ranges == [(0, 1), (6 * 24 * HOUR_NS // CLIP_NS, 1)]


def test_one_text_that_stands_to_the_end_is_one_clip() -> None:
    """What is said once makes the clip in which it is said, however long it stands."""
    said = replace(track([0]), medium="text", stop_ns=HOUR_NS, item_count=1)
    last = replace(track([HOUR_NS]), name="b")
    ranges = occupied_clips(Recording("rosbag2", (said, last)), CLIP_NS)
    assert ranges == [(0, 1), (HOUR_NS // CLIP_NS, 1)]


def test_a_file_has_no_holes() -> None:
    """In a file a picture is shown until the next one, so every clip counts."""
    film = replace(track([0, 10, 5000]), clock=None, medium="pictures")
    assert occupied_clips(Recording("mp4", (film,)), CLIP_NS) == [(0, 51)]


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=40, unique=True), st.integers(0, 200))
def test_every_clip_with_an_item_is_planned(times_ns: list[int], max_age_ns: int) -> None:
    """Slow twin: the clips of all items, and of the moments at which they are still valid."""
    times_ns.sort()
    made = track(times_ns, max_age_ns)
    planned = clips_of(occupied_clips(Recording("rosbag1", (made,)), CLIP_NS))
    origin_ns = times_ns[0]
    assert {(t - origin_ns) // CLIP_NS for t in times_ns} <= planned
    assert planned <= set(range((times_ns[-1] + 10 - origin_ns) // CLIP_NS + 1))
