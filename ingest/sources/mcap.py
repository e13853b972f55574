"""MCAP files: chunks by the summary, or by walking the file where the summary is missing.

    magic, records, magic                     magic: 89 "MCAP0" 0D 0A
    record: uint8 op, uint64 length, content  (little-endian; strings and maps: uint32 length first)

    01 header    profile, library
    03 schema    id uint16, name, encoding, data
    04 channel   id, schema id uint16, topic, message encoding, metadata map
    05 message   channel uint16, sequence uint32, log time, publish time uint64, data
    06 chunk     start, end uint64, unpacked size uint64, crc uint32, compression, uint64 length, records
    07 message index  channel uint16, entries (log time, offset uint64), led by their size in bytes
    08 chunk index  start, end, offset, length uint64, map channel -> offset of its message index …
    0B statistics   messages uint64, schemas uint16, channels, attachments, metadata, chunks uint32 …
    02 footer    summary start uint64 (0: none), summary offset start uint64, crc uint32

The summary (records 03, 04, 08, 0B between summary start and footer) is written last: a recorder that
lost its power leaves none. Everything it wrote can be read all the same.

Source: the MCAP format specification, version 0 ("mcap.dev/spec"). The reader is our own because that
of `rosbags` takes the profile `ros2` only, passes over chunks without message indexes, and gives
nothing of a file without its footer.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ingest.errors import CannotOpen
from ingest.recording import Incident
from ingest.sources.bag_chunks import (
    Chunk,
    ChunkedFile,
    Damaged,
    Located,
    LooseMessages,
    mask_of,
)
from ingest.sources.bag_storage import LATEST_NS, Channel, Definition, DefinitionFormat
from ingest.sources.bag_types import is_latched, normal_type_name
from ingest.sources.chunk_unpacking import Unpacked, unpack
from ingest.sources.lost_messages import lost_words
from ingest.sources.mapped_file import LEAST_BYTES, mapped

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 1, 2, 3, 4, 5, 6
MESSAGE_INDEX, CHUNK_INDEX, STATISTICS, DATA_END = 7, 8, 0x0B, 0x0F

FOOTER_BYTES = 9 + 20
UINT16, UINT32, UINT64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
RECORD = struct.Struct("<BQ")
MESSAGE_HEADER = struct.Struct("<HIQQ")
LONGEST_NAME = 256
"""A compression's name is no longer, with its length."""
MESSAGE_RECORD = struct.Struct("<BQHIQQ")
"""A message's record up to its data."""
CHUNK_HEADER = struct.Struct("<QQQI")
INDEX_HEADER = struct.Struct("<BQHI")
"""A message index's record up to its entries."""

FORMATS: dict[str, DefinitionFormat] = {
    "ros1msg": "msg",
    "ros2msg": "msg",
    "ros2idl": "idl",
    "omgidl": "idl",
    "protobuf": "protobuf",
    "jsonschema": "jsonschema",
}


class Record(NamedTuple):
    """Where a record lies."""

    op: int
    offset: int
    content: int
    """Offset of its content."""
    end: int


class Schema(NamedTuple):
    """A message type and its definition."""

    name: str
    encoding: str
    data: bytes


