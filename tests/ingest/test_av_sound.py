"""Decoded sound: every sample format, every channel, and times to the sample in coarse containers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_sound import clicks, heard_pitch, tone, write_sound
from made_video import Pictures, SoundTrack, write_video
from video_made import read_window

from ingest.decoders.av_sound import AvResampler, channel_names, layout_name, planar_float, snapped
from ingest.errors import CannotDecode
from ingest.recording import Packet
from ingest.sources.video_file import VideoFile
from ingest.timing import NS

RAMP = np.linspace(-0.75, 0.75, 960).astype(np.float32)
FORMATS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "u8": lambda ramp: (np.round(ramp * 128) + 128).astype(np.uint8),
    "s16": lambda ramp: np.round(ramp * 2**15).astype(np.int16),
    "s32": lambda ramp: np.round(ramp.astype(np.float64) * 2**31).astype(np.int32),
    "flt": lambda ramp: ramp,
    "dbl": lambda ramp: ramp.astype(np.float64),
}


@pytest.mark.parametrize("sample_format", FORMATS)
@pytest.mark.parametrize("planar", [False, True])
def test_every_sample_format_becomes_the_same_float(sample_format: str, planar: bool) -> None:
    """In [-1, 1], channel by channel; within one step of the format."""
    channels = FORMATS[sample_format](np.stack([RAMP, -RAMP]))
    packed = np.ascontiguousarray(channels.T).reshape(1, -1)
    name = f"{sample_format}p" if planar else sample_format
    frame = av.AudioFrame.from_ndarray(channels if planar else packed, format=name, layout="stereo")
    floats = planar_float(frame)
    assert floats.dtype == np.float32
    assert floats.shape == (2, 960)
    step = {"u8": 2**-7, "s16": 2**-15}.get(sample_format, 1e-7)
    assert np.abs(floats - np.stack([RAMP, -RAMP])).max() <= step


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.flac", "flac"), ("a.opus", "libopus"), ("a.wv", "wavpack")]
)
def test_eight_channels_come_apart(tmp_path: Path, name: str, codec: str) -> None:
    """Where PyAV alone reads behind the end of its list of planes, and takes the process with it."""
    pitches = [200.0 * (channel + 1) for channel in range(8)]
    times = np.arange(24_000) / 48_000
    samples = np.array([0.4 * np.sin(2 * np.pi * pitch * times) for pitch in pitches], np.float32)
    with av.open(str(tmp_path / name), "w") as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="7.1")
        stream.codec_context.open()
        into = av.AudioResampler(format=stream.codec_context.format, layout="7.1", rate=48_000)
        packed = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="7.1")
        frame.sample_rate, frame.pts = 48_000, 0
        for part in into.resample(frame):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    with VideoFile(tmp_path / name) as source:
        recording = source.probe()
        track = recording.track("audio")
        chunks = read_window(source, [track], 0, recording.stop_ns)["audio"].sounds
    assert track.channels == 8
    heard = np.concatenate([chunk.samples for chunk in chunks], axis=1)
    assert {chunk.layout for chunk in chunks} == {"7.1"}
    for channel, pitch in enumerate(pitches):
        if channel != 3 or codec in (
            "flac",
            "wavpack",
        ):  # lossy codecs keep only the bass of the bass channel
            assert heard_pitch(heard[channel, 4800:-4800], 48_000) == pytest.approx(pitch, abs=0.5)


def test_samples_of_64_bits_are_read(tmp_path: Path) -> None:
    """PyAV makes no arrays of them."""
    path = write_sound(tmp_path / "x.wav", tone(440, 1, channels=2), codec="pcm_s64le")
    with VideoFile(path) as source:
        recording = source.probe()
        chunks = read_window(source, list(recording.tracks), 0, recording.stop_ns)["audio"].sounds
    heard = np.concatenate([chunk.samples for chunk in chunks], axis=1)
    assert np.abs(heard - tone(440, 1, channels=2)).max() < 1e-6


def test_a_layout_without_names_keeps_its_count() -> None:
    """A wave file of many channels need not say what they are; one is mono and two are stereo."""
    given = ("1 channels", "2 channels", "9 channels", "5.1")
    assert [layout_name(av.AudioLayout(name)) for name in given] == ["mono", "stereo", "9 channels", "5.1"]
    assert channel_names("9 channels") == ["NONE"] * 9
    assert channel_names("4 channels (FL+FR+TFL+TFR)") == ["FL", "FR", "TFL", "TFR"]
    assert channel_names("2.1") == ["FL", "FR", "LFE"]


@given(st.integers(-(10**12), 10**12), st.integers(1, 5000))
def test_snapping_finds_the_nearest_place_in_a_row(position: int, step: int) -> None:
    """Also before zero."""
    place = snapped(position, step)
    assert place % step == 0
    assert abs(place - position) * 2 <= step


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.mkv", "libopus", 48_000), ("b.mkv", "aac", 44_100), ("c.flv", "libmp3lame", 44_100)],
)
def test_a_click_is_found_from_any_start_within_a_sample(
    tmp_path: Path, name: str, codec: str, rate: int
) -> None:
    """The container keeps milliseconds, 44 samples each: every window must place the click alike."""
    moment = Fraction(153, 10)
    sound = SoundTrack(clicks([moment], 18, sample_rate=rate), codec=codec, sample_rate=rate)
    path = write_video(
        tmp_path / name, Pictures(frames=18, fps=Fraction(1), width=64, height=64, b_frames=0), sound
    )
    places = set()
    for start_ms in (0, 13_000, 14_001, 14_502, 15_003, 15_204):
        with VideoFile(path) as source:
            recording = source.probe()
            track = recording.track("audio")
            start_ns = recording.origin_ns + start_ms * 1_000_000
            chunks = read_window(source, [track], start_ns, start_ns + 18 * NS)["audio"].sounds
        first = chunks[0]
        samples = np.concatenate([chunk.samples for chunk in chunks], axis=1)[0]
        onset = int(np.abs(samples).argmax())
        places.add(round(first.start_ns * rate / NS) + onset)
        if name.endswith(".mkv"):
            assert abs(first.start_ns + onset * NS // rate - moment * NS) < 2_000_000
    assert max(places) - min(places) <= 1


def test_sound_without_stamps_is_counted(tmp_path: Path) -> None:
    """From the last stamp on, in samples: rounding does not add up."""
    path = write_sound(tmp_path / "x.wav", tone(440, 1, sample_rate=44_100), sample_rate=44_100)
    with VideoFile(path) as source:
        track = source.probe().track("audio")
        decoder: Any = source.decoder(track)
    times = [decoder._start_ns(pts, 44_100, 100) for pts in (None, None, 441, None, None)]
    assert times == [k * 100 * NS // 44_100 for k in (0, 1)] + [
        NS // 100 + k * 100 * NS // 44_100 for k in (0, 1, 2)
    ]


def test_a_packet_that_does_not_decode_is_named_and_the_next_one_does(tmp_path: Path) -> None:
    """Damage costs the packet."""
    path = write_sound(tmp_path / "x.flac", tone(440, 1))
    with VideoFile(path) as source:
        recording = source.probe()
        packets = list(source.read(recording.tracks, 0, recording.stop_ns, print))
        decoder = source.decoder(recording.tracks[0])
    with pytest.raises(CannotDecode, match=r"a flac packet does not decode \(the data is damaged\)"):
        list(decoder.decode(Packet("audio", 0, av.Packet(bytes(200)))))
    sounds = [*decoder.decode(packets[1]), *decoder.flush()]
    assert len(sounds) == 1


def test_what_came_before_an_error_is_given(tmp_path: Path) -> None:
    """Frames are gathered: those before a damaged packet come out before the error does."""
    path = write_sound(tmp_path / "x.flac", tone(440, 1))
    with VideoFile(path) as source:
        recording = source.probe()
        packets = list(source.read(recording.tracks, 0, recording.stop_ns, print))
        decoder = source.decoder(recording.tracks[0])
        assert not list(decoder.decode(packets[0]))
        given = iter(decoder.decode(Packet("audio", 0, av.Packet(bytes(200)))))
        assert next(given).start_ns == 0  # type: ignore[union-attr]
        with pytest.raises(CannotDecode):
            next(given)


# resampling


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000, 96_000, 16_000])
def test_a_pulse_keeps_its_place_when_resampled(rate: int) -> None:
    """The peak of a smooth pulse, to a thousandth of a sample, however the sound is cut."""
    times = np.arange(rate * 2) / rate
    pulse = np.exp(-(((times - 1.00007) * 2000) ** 2)).astype(np.float32)[None]
    for chunk in (1000, 37_777):
        resampler = AvResampler("mono", rate, 16_000, 1)
        parts = [resampler.push(pulse[:, at : at + chunk]) for at in range(0, rate * 2, chunk)]
        heard = np.concatenate([*parts, resampler.flush()], axis=1)[0].astype(np.float64)
        assert len(heard) == 32_000
        peak = int(heard.argmax())
        left, middle, right = np.log(heard[peak - 1 : peak + 2])
        place = peak + 0.5 * (left - right) / (left - 2 * middle + right)
        assert place == pytest.approx(1.00007 * 16_000, abs=2e-3)


@pytest.mark.parametrize(("rate", "count", "expected"), [(8000, 1, 2), (8000, 20, 40), (44_100, 50, 19)])
def test_a_piece_shorter_than_the_filter_is_resampled(rate: int, count: int, expected: int) -> None:
    """Libswresample gives nothing for it; it is not lost."""
    resampler = AvResampler("mono", rate, 16_000, 1)
    assert resampler.push(np.full((1, count), 0.5, np.float32)).shape == (1, 0)
    heard = resampler.flush()
    assert heard.shape == (1, expected)
    assert heard[0, 0] == pytest.approx(0.5, abs=0.01)
    assert heard.mean() == pytest.approx(0.5, abs=0.1)


def test_what_needs_no_resampling_is_given_at_once() -> None:
    """Mixed, not delayed, not changed."""
    samples = np.random.default_rng(1).uniform(-1, 1, (1, 100)).astype(np.float32)
    assert AvResampler("mono", 16_000, 16_000, 1).push(samples) is samples
    stereo = AvResampler("mono", 16_000, 16_000, 2)
    assert np.array_equal(stereo.push(samples), np.concatenate([samples, samples]))
    assert stereo.flush().shape == (2, 0)


def test_eight_channels_are_mixed_before_they_are_resampled() -> None:
    """A tone in one of them is heard at its share."""
    samples = np.zeros((8, 48_000), np.float32)
    samples[2] = tone(1000, 1)[0]  # the centre
    resampler = AvResampler("7.1", 48_000, 16_000, 1)
    heard = np.concatenate([resampler.push(samples), resampler.flush()], axis=1)[0]
    assert heard_pitch(heard, 16_000) == pytest.approx(1000, abs=0.1)
    assert np.abs(heard[2000:-2000]).max() == pytest.approx(
        0.5 * 2**0.5 / (2 + 2**0.5 + 4 * 0.5**0.5), rel=0.01
    )
