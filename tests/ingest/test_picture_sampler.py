"""Frames on a grid, against a slow loop that tries every frame for every grid time."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.errors import CannotDecode
from ingest.geometry import Region
from ingest.recording import Clock, Incident, Picture, Track
from ingest.sampling.clip import PictureClip, Window
from ingest.sampling.frames import Squares
from ingest.sampling.pictures import Done, PictureSampler
from ingest.timing import NS, grid_times

HZ = Fraction(NS)
"""One grid time per nanosecond: every moment of a small window is seen."""
LOG = Clock("log", "made")


class Plain:
    """A picture of one colour, which is its number; counts how often it is converted."""

    width, height, stop_ns = 4, 4, 0

    def __init__(self, number: int, time_ns: int, damage: str = "") -> None:
        self.number, self.time_ns, self.damage = number, time_ns, damage
        self.conversions = 0

    def rgb(self, width: int, height: int, region: Region | None = None) -> np.ndarray:
        self.conversions += 1
        if self.damage:
            raise CannotDecode(self.damage)
        return np.full((height, width, 3), self.number, np.uint8)


def picture_track(stop_ns: int, max_age_ns: int = 0, clock: Clock | None = None) -> Track:
    return Track("video", "pictures", "#0", "raw", 0, stop_ns, 1, max_age_ns=max_age_ns, clock=clock)


def windows_at(*borders: int) -> list[Window]:
    """Return neighbouring windows from border to border."""
    return [Window(i, start, stop) for i, (start, stop) in enumerate(pairwise(borders))]


def sampler_of(
    track: Track, windows: Sequence[Window], told: list[Incident], rate: Fraction = HZ
) -> PictureSampler:
    return PictureSampler(track, windows, rate, Squares(track, 2, "crop", told.append), told.append)


Event = Plain | int
"""A picture, or the time of one that is lost."""


def run(sampler: PictureSampler, events: Sequence[Event]) -> list[tuple[Window, PictureClip]]:
    """Push pictures, tell of losses, and gather the clips in the order they come."""
    done: Done = []
    for event in events:
        if isinstance(event, int):
            sampler.lost(event)
        else:
            picture: Picture = event
            done += sampler.push(picture)
    done += sampler.finish()
    return [(window, clip) for window, clip in done if isinstance(clip, PictureClip)]


def sampled(
    track: Track, windows: Sequence[Window], events: Sequence[Event], rate: Fraction = HZ
) -> list[list[tuple[int, int]]]:
    """Return per window the sampled frames as (number, own time); windows must come once, in order."""
    done = run(sampler_of(track, windows, [], rate), events)
    assert [window for window, _ in done] == list(windows)
    result = []
    for window, clip in done:
        assert clip.frames.dtype == np.uint8
        assert clip.frames.shape == (clip.valid, 2, 2, 3)
        assert all(np.ptp(frame) == 0 for frame in clip.frames)
        numbers = clip.frames[:, 0, 0, 0].tolist()
        result.append(list(zip(numbers, (clip.times_ns + window.start_ns).tolist(), strict=True)))
    return result


def expected(
    track: Track, windows: Sequence[Window], events: Sequence[Event], rate: Fraction
) -> list[list[tuple[int, int]]]:
    """The slow twin of `sampled`, for pictures that come in order."""
    pictures = [event for event in events if isinstance(event, Plain)]
    losses = [event for event in events if isinstance(event, int)]
    result = []
    for window in windows:
        shown = []
        for time_ns in grid_times(window.start_ns, window.length_ns, rate).tolist():
            before = [picture for picture in pictures if picture.time_ns <= time_ns]
            if not before:
                continue
            last = max(before, key=lambda picture: picture.time_ns)
            last = [picture for picture in before if picture.time_ns == last.time_ns][-1]
            is_lost = any(last.time_ns < loss <= time_ns for loss in losses)
            is_over = track.clock is None and time_ns >= track.stop_ns
            is_old = bool(track.max_age_ns) and time_ns - last.time_ns > track.max_age_ns
            if not (is_lost or is_over or is_old or last.damage):
                shown.append((last.number, last.time_ns))
        result.append(shown)
    return result


@st.composite
def event_lists(draw: st.DrawFn) -> list[Event]:
    """Pictures in order; each loss is told when or before its turn comes, as decoders that reorder do."""
    events: list[Event] = [
        Plain(number, time_ns, draw(st.sampled_from(["", "", "", "damaged"])))
        for number, time_ns in enumerate(sorted(draw(st.lists(st.integers(-9, 40), max_size=9))))
    ]
    for loss in draw(st.lists(st.integers(-9, 40), max_size=3)):
        turn = sum(isinstance(event, Plain) and event.time_ns <= loss for event in events)
        pictures = [at for at, event in enumerate(events) if isinstance(event, Plain)]
        latest = pictures[turn] if turn < len(pictures) else len(events)
        events.insert(draw(st.integers(0, latest)), loss)
    return events


@st.composite
def window_lists(draw: st.DrawFn) -> list[Window]:
    """Neighbouring windows; some of no length."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5))
    start = draw(st.integers(-5, 10))
    return windows_at(start, *(start + sum(lengths[: i + 1]) for i in range(len(lengths))))


