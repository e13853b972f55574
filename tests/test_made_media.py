"""The made media are what their makers say: everything else in the suite leans on that."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import START_NS, Ramp, open_bag, typestore
from made_cards import CORNERS, NUMBER_BITS, draw_card, is_flash, read_card, read_corners
from made_damage import without_index
from made_long import LONG_PITCH_HZ, long_bag, long_card
from made_sound import CODECS, clicks, heard_clicks, heard_pitch, tone, write_sound
from made_video import Pictures, SoundTrack, Subtitles, stored_times_ns, write_video
from rosbags.highlevel import AnyReader

numbers = st.integers(0, (1 << NUMBER_BITS) - 1)


def shown(path: Path, stream: int = 0) -> list[tuple[int, np.ndarray]]:
    """Return time in ns and stored RGB of every frame, in the plainest way."""
    with av.open(str(path)) as container:
        video = container.streams.video[stream]
        assert video.time_base is not None
        return [
            (int((frame.pts or 0) * video.time_base * 1_000_000_000), frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video)
        ]


def heard(path: Path) -> tuple[float, np.ndarray, int]:
    """Return the time of the first sample in seconds, float32 [C, N] and the sample rate."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp")
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        start = float((frames[0].pts or 0) * frames[0].time_base) if frames[0].time_base else 0.0
        return start, np.concatenate([frame.to_ndarray() for frame in frames], axis=1), frames[0].sample_rate


@given(numbers, st.integers(64, 400), st.integers(64, 300), st.booleans())
def test_a_card_reads_back(number: int, width: int, height: int, flash: bool) -> None:
    """Any number on a card of any size is read again, with and without a flash."""
    card = draw_card(number, width, height, flash=flash)
    assert card.shape == (height, width, 3)
    assert read_card(card) == number
    assert is_flash(card) == flash


@settings(max_examples=40)
@given(numbers, st.integers(100, 400), st.integers(100, 300))
def test_a_card_survives_crop_and_bars(number: int, width: int, height: int) -> None:
    """The centred square is enough to read a card, and black bars around it do no harm."""
    card = draw_card(number, width, height)
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    assert read_card(card[top : top + side, left : left + side]) == number
    assert read_card(np.pad(card, ((30, 10), (0, 50), (0, 0)))) == number


def test_a_turned_or_mirrored_card_is_not_read_as_upright() -> None:
    """A picture that is not upright gives another number or none, for every way to turn it.

    But for the few numbers whose pattern is its own mirror image; tests of turned pictures use none of them.
    """
    symmetric = set()
    for number in range(256):
        card = draw_card(number, 160, 160)
        wrong = [card[:, ::-1], card[::-1], *(np.rot90(card, turns) for turns in (1, 2, 3))]
        # Eight bits of checksum let one wrong picture in 256 pass as some other number.
        symmetric |= {number for picture in wrong if read_card(picture) == number}
    assert symmetric == {196}


def test_corners_tell_the_colours() -> None:
    """The four patches are found in the order in which they are documented."""
    assert np.abs(read_corners(draw_card(7, 320, 192)) - np.array(CORNERS)).max() == 0


CONTAINERS = [
    ("x.mp4", Pictures()),
    ("x.mov", Pictures(fps=Fraction(30000, 1001))),
    ("x.mkv", Pictures(codec="libx265", fps=Fraction(25))),
    ("x.webm", Pictures(codec="libvpx-vp9", frames=24)),
    ("x.avi", Pictures(codec="mpeg4", b_frames=0)),
    ("late.mp4", Pictures(start=Fraction(10))),
    ("late.mkv", Pictures(start=Fraction(10))),
    ("vfr.mp4", Pictures(times=[Fraction(k * k, 90) for k in range(40)])),
    ("vfr.mkv", Pictures(times=[Fraction(k * k, 90) for k in range(40)])),
    ("numbered.mp4", Pictures(first_number=1000, width=518, height=98, pixel_format="yuv444p")),
]


@pytest.mark.parametrize(("name", "pictures"), CONTAINERS, ids=[name for name, _ in CONTAINERS])
def test_videos_keep_numbers_and_times(tmp_path: Path, name: str, pictures: Pictures) -> None:
    """Each frame carries its own number and stands at the time that the maker says."""
    path = write_video(tmp_path / name, pictures)
    frames = shown(path)
    assert [time for time, _ in frames] == stored_times_ns(path, pictures)
    assert [read_card(rgb) for _, rgb in frames] == [
        pictures.first_number + k for k in range(len(pictures.moments))
    ]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_the_same_video_twice_is_the_same_bytes(tmp_path: Path, name: str) -> None:
    """Nothing random and no time of day gets into a made video."""
    write = [write_video(tmp_path / f"{turn}{name}", Pictures(frames=30)) for turn in range(4)]
    assert len({path.read_bytes() for path in write}) == 1


