"""MCAP files of any encoding, written byte by byte: header, chunks, summary, footer.

Source: MCAP format specification, version 0. The `rosbags` writers know ROS only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAGIC = b"\x89MCAP0\r\n"


def _text(text: str) -> bytes:
    return _block(text.encode())


def _block(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _record(op: int, content: bytes) -> bytes:
    return struct.pack("<BQ", op, len(content)) + content


@dataclass
class McapMaker:
    """Gathers channels and messages; `write` puts `per_chunk` of them into each chunk."""

    per_chunk: int = 16
    schemas: list[bytes] = field(default_factory=list)
    channels: list[bytes] = field(default_factory=list)
    messages: list[tuple[int, int, bytes]] = field(default_factory=list)

    def add_channel(
        self, topic: str, encoding: str, schema_name: str = "", schema_encoding: str = "", schema: bytes = b""
    ) -> int:
        """Add a channel, with a schema of its own where one is named; return its number."""
        schema_id = 0
        if schema_name:
            schema_id = len(self.schemas) + 1
            content = struct.pack("<H", schema_id) + _text(schema_name) + _text(schema_encoding)
            self.schemas.append(_record(3, content + _block(schema)))
        number = len(self.channels)
        content = struct.pack("<HH", number, schema_id) + _text(topic) + _text(encoding) + _block(b"")
        self.channels.append(_record(4, content))
        return number

    def add(self, channel: int, log_ns: int, data: bytes) -> None:
        """Add a message."""
        self.messages.append((channel, log_ns, data))

    def write(self, path: Path) -> Path:
        """Write the file."""
        data = bytearray(MAGIC + _record(1, _text("") + _text("made for tests")))
        definitions = b"".join([*self.schemas, *self.channels])
        indexes = []
        for first in range(0, len(self.messages), self.per_chunk):
            messages = self.messages[first : first + self.per_chunk]
            records = definitions + b"".join(
                _record(5, struct.pack("<HIQQ", channel, 0, log_ns, log_ns) + content)
                for channel, log_ns, content in messages
            )
            stamps = [log_ns for _, log_ns, _ in messages]
            head = struct.pack("<QQQI", min(stamps), max(stamps), len(records), 0) + _text("")
            chunk = _record(6, head + struct.pack("<Q", len(records)) + records)
            index = struct.pack("<QQQQ", min(stamps), max(stamps), len(data), len(chunk)) + _block(b"")
            index += struct.pack("<Q", 0) + _text("") + struct.pack("<QQ", len(records), len(records))
            indexes.append(_record(8, index))
            data += chunk
        data += _record(0x0F, struct.pack("<I", 0))
        summary = definitions + b"".join(indexes) + self._statistics(len(indexes))
        footer = struct.pack("<QQI", len(data), 0, 0)
        path.write_bytes(bytes(data) + summary + _record(2, footer) + MAGIC)
        return path

    def _statistics(self, chunk_count: int) -> bytes:
        stamps = [log_ns for _, log_ns, _ in self.messages] or [0]
        head = struct.pack(
            "<QHIIII", len(self.messages), len(self.schemas), len(self.channels), 0, 0, chunk_count
        )
        return _record(0x0B, head + struct.pack("<QQ", min(stamps), max(stamps)) + _block(b""))


def stamp(time_ns: int) -> dict[str, int]:
    """Return a point in time as Foxglove writes it in JSON."""
    return {"sec": time_ns // 1_000_000_000, "nsec": time_ns % 1_000_000_000}


def as_json(values: Mapping[str, Any]) -> bytes:
    """Return a JSON message."""
    return json.dumps(values).encode()


Field = tuple[str, str]
"""Name and type: `double`, `repeated double`, `.package.Message`."""


def protobuf_classes(package: str, types: Mapping[str, Sequence[Field]]) -> tuple[bytes, dict[str, Any]]:
    """Make protobuf types.

    Returns:
        The serialised descriptor set, as an MCAP schema holds it, and per type what makes messages.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2

    files = descriptor_pb2.FileDescriptorSet()
    for module in (timestamp_pb2, duration_pb2):
        files.file.append(descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb))
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend(known.name for known in files.file)
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in types.items():
        message = file.message_type.add(name=name)
        for number, (field_name, kind) in enumerate(fields, 1):
            repeated, plain = kind.startswith("repeated "), kind.removeprefix("repeated ")
            made = message.field.add(name=field_name, number=number)
            made.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if plain.startswith("."):
                made.type, made.type_name = kinds.TYPE_MESSAGE, plain
            else:
                made.type = kinds.Type.Value(f"TYPE_{plain.upper()}")
    files.file.insert(0, file)  # before what it depends on: writers do not agree on an order
    pool = descriptor_pool.DescriptorPool()
    for known in [*files.file[1:], files.file[0]]:
        pool.Add(known)
    found = {name: pool.FindMessageTypeByName(f"{package}.{name}") for name in types}
    classes = {name: message_factory.GetMessageClass(type_) for name, type_ in found.items()}
    return bytes(files.SerializeToString()), classes


def cdr_packet(stamp_ns: int, encoding: str, data: bytes) -> bytes:
    """Return an `FFMPEGPacket` as CDR: little-endian, every number aligned to its own size."""
    out = bytearray(struct.pack("<iI", stamp_ns // 1_000_000_000, stamp_ns % 1_000_000_000))

    def add(form: str, value: Any) -> None:
        out.extend(b"\0" * (-len(out) % struct.calcsize(form)) + struct.pack(f"<{form}", value))

    def add_text(text: str) -> None:
        add("I", len(text) + 1)
        out.extend(text.encode() + b"\0")

    add_text("camera")
    add("i", 160)
    add("i", 96)
    add_text(encoding)
    add("Q", 0)
    add("B", 0)
    add("B", 0)
    add("I", len(data))
    return b"\0\1\0\0" + bytes(out) + data
