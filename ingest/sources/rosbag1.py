r"""ROS 1 bags, format 2.0: chunks by the index, or by walking the file where the index is missing.

    #ROSBAG V2.0\n, then records:
        uint32 header length, header, uint32 data length, data          (little-endian)
        header: fields of uint32 length, name=value; `op` says what the record is

    3  bag header    index_pos uint64, conn_count, chunk_count uint32; padded to 4096 bytes
    5  chunk         compression (none, bz2, lz4), size when unpacked; data: records 7 and 2
    7  connection    conn uint32, topic; data: fields type, md5sum, message_definition, latching …
    2  message       conn uint32, time uint32 s + uint32 ns; data: the message
    4  index data    conn, count; data: count of (time, uint32 offset in the unpacked chunk)
    6  chunk info    chunk_pos uint64, start_time, end_time, count; data: count of (conn, uint32 count)

The index (records 7 and 6 from index_pos to the end) is written last: a recorder that lost its power
leaves none, and the size of its last chunk is still 0. Everything it wrote can be read all the same.

Source: ROS wiki, "Bags/Format/2.0". The reader is our own because that of `rosbags` takes 170 bytes
and 5 µs per message of the whole bag before it gives the first one, and gives nothing of a bag whose
index is damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

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
from ingest.sources.bag_storage import Channel, Definition
from ingest.sources.bag_types import normal_type_name
from ingest.sources.chunk_unpacking import Unpacked, unpack
from ingest.sources.lost_messages import lost_words
from ingest.sources.mapped_file import LEAST_BYTES, mapped

MAGIC = b"#ROSBAG V2.0\n"
MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7

LARGEST_HEADER_BYTES = 1 << 20
"""Headers hold a few fields; the longest is a topic."""

EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
"""Of an empty definition, which types without fields have rightly."""

UINT32 = struct.Struct("<I")
UINT64 = struct.Struct("<Q")
TIME = struct.Struct("<II")
NS = 1_000_000_000


class Record(NamedTuple):
    """Where a record lies."""

    op: int
    fields: dict[bytes, bytes]
    offset: int
    data_offset: int
    data_bytes: int

    @property
    def end(self) -> int:
        """Offset of what follows."""
        return self.data_offset + self.data_bytes

    def uint32(self, name: bytes) -> int:
        """Return a field."""
        return self._unpack(UINT32, name)[0]

    def uint64(self, name: bytes) -> int:
        """Return a field."""
        return self._unpack(UINT64, name)[0]

    def time_ns(self, name: bytes) -> int:
        """Return a field."""
        seconds, nanoseconds = self._unpack(TIME, name)
        return seconds * NS + nanoseconds

    def _unpack(self, shape: struct.Struct, name: bytes) -> tuple[int, ...]:
        value = self.fields.get(name, b"")
        if len(value) != shape.size:
            raise Damaged(f"a record has no proper field {name.decode()!r}")
        return shape.unpack(value)


class Rosbag1(ChunkedFile):
    """One ROS 1 bag.

    Raises:
        CannotOpen: it is no bag of format 2.0, or encrypted.
    """

    container = "rosbag1"

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb"))
        self._numbers: dict[int, int] = {}
        """Connection -> channel."""
        self._unknown_count = 0
        try:
            self._open(path.stat().st_size)
        except BaseException:
            self.close()
            raise

    def _open(self, size_bytes: int) -> None:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise CannotOpen("not a ROS bag of format 2.0: the file does not begin with '#ROSBAG V2.0'")
        self._size_bytes = size_bytes
        channels: dict[int, Channel] = {}
        try:
            header = record_at(self._file, len(MAGIC), size_bytes)
            if header.op != BAG_HEADER:
                raise Damaged("the bag header is missing")
            if header.fields.get(b"encryptor"):
                raise CannotOpen(f"the bag is encrypted ({_text(header.fields[b'encryptor'])})")
            self.chunks = self._read_index(header, channels)
        except Damaged as damage:
            self.chunks = []
            channels.clear()
            self._numbers.clear()
            self._walk(channels, str(damage))
        self.channels = list(channels.values())

    def _read_index(self, header: Record, channels: dict[int, Channel]) -> list[Chunk]:
        """Return the chunk table as the bag's own index has it."""
        offset, chunks = header.uint64(b"index_pos"), []
        if offset == 0:
            raise Damaged("the bag was not closed and has no index")
        connections = header.uint32(b"conn_count")
        chunk_count = header.uint32(b"chunk_count")
        for _ in range(connections):
            record = record_at(self._file, offset, self._size_bytes)
            self._add_connection(record, self._data(record), channels)
            offset = record.end
        for _ in range(chunk_count):
            record = record_at(self._file, offset, self._size_bytes)
            offset = record.end
            if record.op != CHUNK_INFO:
                raise Damaged("the bag's index is damaged")
            data = self._data(record)
            connections_here = [UINT32.unpack_from(data, at)[0] for at in range(0, len(data) - 7, 8)]
            if any(conn not in self._numbers for conn in connections_here):
                raise Damaged("the bag's index is damaged")
            if not connections_here:
                continue  # a chunk without messages
            position = record.uint64(b"chunk_pos")
            if position >= self._size_bytes:
                raise Damaged("the bag's index points behind its end")
            mask = mask_of(self._numbers[conn] for conn in connections_here)
            start_ns, last_ns = record.time_ns(b"start_time"), record.time_ns(b"end_time")
            chunks.append(Chunk(position, 0, start_ns, last_ns + 1, mask))
        return chunks

    def _walk(self, channels: dict[int, Channel], cause: str) -> None:
        """Make the chunk table by reading the file from start to end."""
        self.incidents.append(Incident("note", f"{cause}: read from start to end"))
        offset, loose = len(MAGIC), LooseMessages(self.chunks)
        while offset < self._size_bytes:
            try:
                record = record_at(self._file, offset, self._size_bytes, whole=False)
            except Damaged as damage:
                loose.flush()
                where = f"byte {offset} of {self._size_bytes}"
                self._lost(f"{damage} ({where}); what followed is lost, {lost_words(0, None)}")
                break
            told = False
            try:
                told = self._take(record, channels, loose)
            except Damaged as damage:  # it says where the next one begins
                self._lost(f"{damage} (byte {offset} of {self._size_bytes})")
            if record.end > self._size_bytes:
                loose.flush()
                if not told:
                    where = f"byte {offset} of {self._size_bytes}"
                    self._lost(f"the file ends within a record ({where}): {lost_words(0, None)}")
                break
            offset = record.end
        loose.flush()
        if self._unknown_count:
            self._lost(f"{self._unknown_count} messages are of topics whose description is lost")

    def _take(self, record: Record, channels: dict[int, Channel], loose: LooseMessages) -> bool:
        """Add what a record holds to the chunk table; return whether reading it tells of its damage."""
        if record.op not in (MESSAGE, CONNECTION):
            loose.flush()
            # a chunk that was not closed says 0 bytes; its records follow
            return bool(record.op == CHUNK and record.data_bytes) and self._walk_chunk(record, channels)
        if record.end <= self._size_bytes:
            # the last chunk of a recorder that lost its power: it is not closed, so its records look
            # as if they lay in the file itself
            found = self._note(record, self._data(record), channels)
            if found is not None:
                loose.add(record.offset, record.end, *found)
        return False

    def _walk_chunk(self, record: Record, channels: dict[int, Channel]) -> bool:
        """Add a chunk to the table; return whether it holds messages that can be read."""
        unpacked = self._unpack(record)
        data = unpacked.data
        times, mask = [], 0
        try:
            for inner in records_in(data):
                found = self._note(inner, bytes(data[inner.data_offset : inner.end]), channels)
                if found is not None:
                    channel, log_ns = found
                    times.append(log_ns)
                    mask |= 1 << channel
        except Damaged:
            pass  # reported whenever the chunk is read
        if times:
            self.chunks.append(Chunk(record.offset, 0, min(times), max(times) + 1, mask))
        elif unpacked.damage and record.end <= self._size_bytes:
            chunk = Chunk(record.offset, 0, 0, 0, -1)
            self._lost(f"{unpacked.damage}: {self._loss(chunk, unpacked, self._locate(unpacked.data))}")
        return bool(times)

    def _lost(self, cause: str) -> None:
        """Tell of damage behind everything that was found so far."""
        last_ns = self.stop_ns
        self.incidents.append(Incident("failure", cause, "", last_ns, last_ns + 1))

    def _note(self, record: Record, data: bytes, channels: dict[int, Channel]) -> tuple[int, int] | None:
        """Take in a connection; return channel and log stamp of a message."""
        if record.op == CONNECTION:
            self._add_connection(record, data, channels)
        elif record.op == MESSAGE:
            number = self._numbers.get(record.uint32(b"conn"))
            if number is not None:
                return number, record.time_ns(b"time")
            self._unknown_count += 1
        return None

    def _add_connection(self, record: Record, data: bytes, channels: dict[int, Channel]) -> None:
        if record.op != CONNECTION:
            raise Damaged("the bag's index is damaged")
        conn = record.uint32(b"conn")
        if conn not in self._numbers:
            self._numbers[conn] = len(channels)
            channels[conn] = _channel(_text(record.fields.get(b"topic", b"")), _fields(data))

    def _data(self, record: Record) -> bytes:
        self._file.seek(record.data_offset)
        return self._file.read(record.data_bytes)

    def _read(self, chunk: Chunk) -> Unpacked:
        if chunk.size_bytes:  # loose messages
            with self._file_lock:
                self._file.seek(chunk.offset)
                return Unpacked(self._file.read(chunk.size_bytes))
        try:
            with self._file_lock:
                record = record_at(self._file, chunk.offset, self._size_bytes, whole=False)
            if record.op != CHUNK:
                raise Damaged("the index points to something that is no chunk")
            return self._unpack(record)
        except Damaged as damage:
            return Unpacked(b"", str(damage))

    def _indexed_count(self, chunk: Chunk) -> int | None:
        """See `ChunkedFile`: a record for each connection follows the chunk, and counts its messages."""
        count = 0
        with suppress(Damaged):
            record = record_at(self._file, chunk.offset, self._size_bytes)
            while (record := record_at(self._file, record.end, self._size_bytes)).op == INDEX:
                count += record.uint32(b"count")
        return count or None

    def _unpack(self, record: Record) -> Unpacked:
        compression = _text(record.fields.get(b"compression", b""))
        size_bytes = record.uint32(b"size")
        if record.end > self._size_bytes:
            record = record._replace(data_bytes=self._size_bytes - record.data_offset)
        if record.data_bytes >= LEAST_BYTES:
            return unpack(mapped(self._file, record.data_offset, record.data_bytes), compression, size_bytes)
        with self._file_lock:
            packed = memoryview(self._data(record))
        return unpack(packed, compression, size_bytes)

    def _locate(self, records: bytes | memoryview) -> Located:
        found: list[tuple[int, int, int, int]] = []
        damage = ""
        try:
            for message in messages_in(records):
                found.append(message)  # noqa: PERF402 (those before the damage stay)
        except Damaged as error:
            damage = str(error)
        conns, stamps, begins, ends = zip(*found, strict=True) if found else ((), (), (), ())
        numbers = [self._numbers.get(conn, -1) for conn in conns]
        return Located.of_lists((numbers, stamps, begins, ends), damage)