def by_display_matrix(path: Path) -> np.ndarray:
    """Turn the first stored picture as the file's display matrix says, pixel by pixel.

    A stored point (x, y) is shown at (a x + c y, b x + d y); ISO/IEC 14496-12, section 8.5.3.
    """
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        side_data: Any = frame.side_data
        matrix = struct.unpack("<9i", bytes(side_data[Type.DISPLAYMATRIX]))
        rgb = frame.to_ndarray(format="rgb24")
    a, b, c, d = (value >> 16 for value in (matrix[0], matrix[1], matrix[3], matrix[4]))
    y, x = np.indices(rgb.shape[:2])
    shown_x, shown_y = a * x + c * y, b * x + d * y
    shown_x, shown_y = shown_x - shown_x.min(), shown_y - shown_y.min()
    turned = np.empty((shown_y.max() + 1, shown_x.max() + 1, 3), np.uint8)
    turned[shown_y, shown_x] = rgb
    return turned


@pytest.mark.parametrize(
    ("rotation", "mirrored"),
    [(90, False), (180, False), (270, False), (0, True), (90, True), (180, True), (270, True)],
)
def test_rotated_videos_are_upright_when_shown(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    """What a player shows is an upright card, and what is stored is not."""
    pictures = Pictures(frames=2, rotation=rotation, mirrored=mirrored)
    path = write_video(tmp_path / "turned.mp4", pictures)
    picture = by_display_matrix(path)
    assert picture.shape[:2] == ((320, 192) if rotation in (90, 270) else (192, 320))
    assert read_card(picture) == 0
    assert read_card(shown(path)[0][1]) is None


def test_flash_and_click_belong_together(card_with_sound_mp4: Path) -> None:
    """The frames that flash are shown when the clicks are heard."""
    flashes = [time / 1e9 for time, rgb in shown(card_with_sound_mp4) if is_flash(rgb)]
    start, samples, rate = heard(card_with_sound_mp4)
    assert flashes == [0.5, 1.5, 2.5, 3.5]
    assert [start + click for click in heard_clicks(samples, rate)] == pytest.approx(flashes, abs=0.001)


def test_late_sound_is_late(card_late_sound_mkv: Path) -> None:
    """Sound that was given 80 ms late stands 80 ms late in the file."""
    start, samples, rate = heard(card_late_sound_mkv)
    assert start == 0.08
    assert heard_pitch(samples, rate) == pytest.approx(440, abs=0.1)


@pytest.mark.parametrize("ending", sorted(CODECS))
def test_tones_have_their_pitch_in_every_codec(tmp_path: Path, ending: str) -> None:
    """Both channels of a stereo file sound as asked for."""
    path = write_sound(tmp_path / f"tone{ending}", tone(440, 1, channels=2))
    _, samples, rate = heard(path)
    assert heard_pitch(samples[:1], rate) == pytest.approx(440, abs=0.2)
    assert heard_pitch(samples[1:], rate) == pytest.approx(880, abs=0.2)
    assert samples.shape[1] == pytest.approx(48_000, abs=4096)


@given(st.lists(st.integers(0, 30), unique=True, max_size=5))
def test_clicks_are_heard_where_they_were_put(tenths: list[int]) -> None:
    """Onsets are found to one sample."""
    times = [Fraction(tenth, 10) for tenth in sorted(tenths)]
    assert heard_clicks(clicks(times, 3.5), 48_000) == pytest.approx([float(time) for time in times])


def test_subtitles_keep_times_and_text(tmp_path: Path) -> None:
    """Cues come back from the container as they were given."""
    cues = [(Fraction(1, 2), Fraction(1), "Hello"), (Fraction(1), Fraction(3, 2), "two\nlines")]
    path = write_video(tmp_path / "said.mkv", Pictures(frames=36), Subtitles(cues))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(subtitles=0) if packet.size]
    assert [(packet.pts, packet.duration, bytes(packet).decode()) for packet in packets] == [
        (500, 500, "Hello"),
        (1000, 500, "two\nlines"),
    ]


