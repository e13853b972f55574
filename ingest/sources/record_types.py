"""Message types of MCAP files beyond ROS: protobuf by its descriptor, JSON with or without a schema.

Protobuf's schema record is a serialised `FileDescriptorSet` with all that the type is made of; JSON needs
none, since every message names its fields. Both give a message as an object with attributes (pictures,
sound, text) and as numbers by path (signals).

Source: MCAP format specification, appendix "well-known message and schema encodings".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Protocol

from ingest.decoders.records import DEEPEST, TIME_FIELDS, Flat, flatten
from ingest.decoders.well_known import well_known
from ingest.errors import CannotDecode, CannotOpen
from ingest.sources.bag_storage import LATEST_NS, Channel, Definition

NS = 1_000_000_000
RECORD_ENCODINGS = ("protobuf", "json")
BINARY_FIELD = "data"
"""Where Foxglove's schemas have bytes; in JSON they are written in base 64."""
STAMPS = (("timestamp",), ("stamp",), ("header", "stamp"), ("header", "timestamp"))
"""Where a message may say when it was measured."""


class RecordCodec(Protocol):
    """Reads one type's messages. Both raise `CannotDecode`."""

    def as_object(self, data: bytes) -> Any:
        """Return the message as an object with attributes."""
        ...

    def as_mapping(self, message: Any) -> Mapping[str, Any]:
        """Return what `as_object` gave as nested mappings, lists and values."""
        ...


class RecordType:
    """One message type; see `MessageType`. Asked twice for the same message, it reads it once."""

    def __init__(self, name: str, codec: RecordCodec) -> None:
        self.name = name
        self.origin = "recording"
        self._codec = codec
        self._last: tuple[Any, Any] = (None, None)

    def deserialize(self, data: bytes | memoryview) -> Any:
        """Turn a message's bytes into an object with the message's fields.

        Raises:
            CannotDecode: the bytes do not fit the type.
        """
        if self._last[0] is not data:
            self._last = data, self._codec.as_object(bytes(data))
        return self._last[1]

    def flat(self, data: bytes | memoryview) -> Flat:
        """Return a message's numbers by their path.

        Raises:
            CannotDecode: the bytes do not fit the type.
        """
        return flatten(self._codec.as_mapping(self.deserialize(data)))

    def header_ns(self, data: bytes | memoryview) -> int:
        """Return when a message says that it was measured; 0 where it does not."""
        try:
            message = self.deserialize(data)
        except CannotDecode:
            return 0
        for path in STAMPS:
            stamp = message
            for step in path:
                stamp = getattr(stamp, step, None)
            if (time_ns := _time_ns(stamp)) is not None:
                return time_ns
        return 0


def _time_ns(stamp: Any) -> int | None:
    """Return a point in time; None for anything else."""
    for names in TIME_FIELDS:
        seconds, rest = (getattr(stamp, name, None) for name in names)
        if isinstance(seconds, int) and isinstance(rest, int):
            time_ns = seconds * NS + rest
            return time_ns if abs(time_ns) <= LATEST_NS else None
    return None


def record_type(channel: Channel) -> RecordType:
    """Return the type of a channel's messages.

    Raises:
        CannotOpen: the definition is missing or can't be read.
    """
    if channel.encoding == "json":
        return RecordType(channel.type_name, JsonCodec(well_known(channel.type_name)))
    return RecordType(channel.type_name, _protobuf(channel.type_name, channel.definition))


class JsonCodec:
    """JSON objects, one per message.

    Args:
        name: the type's well-known name; those of Foxglove have bytes in base 64.
    """

    def __init__(self, name: str) -> None:
        self._has_bytes = name.startswith("foxglove/")

    def as_object(self, data: bytes) -> Any:
        """See `RecordCodec`."""
        try:
            message = json.loads(data, object_hook=lambda fields: SimpleNamespace(**fields))
            if self._has_bytes and isinstance(getattr(message, BINARY_FIELD, None), str):
                message.data = base64.b64decode(message.data, validate=True)
        except (ValueError, RecursionError, binascii.Error) as error:
            raise CannotDecode(f"a message is no JSON ({error})") from error
        if not isinstance(message, SimpleNamespace):
            raise CannotDecode("a message is JSON, but no object")
        return message

    def as_mapping(self, message: Any) -> Mapping[str, Any]:
        """See `RecordCodec`."""
        plain = _plain(message)
        assert isinstance(plain, dict)
        return plain