def record_at(file: BinaryIO, offset: int, size_bytes: int, *, whole: bool = True) -> Record:
    """Read the record at an offset of a file, without its data.

    Raises:
        Damaged: there is none, or (where `whole`) its data goes over the end.
    """
    if offset < size_bytes:  # or else far beyond what can be sought
        file.seek(offset)
    begin = file.read(4) if offset < size_bytes else b""
    header_bytes = UINT32.unpack(begin)[0] if len(begin) == 4 else LARGEST_HEADER_BYTES + 1
    if header_bytes > LARGEST_HEADER_BYTES or offset + header_bytes + 8 > size_bytes:
        raise Damaged("the file ends, or is damaged, where a record should begin")
    header = file.read(header_bytes + 4)
    data_bytes = UINT32.unpack_from(header, header_bytes)[0]
    record = _record(header[:header_bytes], offset, offset + header_bytes + 8, data_bytes)
    if whole and record.end > size_bytes:
        raise Damaged("the file ends within a record")
    return record


def records_in(data: bytes | memoryview, offset: int = 0) -> Iterator[Record]:
    """Yield the records of an unpacked chunk from an offset on.

    Raises:
        Damaged: what follows is no record, or goes over the end.
    """
    while offset < len(data):
        if offset + 8 > len(data):
            raise Damaged("a chunk ends within a record")
        header_bytes = UINT32.unpack_from(data, offset)[0]
        data_offset = offset + header_bytes + 8
        if data_offset > len(data):
            raise Damaged("a chunk ends within a record")
        data_bytes = UINT32.unpack_from(data, data_offset - 4)[0]
        if data_offset + data_bytes > len(data):
            raise Damaged("a chunk ends within a record")
        yield _record(bytes(data[offset + 4 : data_offset - 4]), offset, data_offset, data_bytes)
        offset = data_offset + data_bytes