tracks = st.builds(
    picture_track, st.integers(1, 40), st.sampled_from([0, 1, 5]), st.sampled_from([None, LOG])
)
rates = st.sampled_from([HZ, Fraction(NS, 3), HZ * Fraction(3, 7)])


@given(tracks, window_lists(), event_lists(), rates)
@example(picture_track(40), windows_at(0, 9), [Plain(0, 0), 5, Plain(1, 3), Plain(2, 6)], HZ)
def test_frames_are_what_a_slow_loop_finds(
    track: Track, windows: list[Window], events: list[Event], rate: Fraction
) -> None:
    """The twin: for each grid time, the last frame at or before, unless lost, over, too old or damaged."""
    assert sampled(track, windows, events, rate) == expected(track, windows, events, rate)


@given(tracks, window_lists(), event_lists(), rates)
def test_a_clip_does_not_depend_on_the_others_asked_for(
    track: Track, windows: list[Window], events: list[Event], rate: Fraction
) -> None:
    """All windows at once give what each gives by itself."""
    alone = [sampled(track, [window], events, rate)[0] for window in windows]
    assert sampled(track, windows, events, rate) == alone


def test_only_frames_that_are_shown_are_converted_and_each_once() -> None:
    """Of ten frames a slow grid needs two; a frame that is shown often is converted once."""
    pictures = [Plain(k, k) for k in range(10)]
    run(sampler_of(picture_track(10), windows_at(0, 10), [], Fraction(NS, 5)), pictures)
    assert [picture.conversions for picture in pictures] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    still = Plain(7, 0)
    run(sampler_of(picture_track(10), windows_at(0, 4, 10), []), [still])
    assert still.conversions == 1


def test_clips_come_as_soon_as_nothing_can_change_them() -> None:
    """The frame at or after a clip's last grid time completes it; no clip waits for the end."""
    sampler = sampler_of(picture_track(100), windows_at(0, 3, 6, 9), [])
    given_at = [len(sampler.push(Plain(k, time_ns))) for k, time_ns in enumerate((0, 2, 3, 8, 9))]
    assert given_at == [0, 0, 1, 1, 1]
    assert sampler.finish() == []


def test_a_lost_frame_is_not_covered_by_the_one_before() -> None:
    """The frame at 2 does not decode: nothing is shown from 2 to 4."""
    events: list[Event] = [Plain(0, 0), 2, Plain(1, 4)]
    assert sampled(picture_track(6), windows_at(0, 6), events) == [[(0, 0), (0, 0), (1, 4), (1, 4)]]


def test_a_loss_told_early_leaves_the_frames_before_it() -> None:
    """A decoder says that frame 4 is lost before it gives frames 1 and 2, which it holds back."""
    events: list[Event] = [Plain(0, 0), 4, Plain(1, 1), Plain(2, 2), Plain(6, 6)]
    assert sampled(picture_track(8), windows_at(0, 8), events) == [
        [(0, 0), (1, 1), (2, 2), (2, 2), (6, 6), (6, 6)]
    ]


