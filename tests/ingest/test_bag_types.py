"""Message types: from the recording, from what ROS ships, or a cause that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from backports import zstd
from rosbags.typesys import Stores, get_typestore

from ingest.errors import CannotDecode, CannotOpen
from ingest.sources.bag_storage import Channel, Definition
from ingest.sources.bag_types import MessageType, find_type, is_latched, normal_type_name, type_from

HUMBLE = get_typestore(Stores.ROS2_HUMBLE)
FOXY = get_typestore(Stores.ROS2_FOXY)
NOETIC = get_typestore(Stores.ROS1_NOETIC)


def cdr(store: Any, name: str, **fields: Any) -> bytes:
    return bytes(store.serialize_cdr(store.types[name](**fields), name))


STRING = cdr(HUMBLE, "std_msgs/msg/String", data="hello")


def test_type_names() -> None:
    """Names of ROS 1, of old ROS 2 bags and of IDL are one."""
    assert normal_type_name("sensor_msgs/Image") == "sensor_msgs/msg/Image"
    assert normal_type_name("sensor_msgs/msg/Image") == "sensor_msgs/msg/Image"


def test_definition_in_the_recording_comes_first() -> None:
    """A type that ROS ships otherwise is read as the recording defines it."""
    channel = Channel("/x", "std_msgs/msg/String", "cdr", Definition("msg", "int32 other"))
    found = find_type(channel, b"\0\1\0\0\7\0\0\0")
    assert found.origin == "recording"
    assert found.deserialize(b"\0\1\0\0\7\0\0\0").other == 7
    again = type_from(channel, "recording")
    assert again.deserialize(b"\0\1\0\0\7\0\0\0").other == 7


def test_definition_that_does_not_fit_gives_way() -> None:
    """A definition that does not fit its messages gives way to that of a distribution that does."""
    channel = Channel("/x", "std_msgs/msg/String", "cdr", Definition("msg", "uint8 level"))
    found = find_type(channel, STRING)
    assert found.origin == "ros2_humble"
    assert found.deserialize(STRING).data == "hello"


def test_damaged_first_message_keeps_the_definition() -> None:
    """Where nothing fits a message, the recording's definition is kept: the message may be damaged."""
    channel = Channel("/x", "made/msg/It", "cdr", Definition("msg", "int32 a\nint32 b"))
    found = find_type(channel, b"\0\1\0\0\7")
    assert found.origin == "recording"
    with pytest.raises(CannotDecode, match="does not fit its type made/It"):
        found.deserialize(b"\0\1\0\0\7")


def test_custom_types_with_parts() -> None:
    """A custom type whose parts follow below a line of equal signs is read."""
    text = "made/Part[] parts\n" + "=" * 80 + "\nMSG: made/Part\nfloat32 x\n"
    channel = Channel("/x", "made/msg/It", "cdr", Definition("msg", text))
    data = b"\0\1\0\0\2\0\0\0" + b"\0\0\x80?" + b"\0\0\0@"
    assert [part.x for part in find_type(channel, data).deserialize(data).parts] == [1, 2]


def test_idl_definitions() -> None:
    """IDL is read as well, one file or several."""
    idl = "module made { module msg { struct It { int32 x; }; }; };"
    rule = "=" * 80 + "\n"
    for text in (idl, f"{rule}IDL: made/msg/It\n{idl}"):
        channel = Channel("/x", "made/msg/It", "cdr", Definition("idl", text))
        assert find_type(channel, b"\0\1\0\0\7\0\0\0").deserialize(b"\0\1\0\0\7\0\0\0").x == 7


def test_header_of_before_2010() -> None:
    """`Header` meant `roslib/Header` once; bags of then are read."""
    text = (
        "Header header\nint32 x\n"
        + "=" * 80
        + "\nMSG: roslib/Header\nuint32 seq\ntime stamp\nstring frame_id\n"
    )
    channel = Channel("/x", "made/msg/It", "ros1", Definition("msg", text, "some md5"))
    data = b"\1\0\0\0" + b"\2\0\0\0\3\0\0\0" + b"\0\0\0\0" + b"\7\0\0\0"
    message = find_type(channel, data).deserialize(data)
    assert (message.header.stamp.sec, message.x) == (2, 7)


