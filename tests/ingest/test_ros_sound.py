"""Sound of ROS messages: formats, MP3 frames, and the clock that counts samples."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_bags import START_NS, mp3_frames
from made_bags import open_bag as make_bag
from made_sound import tone

from ingest.decoders.ros_mp3 import Mp3Frames, certain_header, frame_header
from ingest.decoders.ros_sound import (
    RUNAWAY_NS,
    RosSound,
    SampleClock,
    SoundFormat,
    format_of_content,
    format_of_info,
    layout_of,
    raw_samples,
    sound_format,
    sound_in,
)
from ingest.errors import CannotDecode, WrongUse
from ingest.recording import Incident, Packet, Recording, Sound, Track
from ingest.sources.bag import open_bag

S = 1_000_000_000
AUDIO = "audio_common_msgs/msg/AudioData"
MP3 = b"".join(mp3_frames(tone(440, 1, sample_rate=44_100), 44_100))


def ignore(incident: Incident) -> None:
    """Take a report that a test does not ask for."""


# --- MP3 frames


def test_mp3_header() -> None:
    """A frame's header says size, samples, rate and channels."""
    header = frame_header(MP3)
    assert header is not None
    assert (header.samples, header.sample_rate, header.channels) == (1152, 44_100, 1)
    assert frame_header(MP3, header.size_bytes) is not None
    # MPEG 2, layer III, 64 kbit/s, 22.05 kHz, padded, stereo: 72 x 64000 / 22050 + 1
    assert frame_header(bytes([0xFF, 0xF3, 0x82, 0x00])) == (209, 576, 22_050, 2)


@pytest.mark.parametrize("wrong", [b"", b"\xff\xfb", b"RIFF", b"\xff\xff\xff\xff", b"\xff\xeb\x90\x00"])
def test_what_is_no_mp3_header(wrong: bytes) -> None:
    """Reserved versions, layers and rates, and short data, are no headers."""
    assert frame_header(wrong) is None


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_mp3_frames_do_not_depend_on_pieces(sizes: list[int]) -> None:
    """However the stream is cut, the same frames come, and together they are the stream."""
    frames, at, splitter = [], 0, Mp3Frames()
    for size in [*sizes, len(MP3)]:
        frames += [frame for frame, _ in splitter.push(MP3[at : at + size])]
        at += size
    assert b"".join(frames) == MP3
    assert splitter.at_border


@given(st.binary(max_size=500))
def test_mp3_finds_its_step_again(noise: bytes) -> None:
    """After noise in the middle, no more is lost than one frame of the largest size."""
    cut = len(MP3) // 2
    splitter = Mp3Frames()
    frames = splitter.push(MP3[:cut] + noise + MP3[cut:])
    whole = Mp3Frames().push(MP3)
    assert len(frames) >= len(whole) - 9
    assert frames[-1][0] == whole[-1][0]


@given(st.binary(max_size=3000))
def test_noise_is_not_mp3_for_certain(noise: bytes) -> None:
    """Random bytes are not taken for MP3; three frames in a row are."""
    assert certain_header(noise) is None
    assert certain_header(MP3) == frame_header(MP3)
    assert certain_header(b"x" + MP3) is None


# --- formats


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s16le:16000:1", SoundFormat("s16le", 16_000, 1)),
        (" F32LE:48000:2 ", SoundFormat("f32le", 48_000, 2)),
        ("mp3:44100:2", SoundFormat("mp3", 44_100, 2)),
        ("mp3", None),
    ],
)
def test_format_option(text: str, expected: SoundFormat | None) -> None:
    """A format is written as in the option's help, and written back the same."""
    found = sound_format(text)
    assert found == expected
    assert found is None or sound_format(str(found)) == found


@pytest.mark.parametrize("text", ["", "s16le", "s17le:16000:1", "s16le:0:1", "s16le:16000:0", "s16le:a:1"])
def test_wrong_format_option(text: str) -> None:
    """What is no format is refused, showing how it is written."""
    with pytest.raises(WrongUse, match="--audio-format"):
        sound_format(text)


