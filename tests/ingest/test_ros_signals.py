"""Columns of ROS messages, and the rows that messages give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bags import START_NS
from made_bags import open_bag as make_bag
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ingest.decoders.ros_columns import MOST_COLUMNS, Columns, fixed_columns
from ingest.decoders.ros_signals import object_reader
from ingest.recording import Recording, Rows
from ingest.sources.bag import open_bag
from ingest.sources.bag_types import MessageType

S = 1_000_000_000


def defined(text: str, **others: str) -> MessageType:
    """Return the type `made/msg/It` of this definition, and of those it is made of."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, definition in others.items():
        store.register(get_types_from_msg(definition, f"made/msg/{name}"))
    store.register(get_types_from_msg(text, "made/msg/It"))
    return MessageType("made/msg/It", store, "test", ros1=False)


def columns(text: str, **others: str) -> Columns:
    return fixed_columns(defined(text, **others))


def shipped(name: str) -> Columns:
    return fixed_columns(MessageType(name, get_typestore(Stores.ROS2_HUMBLE), "test", ros1=False))


def rows_of(
    path: Path, topic: str, type_name: str, messages: Sequence[Mapping[str, Any]]
) -> tuple[Recording, np.ndarray]:
    """Write the messages, one a second, and return what comes back: float64 [N, D]."""
    with make_bag(path) as bag:
        for k, values in enumerate(messages):
            bag.write(topic, type_name, START_NS + k * S, **values)
    with open_bag([path]) as source:
        recording = source.probe()
        (track,) = recording.tracks
        decoder = source.decoder(track)
        found: list[Rows] = []
        for packet in source.read([track], recording.origin_ns, recording.stop_ns, fail):
            found += [rows for rows in decoder.decode(packet) if isinstance(rows, Rows)]
        found += [rows for rows in decoder.flush() if isinstance(rows, Rows)]
    times = np.concatenate([rows.times_ns for rows in found])
    assert times.tolist() == [START_NS + k * S for k in range(len(messages))]
    return recording, np.concatenate([rows.values for rows in found])