def test_a_loss_is_forgotten_when_its_turn_is_over_and_not_before() -> None:
    """Two are told early; the frame between them ends the first and leaves the second."""
    events: list[Event] = [Plain(0, 0), 2, 6, Plain(4, 4), Plain(8, 8)]
    assert sampled(picture_track(9), windows_at(0, 9), events) == [[(0, 0), (0, 0), (4, 4), (4, 4), (8, 8)]]


def test_a_frame_that_came_is_not_lost() -> None:
    """One of its packets did not decode, or one from before it: it is shown all the same."""
    events: list[Event] = [Plain(0, 1), 1, 0]
    assert sampled(picture_track(3), windows_at(0, 3), events) == [[(0, 1), (0, 1)]]


def test_clips_come_in_order_around_a_loss() -> None:
    """A loss far ahead gives nothing by itself; what it ends is given in order, and once."""
    done = run(sampler_of(picture_track(12), windows_at(0, 3, 6, 9, 12), []), [Plain(0, 0), 7, Plain(1, 10)])
    assert [window.index for window, _ in done] == [0, 1, 2, 3]
    assert [clip.valid for _, clip in done] == [3, 3, 1, 2]


def test_a_frame_that_cannot_be_converted_is_reported_once_and_leaves_a_hole() -> None:
    """Nothing is shown in its place, and the frame after it is."""
    told: list[Incident] = []
    sampler = sampler_of(picture_track(6), windows_at(0, 3, 6), told)
    done = run(sampler, [Plain(0, 0), Plain(1, 2, "no such colours"), Plain(2, 5)])
    assert [clip.times_ns.tolist() for _, clip in done] == [[0, 0], [2]]
    assert told == [Incident("failure", "no such colours", "video", 2, 3)]


def test_a_clock_that_jumps_back_keeps_what_was_shown() -> None:
    """Frames from before the current one are passed over, and said where they lie in these clips."""
    told: list[Incident] = []
    sampler = sampler_of(picture_track(9), windows_at(0, 4, 8), told)
    done = run(sampler, [Plain(0, 0), Plain(1, 5), Plain(2, 2), Plain(3, -2), Plain(4, 6)])
    assert [(clip.times_ns + window.start_ns).tolist() for window, clip in done] == [[0] * 4, [0, 5, 6, 6]]
    assert [(incident.severity, incident.start_ns) for incident in told] == [("note", 2)]


def test_in_a_file_the_last_frame_ends_with_its_track() -> None:
    """The recording goes on with sound; the picture does not."""
    assert sampled(picture_track(3), windows_at(0, 6), [Plain(0, 1)]) == [[(0, 1), (0, 1)]]


def test_in_a_bag_a_frame_is_valid_up_to_its_maximum_age() -> None:
    """At the end as in a gap; exactly the maximum age is not too old."""
    track = picture_track(5, max_age_ns=2, clock=LOG)
    frames = sampled(track, windows_at(0, 12), [Plain(0, 0), Plain(1, 4)])[0]
    assert frames == [(0, 0)] * 3 + [(1, 4)] * 3


def test_in_a_bag_a_held_picture_has_no_end() -> None:
    """A map that is published once is there from then on."""
    track = picture_track(1, clock=LOG)
    assert sampled(track, windows_at(0, 5), [Plain(0, 0)]) == [[(0, 0)] * 5]


def test_no_frames_give_empty_clips() -> None:
    """With the shape that frames would have."""
    (_, clip), *_ = run(sampler_of(picture_track(9), windows_at(0, 9), []), [])
    assert clip.frames.shape == (0, 2, 2, 3)
    assert clip.times_ns.dtype == np.int64


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001)])
def test_a_grid_at_the_videos_own_rate_takes_each_frame_once(rate: Fraction) -> None:
    """Also at 29.97 fps over many clips: no frame twice, none left out."""
    period_ns = NS / rate
    pictures = [Plain(k % 256, int(k * period_ns)) for k in range(240)]
    stop_ns = int(240 * period_ns)
    times = sampled(picture_track(stop_ns), windows_at(0, stop_ns), pictures, rate)[0]
    assert times == [(picture.number, picture.time_ns) for picture in pictures]