def messages_in(data: bytes | memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield connection, log stamp, and begin and end of the data of each message in a chunk.

    Raises:
        Damaged: what follows is no record, or goes over the end.
    """
    shape: _MessageShape | None = None
    offset, size = 0, len(data)
    while offset < size:
        if shape is not None and offset + shape.size <= size:
            values = shape.unpack(data, offset)
            if shape.marks_of(values) == shape.marks:
                begin = offset + shape.size
                offset = begin + values[-1]
                if offset > size:
                    raise Damaged("a chunk ends within a record")
                yield values[shape.conn], values[shape.time] * NS + values[shape.time + 1], begin, offset
                continue
        record = next(records_in(data, offset))
        if record.op == MESSAGE:
            yield record.uint32(b"conn"), record.time_ns(b"time"), record.data_offset, record.end
            shape = shape or _MessageShape.like(record)
        offset = record.end


class _MessageShape:
    """The header of a message record, learned from one.

    A bag's messages have the same three fields in the same order. One unpacking tells whether that is
    so, and gives their values; reading a header field by field takes ten times as long.
    """

    FORMATS: ClassVar = {b"op": "B", b"conn": "I", b"time": "II"}

    def __init__(self, names: Sequence[bytes]) -> None:
        layout, places, marks = "<I", {}, [0]
        count = 1
        for name in names:
            layout += f"{5 + len(name)}s{self.FORMATS[name]}"
            marks.append(count)
            places[name] = count + 1
            count += 1 + len(self.FORMATS[name])
        shape = struct.Struct(layout + "I")
        sizes = [len(name) + 1 + struct.calcsize(f"<{self.FORMATS[name]}") for name in names]
        keys = [UINT32.pack(size) + name + b"=" for size, name in zip(sizes, names, strict=True)]
        self.size = shape.size
        self.unpack = shape.unpack_from
        self.marks_of = itemgetter(*marks, places[b"op"])
        self.marks = (shape.size - 8, *keys, MESSAGE)
        self.conn, self.time = places[b"conn"], places[b"time"]

    @classmethod
    def like(cls, record: Record) -> _MessageShape | None:
        """Return the shape of a message's header; None where it is not the usual one."""
        return cls(list(record.fields)) if record.fields.keys() == cls.FORMATS.keys() else None


def _record(header: bytes, offset: int, data_offset: int, data_bytes: int) -> Record:
    fields = _fields(header)
    op = fields.get(b"op", b"")
    if len(op) != 1:
        raise Damaged("a record does not say what it is")
    return Record(op[0], fields, offset, data_offset, data_bytes)


def _fields(header: bytes) -> dict[bytes, bytes]:
    """Return the fields of a header."""
    fields, at = {}, 0
    while at < len(header):
        if at + 4 > len(header):
            raise Damaged("a record's header is damaged")
        begin, at = at + 4, at + 4 + UINT32.unpack_from(header, at)[0]
        name, equals, value = header[begin:at].partition(b"=")
        if at > len(header) or not equals:
            raise Damaged("a record's header is damaged")
        fields[name] = value
    return fields


def _channel(topic: str, fields: dict[bytes, bytes]) -> Channel:
    text, digest = _text(fields.get(b"message_definition", b"")), _text(fields.get(b"md5sum", b""))
    known = bool(text.strip()) or digest == EMPTY_MD5
    return Channel(
        topic=topic,
        type_name=normal_type_name(_text(fields.get(b"type", b""))),
        encoding="ros1",
        definition=Definition("msg" if known else "", text, digest),
        latched=_text(fields.get(b"latching", b"0")).strip() == "1",
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