def shown(values: np.ndarray) -> list[list[float | None]]:
    """Return rows with None for NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def fail(incident: object) -> None:
    raise AssertionError(incident)


def test_names_are_paths() -> None:
    """Nested messages, fixed arrays and arrays of messages are named by their path."""
    found = columns(
        "made/Part[2] parts\nfloat64[3] v\nmade/Part one\nbool on", Part="float32 a\nint8 b\nstring s"
    )
    assert found.names == [
        "parts[0].a", "parts[0].b", "parts[1].a", "parts[1].b",
        "v[0]", "v[1]", "v[2]", "one.a", "one.b", "on",
    ]  # fmt: skip
    assert found.kinds == ["linear", "last", "linear", "last", *["linear"] * 4, "last", "last"]


def test_header_and_times_are_no_columns() -> None:
    """A header is the clock; a point in time is named as left out; a duration counts in seconds."""
    found = columns(
        "std_msgs/Header header\nbuiltin_interfaces/Time t\nbuiltin_interfaces/Duration d\nint32 x"
    )
    assert found.names == ["d", "x"]
    assert found.left_out == ["t (time)"]


def test_arrays_that_are_left_out_are_named() -> None:
    """Variable arrays, and fixed ones of more than 64, are no columns but are named with their type."""
    found = columns(
        "float64[64] kept\nfloat64[65] wide\nuint8[] blob\nstring[] words\ngeometry_msgs/Point[] p"
    )
    assert found.names == [f"kept[{index}]" for index in range(64)]
    assert found.left_out == ["wide (float64[65])", "blob (uint8[])", "p (geometry_msgs/Point[])"]


def test_quaternions_are_known() -> None:
    """Quaternions are known wherever they are, also where the message is one."""
    assert shipped("geometry_msgs/msg/Quaternion").quaternions == [(0, 1, 2, 3)]
    pose = shipped("geometry_msgs/msg/PoseStamped")
    assert pose.quaternions == [(3, 4, 5, 6)]
    assert pose.names[3:] == [f"pose.orientation.{axis}" for axis in "xyzw"]
    assert pose.kinds == ["linear"] * 3 + ["slerp"] * 4
    pair = columns("geometry_msgs/Quaternion[2] q\nfloat32 x")
    assert pair.quaternions == [(0, 1, 2, 3), (4, 5, 6, 7)]


def test_covariances_are_columns() -> None:
    """Fixed arrays of 9 and 36 are columns."""
    assert len(shipped("sensor_msgs/msg/Imu").names) == 10 + 27
    assert len(shipped("nav_msgs/msg/Odometry").names) == 13 + 72


def test_too_many_columns_are_none() -> None:
    """A type of more than 4096 numbers gives no columns, and says so."""
    found = columns("made/Big[65] big\nmade/Big[64] bigger", Big="float64[64] x\nfloat64[64] y")
    assert found.names == []
    assert any(str(MOST_COLUMNS) in remark for remark in found.left_out)


def test_joint_states_follow_names(tmp_path: Path) -> None:
    """Joints may change their order, come later, have no effort, or no name."""
    recording, values = rows_of(
        tmp_path / "a.mcap",
        "/joints",
        "sensor_msgs/msg/JointState",
        [
            {"name": ["a", "b"], "position": [1, 2], "velocity": [10, 20]},
            {"name": ["b", "a"], "position": [4, 3], "velocity": [40, 30]},
            {"name": ["c", "b"], "position": [7, 6], "velocity": [], "effort": [5]},
            {"name": ["a"], "position": [8, 9]},
        ],
    )
    assert recording.tracks[0].columns == (
        "position[a]", "position[b]", "position[c]", "position[1]",
        "velocity[a]", "velocity[b]", "effort[c]",
    )  # fmt: skip
    assert shown(values) == [
        [1, 2, None, None, 10, 20, None],
        [3, 4, None, None, 30, 40, None],
        [None, 6, 7, None, None, None, 5],
        [8, None, None, 9, None, None, None],
    ]


def test_arrays_are_as_long_as_the_longest(tmp_path: Path) -> None:
    """A joystick has as many columns as its longest message; what is missing or infinite is NaN."""
    recording, values = rows_of(
        tmp_path / "a.bag",
        "/joy",
        "sensor_msgs/msg/Joy",
        [{"axes": [1, np.inf]}, {"axes": [3, 4, 5], "buttons": [9]}],
    )
    assert recording.tracks[0].columns == ("axes[0]", "axes[1]", "axes[2]", "buttons[0]")
    assert shown(values) == [[1, None, None, None], [3, 4, 5, 9]]


def test_lasers_have_a_range_per_degree(tmp_path: Path) -> None:
    """A scan's columns are degrees, whatever its beams; what is infinite or beyond its range is NaN."""
    scan = {"angle_min": 0.0, "angle_increment": np.radians(1), "range_max": 4.5}
    recording, values = rows_of(
        tmp_path / "a.bag",
        "/scan",
        "sensor_msgs/msg/LaserScan",
        [{"ranges": [1, np.inf], **scan}, {"ranges": [3, 4, 5], **scan}],
    )
    (track,) = recording.tracks
    assert (track.medium, len(track.columns), set(track.kinds)) == ("signal", 360, {"last"})
    assert track.details["range_rule"] == "range in metres per degree, nearest return"
    assert shown(values[:, 180:183]) == [[1, None, None], [3, 4, None]]


def test_joysticks_have_axes_and_buttons(tmp_path: Path) -> None:
    """Axes are linear, buttons are discrete."""
    recording, values = rows_of(
        tmp_path / "a.mcap", "/joy", "sensor_msgs/msg/Joy", [{"axes": [0.5, -1], "buttons": [0, 1, 0]}]
    )
    track = recording.tracks[0]
    assert track.columns == ("axes[0]", "axes[1]", "buttons[0]", "buttons[1]", "buttons[2]")
    assert track.kinds == ("linear", "linear", "last", "last", "last")
    assert values.tolist() == [[0.5, -1, 0, 1, 0]]


