"""Sound on the recording's timeline: every sample where its time says, silence of the right length."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.recording import Sound, Track
from ingest.sampling.clip import SoundClip, Window
from ingest.sampling.sound import SoundSampler
from ingest.timing import NS, grid_count

RATE = 1000
MS = NS // RATE
"""One sample of the made sound lasts a millisecond."""


class Delayed:
    """A resampler that changes nothing, but holds back some samples, as real ones do."""

    def __init__(self, channels: int, delay: int) -> None:
        self._held = np.zeros((channels, 0), np.float32)
        self._delay = delay

    def push(self, samples: np.ndarray) -> np.ndarray:
        self._held = np.append(self._held, samples, axis=1)
        ready = max(0, self._held.shape[1] - self._delay)
        given, self._held = self._held[:, :ready], self._held[:, ready:]
        return given

    def flush(self) -> np.ndarray:
        return self._held


def sound_track(stop_ns: int) -> Track:
    return Track("audio", "sound", "#0", "raw", 0, stop_ns, 1)


def windows_at(*borders: int) -> list[Window]:
    """Return neighbouring windows from border to border."""
    return [Window(i, start, stop) for i, (start, stop) in enumerate(pairwise(borders))]


def chunk(start_ns: int, values: Sequence[float] | np.ndarray, layout: str = "mono") -> Sound:
    samples = np.atleast_2d(np.asarray(values, np.float32))
    return Sound(start_ns, samples, RATE, layout)


def sampler_of(windows: Sequence[Window], stop_ns: int = 2**60, delay: int = 0) -> SoundSampler:
    return SoundSampler(sound_track(stop_ns), windows, RATE, 1, lambda layout, rate: Delayed(1, delay))


def clips_of(sampler: SoundSampler, chunks: Sequence[Sound]) -> list[tuple[Window, SoundClip]]:
    done: list[tuple[Window, SoundClip]] = []
    for sound in chunks:
        done += sampler.push(sound)
    return done + sampler.finish()


def sampled(windows: Sequence[Window], chunks: Sequence[Sound], stop_ns: int = 2**60) -> list[list[float]]:
    """Return the samples of each window; the windows must come once, in order."""
    done = clips_of(sampler_of(windows, stop_ns), chunks)
    assert [window for window, _ in done] == list(windows)
    assert all(clip.samples.dtype == np.float32 for _, clip in done)
    return [clip.samples[0].tolist() for _, clip in done]


@st.composite
def chunk_lists(draw: st.DrawFn, steps: Sequence[int]) -> list[Sound]:
    """Chunks of numbered samples, each a step away from where the one before ends."""
    time_ns = draw(st.integers(-20 * MS, 20 * MS))
    number, chunks = 1, []
    for _ in range(draw(st.integers(1, 6))):
        count = draw(st.integers(1, 25))
        chunks.append(chunk(time_ns, np.arange(number, number + count)))
        number += count
        time_ns += count * MS + draw(st.sampled_from(steps))
    return chunks


JITTER = (0, 0, MS, -MS, 2 * MS)
GAPS = (4 * MS, 17 * MS + 123_456)
RETURNS = (-5 * MS, -31 * MS + 7)
borders = st.lists(st.integers(-30 * MS, 120 * MS), min_size=2, max_size=6, unique=True).map(sorted)


def pieces(sound: Sound, cuts: Sequence[int]) -> list[Sound]:
    """Cut a chunk in pieces with the stamps that a decoder would give them."""
    length = sound.samples.shape[1]
    edges = [0, *sorted({cut % length for cut in cuts} - {0}), length]
    return [
        Sound(sound.start_ns + a * NS // RATE, sound.samples[:, a:b], RATE, sound.layout)
        for a, b in pairwise(edges)
    ]


@given(
    borders,
    chunk_lists((*JITTER, *GAPS, *RETURNS)),
    st.lists(st.integers(0, 100), max_size=8),
    st.sampled_from([0, 3, 1000]),
)
def test_the_cutting_into_chunks_does_not_matter(
    edges: list[int], chunks: list[Sound], cuts: list[int], delay: int
) -> None:
    """The same sound in other pieces is the same clips, with gaps, overlaps and any resampler's delay."""
    windows = windows_at(*edges)
    whole = clips_of(sampler_of(windows, delay=delay), chunks)
    cut = [piece for sound in chunks for piece in pieces(sound, cuts)]
    for (_, first), (_, second) in zip(whole, clips_of(sampler_of(windows, delay=delay), cut), strict=True):
        assert first.samples.tolist() == second.samples.tolist()


@given(borders, chunk_lists((*JITTER, *GAPS, *RETURNS)))
def test_a_clip_does_not_depend_on_the_others_asked_for(edges: list[int], chunks: list[Sound]) -> None:
    """All windows at once give what each gives by itself."""
    windows = windows_at(*edges)
    assert sampled(windows, chunks) == [sampled([window], chunks)[0] for window in windows]