class Mcap(ChunkedFile):
    """One MCAP file.

    Raises:
        CannotOpen: it is no MCAP file.
    """

    container = "rosbag2-mcap"

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb"))
        self._size_bytes = path.stat().st_size
        self._schemas: dict[int, Schema] = {}
        self._numbers: dict[int, int] = {}
        """Channel id -> channel."""
        self._unknown_count = 0
        self._lacks_schema = False
        self._channels: list[Channel] = []
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        self.channels = self._channels

    def _open(self) -> None:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise CannotOpen("not an MCAP file: it does not begin with the bytes 89 'MCAP0'")
        try:
            self._read_summary()
        except (Damaged, struct.error) as damage:
            cause = str(damage) if isinstance(damage, Damaged) else "the file's summary is damaged"
            self.chunks, self._schemas, self._numbers = [], {}, {}
            self._channels.clear()
            self._walk(cause)

    def _read_summary(self) -> None:
        """Fill channels and chunk table from the summary at the end."""
        footer = self._footer()
        start = UINT64.unpack_from(footer, 9)[0]
        if not start:
            raise Damaged("the file has no summary")
        if not len(MAGIC) < start <= self._size_bytes - FOOTER_BYTES:
            raise Damaged("the file's summary is damaged")
        self._file.seek(start)
        data = self._file.read(self._size_bytes - FOOTER_BYTES - len(MAGIC) - start)
        indexes, chunk_count, message_count = [], None, None
        for record in records_in(data):
            if record.op == CHUNK_INDEX:
                indexes.append(record)
            elif record.op == STATISTICS:
                message_count = UINT64.unpack_from(data, record.content)[0]
                chunk_count = UINT32.unpack_from(data, record.content + 8 + 2 + 12)[0]
            else:
                self._note(record, data)
        self.chunks = [chunk for record in indexes if (chunk := self._indexed(data, record))]
        if message_count is None and not indexes:
            raise Damaged("the file's summary does not say where its messages are")
        if chunk_count is not None and chunk_count != len(indexes):
            raise Damaged("the file's summary does not list all chunks")
        if self._lacks_schema:
            raise Damaged("the file's summary does not repeat its schemas")
        if message_count and not (indexes and self._channels):
            raise Damaged("the file has no chunks" if not chunk_count else "the summary lists no channels")
        self._note_header()

    def _footer(self) -> bytes:
        if self._size_bytes < 2 * len(MAGIC) + FOOTER_BYTES:
            raise Damaged("the file was not closed and has no summary")
        self._file.seek(-FOOTER_BYTES - len(MAGIC), 2)
        footer = self._file.read(FOOTER_BYTES + len(MAGIC))
        if footer[-len(MAGIC) :] != MAGIC or RECORD.unpack_from(footer) != (FOOTER, 20):
            raise Damaged("the file was not closed and has no summary")
        return footer

    def _note_header(self) -> None:
        self._file.seek(len(MAGIC))
        op, size = RECORD.unpack(self._file.read(RECORD.size))
        if op == HEADER and size < 1 << 20:
            reader = _Fields(self._file.read(size))
            self.details = {"profile": reader.text(), "library": reader.text()}

    def _indexed(self, data: bytes, record: Record) -> Chunk | None:
        """Return the chunk that an index record of the summary speaks of; None: without messages."""
        start_ns, last_ns, offset, length = struct.unpack_from("<QQQQ", data, record.content)
        if offset + length > self._size_bytes:
            raise Damaged("the file's summary points behind its end")
        offsets = _Fields(data[record.content + 32 : record.end]).block()
        ids = [UINT16.unpack_from(offsets, at)[0] for at in range(0, len(offsets) - 9, 10)]
        index_bytes = UINT64.unpack_from(data, record.content + 32 + 4 + len(offsets))[0]
        if not ids and index_bytes:
            return None
        # a writer may leave the message indexes out; the chunk may hold any channel then
        known = bool(ids) and all(number in self._numbers for number in ids)
        mask = mask_of(self._numbers[number] for number in ids) if known else -1
        return Chunk(offset, length, *_span(start_ns, last_ns), mask)

    def _walk(self, cause: str) -> None:
        """Make the chunk table by reading the file from start to end."""
        self.incidents.append(Incident("note", f"{cause}: read from start to end"))
        with suppress(Damaged, struct.error):  # the walk will say so
            self._note_header()
        offset, loose = len(MAGIC), LooseMessages(self.chunks)
        while offset < self._size_bytes:
            self._file.seek(offset)
            begin = self._file.read(RECORD.size + MESSAGE_HEADER.size)
            if len(begin) < RECORD.size:
                break
            op, size = RECORD.unpack_from(begin)
            record = Record(op, offset, offset + RECORD.size, offset + RECORD.size + size)
            if begin.startswith(MAGIC) or op in (DATA_END, FOOTER):
                break
            cut = record.end > self._size_bytes
            salvaged = op == CHUNK and self._walk_chunk(record)
            if op == MESSAGE and not cut and size >= MESSAGE_HEADER.size:
                loose.add(record.offset, record.end, *self._found(begin, RECORD.size))
            elif op in (SCHEMA, CHANNEL) and not cut:
                self._file.seek(offset)
                content = self._file.read(record.end - offset)
                try:
                    self._note(Record(op, 0, RECORD.size, len(content)), content)
                except Damaged as damage:
                    self._lost(f"{damage} (byte {offset}): {lost_words(0, None)}")
            if op not in (MESSAGE, SCHEMA, CHANNEL) or cut:
                loose.flush()
            if cut:
                if not salvaged:  # else it is told whenever the chunk is read
                    where = f"byte {offset} of {self._size_bytes}"
                    self._lost(
                        f"the file ends, or is damaged, within a record ({where}): {lost_words(0, None)}"
                    )
                break
            offset = record.end
        loose.flush()
        if self._unknown_count:
            self._lost(f"{self._unknown_count} messages are of topics whose description is lost")

    def _lost(self, cause: str) -> None:
        """Tell of damage behind everything that was found so far."""
        last_ns = self.stop_ns
        self.incidents.append(Incident("failure", cause, "", last_ns, last_ns + 1))

    def _walk_chunk(self, record: Record) -> bool:
        """Add a chunk to the table; return whether it holds messages that can be read."""
        chunk = Chunk(record.offset, record.end - record.offset, 0, 0, -1)
        unpacked = self._read(chunk)
        data = unpacked.data
        times, mask = [], 0
        try:
            for inner in records_in(data):
                if inner.op == MESSAGE:
                    number, log_ns = self._found(data, inner.content)
                    times.append(log_ns)
                    mask |= 1 << number if number is not None else 0
                else:
                    self._note(inner, data)
        except (Damaged, struct.error):
            pass  # reported whenever the chunk is read
        if times:
            self.chunks.append(chunk._replace(start_ns=min(times), stop_ns=max(times) + 1, channels=mask))
        elif unpacked.damage and record.end <= self._size_bytes:
            located = self._locate(unpacked.data)
            self._lost(f"{unpacked.damage}: {self._loss(chunk, unpacked, located)}")
        return bool(times)

    def _found(self, data: bytes | memoryview, content: int) -> tuple[int | None, int]:
        """Return channel (None: not defined) and log stamp of a message."""
        channel, _, log_ns, _ = MESSAGE_HEADER.unpack_from(data, content)
        self._unknown_count += channel not in self._numbers
        return self._numbers.get(channel), min(log_ns, LATEST_NS)

    def _note(self, record: Record, data: bytes | memoryview) -> None:
        """Take in a schema or a channel."""
        if record.op == SCHEMA:
            fields = _Fields(bytes(data[record.content : record.end]))
            number = fields.uint16()
            self._schemas[number] = Schema(fields.text(), fields.text(), fields.block())
        elif record.op == CHANNEL:
            fields = _Fields(bytes(data[record.content : record.end]))
            number, schema_number = fields.uint16(), fields.uint16()
            if number not in self._numbers:
                topic, encoding, metadata = fields.text(), fields.text(), fields.pairs()
                self._lacks_schema |= bool(schema_number) and schema_number not in self._schemas
                schema = self._schemas.get(schema_number, Schema("", "", b""))
                self._numbers[number] = len(self._channels)
                self._channels.append(_channel(topic, encoding, metadata, schema))

    def _read(self, chunk: Chunk) -> Unpacked:
        data = self._bytes_of(chunk)
        if not data or data[0] != CHUNK:  # loose messages
            damaged = "the file's summary points to something that is no chunk"
            return Unpacked(data, "" if data[:1] == bytes([MESSAGE]) else damaged)
        try:
            _, _, size_bytes, crc = CHUNK_HEADER.unpack_from(data, RECORD.size)
            begin = RECORD.size + CHUNK_HEADER.size
            fields = _Fields(bytes(data[begin : begin + LONGEST_NAME]))
            compression = fields.text()
            packed = data[begin + fields.place + 8 :]
        except (Damaged, struct.error):
            return Unpacked(b"", "the file ends within a chunk")
        unpacked = unpack(packed, compression, size_bytes)
        if not unpacked.damage and crc and zlib.crc32(unpacked.data) != crc:
            # which of its values are wrong can't be known, so none is used
            return Unpacked(b"", "a chunk's checksum is wrong", size_bytes, unpacked.data)
        return unpacked

    def _bytes_of(self, chunk: Chunk) -> memoryview:
        size_bytes = min(chunk.size_bytes, self._size_bytes - chunk.offset)
        if size_bytes >= LEAST_BYTES:
            return mapped(self._file, chunk.offset, size_bytes)
        with self._file_lock:
            self._file.seek(chunk.offset)
            return memoryview(self._file.read(size_bytes))

    def _indexed_count(self, chunk: Chunk) -> int | None:
        """See `ChunkedFile`: message indexes follow their chunk, 16 bytes per message."""
        offset, count = chunk.offset + chunk.size_bytes, 0
        while offset + INDEX_HEADER.size <= self._size_bytes:
            self._file.seek(offset)
            op, size, _, array_bytes = INDEX_HEADER.unpack(self._file.read(INDEX_HEADER.size))
            if op != MESSAGE_INDEX or size < 6 + array_bytes:
                break
            count += array_bytes // 16
            offset += RECORD.size + size
        return count or None

    def _locate(self, records: bytes | memoryview) -> Located:
        # the innermost loop of all reading: no function of ours is called in it
        numbers, stamps, begins, ends = [], [], [], []
        number_of, unpack, message_bytes = self._numbers.get, MESSAGE_RECORD.unpack_from, MESSAGE_RECORD.size
        offset, length, damage = 0, len(records), ""
        while offset < length:
            if offset + RECORD.size > length:
                damage = "a chunk ends within a record"
                break
            if records[offset] != MESSAGE:
                end = offset + RECORD.size + RECORD.unpack_from(records, offset)[1]
                if end > length:
                    damage = "a chunk ends within a record"
                    break
                offset = end
                continue
            if offset + message_bytes > length:
                damage = "a message is damaged"
                break
            _, size, channel, _, log_ns, _ = unpack(records, offset)
            end = offset + 9 + size
            if end > length or size < 22:
                damage = "a chunk ends within a record" if end > length else "a message is damaged"
                break
            numbers.append(number_of(channel, -1))
            stamps.append(log_ns if log_ns < LATEST_NS else LATEST_NS)
            begins.append(offset + message_bytes)
            ends.append(end)
            offset = end
        return Located.of_lists((numbers, stamps, begins, ends), damage)


