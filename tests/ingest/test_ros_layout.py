"""Reading numbers by layout, against the ordinary deserialiser as the slow, obvious twin."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ingest.decoders.ros_columns import plain_name
from ingest.decoders.ros_layout import CODES, Layout, Values, layout_of
from ingest.decoders.ros_signals import object_reader
from ingest.errors import CannotDecode
from ingest.sources.bag_types import MessageType

STORES = {True: get_typestore(Stores.ROS1_NOETIC), False: get_typestore(Stores.ROS2_HUMBLE)}

TYPES = (
    "sensor_msgs/msg/Imu",
    "sensor_msgs/msg/JointState",
    "sensor_msgs/msg/LaserScan",
    "sensor_msgs/msg/Joy",
    "sensor_msgs/msg/NavSatFix",
    "sensor_msgs/msg/BatteryState",
    "sensor_msgs/msg/CameraInfo",
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/Twist",
    "std_msgs/msg/Int64",
    "std_msgs/msg/Bool",
)


def some_text(draw: st.DrawFn) -> str:
    return draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9))


@st.composite
def values_of(draw: st.DrawFn, store: Typestore, name: str) -> Any:
    """Any message of a type."""
    return store.types[name](**{key: _value(draw, store, kind) for key, kind in store.fielddefs[name][1]})


def _value(draw: st.DrawFn, store: Typestore, description: Any) -> Any:
    node, inner = description
    if node == Nodetype.NAME:
        return draw(values_of(store, inner))
    if node == Nodetype.BASE:
        return some_text(draw) if inner[0] == "string" else draw(_number(inner[0]))
    (inner_node, element), size = inner
    count = size if node == Nodetype.ARRAY else draw(st.integers(0, 5))
    if inner_node == Nodetype.BASE and element[0] != "string":
        dtype = {"char": "uint8", "byte": "uint8", "bool": "bool"}.get(element[0], element[0])
        return np.array([draw(_number(element[0])) for _ in range(count)], dtype)
    return [_value(draw, store, (inner_node, element)) for _ in range(count)]


def _number(base: str) -> st.SearchStrategy[Any]:
    if base == "bool":
        return st.booleans()
    if base.startswith("float"):
        return st.floats(width=32 if base == "float32" else 64, allow_nan=False, allow_infinity=False)
    info = np.iinfo({"char": "uint8", "byte": "uint8"}.get(base, base))
    return st.integers(int(info.min), int(info.max))


def serialized(store: Typestore, message: Any, name: str, wire: str) -> bytes:
    if wire == "ros1":
        return bytes(store.serialize_ros1(message, name))
    return bytes(store.serialize_cdr(message, name, little_endian=wire == "little"))


def assert_same(found: Values, expected: Values) -> None:
    assert np.array_equal(np.array(found.numbers, float), np.array(expected.numbers, float))
    assert found.arrays.keys() == expected.arrays.keys()
    for key, array in found.arrays.items():
        assert np.array_equal(np.asarray(array, float), np.asarray(expected.arrays[key], float))
    assert found.names == expected.names


def layout(message_type: MessageType) -> Layout:
    found = layout_of(message_type, ros1=message_type.ros1)
    assert found is not None
    return found


@pytest.mark.parametrize("wire", ["ros1", "little", "big"])
@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=8)
@given(data=st.data())
def test_layout_equals_deserialiser(name: str, wire: str, data: st.DataObject) -> None:
    """A layout reads what the deserialiser reads, for every kind of wire and any content."""
    store = STORES[wire == "ros1"]
    kind = MessageType(name, store, "test", ros1=wire == "ros1")
    read = layout(kind).read
    for _ in range(2):  # the second message meets what was remembered of the first
        raw = serialized(store, data.draw(values_of(store, name)), name, wire)
        assert_same(read(raw), object_reader(kind)(raw))
        assert_same(read(memoryview(raw)), object_reader(kind)(raw))


@given(data=st.data())
def test_layout_of_any_flat_type(data: st.DataObject) -> None:
    """A type of any fields in any order has the same padding as the deserialiser gives it."""
    bases = sorted(CODES.keys() - {"byte", "char", "octet"})
    one = st.sampled_from([*bases, "string"])
    fields = data.draw(st.lists(st.tuples(one, st.sampled_from(["", "[3]", "[]"])), min_size=1, max_size=8))
    fields = [(base, "" if base == "string" else array) for base, array in fields]
    store = get_typestore(Stores.EMPTY)
    text = "\n".join(f"{base}{array} f{index}" for index, (base, array) in enumerate(fields))
    store.register(get_types_from_msg(text, "made/msg/Any"))
    for wire in ("ros1", "little", "big"):
        kind = MessageType("made/msg/Any", store, "test", ros1=wire == "ros1")
        raw = serialized(store, data.draw(values_of(store, "made/msg/Any")), "made/msg/Any", wire)
        assert_same(layout(kind).read(raw), object_reader(kind)(raw))


@given(cut=st.integers(0, 10_000), extra=st.integers(4, 9))
def test_layout_refuses_what_does_not_fit(cut: int, extra: int) -> None:
    """A message that is too short or too long is refused, whatever its bytes, and nothing else is raised."""
    store = STORES[False]
    kind = MessageType("sensor_msgs/msg/JointState", store, "test", ros1=False)
    header = store.types["std_msgs/msg/Header"](
        stamp=store.types["builtin_interfaces/msg/Time"](sec=1, nanosec=2), frame_id="base"
    )
    numbers = np.arange(2.0)
    message = store.types[kind.name](
        header=header, name=["a", "bc"], position=numbers, velocity=numbers, effort=numbers
    )
    raw = bytes(store.serialize_cdr(message, kind.name))
    for wrong in (raw[: cut % len(raw)], raw + bytes(extra)):
        with pytest.raises(CannotDecode):
            layout(kind).read(wrong)


@given(data=st.binary(max_size=200))
def test_layout_survives_noise(data: bytes) -> None:
    """Random bytes are refused, or read as some message, but never raise anything else."""
    for ros1 in (True, False):
        for name in ("sensor_msgs/msg/JointState", "sensor_msgs/msg/LaserScan"):
            kind = MessageType(name, STORES[ros1], "test", ros1=ros1)
            with suppress(CannotDecode):
                layout(kind).read(data if ros1 else b"\0\1\0\0" + data)


@pytest.mark.parametrize(
    "name", ["geometry_msgs/msg/PoseArray", "tf2_msgs/msg/TFMessage", "std_msgs/msg/Empty"]
)
def test_arrays_of_messages_have_no_layout(name: str) -> None:
    """Types with arrays of messages, or with nothing, are left to the deserialiser."""
    kind = MessageType(name, STORES[False], "test", ros1=False)
    assert layout_of(kind, ros1=False) is None, plain_name(name)