@given(borders, chunk_lists((*JITTER, *GAPS)))
def test_every_sample_lies_where_its_time_says(edges: list[int], chunks: list[Sound]) -> None:
    """The slow twin: sample by sample; at most half a sample off, silence where there is none."""
    windows = windows_at(*edges)
    placed: list[tuple[int, float]] = []
    start_ns, count = chunks[0].start_ns, 0
    for sound in chunks:
        if abs(sound.start_ns - (start_ns + count * MS)) > 3 * MS:
            start_ns, count = sound.start_ns, 0
        for value in sound.samples[0].tolist():
            placed.append((start_ns + count * MS, value))
            count += 1
    for window, samples in zip(windows, sampled(windows, chunks), strict=True):
        expected = [0.0] * grid_count(window.length_ns, Fraction(RATE))
        touched = False
        for time_ns, value in placed:
            at = (2 * (time_ns - window.start_ns) + MS) // (2 * MS)  # the nearest, half up
            if 0 <= at < len(expected):
                assert abs(window.start_ns + at * MS - time_ns) <= MS / 2
                expected[at], touched = value, True
        assert samples == (expected if touched else [])


def test_a_late_start_is_silence_of_its_length() -> None:
    """Sound that starts 80 ms late stays 80 ms late."""
    assert sampled(windows_at(0, 100 * MS), [chunk(80 * MS, [1] * 20)]) == [[0.0] * 80 + [1.0] * 20]


def test_a_gap_is_silence_of_its_length() -> None:
    """Ten samples, seven missing, ten samples: also when the gap lies across a border."""
    chunks = [chunk(0, [1] * 10), chunk(17 * MS, [2] * 10)]
    whole = [1.0] * 10 + [0.0] * 7 + [2.0] * 10
    assert sampled(windows_at(0, 27 * MS), chunks) == [whole]
    assert sampled(windows_at(0, 12 * MS, 27 * MS), chunks) == [whole[:12], whole[12:]]


def test_rounded_stamps_are_no_gaps() -> None:
    """Stamps up to 3 ms off are counted through; more is a break."""
    chunks = [chunk(0, [1] * 10), chunk(13 * MS, [2] * 5)]
    assert sampled(windows_at(0, 15 * MS), chunks) == [[1.0] * 10 + [2.0] * 5]
    chunks = [chunk(0, [1] * 10), chunk(13 * MS + 1, [2] * 5)]
    assert sampled(windows_at(0, 18 * MS), chunks) == [[1.0] * 10 + [0.0] * 3 + [2.0] * 5]


def test_of_overlapping_sound_the_later_chunk_is_heard() -> None:
    """What it does not cover stays."""
    chunks = [chunk(0, [1] * 20), chunk(10 * MS, [2] * 5)]
    assert sampled(windows_at(0, 20 * MS), chunks) == [[1.0] * 10 + [2.0] * 5 + [1.0] * 5]


def test_a_clock_that_jumps_back_leaves_finished_clips_alone() -> None:
    """Clip 0 was given away; the sound that falls into clip 1 is heard."""
    chunks = [chunk(0, [1] * 18), chunk(5 * MS, [2] * 10)]
    assert sampled(windows_at(0, 10 * MS, 20 * MS), chunks) == [[1.0] * 10, [2.0] * 5 + [1.0] * 3 + [0.0] * 2]


def test_a_lost_packet_breaks_the_stream() -> None:
    """The next stamp says where the sound goes on, however little is missing."""
    sampler = sampler_of(windows_at(0, 12 * MS))
    sampler.push(chunk(0, [1] * 5))
    sampler.lost(5 * MS)
    sampler.push(chunk(7 * MS, [2] * 5))
    assert sampler.finish()[0][1].samples[0].tolist() == [1.0] * 5 + [0.0] * 2 + [2.0] * 5


def test_another_layout_is_another_stream() -> None:
    """The resampler is made anew, for the layout that follows."""
    made: list[tuple[str, int]] = []

    def make(layout: str, rate: int) -> Delayed:
        made.append((layout, rate))
        return Delayed(1, 4)

    sampler = SoundSampler(sound_track(2**60), windows_at(0, 10 * MS), RATE, 1, make)
    chunks = [chunk(0, [1] * 5), chunk(5 * MS, [2] * 5, "stereo")]
    assert clips_of(sampler, chunks)[0][1].samples[0].tolist() == [1.0] * 5 + [2.0] * 5
    assert made == [("mono", RATE), ("stereo", RATE)]


def test_valid_sound_ends_with_its_track() -> None:
    """A decoder's padding beyond the track's end is cut off; before the end there is silence."""
    chunks = [chunk(0, [1] * 30)]
    assert sampled(windows_at(0, 20 * MS, 40 * MS), chunks, stop_ns=25 * MS) == [[1.0] * 20, [1.0] * 5]
    assert sampled(windows_at(0, 20 * MS), [chunk(0, [1] * 3)], stop_ns=5 * MS) == [[1.0] * 3 + [0.0] * 2]


