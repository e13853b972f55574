"""Transforms as signals per pair of frames, and camera calibrations as metadata."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bags import START_NS, BagMaker, open_bag
from made_mcap import McapMaker, as_json, stamp

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.opening import open_recording
from ingest.recording import Incident, Recording
from ingest.sampling.clip import SignalClip

MS, NS = 1_000_000, 1_000_000_000


def transform(bag: BagMaker, parent: str, child: str, stamp_ns: int, s: float) -> dict[str, Any]:
    """Return a transform that moves along x and turns around z by s."""
    return {
        "header": bag.header(stamp_ns, parent), "child_frame_id": child,
        "transform": {
            "translation": {"x": s, "y": -s, "z": 1},
            "rotation": {"x": 0, "y": 0, "z": math.sin(s / 2), "w": math.cos(s / 2)},
        },
    }  # fmt: skip


@pytest.fixture(scope="module", params=["mcap", "db3"])
def robot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds: odom>base at 50 Hz and map>odom at 5 Hz in the same messages, base>camera once."""
    path = tmp_path_factory.mktemp("tf") / f"robot.{request.param}"
    with open_bag(path) as bag:
        bag.add_topic("/tf_static", "tf2_msgs/msg/TFMessage", latched=True)
        fixed = [transform(bag, "base", "camera", START_NS, 0.5)]
        bag.write("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, transforms=fixed)
        for k in range(150):
            stamp_ns = START_NS + k * 20 * MS
            both = [transform(bag, "/odom", "/base", stamp_ns, k / 50)]
            if k % 10 == 0:
                both.append(transform(bag, "map", "odom", stamp_ns - 5 * MS, (k / 50 - 0.005) / 2))
            bag.write("/tf", "tf2_msgs/msg/TFMessage", stamp_ns + 2 * MS, transforms=both)
    return path


def test_every_pair_is_a_track(robot: Path) -> None:
    """With its own rate, clock and span; what is static holds without limit."""
    with open_recording(robot) as source:
        recording = source.probe()
    assert [i for i in recording.incidents if i.severity == "failure"] == []
    assert {track.name: (track.item_count, track.period_ns // MS) for track in recording.tracks} == {
        "tf_odom_base": (150, 20), "tf_map_odom": (15, 200), "tf_static_base_camera": (1, 0),
    }  # fmt: skip
    for track in recording.tracks:
        assert track.quaternions == ((3, 4, 5, 6),)
        assert track.clock is not None
        assert track.clock.choice == "header"
    assert recording.track("tf_static_base_camera").max_age_ns == 0
    assert recording.track("tf_map_odom").clock.offset_ns == 7 * MS  # type: ignore[union-attr]
    again = Recording.from_json(recording.to_json())
    assert again.tracks == recording.tracks


def test_pairs_by_their_closed_form(robot: Path) -> None:
    """Translation and turn at 40 steps a second, each pair interpolated between its own stamps."""
    told: list[Incident] = []
    with open_recording(robot) as source:
        recording = source.probe()
        wishes = [Wish(track.name, track) for track in recording.tracks]
        windows = windows_of(recording, NS, 0, 3)
        sampling = Sampling(signal_hz=Fraction(40))
        clips = {(w.index, n): m for w, n, m in read_clips(source, wishes, windows, sampling, told.append)}
    assert told == []
    s = (recording.origin_ns - START_NS) / NS + 1 + np.arange(40) / 40  # the second clip
    for name, along in (("tf_odom_base", s), ("tf_map_odom", s / 2), ("tf_static_base_camera", 0 * s + 0.5)):
        clip = clips[1, name]
        assert isinstance(clip, SignalClip)
        turn = [0 * along, 0 * along, np.sin(along / 2), np.cos(along / 2)]
        expected = np.stack([along, -along, 0 * along + 1, *turn], axis=1)
        assert np.allclose(clip.values, expected, atol=1e-6), name


def test_foxglove_transforms_in_json(tmp_path: Path) -> None:
    """The same from JSON, one transform per message or several."""
    maker = McapMaker()
    one = maker.add_channel("/one", "json", "foxglove.FrameTransform", "jsonschema", b"{}")
    many = maker.add_channel("/many", "json", "foxglove.FrameTransforms", "jsonschema", b"{}")
    for k in range(5):
        stamp_ns = START_NS + k * 100 * MS
        each = {
            "timestamp": stamp(stamp_ns), "parent_frame_id": "a", "child_frame_id": "b",
            "translation": {"x": k, "y": 0, "z": 0}, "rotation": {"x": 0, "y": 0, "z": 0, "w": 1},
        }  # fmt: skip
        maker.add(one, stamp_ns, as_json(each))
        maker.add(many, stamp_ns, as_json({"transforms": [each, {**each, "child_frame_id": "c"}]}))
    with open_recording(maker.write(tmp_path / "tf.mcap")) as source:
        recording = source.probe()
        assert [track.name for track in recording.tracks] == ["many_a_b", "many_a_c", "one_a_b"]
        track = recording.track("many_a_c")
        packets = source.read([track], track.start_ns, track.stop_ns, lambda _: None)
        assert [packet.data[0] for packet in packets] == [0, 1, 2, 3, 4]


def test_calibrations_are_metadata(tmp_path: Path) -> None:
    """The first calibration of each camera stands with the recording, as numbers by name."""
    path = tmp_path / "camera.mcap"
    intrinsics = [500.0, 0, 320, 0, 500, 240, 0, 0, 1]
    with open_bag(path) as bag:
        for k in range(3):
            stamp_ns = START_NS + k * 100 * MS
            bag.write(
                "/front/camera_info", "sensor_msgs/msg/CameraInfo", stamp_ns,
                header=bag.header(stamp_ns, "front"),
                height=480, width=640, distortion_model="plumb_bob", d=[0.1, -0.2, 0, 0, 0], k=intrinsics,
            )  # fmt: skip
    with open_recording(path) as source:
        (camera,) = source.probe().details["cameras"].values()
    assert (camera["frame_id"], camera["width"], camera["height"], camera["model"]) == (
        "front", 640, 480, "plumb_bob",
    )  # fmt: skip
    assert camera["K"] == intrinsics
    assert camera["D"][:2] == [0.1, -0.2]