def test_multi_arrays_are_columns(tmp_path: Path) -> None:
    """Float32MultiArray and its kind have a column per value; their dimensions are left out."""
    recording, values = rows_of(
        tmp_path / "a.mcap",
        "/action",
        "std_msgs/msg/Float32MultiArray",
        [{"layout": {"dim": [{"label": "x", "size": 2, "stride": 2}]}, "data": [1, 2]}, {"data": [3]}],
    )
    track = recording.tracks[0]
    assert track.columns == ("layout.data_offset", "data[0]", "data[1]")
    assert shown(values[:, 1:]) == [[1, 2], [3, None]]
    assert track.details["left_out"] == ["layout.dim (std_msgs/MultiArrayDimension[])"]
    assert "layout.dim" in recording.incidents[0].cause
    assert recording.incidents[0].severity == "note"


@pytest.mark.parametrize(
    ("name", "definition", "left_out"),
    [
        ("std_msgs/msg/Float64MultiArray", "float64[] dati", ["dati (float64[])"]),
        ("std_msgs/msg/Float64MultiArray", "string[] data", []),
        ("sensor_msgs/msg/JointState", "float64 name", []),
        ("sensor_msgs/msg/Joy", "float64[2] axes", []),
    ],
)
def test_a_known_name_promises_no_field(name: str, definition: str, left_out: list[str]) -> None:
    """A recording may define a well-known type in its own way: then it is read as any other type."""
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(f"float64 here\n{definition}", name))
    own = MessageType(name, store, "test", ros1=False)
    assert fixed_columns(own).left_out == left_out
    values: dict[str, Any] = {
        "float64 name": 3.0,
        "float64[2] axes": np.array([4.0, 5.0]),
        "string[] data": ["a", "b"],
    }
    message = store.types[name](7.0, values.get(definition, np.array([1.0, 2.0])))
    read = object_reader(own)(bytes(store.serialize_cdr(message, name)))
    assert read.numbers == {"float64 name": (7, 3), "float64[2] axes": (7, 4, 5)}.get(definition, (7,))
    assert (read.arrays, read.names) == ({}, ())


def test_long_arrays_are_cut_and_said(tmp_path: Path) -> None:
    """Of more than 4096 values the first 4096 are columns, and a note names the topic."""
    recording, values = rows_of(
        tmp_path / "a.mcap", "/long", "std_msgs/msg/UInt8MultiArray", [{"data": np.ones(5000)}]
    )
    assert values.shape == (1, 1 + MOST_COLUMNS)
    assert any("/long" in incident.cause and "4096" in incident.cause for incident in recording.incidents)


@pytest.mark.parametrize("ending", ["bag", "mcap", "db3"])
def test_durations_are_seconds(tmp_path: Path, ending: str) -> None:
    """A duration is one column, in seconds."""
    recording, values = rows_of(
        tmp_path / f"a.{ending}",
        "/map",
        "visualization_msgs/msg/Marker",
        [{"lifetime": {"sec": 2, "nanosec": 500_000_000}, "pose": {"position": {"x": 3}}}],
    )
    columns = recording.tracks[0].columns
    assert values[0, columns.index("lifetime")] == 2.5
    assert values[0, columns.index("pose.position.x")] == 3


def test_batches_are_short(tmp_path: Path) -> None:
    """Rows of slow topics are not held back: a quarter of a second, or 64 rows, is a batch."""
    from ingest.decoders.ros_signals import RosSignals
    from ingest.recording import Packet

    store = get_typestore(Stores.ROS2_HUMBLE)
    kind = MessageType("std_msgs/msg/Int32", store, "test", ros1=False)
    data = bytes(store.serialize_cdr(store.types[kind.name](data=5), kind.name))
    decoder = RosSignals(["data"], kind)
    sizes = [
        [len(rows.times_ns) for rows in decoder.decode(Packet("x", time_ns, data))]
        for time_ns in [0, 100, 300_000_000, *range(300_000_001, 300_000_100), 5]
    ]
    assert [size for size in sizes if size] == [[2], [64], [36]]
    assert [len(rows.times_ns) for rows in decoder.flush()] == [1]
    assert decoder.flush() == []