def test_a_clip_without_a_sample_is_empty() -> None:
    """Before the sound begins, after it has ended, and in a gap longer than a clip."""
    windows = windows_at(*range(0, 60 * MS, 10 * MS))
    chunks = [chunk(10 * MS, [1] * 10), chunk(40 * MS, [2] * 5)]
    assert [len(samples) for samples in sampled(windows, chunks, 45 * MS)] == [0, 10, 0, 0, 5]


def test_clips_come_as_soon_as_nothing_can_change_them() -> None:
    """A clip is given once the sound is more than a millisecond past its end."""
    sampler = sampler_of(windows_at(0, 10 * MS, 20 * MS))
    chunks = [chunk(0, [1] * 10), chunk(10 * MS, [1]), chunk(11 * MS, [1]), chunk(12 * MS, [1] * 30)]
    assert [len(sampler.push(sound)) for sound in chunks] == [0, 0, 1, 1]
    assert sampler.finish() == []


@pytest.mark.parametrize("seconds", [1, Fraction(1, 3), Fraction(1001, 30000)])
def test_clips_laid_side_by_side_are_the_whole(seconds: Fraction) -> None:
    """Sample by sample, where a clip is a whole number of samples; else each starts on its own grid."""
    noise = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    clip_ns = -int(-seconds * NS // 1)
    windows = windows_at(*range(0, 3 * NS, clip_ns), 3 * NS)
    chunks = [chunk(k * 7 * MS, noise[7 * k : 7 * k + 7]) for k in range(429)]
    for window, samples in zip(windows, sampled(windows, chunks), strict=True):
        first = (2 * window.start_ns + MS) // (2 * MS)
        expected = noise[first : first + len(samples)]
        assert samples[: len(expected)] == expected.tolist()
        assert len(samples) - len(expected) in (0, 1)  # the last grid time may lie past the last sample
    if seconds == 1:
        assert [value for samples in sampled(windows, chunks) for value in samples] == noise.tolist()


@pytest.mark.parametrize("source_rate", [8000, 44_100, 48_000])
@pytest.mark.parametrize("start_ns", [0, 12_345_678, -999_999])
def test_an_impulse_stays_within_half_a_sample(source_rate: int, start_ns: int) -> None:
    """Through the real resampler, at any rate and in any clip."""
    from ingest.decoders.av_sound import AvResampler

    rate = 16_000
    samples = np.zeros((1, source_rate), np.float32)
    peak = source_rate // 2 + 17
    samples[0, peak] = 1
    peak_ns = start_ns + peak * NS // source_rate
    windows = windows_at(-NS // 7, NS // 3, NS // 3 + 300_000_001, 2 * NS)
    sampler = SoundSampler(
        sound_track(2**60), windows, rate, 1, lambda layout, hz: AvResampler(layout, hz, rate, 1)
    )
    chunks = [
        Sound(start_ns + first * NS // source_rate, samples[:, first : first + 1024], source_rate, "mono")
        for first in range(0, source_rate, 1024)
    ]
    heard = []
    for window, clip in clips_of(sampler, chunks):
        if clip.valid and np.abs(clip.samples).max() > 0.1:
            loud = np.abs(clip.samples[0].astype(np.float64))
            at = int(loud.argmax())
            near = loud[at - 1 : at + 2] ** 2
            centre = at + (near * (-1, 0, 1)).sum() / near.sum()
            heard.append(window.start_ns + centre * NS / rate)
    assert len(heard) == 1
    assert (
        abs(heard[0] - peak_ns) <= 0.5 * NS / rate + 0.1 * NS / rate
    )  # half a sample, and the centre's error


def test_the_real_resampler_takes_any_chunks() -> None:
    """From 44.1 kHz stereo to 16 kHz mono: bit for bit the same."""
    from ingest.decoders.av_sound import AvResampler

    noise = np.random.default_rng(1).standard_normal((2, 100_000)).astype(np.float32) / 4
    results = []
    for size in (100, 1152, 33_333):
        sampler = SoundSampler(
            sound_track(2**60), windows_at(0, NS, 2 * NS, 3 * NS), 16_000, 1,
            lambda layout, hz: AvResampler(layout, hz, 16_000, 1),
        )  # fmt: skip
        chunks = [
            Sound(first * NS // 44_100, noise[:, first : first + size], 44_100, "stereo")
            for first in range(0, 100_000, size)
        ]
        results.append([clip.samples.tobytes() for _, clip in clips_of(sampler, chunks)])
    assert results[0] == results[1] == results[2]


def test_memory_holds_one_clip_however_long_the_sound() -> None:
    """Of 400 clips never more than two are held; of one long clip never more than its samples."""
    second = chunk(0, np.ones(RATE))
    for windows, most_bytes in (
        (windows_at(*range(0, 401 * NS, NS)), 40_000),
        (windows_at(0, 400 * NS), 400 * RATE * 4 + 40_000),
    ):
        sampler = sampler_of(windows)
        tracemalloc.start()
        try:
            for k in range(400):
                sampler.push(Sound(k * NS, second.samples, RATE, "mono"))
            assert tracemalloc.get_traced_memory()[1] < most_bytes
        finally:
            tracemalloc.stop()
