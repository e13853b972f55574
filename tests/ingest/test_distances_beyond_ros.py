"""Distances by Foxglove's schemas and by types that only the recording defines: each as what it is."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bags import START_NS
from made_mcap import McapMaker, as_json, protobuf_classes, stamp
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.recording import Recording
from ingest.sampling.clip import ClipMedia, DepthClip, SignalClip
from ingest.sources.bag import open_bag

NS = 1_000_000_000
STAMP = ("timestamp", ".google.protobuf.Timestamp")
FOXGLOVE = {
    "RawImage": [
        STAMP, ("frame_id", "string"), ("width", "fixed32"), ("height", "fixed32"), ("encoding", "string"),
        ("step", "fixed32"), ("data", "bytes"),
    ],
    "PackedElementField": [("name", "string"), ("offset", "fixed32"), ("type", "int32")],
    "PointCloud": [
        STAMP, ("frame_id", "string"), ("point_stride", "fixed32"),
        ("fields", "repeated .foxglove.PackedElementField"), ("data", "bytes"),
    ],
    "LaserScan": [
        STAMP, ("frame_id", "string"), ("start_angle", "double"), ("end_angle", "double"),
        ("ranges", "repeated double"),
    ],
}  # fmt: skip
POINTS = np.array([[10, 0, 0], [0, 5, 0], [0, -5, 0], [-7, 0.1, 0]], "<f4")
LIVOX_POINT = (
    "uint32 offset_time\nfloat32 x\nfloat32 y\nfloat32 z\nuint8 reflectivity\nuint8 tag\nuint8 line\n"
)
HEADER = "builtin_interfaces/Time stamp\nstring frame_id\n"
LIVOX = (
    "std_msgs/Header header\nuint64 timebase\nuint32 point_num\nuint8 lidar_id\nuint8[3] rsvd\n"
    "livox_ros_driver2/CustomPoint[] points\n"
)


def first_clip(path: Path) -> tuple[Recording, dict[str, ClipMedia]]:
    """Return the recording, and its first second."""
    with open_bag([path]) as source:
        recording = source.probe()
        wishes = [Wish(track.name, track) for track in recording.tracks]
        windows = windows_of(recording, NS, 0, 1)
        sampling = Sampling(fps=Fraction(10), depth_size=4, fit="stretch", signal_hz=Fraction(10))
        clips = {name: media for _, name, media in read_clips(source, wishes, windows, sampling, print)}
    assert recording.incidents == ()
    return recording, clips


def seen(image: np.ndarray) -> dict[tuple[int, int], float]:
    """Return the distances of an image by row and column."""
    return {(int(r), int(c)): round(float(image[r, c]), 3) for r, c in np.argwhere(~np.isnan(image))}


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_foxglove_schemas(tmp_path: Path, encoding: str) -> None:
    """A raw depth picture, packed points and a scan, in protobuf and in JSON."""
    import base64

    schema, made = protobuf_classes("foxglove", FOXGLOVE)
    maker = McapMaker()
    depth = np.full((4, 4), 1500, "<u2").tobytes()
    fields = [{"name": name, "offset": 4 * k, "type": 7} for k, name in enumerate("xyz")]
    messages: dict[str, dict[str, Any]] = {
        "RawImage": {"width": 4, "height": 4, "encoding": "16UC1", "step": 8, "data": depth},
        "PointCloud": {
            "frame_id": "lidar", "point_stride": 12, "fields": fields, "data": POINTS.tobytes(),
        },
        "LaserScan": {"start_angle": 0.0, "end_angle": math.radians(2), "ranges": [1.0, 2.0, 3.0]},
    }  # fmt: skip
    for name, values in messages.items():
        kind, definition = ("protobuf", schema) if encoding == "protobuf" else ("jsonschema", b"{}")
        channel = maker.add_channel(f"/{name.lower()}", encoding, f"foxglove.{name}", kind, definition)
        for k in range(10):
            time_ns = START_NS + k * NS // 10
            if encoding == "protobuf":
                at = {"seconds": time_ns // NS, "nanos": time_ns % NS}
                maker.add(channel, time_ns, made[name](timestamp=at, **values).SerializeToString())
                continue
            plain = {
                key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
                for key, value in values.items()
            }
            maker.add(channel, time_ns, as_json({"timestamp": stamp(time_ns), **plain}))
    recording, clips = first_clip(maker.write(tmp_path / "robot.mcap"))
    media = {track.name: track.medium for track in recording.tracks}
    assert media == {"laserscan": "signal", "pointcloud": "depth", "rawimage": "depth"}
    assert recording.track("pointcloud").details["frame"] == "lidar"
    raw, points, scan = clips["rawimage"], clips["pointcloud"], clips["laserscan"]
    assert isinstance(raw, DepthClip)
    assert isinstance(points, DepthClip)
    assert isinstance(scan, SignalClip)
    assert (raw.frames == 1.5).all()
    assert points.frames.shape == (10, 64, 128)
    # ahead is the middle column, left a quarter from the left, right a quarter from the right
    row = next(iter(seen(points.frames[0])))[0]
    assert seen(points.frames[0]) == {(row, 0): 7.001, (row, 32): 5, (row, 64): 10, (row, 96): 5}
    assert scan.values[0, 180:184].tolist()[:3] == [1, 2, 3]
    assert np.isnan(scan.values[0, 183])


def test_livox_points(tmp_path: Path) -> None:
    """Livox's own message, defined in the recording alone, is a cloud."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg(LIVOX_POINT, "livox_ros_driver2/msg/CustomPoint"))
    store.register(get_types_from_msg(LIVOX, "livox_ros_driver2/msg/CustomMsg"))
    made = store.types
    line = "=" * 80
    definition = f"{LIVOX}{line}\nMSG: livox_ros_driver2/CustomPoint\n{LIVOX_POINT}"
    definition += f"{line}\nMSG: std_msgs/Header\n{HEADER}"
    maker = McapMaker()
    name = "livox_ros_driver2/msg/CustomMsg"
    channel = maker.add_channel("/livox/lidar", "cdr", name, "ros2msg", definition.encode())
    points = [
        made["livox_ros_driver2/msg/CustomPoint"](k, *(float(v) for v in point), 9, 0, 0)
        for k, point in enumerate(POINTS)
    ]
    for k in range(10):
        time_ns = START_NS + k * NS // 10
        at = made["builtin_interfaces/msg/Time"](time_ns // NS, time_ns % NS)
        header = made["std_msgs/msg/Header"](at, "livox")
        message = made[name](header, 0, len(points), 0, np.zeros(3, np.uint8), points)
        maker.add(channel, time_ns, bytes(store.serialize_cdr(message, name)))
    recording, clips = first_clip(maker.write(tmp_path / "livox.mcap"))
    (track,) = recording.tracks
    assert (track.medium, track.details["frame"]) == ("depth", "livox")
    clip = clips[track.name]
    assert isinstance(clip, DepthClip)
    assert sorted(seen(clip.frames[0]).values()) == [5, 5, 7.001, 10]
    assert (clip.counts.points, clip.counts.invalid, clip.counts.outside, clip.counts.hidden) == (40, 0, 0, 0)
