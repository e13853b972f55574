"""Compressed video in bags: any clip from any start gives the pictures of decoding everything."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from made_bags import START_NS
from made_cards import draw_card, read_card
from made_mcap import McapMaker, protobuf_classes

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.decoders.h264_numbers import FrameNumbers
from ingest.decoders.video_keyframes import codec_named, packet_facts
from ingest.recording import Incident, Recording
from ingest.sampling.clip import PictureClip
from ingest.sources.bag import open_bag

NS = 1_000_000_000
STEP_NS = NS // 10
FRAMES, EVERY = 40, 8
VIDEO = [
    ("timestamp", ".google.protobuf.Timestamp"), ("frame_id", "string"), ("data", "bytes"),
    ("format", "string"),
]  # fmt: skip
ENCODERS = {
    "h264": ("libx264", {"bf": "0", "x264-params": "scenecut=0:mbtree=0"}),
    "h265": ("libx265", {"x265-params": "bframes=0:scenecut=0:log-level=none:repeat-headers=1"}),
    "vp9": ("libvpx-vp9", {"lag-in-frames": "0", "deadline": "realtime", "cpu-used": "8"}),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "pred-struct=1:lookahead=0"}),
}


@cache
def packets_of(form: str) -> tuple[bytes, ...]:
    """Encode forty cards with a keyframe every eighth, as a robot's encoder does: none held back."""
    name, options = ENCODERS[form]
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 160, 96, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 10), Fraction(10)
    context.gop_size, context.thread_count, context.options = EVERY, 1, options
    packets = []
    for k in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(draw_card(k, 160, 96), format="rgb24")
        frame.pts = k
        packets += context.encode(frame)
    packets += context.encode(None)
    assert [packet.pts for packet in packets] == list(range(FRAMES))
    return tuple(bytes(packet) for packet in packets)