def test_distribution_is_found_by_the_message() -> None:
    """Without a definition, the first distribution whose layout fits to the byte is taken."""
    name = "sensor_msgs/msg/Range"
    assert FOXY.fielddefs[name] == HUMBLE.fielddefs[name]
    jazzy = get_typestore(Stores.ROS2_JAZZY)
    assert jazzy.fielddefs[name] != HUMBLE.fielddefs[name]
    stamp = jazzy.types["builtin_interfaces/msg/Time"](sec=1, nanosec=2)
    header = jazzy.types["std_msgs/msg/Header"](stamp=stamp, frame_id="f")
    fields = {"header": header, "radiation_type": 0, "field_of_view": 1.0, "min_range": 2.0, "max_range": 3.0}
    old = cdr(HUMBLE, name, **fields, range=4.0)
    new = cdr(jazzy, name, **fields, range=4.0, variance=5.0)
    channel = Channel("/x", name, "cdr")
    assert find_type(channel, old).origin == "ros2_humble"
    assert find_type(channel, new).origin == "ros2_jazzy"
    assert find_type(channel, old, "foxy").origin == "ros2_foxy"
    assert find_type(channel, new, "rolling").deserialize(new).variance == 5


def test_sound_needs_no_definition() -> None:
    """AudioData, which no distribution ships, is known."""
    data = b"\0\1\0\0\2\0\0\0ab"
    channel = Channel("/x", "audio_common_msgs/msg/AudioData", "cdr")
    assert bytes(find_type(channel, data).deserialize(data).data) == b"ab"


@pytest.mark.parametrize(
    ("channel", "cause"),
    [
        (
            Channel("/x", "made/msg/It", "cdr"),
            "type 'made/It' is not defined in the recording.*ros2 bag convert",
        ),
        (Channel("/x", "made/msg/It", "ros1"), "type 'made/It' is not defined.*its publisher"),
        (Channel("/x", "std_msgs/msg/String", "ros1", Definition("", "", "other md5")), "is not defined"),
        (Channel("/x", "made/msg/It", "cbor"), "serialised as 'cbor', which is not read yet"),
        (
            Channel("/x", "made/msg/It", "cdr", Definition("msg", "int32 [[")),
            "definition of its type 'made/It'",
        ),
        (Channel("/x", "made/msg/It", "cdr", Definition("msg", "made/Gone x")), "definition of its type"),
        (Channel("/x", "made/msg/It", "cdr", Definition("idl", "nonsense")), "definition of its type"),
        (Channel("/x", "std_msgs/msg/String", "cdr"), "no definition of its type 'std_msgs/String' fits"),
    ],
)
def test_unknown_types_say_what_to_do(channel: Channel, cause: str) -> None:
    """A type that can't be had is a cause for people, not an exception of a parser."""
    with pytest.raises(CannotOpen, match=cause):
        find_type(channel, b"\0\1\0\0" + b"\xff" * 20)


def test_noetic_is_used_where_the_digest_agrees() -> None:
    """An empty definition of a type whose md5 is that of Noetic is no loss."""
    digest = NOETIC.generate_msgdef("std_msgs/msg/String")[1]
    channel = Channel("/x", "std_msgs/msg/String", "ros1", Definition("", "", digest))
    data = b"\5\0\0\0hello"
    assert find_type(channel, data).deserialize(data).data == "hello"


def test_compressed_messages() -> None:
    """Messages that are each compressed with zstd are read; damaged ones are refused."""
    channel = Channel("/x", "std_msgs/msg/String", "cdr")
    packed = zstd.compress(STRING)
    found = find_type(channel, packed)
    assert isinstance(found, MessageType)
    assert found.deserialize(packed).data == "hello"
    assert bytes(found.raw(memoryview(packed))) == STRING
    with pytest.raises(CannotDecode, match="compressed message is damaged"):
        found.deserialize(packed[:-3])


@pytest.mark.parametrize(
    ("profiles", "latched"),
    [
        ("", False),
        (None, False),
        ("- history: 1\n  durability: 1\n  lifespan: {sec: 0}", True),
        ("- history: 1\n  durability: 2\n", False),
        ("- durability: transient_local", True),
        ("[{history: keep_last, durability: volatile}]", False),
        ("[{history: keep_last, durability: transient_local}]", True),
        ("{[ broken", False),
    ],
)
def test_quality_of_service(profiles: str | None, latched: bool) -> None:
    """Durability is found in every way in which recorders write it."""
    assert is_latched(profiles) == latched