def _plain(value: Any, depth: int = 0) -> Any:
    """Return nested objects as mappings, as deep as `flatten` looks into them."""
    if depth > DEEPEST + 1:
        return value
    if isinstance(value, SimpleNamespace):
        return {name: _plain(inner, depth + 1) for name, inner in vars(value).items()}
    return [_plain(inner, depth + 1) for inner in value] if isinstance(value, list) else value


class ProtobufCodec:
    """Protobuf messages.

    Args:
        message_class: what `google.protobuf` makes of the descriptor.
    """

    def __init__(self, message_class: Callable[[], Any]) -> None:
        self._message_class = message_class

    def as_object(self, data: bytes) -> Any:
        """See `RecordCodec`."""
        from google.protobuf.message import DecodeError

        message = self._message_class()
        try:
            message.ParseFromString(data)
        except DecodeError as error:
            raise CannotDecode(f"a protobuf message is damaged ({error})") from error
        return message

    def as_mapping(self, message: Any) -> Mapping[str, Any]:
        """See `RecordCodec`."""
        return dict(_fields(message))


def _fields(message: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a protobuf message: those without presence with their default, of those with
    presence the ones that are there. A duration is its seconds.
    """
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.message_type is None:
            yield field.name, list(value) if field.is_repeated else value
        elif field.message_type.GetOptions().map_entry:
            pairs = ((str(key), inner) for key, inner in value.items())
            yield field.name, {key: _inner(inner) for key, inner in pairs}
        else:
            yield field.name, [_inner(inner) for inner in value] if field.is_repeated else _inner(value)


def _inner(value: Any) -> Any:
    if not hasattr(value, "DESCRIPTOR"):
        return value
    if value.DESCRIPTOR.full_name == "google.protobuf.Duration":
        return value.seconds + value.nanos / NS
    return dict(_fields(value))


@lru_cache(maxsize=256)
def _protobuf(name: str, definition: Definition) -> ProtobufCodec:
    """Return what reads a type by its descriptor set.

    Raises:
        CannotOpen: there is no descriptor, or it does not hold the type.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:  # pragma: no cover (a dependency)
        raise CannotOpen("its messages are protobuf: pip install protobuf") from error
    if definition.format != "protobuf":
        raise CannotOpen(f"its type {name!r} has no protobuf descriptor in the recording")
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(definition.text))
        pool = descriptor_pool.DescriptorPool()
        known = {file.name: file for file in (*_shipped_files(), *files.file)}
        for file in _in_order(known):
            pool.Add(file)
        return ProtobufCodec(message_factory.GetMessageClass(pool.FindMessageTypeByName(name)))
    except Exception as error:  # the parser meets damaged descriptors: anything may come
        words = " ".join(str(error).split())[:200]
        raise CannotOpen(f"the protobuf descriptor of its type {name!r} can't be read ({words})") from error


def _shipped_files() -> list[Any]:
    """Return the files that some writers leave out of the set since every protobuf library has them."""
    from google.protobuf import descriptor_pb2, duration_pb2, timestamp_pb2

    return [
        descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        for module in (duration_pb2, timestamp_pb2)
    ]


def _in_order(files: Mapping[str, Any]) -> Iterator[Any]:
    """Yield files after those that they depend on."""
    done: set[str] = set()

    def visit(name: str) -> Iterator[Any]:
        if name in done or name not in files:
            return
        done.add(name)
        for needed in files[name].dependency:
            yield from visit(needed)
        yield files[name]

    for name in files:
        yield from visit(name)