class _Fields:
    """Reads a record's content from front to back.

    Raises:
        Damaged: the content ends too early.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def uint16(self) -> int:
        return int.from_bytes(self._take(2), "little")

    def block(self) -> bytes:
        """Return bytes that are led by their length."""
        return self._take(int.from_bytes(self._take(4), "little"))

    def text(self) -> str:
        return self.block().decode("utf-8", "replace")

    def pairs(self) -> dict[str, str]:
        """Return a map of strings."""
        inside, pairs = _Fields(self.block()), {}
        while inside._at < len(inside._data):
            key = inside.text()
            pairs[key] = inside.text()
        return pairs

    @property
    def place(self) -> int:
        """How many bytes were read."""
        return self._at

    def _take(self, count: int) -> bytes:
        begin, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise Damaged("a record ends too early")
        return self._data[begin : self._at]


def records_in(data: bytes | memoryview) -> Iterator[Record]:
    """Yield the records of a summary or of an unpacked chunk.

    Raises:
        Damaged: what follows is no record, or goes over the end.
    """
    offset, length = 0, len(data)
    while offset < length:
        content = offset + RECORD.size
        if content > length:
            raise Damaged("a chunk ends within a record")
        op, size = RECORD.unpack_from(data, offset)
        end = content + size
        if end > length:
            raise Damaged("a chunk ends within a record")
        yield Record(op, offset, content, end)
        offset = end


def _span(start_ns: int, last_ns: int) -> tuple[int, int]:
    """Return a half-open span that int64 can hold."""
    return min(start_ns, LATEST_NS), min(last_ns, LATEST_NS) + 1


def _channel(topic: str, encoding: str, metadata: dict[str, str], schema: Schema) -> Channel:
    known = FORMATS.get(schema.encoding, "other" if schema.encoding else "")
    binary = known == "protobuf"
    text = b64encode(schema.data).decode() if binary else schema.data.decode("utf-8", "replace")
    return Channel(
        topic=topic,
        type_name=normal_type_name(schema.name) if known in ("", "msg", "idl") else schema.name,
        encoding=encoding,
        definition=Definition(known if text.strip() else "", text),
        latched=is_latched(metadata.get("offered_qos_profiles", "")) or metadata.get("latching") == "1",
    )
