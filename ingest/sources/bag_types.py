"""Message types: from the definitions in the recording, else from those that ROS ships.

A definition in the recording comes first. A `.db3` of before ROS 2 Iron carries none, and some tools
write ones that do not fit; then the type's definition is looked for in the distributions of ROS 2, the
one named in `metadata.yaml` first, and the first is taken whose layout fits the message to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ingest.errors import CannotDecode, CannotOpen
from ingest.sources.bag_storage import Channel, Definition
from ingest.sources.record_types import RECORD_ENCODINGS, RecordType, record_type

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

DISTROS = ("humble", "jazzy", "iron", "foxy", "galactic", "kilted", "lyrical", "eloquent", "dashing")
"""ROS 2 distributions whose types are tried, in order of how common their bags are."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LARGEST_MESSAGE_BYTES = 2**28
"""A compressed message that unpacks to more is taken for damage."""

AUDIO = {
    "audio_common_msgs/msg/AudioData": "uint8[] data",
    "audio_common_msgs/msg/AudioDataStamped": ("std_msgs/Header header\naudio_common_msgs/AudioData audio\n"),
    "audio_common_msgs/msg/AudioInfo": (
        "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\nstring coding_format"
    ),
}
"""Types that no distribution ships and that Fifth knows. Source: `audio_common_msgs`, ROS 1 and 2."""

LONGEST_PROFILES = 1 << 16
_TRANSIENT_LOCAL = re.compile(r"\bdurability['\"]?\s*:\s*['\"]?(1|transient_local)\b")


def normal_type_name(name: str) -> str:
    """Return a type's name as `package/msg/Type`.

    >>> normal_type_name("sensor_msgs/Image")
    'sensor_msgs/msg/Image'
    """
    parts = name.split("/")
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else name


def is_latched(profiles: Any) -> bool:
    """Return whether quality-of-service profiles (YAML text) offer what was published before.

    `durability: 1` and `transient_local` are the two ways in which recorders write it.
    """
    return bool(_TRANSIENT_LOCAL.search(str(profiles or "")[:LONGEST_PROFILES].lower()))


class MessageType:
    """One message type, ready to be deserialised.

    Args:
        name: `package/msg/Type`.
        store: holds the type and those it is made of.
        origin: where the definition is from: `recording`, or the name of a distribution.
        ros1: whether messages are serialised as in ROS 1; else CDR.
    """

    def __init__(self, name: str, store: Typestore, origin: str, *, ros1: bool) -> None:
        self.name = name
        self.origin = origin
        self.ros1 = ros1
        self._store = store

    def fields(self, name: str = "") -> list[tuple[str, Any]]:
        """Return name and descriptor of each field of this type, or of one that it is made of."""
        return list(self._store.fielddefs[name or self.name][1])

    def raw(self, data: bytes | memoryview) -> bytes | memoryview:
        """Return the serialised message in what the bag holds.

        Raises:
            CannotDecode: it is compressed, and damaged.
        """
        return data if self.ros1 else plain_cdr(data)

    def deserialize(self, data: bytes | memoryview) -> Any:
        """Turn a message's bytes into an object with the message's fields.

        Raises:
            CannotDecode: the bytes do not fit the type.
        """
        try:
            if self.ros1:
                return self._store.deserialize_ros1(data, self.name)
            return self._store.deserialize_cdr(plain_cdr(data), self.name)
        except CannotDecode:
            raise
        except Exception as error:  # generated code meets damaged bytes: anything may come
            cause = f"a message does not fit its type {_plain(self.name)} ({_words(error)})"
            raise CannotDecode(cause) from error


AnyType = MessageType | RecordType
"""A type of either kind: laid out as ROS does, or by names."""


def plain_cdr(data: bytes | memoryview) -> bytes | memoryview:
    """Return a message's CDR; bags with compressed messages hold each in its own zstd frame."""
    if len(data) > 3 and data[0] == ZSTD_MAGIC[0] and bytes(data[:4]) == ZSTD_MAGIC:
        from backports import zstd

        unpacker = zstd.ZstdDecompressor()
        try:
            whole = unpacker.decompress(bytes(data), LARGEST_MESSAGE_BYTES)
        except zstd.ZstdError as error:
            raise CannotDecode(f"a compressed message is damaged ({error})") from error
        if not unpacker.eof:
            large = len(whole) == LARGEST_MESSAGE_BYTES
            words = f"has more than {LARGEST_MESSAGE_BYTES} bytes" if large else "is cut short"
            raise CannotDecode(f"a compressed message is damaged (it {words})")
        return whole
    return data