@pytest.mark.parametrize(
    ("coding", "data", "expected"),
    [
        ("u8", bytes([0, 128, 255]), [-1, 0, 127 / 128]),
        ("s8", bytes([0x80, 0, 127]), [-1, 0, 127 / 128]),
        ("s16le", np.array([-32768, 0, 16384], "<i2").tobytes(), [-1, 0, 0.5]),
        ("s16be", np.array([-32768, 0, 16384], ">i2").tobytes(), [-1, 0, 0.5]),
        ("s24le", bytes([0, 0, 0x80, 0, 0, 0, 0, 0, 0x40]), [-1, 0, 0.5]),
        ("s32le", np.array([-(2**31), 0, 2**30], "<i4").tobytes(), [-1, 0, 0.5]),
        ("f32le", np.array([-2, np.nan, 0.5], "<f4").tobytes(), [-1, 0, 0.5]),
    ],
)
def test_raw_samples(coding: str, data: bytes, expected: list[float]) -> None:
    """Every raw format covers [-1, 1] and keeps its zero."""
    found = raw_samples(data, coding)
    assert found.dtype == np.float32
    assert found.tolist() == expected


def wav(samples: np.ndarray, rate: int, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(samples.shape[0])
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(np.ascontiguousarray(samples.T).tobytes())
    return file.getvalue()


def test_content_is_recognised_when_certain() -> None:
    """A RIFF header and MP3 frames say what they are; raw samples say nothing."""
    samples = np.zeros((2, 100), "<i2")
    assert format_of_content(wav(samples, 22_050)) == SoundFormat("s16le", 22_050, 2)
    assert format_of_content(MP3) == SoundFormat("mp3", 44_100, 1)
    assert format_of_content(samples.tobytes()) is None
    assert format_of_content(b"") is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("wave", "S16LE", 16_000, 1), "s16le:16000:1"),
        (("WAVE", "F32_LE", 48_000, 2), "f32le:48000:2"),
        (("MP3", "S16LE", 16_000, 1), "mp3"),
        (("wave", "S20LE", 16_000, 1), ""),
        (("wave", "S16LE", 0, 1), ""),
        (("opus", "S16LE", 16_000, 1), ""),
    ],
)
def test_audio_info(fields: tuple[str, str, int, int], expected: str) -> None:
    """AudioInfo names raw samples or MP3; what it does not say is not guessed."""
    coding, sample_format, rate, channels = fields
    info = SimpleNamespace(
        coding_format=coding, sample_format=sample_format, sample_rate=rate, channels=channels
    )
    assert format_of_info(info) == expected


def test_layout_names() -> None:
    """Channel layouts have FFmpeg's names."""
    assert [layout_of(channels) for channels in (1, 2, 6, 9)] == ["mono", "stereo", "5.1", "9 channels"]


# --- the clock that counts