@pytest.mark.parametrize("kind", ["ramp_mcap", "ramp_bag", "ramp_folder"])
def test_ramps_are_straight(kind: str, request: pytest.FixtureRequest) -> None:
    """Every value of the ramp robot follows from its header's time, in every kind of bag."""
    ramp: Ramp = request.getfixturevalue(kind)
    with AnyReader([ramp.path], default_typestore=typestore(1 if kind == "ramp_bag" else 2)) as reader:
        messages = [
            (c.topic, log_ns, reader.deserialize(raw, c.msgtype)) for c, log_ns, raw in reader.messages()
        ]
    assert [log_ns for _, log_ns, _ in messages] == sorted(log_ns for _, log_ns, _ in messages)
    joints = [(log_ns, message) for topic, log_ns, message in messages if topic == "/joint_states"]
    assert [log_ns - ramp.log_delay_ns for log_ns, _ in joints] == ramp.times_ns(ramp.joints_hz)
    for log_ns, message in joints:
        stamp = message.header.stamp  # type: ignore[attr-defined]
        assert stamp.sec * 1_000_000_000 + stamp.nanosec == log_ns - ramp.log_delay_ns
        s = (log_ns - ramp.log_delay_ns - ramp.start_ns) / 1e9
        assert list(message.position) == [s, 10 - s]  # type: ignore[attr-defined]
    wrist = [message for topic, _, message in messages if topic == "/camera/wrist/image_raw"]
    cards = [read_card(message.data.reshape(80, 96, 3)) for message in wrist]  # type: ignore[attr-defined]
    assert cards == [500 + k for k in range(40)]
    spoken = b"".join(bytes(message.data) for topic, _, message in messages if topic == "/audio")  # type: ignore[attr-defined]
    assert heard_mp3_pitch(spoken) == pytest.approx(440, abs=0.2)


def heard_mp3_pitch(data: bytes) -> float:
    context = av.CodecContext.create("mp3", "r")
    assert isinstance(context, av.AudioCodecContext)
    frames = [frame for packet in [*context.parse(data), None] for frame in context.decode(packet)]
    return heard_pitch(np.concatenate([frame.to_ndarray() for frame in frames], axis=1), 44_100)


def test_a_made_message_refuses_fields_that_do_not_exist(tmp_path: Path) -> None:
    """A typing mistake in a test must not make a message full of zeros."""
    with open_bag(tmp_path / "x.bag") as bag, pytest.raises(ValueError, match="has no field positions"):
        bag.make("sensor_msgs/msg/JointState", positions=[1.0])


def test_a_bag_without_index_is_one(ramp_bag: Ramp, tmp_path: Path) -> None:
    """A reader that needs the index says that there is none."""
    path = without_index(ramp_bag.path, tmp_path / "cut.bag")
    with pytest.raises(Exception, match="not indexed"):
        AnyReader([path]).open()


def test_a_long_card_counts_its_seconds(tmp_path: Path) -> None:
    """Repeated packets decode to the promised numbers and to one unbroken tone."""
    card = long_card(tmp_path / "long.mp4", 0.01, fps=4)
    frames = shown(card.path)
    assert [time for time, _ in frames] == [k * 250_000_000 for k in range(card.seconds * 4)]
    assert [read_card(rgb) for _, rgb in frames] == [card.number_at(k) for k in range(len(frames))]
    _, samples, rate = heard(card.path)
    assert samples.shape[1] == pytest.approx(card.seconds * 8000, abs=2048)
    assert heard_pitch(samples[:, 4000:], rate) == pytest.approx(LONG_PITCH_HZ, abs=0.2)


def test_a_long_bag_is_as_large_as_asked(tmp_path: Path) -> None:
    """Size and number of pictures follow from the request."""
    path = tmp_path / "long.mcap"
    count = long_bag(path, 3, width=160, height=120)
    assert path.stat().st_size == pytest.approx(3_000_000, rel=0.1)
    with AnyReader([path], default_typestore=typestore(2)) as reader:
        assert reader.topics["/camera/image_raw"].msgcount == count
        assert reader.start_time == START_NS


def test_a_second_video_and_a_second_sound_are_streams_of_their_own(tmp_path: Path) -> None:
    """Streams stand in the file in the order in which they were given."""
    path = write_video(
        tmp_path / "two.mkv",
        Pictures(frames=12),
        Pictures(frames=12, first_number=1000),
        SoundTrack(tone(440, 0.5)),
        SoundTrack(tone(660, 0.5), codec="flac"),
    )
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "video", "audio", "audio"]
    assert [read_card(rgb) for _, rgb in shown(path, 1)] == [1000 + k for k in range(12)]