def type_from(channel: Channel, origin: str) -> AnyType:
    """Return the type of a channel's messages by where its definition is from.

    Args:
        channel: what the recording says.
        origin: a `MessageType.origin`.

    Raises:
        CannotOpen: there is no definition, or it can't be read.
    """
    if channel.encoding in RECORD_ENCODINGS:
        return record_type(channel)
    ros1 = channel.encoding == "ros1"
    if origin == "recording":
        store = _defined(channel.type_name, channel.definition, ros1)
        return MessageType(channel.type_name, store, origin, ros1=ros1)
    shipped = _shipped(origin)
    if shipped is None or channel.type_name not in shipped.fielddefs:
        raise CannotOpen(_undefined(channel))
    return MessageType(channel.type_name, shipped, origin, ros1=ros1)


def find_type(channel: Channel, example: bytes | memoryview, distro: str = "") -> AnyType:
    """Find the type of a channel's messages: the first candidate that fits one of them to the byte.

    Args:
        channel: what the recording says.
        example: one of its messages.
        distro: the distribution that the recording was made with, if it says so.

    Raises:
        CannotOpen: no definition fits; says what to do.
    """
    if channel.encoding in RECORD_ENCODINGS:
        return record_type(channel)
    if channel.encoding not in ("ros1", "cdr"):
        raise CannotOpen(f"its messages are serialised as {channel.encoding!r}, which is not read yet")
    own: AnyType | None = None
    cause = _undefined(channel)
    for origin in _origins(channel, distro):
        try:
            found = type_from(channel, origin)
        except CannotOpen as error:
            cause = str(error) if origin == "recording" else cause
            continue
        if origin == "recording":
            own = found
        if _fits(found, example):
            return found
        cause = f"no definition of its type {_plain(channel.type_name)!r} fits its messages"
    if own is not None:  # it may be this message that is damaged
        return own
    raise CannotOpen(cause)


def _origins(channel: Channel, distro: str) -> list[str]:
    """Return where a type's definition may be from, most trusted first."""
    own = ["recording"] if channel.definition.format in ("msg", "idl") else []
    if channel.encoding == "ros1":
        shipped = _shipped("ros1_noetic")
        same = channel.type_name in shipped.fielddefs and (
            channel.definition.digest in ("", "*", shipped.generate_msgdef(channel.type_name)[1])
        )
        return own + (["ros1_noetic"] if same else [])
    return own + [f"ros2_{name}" for name in dict.fromkeys((distro, *DISTROS)) if name]


def _fits(message_type: AnyType, example: bytes | memoryview) -> bool:
    try:
        message_type.deserialize(example)
    except CannotDecode:
        return False
    return True


def _undefined(channel: Channel) -> str:
    cause = f"its type {_plain(channel.type_name)!r} is not defined in the recording, nor does ROS ship it"
    if channel.encoding == "ros1":
        return f"{cause}; its publisher must send its definition when it is recorded"
    return f"{cause}; `ros2 bag convert` to MCAP, where its package is installed, stores the definition"


def _plain(type_name: str) -> str:
    return type_name.replace("/msg/", "/")


@lru_cache(maxsize=256)
def _defined(name: str, definition: Definition, ros1: bool) -> Typestore:
    """Return a store that holds the type as the recording defines it."""
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    store = get_typestore(Stores.EMPTY)
    try:
        if definition.format == "msg":
            types = get_types_from_msg(definition.text, name)
        else:
            types = {}
            for text in _idl_texts(definition.text):
                types.update(get_types_from_idl(text))
        if "roslib/msg/Header" in types:  # what it was called before 2010
            types.setdefault("std_msgs/msg/Header", types["roslib/msg/Header"])
        store.register(types)
        if name not in store.fielddefs:
            raise KeyError(name)
        store.get_msgdef(name)
    except Exception as error:  # the parser meets a damaged text: anything may come
        raise CannotOpen(
            f"the definition of its type {_plain(name)!r} can't be read ({_words(error)})"
        ) from error
    return store


def _idl_texts(text: str) -> Iterable[str]:
    """Return the IDL files in a definition; several stand below lines of 80 equal signs."""
    rule = "=" * 80 + "\n"
    if not text.startswith(rule):
        return [text]
    return [part.partition("\n")[2] for part in text.split(rule)[1:]]


@lru_cache(maxsize=16)
def _shipped(name: str) -> Any:
    """Return the store of a distribution, with the types that Fifth knows; None: no such one."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    try:
        store = get_typestore(Stores(name))
    except ValueError:
        return None
    types = {}
    for type_name, text in AUDIO.items():
        types.update(get_types_from_msg(text, type_name))
    store.register({key: value for key, value in types.items() if key not in store.fielddefs})
    return store


def _words(error: BaseException) -> str:
    """Return what an error says, in one line; its kind where it says nothing."""
    text = " ".join(str(error).split())
    return (text[:200] if text else "") or type(error).__name__
