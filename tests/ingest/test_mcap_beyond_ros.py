"""MCAP files with protobuf and JSON messages: pictures, sound, signals, text, and what is damaged."""

from __future__ import annotations

import base64
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bags import START_NS, jpeg
from made_cards import draw_card, read_card
from made_mcap import McapMaker, as_json, protobuf_classes, stamp
from made_sound import tone

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.recording import Incident, Recording
from ingest.sampling.clip import PictureClip, SignalClip, SoundClip, TextClip
from ingest.sources.bag import open_bag

NS = 1_000_000_000
LATE_NS = 3_000_000

FOXGLOVE = {
    "RawImage": [
        ("timestamp", ".google.protobuf.Timestamp"), ("frame_id", "string"), ("width", "fixed32"),
        ("height", "fixed32"), ("encoding", "string"), ("step", "fixed32"), ("data", "bytes"),
    ],
    "CompressedImage": [
        ("timestamp", ".google.protobuf.Timestamp"), ("frame_id", "string"), ("data", "bytes"),
        ("format", "string"),
    ],
    "RawAudio": [
        ("timestamp", ".google.protobuf.Timestamp"), ("data", "bytes"), ("format", "string"),
        ("sample_rate", "fixed32"), ("number_of_channels", "fixed32"),
    ],
    "Log": [("timestamp", ".google.protobuf.Timestamp"), ("level", "int32"), ("message", "string")],
    "Vector3": [("x", "double"), ("y", "double"), ("z", "double")],
    "Quaternion": [("x", "double"), ("y", "double"), ("z", "double"), ("w", "double")],
    "Pose": [("position", ".foxglove.Vector3"), ("orientation", ".foxglove.Quaternion")],
    "PoseInFrame": [
        ("timestamp", ".google.protobuf.Timestamp"), ("frame_id", "string"), ("pose", ".foxglove.Pose"),
    ],
    "State": [
        ("stamp", ".google.protobuf.Timestamp"), ("joints", "repeated double"), ("mode", "int32"),
        ("took", ".google.protobuf.Duration"), ("inner", ".foxglove.State"),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: every value follows from s, the seconds since the start by the messages' own stamps."""
    schema, made = protobuf_classes("foxglove", FOXGLOVE)
    maker = McapMaker()
    channels = {
        name: maker.add_channel(f"/{name.lower()}", "protobuf", f"foxglove.{name}", "protobuf", schema)
        for name in ("RawImage", "CompressedImage", "RawAudio", "Log", "PoseInFrame", "State")
    }
    gps = maker.add_channel("/gps", "json", "foxglove.LocationFix", "jsonschema", b"{}")
    picture = maker.add_channel("/photo", "json", "foxglove.CompressedImage", "jsonschema", b"{}")
    free = maker.add_channel("/free", "json")

    sound = np.round(tone(440, 2, sample_rate=16_000) * 32767).astype("<i2")
    for k in range(100):
        time_ns = START_NS + k * 20_000_000
        s, at = k * 0.02, {"seconds": time_ns // NS, "nanos": time_ns % NS}
        messages: dict[str, dict[str, Any]] = {
            "RawAudio": {
                "data": sound[0, k * 320 : (k + 1) * 320].tobytes(), "format": "pcm-s16",
                "sample_rate": 16_000, "number_of_channels": 1,
            },
            "PoseInFrame": {"pose": {
                "position": {"x": s, "y": -s, "z": 2},
                "orientation": {"z": np.sin(s / 2), "w": np.cos(s / 2)},
            }},
        }  # fmt: skip
        if k % 10 == 0:
            card = draw_card(k, 160, 96)
            messages["RawImage"] = {
                "width": 160, "height": 96, "encoding": "rgb8", "step": 480, "data": card.tobytes(),
            }  # fmt: skip
            messages["CompressedImage"] = {"data": jpeg(card), "format": "jpeg"}
            messages["Log"] = {"message": f"step {k}"}
            encoded = base64.b64encode(jpeg(card)).decode()
            photo = {"timestamp": stamp(time_ns), "data": encoded, "format": "jpeg"}
            maker.add(picture, time_ns + LATE_NS, as_json(photo))
        for name, values in messages.items():
            message = made[name](timestamp=at, **values)
            maker.add(channels[name], time_ns + LATE_NS, message.SerializeToString())
        state = made["State"](stamp=at, joints=[s, 1 - s], mode=k // 50, took={"nanos": 500_000_000})
        maker.add(channels["State"], time_ns + LATE_NS, state.SerializeToString())
        fix = {"timestamp": stamp(time_ns), "latitude": 1 + s, "position_covariance": [s] * 9}
        maker.add(gps, time_ns + LATE_NS, as_json(fix))
        maker.add(free, time_ns + LATE_NS, as_json({"a": {"b": s}, "odd": k % 2 == 1}))
    return maker.write(tmp_path_factory.mktemp("robot") / "robot.mcap")


@pytest.fixture(scope="module")
def recording(robot: Path) -> Recording:
    with open_bag([robot]) as source:
        return source.probe()


def test_every_channel_is_a_track_on_its_own_clock(recording: Recording) -> None:
    """Pictures, sound, signals and text, by the stamps inside the messages; nothing is left out."""
    assert [i.cause for i in recording.incidents] == []
    assert {track.name: track.medium for track in recording.tracks} == {
        "compressedimage": "pictures", "rawimage": "pictures", "photo": "pictures", "rawaudio": "sound",
        "log": "text", "poseinframe": "signal", "state": "signal", "gps": "signal", "free": "signal",
    }  # fmt: skip
    for track in recording.tracks:
        assert track.clock is not None
        own = track.name != "free"
        assert track.clock.choice == ("header" if own else "log")
        assert track.clock.offset_ns == (LATE_NS if own else 0)
        assert track.start_ns == START_NS + (0 if own else LATE_NS)
    pose = recording.track("poseinframe")
    assert pose.columns[:3] == ("pose.position.x", "pose.position.y", "pose.position.z")
    assert [pose.columns[k] for k in pose.quaternions[0]][3] == "pose.orientation.w"
    state = recording.track("state")
    assert state.columns == ("joints[0]", "joints[1]", "mode", "took")
    assert state.kinds == ("linear", "linear", "last", "linear")


def test_clips_hold_what_was_written(robot: Path, recording: Recording) -> None:
    """Ramps by the closed form, cards by their number, the tone's samples, the log's lines."""
    wishes = [Wish(track.name, track) for track in recording.tracks]
    windows = windows_of(recording, NS, 0, 2)
    sampling = Sampling(fps=Fraction(5), size=96, fit="stretch", signal_hz=Fraction(40))
    told: list[Incident] = []
    with open_bag([robot]) as source:
        clips = {(w.index, n): m for w, n, m in read_clips(source, wishes, windows, sampling, told.append)}
    assert told == []
    for name in ("rawimage", "compressedimage", "photo"):
        second = clips[1, name]
        assert isinstance(second, PictureClip)
        assert [read_card(np.asarray(frame)) for frame in second.frames] == [50, 60, 70, 80, 90]
        assert second.times_ns.tolist() == [k * 200_000_000 for k in range(5)]
    s = 1 + np.arange(40) / 40
    pose, state, gps, free = (clips[1, name] for name in ("poseinframe", "state", "gps", "free"))
    assert isinstance(pose, SignalClip)
    assert isinstance(state, SignalClip)
    assert isinstance(gps, SignalClip)
    assert isinstance(free, SignalClip)
    until = s <= 1.98  # the last message
    turned = np.stack([s, -s, 0 * s + 2, 0 * s, 0 * s, np.sin(s / 2), np.cos(s / 2)], axis=1)
    assert np.allclose(pose.values[until], turned[until], atol=1e-6)
    modes = (s >= 1).astype(float)
    assert np.allclose(
        state.values[until], np.stack([s, 1 - s, modes, 0 * s + 0.5], axis=1)[until], atol=1e-6
    )
    assert np.allclose(gps.values[until], np.stack([1 + s, *[s] * 9], axis=1)[until], atol=1e-6)
    assert np.allclose(free.values[until, 0], s[until] - LATE_NS / 1e9, atol=1e-6)
    sound, text = clips[1, "rawaudio"], clips[0, "log"]
    assert isinstance(sound, SoundClip)
    assert isinstance(text, TextClip)
    expected = tone(440, 2, sample_rate=16_000)[:, 16_000:]
    assert np.abs(sound.samples - expected).max() < 1e-3
    assert [cue.text for cue in text.cues] == [f"step {k}" for k in range(0, 50, 10)]


def test_a_damaged_message_costs_itself(tmp_path: Path) -> None:
    """Bytes that are no JSON, or no protobuf of the type, are counted and named; the rest comes."""
    schema, made = protobuf_classes("foxglove", FOXGLOVE)
    maker = McapMaker()
    free = maker.add_channel("/free", "json")
    state = maker.add_channel("/state", "protobuf", "foxglove.State", "protobuf", schema)
    for k in range(10):
        maker.add(free, START_NS + k * NS, b'{"a":' if k == 5 else as_json({"a": k}))
        good = made["State"](mode=k).SerializeToString()
        maker.add(state, START_NS + k * NS, b"\x1a\xff\xff" if k == 5 else good)
    with open_bag([maker.write(tmp_path / "damaged.mcap")]) as source:
        recording = source.probe()
    causes = sorted(incident.cause for incident in recording.incidents)
    assert len(causes) == 2
    assert "topic /free: 1 of 10 messages can't be decoded: a message is no JSON" in causes[0]
    assert "topic /state: 1 of 10 messages can't be decoded: a protobuf message is damaged" in causes[1]


@pytest.mark.parametrize(
    ("encoding", "schema_encoding", "words"),
    [
        ("protobuf", "protobuf", "the protobuf descriptor of its type 'a.B' can't be read"),
        ("protobuf", "", "has no protobuf descriptor"),
        ("flatbuffer", "flatbuffer", "serialised as 'flatbuffer', which is not read yet"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, encoding: str, schema_encoding: str, words: str
) -> None:
    """A type without a usable description is a failure that says why."""
    maker = McapMaker()
    channel = maker.add_channel("/odd", encoding, "a.B", schema_encoding, b"\xff\xff\xff")
    maker.add(channel, START_NS, b"\x00" * 8)
    with open_bag([maker.write(tmp_path / "odd.mcap")]) as source:
        recording = source.probe()
    assert not recording.tracks
    (incident,) = (i for i in recording.incidents if i.severity == "failure")
    assert words in incident.cause


@pytest.mark.media
def test_a_real_recording_in_json(media: Path) -> None:
    """Foxglove's example gives its camera's ten pictures and both calibrations."""
    with open_bag([media / "broken_bags/custom-camera-model.mcap"]) as source:
        recording = source.probe()
        assert recording.incidents == ()
        assert {track.name: track.item_count for track in recording.tracks} == {
            "camera_calibration": 10, "camera_calibration_custom": 10, "image_compressed": 10,
        }  # fmt: skip
        track = recording.track("image_compressed")
        assert (track.width, track.height) == (520, 360)
        decoder = source.decoder(track)
        packets = list(source.read([track], track.start_ns, track.stop_ns, lambda _: None))
        (picture,) = decoder.decode(packets[0])
        assert picture.rgb(64, 48).std() > 10  # type: ignore[union-attr]