def write(path: Path, form: str, which: Sequence[int] = range(FRAMES), data: Sequence[bytes] = ()) -> Path:
    """Write some of the packets as `foxglove.CompressedVideo`, each logged 4 ms late."""
    schema, made = protobuf_classes("foxglove", {"CompressedVideo": VIDEO})
    maker = McapMaker(per_chunk=4)
    channel = maker.add_channel("/cam", "protobuf", "foxglove.CompressedVideo", "protobuf", schema)
    packets = data or packets_of(form)
    for k in which:
        time_ns = START_NS + k * STEP_NS
        at = {"seconds": time_ns // NS, "nanos": time_ns % NS}
        message = made["CompressedVideo"](timestamp=at, data=packets[k], format=form)
        maker.add(channel, time_ns + 4_000_000, message.SerializeToString())
    return maker.write(path)


def clips(
    path: Path, clip_ns: int, first: int = 0, count: int = 0
) -> tuple[dict[int, PictureClip], list[Incident]]:
    """Read clips at the camera's own rate, by a source of their own."""
    told: list[Incident] = []
    with open_bag([path]) as source:
        recording = source.probe()
        windows = windows_of(recording, clip_ns, first, count or -(-FRAMES * STEP_NS // clip_ns))
        wishes = [Wish(track.name, track) for track in recording.tracks]
        sampling = Sampling(fps=Fraction(10), size=96, fit="stretch")
        found = {w.index: m for w, _, m in read_clips(source, wishes, windows, sampling, told.append)}
    assert all(isinstance(clip, PictureClip) for clip in found.values())
    return found, told  # type: ignore[return-value]


def probed(path: Path) -> Recording:
    with open_bag([path]) as source:
        return source.probe()


@pytest.mark.parametrize("form", ENCODERS)
def test_keyframes_are_known_by_their_bytes(form: str) -> None:
    """Every eighth packet is one, as it was encoded, and no other; damaged bytes are none."""
    codec = codec_named(form)
    found = [k for k, data in enumerate(packets_of(form)) if packet_facts(codec, data).keyframe]
    assert found == list(range(0, FRAMES, EVERY))
    assert not any(packet_facts(codec, data).keyframe for data in (b"", b"\0\0\1", b"\x12", b"\xff" * 9))


@pytest.mark.parametrize("form", ENCODERS)
def test_any_clip_gives_what_decoding_everything_gives(tmp_path: Path, form: str) -> None:
    """One pass over the whole and one pass per clip, at starts between keyframes, agree to the byte."""
    path = write(tmp_path / "video.mcap", form)
    recording = probed(path)
    assert recording.incidents == ()
    (track,) = recording.tracks
    assert (track.width, track.height, track.item_count) == (160, 96, FRAMES)
    assert track.details["keyframes"] == FRAMES // EVERY
    assert (track.clock and track.clock.choice) == "header"
    whole, told = clips(path, FRAMES * STEP_NS)
    assert told == []
    assert [read_card(frame) for frame in whole[0].frames] == list(range(FRAMES))
    for index in range(6):
        part, told = clips(path, 7 * STEP_NS, index, 1)
        assert told == []
        expected = range(7 * index, min(FRAMES, 7 * index + 7))
        assert part[index].times_ns.tolist() == [(k - 7 * index) * STEP_NS for k in expected]
        assert np.array_equal(part[index].frames, whole[0].frames[list(expected)])


def test_keyframes_without_parameters_get_the_first_ones(tmp_path: Path) -> None:
    """An encoder that sends its parameter sets once is decoded from any of its keyframes all the same."""
    packets = list(packets_of("h264"))
    for k in range(EVERY, FRAMES, EVERY):
        packets[k] = packets[k][packets[k].index(b"\0\0\1\x65") :]
        assert packet_facts("h264", packets[k]) == (True, b"")
    path = write(tmp_path / "once.mcap", "h264", data=packets)
    part, told = clips(path, 10 * STEP_NS, 2, 1)
    assert told == []
    assert [read_card(frame) for frame in part[2].frames] == list(range(20, 30))


def test_what_comes_before_the_first_keyframe_is_lost_and_said(tmp_path: Path) -> None:
    """A recording that begins between keyframes loses those pictures, by count and span."""
    recording = probed(write(tmp_path / "late.mcap", "h264", range(5, FRAMES)))
    (incident,) = recording.incidents
    assert incident.severity == "failure"
    assert "3 pictures before the first keyframe" in incident.cause
    assert (incident.start_ns, incident.stop_ns) == (START_NS + 5 * STEP_NS, START_NS + 8 * STEP_NS)
    assert recording.tracks[0].start_ns == START_NS + 8 * STEP_NS
    assert recording.tracks[0].item_count == FRAMES - 8


def test_video_without_a_keyframe_is_a_failure(tmp_path: Path) -> None:
    """Nothing of it can be decoded, and the failure says so."""
    recording = probed(write(tmp_path / "none.mcap", "h264", range(1, 8)))
    assert not recording.tracks
    (incident,) = recording.incidents
    assert "without a keyframe in 7 messages" in incident.cause


@pytest.mark.parametrize("form", ["h264", "h265"])
def test_a_lost_message_never_gives_a_wrong_picture(tmp_path: Path, form: str) -> None:
    """Each picture that comes shows its own card; from the next keyframe on all are there; it is said."""
    path = write(tmp_path / "gap.mcap", form, [k for k in range(FRAMES) if k != 11])
    whole, told = clips(path, FRAMES * STEP_NS)
    numbers = [read_card(frame) for frame in whole[0].frames]
    assert numbers == [time_ns // STEP_NS for time_ns in whole[0].times_ns.tolist()]
    assert sorted({number for number in numbers if number is not None}) == [*range(11), *range(16, FRAMES)]
    assert {incident.severity for incident in told} == {"failure"}


def test_frame_numbers_of_a_whole_stream_follow_each_other() -> None:
    """No gap in what is whole; a gap wherever a picture but the one before a keyframe is taken out."""
    packets = packets_of("h264")
    numbers = FrameNumbers()
    assert all(numbers.follows(data) for data in packets)
    for lost in range(1, FRAMES - 1):
        numbers = FrameNumbers()
        found = [numbers.follows(data) for k, data in enumerate(packets) if k != lost]
        assert found[lost] == (lost % EVERY == EVERY - 1)
        assert all(found[:lost])


def test_ffmpeg_packets_of_ros(tmp_path: Path) -> None:
    """`FFMPEGPacket` with the definition in the recording, by CDR: the encoder's name says the codec."""
    from made_mcap import cdr_packet

    definition = (
        "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
        "bool is_bigendian\nuint8[] data\n" + "=" * 80 + "\nMSG: std_msgs/Header\n"
        "builtin_interfaces/Time stamp\nstring frame_id\n"
    )
    maker = McapMaker()
    name = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
    channel = maker.add_channel("/cam/ffmpeg", "cdr", name, "ros2msg", definition.encode())
    for k, data in enumerate(packets_of("h265")):
        time_ns = START_NS + k * STEP_NS
        maker.add(channel, time_ns, cdr_packet(time_ns, "libx265;yuv420p", data))
    part, told = clips(maker.write(tmp_path / "ffmpeg.mcap"), 10 * STEP_NS, 1, 1)
    assert told == []
    assert [read_card(frame) for frame in part[1].frames] == list(range(10, 20))


REORDERED = {
    "h264": ("libx264", {"bf": "2", "x264-params": "scenecut=0:mbtree=0:b-adapt=0:b-pyramid=none"}),
    "h265": ("libx265", {"x265-params": "bframes=3:scenecut=0:log-level=none:repeat-headers=1:open-gop=1"}),
}


@cache
def reordered_packets(form: str) -> tuple[tuple[int, bytes], ...]:
    """Encode forty cards with B-frames; return (number of the card, packet) in the order of decoding."""
    name, options = REORDERED[form]
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 160, 96, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 10), Fraction(10)
    context.gop_size, context.thread_count, context.options = EVERY, 1, options
    packets = []
    for k in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(draw_card(k, 160, 96), format="rgb24")
        frame.pts = k
        packets += context.encode(frame)
    packets += context.encode(None)
    numbers = [int(packet.pts or 0) for packet in packets]
    assert numbers != sorted(numbers)
    return tuple((number, bytes(packet)) for number, packet in zip(numbers, packets, strict=True))


def write_reordered(path: Path, form: str, *, presented: bool) -> Path:
    """Write packets in the order of decoding, stamped by when they are shown, or by that order."""
    schema, made = protobuf_classes("foxglove", {"CompressedVideo": VIDEO})
    maker = McapMaker(per_chunk=4)
    channel = maker.add_channel("/cam", "protobuf", "foxglove.CompressedVideo", "protobuf", schema)
    for place, (number, data) in enumerate(reordered_packets(form)):
        time_ns = START_NS + (number if presented else place) * STEP_NS
        at = {"seconds": time_ns // NS, "nanos": time_ns % NS}
        message = made["CompressedVideo"](timestamp=at, data=data, format=form)
        maker.add(channel, START_NS + (place + 3) * STEP_NS, message.SerializeToString())
    return maker.write(path)


@pytest.mark.parametrize("form", REORDERED)
def test_b_frames_are_shown_when_their_headers_say(tmp_path: Path, form: str) -> None:
    """Video in the order of decoding gives each card at its own time, whole and clip by clip."""
    path = write_reordered(tmp_path / "video.mcap", form, presented=True)
    recording = probed(path)
    assert recording.incidents == ()
    (track,) = recording.tracks
    assert track.clock is not None
    assert (track.clock.choice, track.period_ns, track.start_ns) == ("header", STEP_NS, START_NS)
    assert "the order of decoding" in track.clock.reason
    whole, told = clips(path, FRAMES * STEP_NS)
    assert told == []
    assert [read_card(frame) for frame in whole[0].frames] == list(range(FRAMES))
    assert whole[0].times_ns.tolist() == [k * STEP_NS for k in range(FRAMES)]
    for index in range(6):
        part, told = clips(path, 7 * STEP_NS, index, 1)
        assert told == []
        expected = range(7 * index, min(FRAMES, 7 * index + 7))
        assert [read_card(frame) for frame in part[index].frames] == list(expected)
        assert part[index].times_ns.tolist() == [(k - 7 * index) * STEP_NS for k in expected]


@pytest.mark.parametrize("form", REORDERED)
def test_b_frames_without_times_of_showing_are_refused(tmp_path: Path, form: str) -> None:
    """Where stamps follow the order of decoding, nobody knows when a picture is shown: it is said."""
    recording = probed(write_reordered(tmp_path / "video.mcap", form, presented=False))
    assert recording.tracks == ()
    (incident,) = recording.incidents
    assert incident.severity == "failure"
    assert "not of showing (B-frames)" in incident.cause


def test_a_codec_that_is_not_read_is_named(tmp_path: Path) -> None:
    """The failure says what the messages call it."""
    recording = probed(write(tmp_path / "odd.mcap", "ffv1", data=packets_of("h264")))
    (incident,) = recording.incidents
    assert "video as 'ffv1' is not supported" in incident.cause


@pytest.mark.parametrize("form", ENCODERS)
def test_keyframes_alone_can_be_asked_for(tmp_path: Path, form: str) -> None:
    """Only they are read, and each comes at its own time with its own card."""
    with open_bag([write(tmp_path / "video.mcap", form)]) as source:
        recording = source.probe()
        (track,) = recording.tracks
        start_ns, stop_ns = recording.origin_ns + 12 * STEP_NS, recording.stop_ns
        packets = list(source.read([track], start_ns, stop_ns, lambda _: None, {track.name: "keyframes"}))
        decoder = source.decoder(track)
        pictures = [picture for packet in packets for picture in decoder.decode(packet)]
        pictures += decoder.flush()
    numbers = [read_card(picture.rgb(160, 96)) for picture in pictures]  # type: ignore[union-attr]
    assert numbers == [8, 16, 24, 32]
    assert [picture.time_ns for picture in pictures] == [START_NS + k * STEP_NS for k in (8, 16, 24, 32)]  # type: ignore[union-attr]