@given(st.lists(st.integers(-RUNAWAY_NS // 2, RUNAWAY_NS // 2), min_size=1, max_size=50))
def test_jitter_does_not_move_samples(jitter: list[int]) -> None:
    """Stamps that jitter by less than the bound leave every chunk where the count says."""
    clock = SampleClock(16_000)
    first = START_NS + jitter[0]
    for k, late_ns in enumerate(jitter):
        assert clock.place(START_NS + k * S // 100 + late_ns, 160) == first + k * S // 100
    assert clock.restarts == 0


@pytest.mark.parametrize("jump_ns", [3 * S, -3 * S])
def test_a_jump_starts_the_count_again(jump_ns: int) -> None:
    """A stamp that runs away by more than the bound is the new anchor."""
    clock = SampleClock(16_000)
    assert clock.place(START_NS, 160) == START_NS
    assert clock.place(START_NS + jump_ns, 160) == START_NS + jump_ns
    assert clock.place(START_NS + jump_ns, 160) == START_NS + jump_ns + S // 100
    assert clock.restarts == 1


def test_frames_that_two_chunks_share() -> None:
    """A sample whose bytes lie in two chunks is given with the second one, and none is lost."""
    samples = np.arange(-100, 100).astype("<i2")
    data = samples.tobytes()
    decoder = RosSound(SoundFormat("s16le", 1000, 2), AUDIO, lambda data: SimpleNamespace(data=data))
    found = []
    for begin in range(0, len(data), 7):
        found += decoder.decode(Packet("x", begin, data[begin : begin + 7]))
    joined = np.concatenate([sound.samples for sound in found], axis=1)
    assert (joined.T.ravel() * 32768).tolist() == samples.tolist()
    assert {sound.layout for sound in found} == {"stereo"}


# --- through a bag


def write_chunks(
    path: Path, chunks: list[tuple[int, bytes]], info: dict[str, Any] | None = None, *, stamped: bool = False
) -> Path:
    with make_bag(path) as bag:
        for stamp_ns, chunk in chunks:
            data = np.frombuffer(chunk, np.uint8)
            if stamped:
                values = {"header": bag.header(stamp_ns), "audio": {"data": data}}
                bag.write("/mic/audio", f"{AUDIO}Stamped", stamp_ns + 7_000_000, **values)
            else:
                bag.write("/mic/audio", AUDIO, stamp_ns, data=data)
        if info is not None:  # after the sound: it must be found all the same
            bag.write("/mic/audio_info", "audio_common_msgs/msg/AudioInfo", START_NS + 60 * S, **info)
    return path


def sound_of(
    path: Path, start_ns: int = 0, stop_ns: int = 2**62, **options: Any
) -> tuple[Recording, Track, list[Sound]]:
    with open_bag([path], **options) as source:
        recording = source.probe()
        (track,) = (track for track in recording.tracks if track.medium == "sound")
        decoder = source.decoder(track)
        found = [
            sound
            for packet in source.read([track], start_ns, stop_ns, ignore)
            for sound in decoder.decode(packet)
            if isinstance(sound, Sound)
        ]
        assert not list(decoder.flush())
    return recording, track, found


RAMP = (np.arange(32_000) % 30_000).astype("<i2")
"""Two seconds at 16 kHz, every sample telling its place."""
CHUNKS = [
    (START_NS + k * S // 100 + k % 3 * 1_000_000, RAMP[160 * k : 160 * (k + 1)].tobytes()) for k in range(200)
]
INFO = {"coding_format": "wave", "sample_format": "S16LE", "sample_rate": 16_000, "channels": 1}


@pytest.mark.parametrize("stamped", [False, True])
@pytest.mark.parametrize("ending", ["bag", "mcap", "db3"])
def test_raw_sound_with_info(tmp_path: Path, ending: str, stamped: bool) -> None:
    """Raw chunks whose stamps jitter come back as one stretch of sound without a gap."""
    path = write_chunks(tmp_path / f"a.{ending}", CHUNKS, INFO, stamped=stamped)
    _, track, found = sound_of(path)
    assert (track.sample_rate, track.channels, track.codec) == (16_000, 1, AUDIO + "Stamped" * stamped)
    assert (track.start_ns, track.stop_ns) == (START_NS, START_NS + 2 * S)
    assert track.details["audio_format"] == "s16le:16000:1"
    assert track.clock is not None
    assert track.clock.choice == ("header" if stamped else "log")
    assert [sound.start_ns for sound in found] == [START_NS + k * S // 100 for k in range(200)]
    joined = np.concatenate([sound.samples for sound in found], axis=1)
    assert (joined[0] * 32768).tolist() == RAMP.tolist()


@pytest.mark.parametrize("at_ms", [0, 500, 1234, 1995])
def test_a_window_has_the_same_times(tmp_path: Path, at_ms: int) -> None:
    """Reading from the middle places every sample where reading from the start does."""
    path = write_chunks(tmp_path / "a.mcap", CHUNKS, INFO)
    _, _, whole = sound_of(path)
    expected = {sound.start_ns: sound.samples.tolist() for sound in whole}
    start_ns = START_NS + at_ms * 1_000_000
    _, _, part = sound_of(path, start_ns, start_ns + S // 10)
    assert part[0].start_ns <= start_ns
    for sound in part:
        assert expected[sound.start_ns] == sound.samples.tolist()
    wanted = [time_ns for time_ns in expected if start_ns - S // 100 < time_ns < start_ns + S // 10]
    assert set(wanted) <= {sound.start_ns for sound in part}


def test_lost_chunks_leave_a_gap(tmp_path: Path) -> None:
    """Half a second without chunks is half a second without sound, not sound that comes too early."""
    path = write_chunks(tmp_path / "a.mcap", CHUNKS[:50] + CHUNKS[100:], INFO)
    recording, track, found = sound_of(path)
    times = [sound.start_ns - START_NS for sound in found]
    assert times[49] == 490_000_000
    assert abs(times[50] - 1_000_000_000) <= 2_000_000  # the jitter of that chunk's stamp
    assert track.details["clock_restarts"] == 1
    assert len(track.gaps) == 1
    assert [incident.severity for incident in recording.incidents] == ["note"]  # on /mic/audio_info


def test_raw_sound_without_info_is_not_guessed(tmp_path: Path) -> None:
    """Raw chunks without AudioInfo are a failure that names the option; with it they are sound."""
    path = write_chunks(tmp_path / "a.mcap", CHUNKS)
    with open_bag([path]) as source:
        recording = source.probe()
    assert recording.tracks == ()
    (incident,) = recording.incidents
    assert incident.severity == "failure"
    assert "--audio-format /mic/audio=s16le:RATE:CHANNELS" in incident.cause
    assert "31984 bytes a second" in incident.cause
    _, track, _ = sound_of(path, audio_formats={"/mic/audio": "s16le:16000:1"})
    assert track.sample_rate == 16_000


def test_a_message_without_sound_is_told() -> None:
    """A recording may define AudioData in its own way."""
    with pytest.raises(CannotDecode, match="a sound's description lacks what its type promises"):
        format_of_info(SimpleNamespace(coding="mp3"))
    with pytest.raises(CannotDecode, match="a sound lacks what its type promises"):
        sound_in(SimpleNamespace(dati=b""), "audio_common_msgs/msg/AudioData")


def test_wrong_option_is_refused_at_once(tmp_path: Path) -> None:
    """A format that is none is the user's mistake, not the recording's."""
    path = write_chunks(tmp_path / "a.mcap", CHUNKS)
    with pytest.raises(WrongUse):
        open_bag([path], audio_formats={"/mic/audio": "s16"})


def test_riff_header_in_the_first_chunk(tmp_path: Path) -> None:
    """A RIFF header says what the sound is, and is no sound itself."""
    data = wav(RAMP[None], 16_000)
    chunks = [(START_NS + k * S // 100, data[320 * k : 320 * (k + 1)]) for k in range(201)]
    _, track, found = sound_of(write_chunks(tmp_path / "a.mcap", chunks))
    assert track.details["audio_format"] == "s16le:16000:1"
    joined = np.concatenate([sound.samples for sound in found], axis=1)
    assert (joined[0] * 32768).tolist() == RAMP.tolist()


@pytest.mark.parametrize("frames_per_chunk", [1, 3])
@pytest.mark.parametrize("info", [None, {"coding_format": "mp3"}])
def test_mp3_in_a_bag(tmp_path: Path, frames_per_chunk: int, info: dict[str, Any] | None) -> None:
    """MP3 is recognised by its frames, and each frame is placed by the count of samples."""
    frames = mp3_frames(tone(440, 2, sample_rate=44_100), 44_100)
    groups = [frames[at : at + frames_per_chunk] for at in range(0, len(frames), frames_per_chunk)]
    step_ns = 1152 * frames_per_chunk * S // 44_100
    chunks = [(START_NS + k * step_ns, b"".join(group)) for k, group in enumerate(groups)]
    path = write_chunks(tmp_path / "a.bag", chunks, info)
    _, track, found = sound_of(path)
    assert (track.sample_rate, track.channels) == (44_100, 1)
    for k, sound in enumerate(found):  # rounded down by chunk, and again within it
        assert START_NS + k * 1152 * S // 44_100 - sound.start_ns in (0, 1)
    assert len(found) == len(frames)
    joined = np.concatenate([sound.samples for sound in found], axis=1)[0]
    spectrum = np.abs(np.fft.rfft(joined[22_050:66_150]))
    assert int(spectrum.argmax()) == 440
    start_ns = START_NS + S
    _, _, part = sound_of(path, start_ns, start_ns + S // 2)
    whole = {sound.start_ns: sound.samples for sound in found}
    for sound in part:
        if sound.start_ns >= start_ns:
            assert np.array_equal(sound.samples, whole[sound.start_ns])
