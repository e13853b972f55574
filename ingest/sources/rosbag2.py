"""ROS 2 bags in SQLite files (`.db3`), and the `metadata.yaml` that describes a bag folder.

    topics               id, name, type, serialization_format [, offered_qos_profiles …]
    messages             id, topic_id, timestamp (log stamp, ns), data (CDR)
    message_definitions  topic_type, encoding (ros2msg, ros2idl), encoded_message_definition  (Iron on)

Messages come by (timestamp, id), from the index that every recorder makes. A file that was cut off, or
has damaged pages, is read by id, as far as that goes.

Source: `rosbag2_storage_sqlite3` (schema versions 1 to 4) and `rosbag2_storage` (metadata versions 1 to
9). Queries are our own because the reader of `rosbags` counts all messages, which reads the whole table,
each time it opens a file.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np

from ingest.decoders.bulk import FEWEST, Bulk
from ingest.errors import CannotOpen
from ingest.recording import Incident, Report
from ingest.sources.bag_storage import (
    LATEST_NS,
    MAX_NS,
    MIN_NS,
    AnyMessage,
    Channel,
    Definition,
    DefinitionFormat,
    ManyMessages,
    Message,
)
from ingest.sources.bag_types import ZSTD_MAGIC, is_latched, normal_type_name
from ingest.sources.lost_messages import lost_words

MAGIC = b"SQLite format 3\x00"
LOT_NS = 1_000_000_000
"""Messages of so much time are gathered: a track must not lag behind the others."""
DATABASE_ERRORS = (sqlite3.Error, ValueError)
"""What damage raises; ValueError where SQLite's own words hold damaged text."""

FORMATS: dict[str, DefinitionFormat] = {"ros2msg": "msg", "ros2idl": "idl"}


class Rosbag2Sqlite:
    """One SQLite file of a ROS 2 bag.

    Raises:
        CannotOpen: it is no SQLite file, holds no ROS tables, or not even those can be read.
    """

    container = "rosbag2-sqlite3"

    def __init__(self, path: Path) -> None:
        page_bytes, size_bytes = _size_of(path)
        # immutable: nothing is locked or written beside the file, which may lie on read-only storage
        uri = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
        self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        self._database.text_factory = lambda value: value.decode("utf-8", "replace")
        # no value is longer than the file, unless a statement in it makes one up
        self._database.setlimit(
            sqlite3.SQLITE_LIMIT_LENGTH, max(1 << 20, min(path.stat().st_size, 2**31 - 1))
        )
        self.channels: list[Channel] = []
        self.start_ns = self.stop_ns = 0
        self.incidents: list[Incident] = []
        self.details: Mapping[str, Any] = {}
        self._by_id: list[tuple[int, int, int]] | None = None
        """Damaged files: (log stamp, id, topic id) of every message that can be read, sorted."""
        self._sizes = path.stat().st_size, size_bytes
        """Bytes that the file has, and that it should have."""
        try:
            self._open(path, page_bytes, size_bytes)
        except DATABASE_ERRORS as error:
            self.close()
            raise CannotOpen(f"the SQLite file can't be read ({error})") from error
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, page_bytes: int, size_bytes: int) -> None:
        actual_bytes = path.stat().st_size
        if size_bytes > actual_bytes:
            # SQLite refuses a file with fewer pages than its header counts, except to those who repair
            self._database.execute("PRAGMA writable_schema = ON")
        # views and virtual tables have no page of their own: reading those would run what the file says
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND sql LIKE 'CREATE T%'"
        )
        tables = {name for (name,) in self._rows(query)}
        tables = {name for name in tables if not self._is_computed(name)}
        if not {"topics", "messages"} <= tables:
            raise CannotOpen("the SQLite file has no tables 'topics' and 'messages': it is no ROS 2 bag")
        definitions = self._definitions() if "message_definitions" in tables else {}
        columns = [row[1] for row in self._rows("PRAGMA table_info(topics)")]
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        query = f"SELECT id, name, type, serialization_format, {qos} FROM topics ORDER BY id"  # noqa: S608
        topics = self._rows(query)
        self._numbers = {topic_id: number for number, (topic_id, *_) in enumerate(topics)}
        self.channels = [
            Channel(
                topic=str(name),
                type_name=normal_type_name(str(type_name)),
                encoding=str(encoding),
                definition=definitions.get(normal_type_name(str(type_name)), Definition()),
                latched=is_latched(profiles),
            )
            for _, name, type_name, encoding, profiles in topics
        ]
        if "schema" in tables:
            self.details = self._schema()
        written_ahead = path.with_name(path.name + "-wal")
        if written_ahead.exists() and written_ahead.stat().st_size:
            cause = (
                f"the recorder left messages in {written_ahead.name}, which are not read; "
                f"`sqlite3 {path.name} 'PRAGMA wal_checkpoint'` brings them into the bag"
            )
            self.incidents.append(Incident("failure", cause))
        if size_bytes > actual_bytes:
            ragged = page_bytes if actual_bytes % page_bytes else 0
            self._salvage(f"the file ends after {actual_bytes} of {size_bytes} bytes", ragged)
        else:
            try:
                self._measure()
            except DATABASE_ERRORS as error:
                self._salvage(str(error))

    def _rows(self, query: str, arguments: Collection[int | str] = ()) -> list[tuple[Any, ...]]:
        with closing(self._database.execute(query, tuple(arguments))) as cursor:
            return cursor.fetchall()

    def _is_computed(self, table: str) -> bool:
        """Tell whether a table has columns that an expression gives."""
        return any(hidden for (hidden,) in self._rows("SELECT hidden FROM pragma_table_xinfo(?)", [table]))

    def _definitions(self) -> dict[str, Definition]:
        rows = self._rows(
            "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions "
            "ORDER BY id DESC"
        )
        return {
            normal_type_name(str(name)): Definition(FORMATS.get(encoding, "other"), str(text))
            for name, encoding, text in rows
            if encoding and str(text).strip()
        }

    def _schema(self) -> dict[str, Any]:
        rows = self._rows("SELECT schema_version, ros_distro FROM schema")
        return {"ros_distro": str(rows[0][1])} if rows and rows[0][1] else {}

    def _measure(self) -> None:
        """Find out the time span, and whether there is an index to read by."""
        indexes = [row[1] for row in self._rows("PRAGMA index_list(messages)")]
        firsts = [self._rows("SELECT name FROM pragma_index_info(?) LIMIT 1", [name]) for name in indexes]
        self._has_index = [("timestamp",)] in firsts
        ((first,),) = self._rows("SELECT MIN(timestamp) FROM messages")
        ((last,),) = self._rows("SELECT MAX(timestamp) FROM messages")
        if first is None and last is None:
            return
        if not (isinstance(first, int) and isinstance(last, int)):
            raise sqlite3.DatabaseError("stamps that are no integers")
        if first > last:
            raise sqlite3.DatabaseError("an index that is out of order")
        if max(last, -first) > LATEST_NS:
            query = "SELECT COUNT(*) FROM messages WHERE timestamp NOT BETWEEN ? AND ?"
            ((lost,),) = self._rows(query, [-LATEST_NS, LATEST_NS])
            first, last = max(first, -LATEST_NS), min(last, LATEST_NS)
            self.incidents.append(
                Incident("failure", f"{lost} messages have stamps that are no time", "", first, last)
            )
        self.start_ns, self.stop_ns = first, last + 1

    def _salvage(self, cause: str, page_bytes: int = 0) -> None:
        """Gather the ids of all messages that can be read.

        Args:
            cause: why.
            page_bytes: of the page within which the file ends; 0 where it ends with a whole page.
        """
        found: list[tuple[int, int, int]] = []
        try:
            rows = self._database.execute(
                "SELECT timestamp, id, topic_id FROM messages NOT INDEXED ORDER BY id"
            )
            # row by row: those before the damage stay
            for row in rows:
                if found and not _is_after(row[1], found[-1][1]):
                    raise sqlite3.DatabaseError("messages out of order")  # pages that contain each other
                found.append(row)
            damage = ""
        except DATABASE_ERRORS as error:
            damage = str(error)
        found = self._trusted(found, page_bytes)
        last_ns = max(found, default=(0, 0, 0))[0]
        loss = lost_words(len(found), self._indexed_count(), *self._sizes)
        cause = f"{cause}: {len(found)} messages can be read, {loss}" + (f" ({damage})" if damage else "")
        self.incidents.append(Incident("failure", cause, "", last_ns, last_ns + 1))
        found.sort()
        self._by_id = found
        self.start_ns = found[0][0] if found else 0
        self.stop_ns = last_ns + 1 if found else 0

    def _indexed_count(self) -> int | None:
        """Return how many messages the index of stamps counts; None where it can't be read either."""
        with suppress(*DATABASE_ERRORS):
            ((count,),) = self._rows("SELECT COUNT(timestamp) FROM messages INDEXED BY timestamp_idx")
            return int(count)
        return None

    def _trusted(self, found: list[tuple[int, int, int]], page_bytes: int) -> list[tuple[int, int, int]]:
        """Return the listed messages that are as the recorder wrote them.

        SQLite reads the missing part of a page as zeros. Where the file ends within a page, that page's
        messages, which are the last ones that can be had, may end in zeros that nobody wrote.

        Args:
            found: (log stamp, id, topic id), by id.
            page_bytes: 0 where the file ends with a whole page.
        """
        sane = [all(isinstance(value, int) for value in row) and abs(row[0]) <= LATEST_NS for row in found]
        if not page_bytes:
            return [row for row, is_sane in zip(found, sane, strict=True) if is_sane]
        found = found[: sane.index(False) if False in sane else len(found)]
        while found and page_bytes > 0:
            with suppress(*DATABASE_ERRORS):  # the rest of it is missing
                page_bytes -= len(self._fetch(found[-1][1]))
            found.pop()
        return found

    def messages(
        self, wanted: Collection[int], start_ns: int, stop_ns: int, report: Report
    ) -> Iterator[Message]:
        """See `Storage`."""
        after = (start_ns, MIN_NS - 1)
        if self._by_id is None:
            try:
                for stamp, key, topic, data in self._select(wanted, start_ns, stop_ns):
                    if not (_is_after(stamp, after[0]) or (stamp == after[0] and _is_after(key, after[1]))):
                        raise sqlite3.DatabaseError("messages out of order")
                    after = (stamp, key)
                    yield Message(self._numbers[topic], stamp, data)
                return
            except DATABASE_ERRORS as error:
                before = len(self.incidents)
                self._salvage(f"the SQLite file is damaged ({error})")
                for incident in self.incidents[before:]:
                    report(incident)
        yield from self._by_key(wanted, after, stop_ns, report)

    def mixed(
        self,
        wanted: Collection[int],
        together: Collection[int],
        start_ns: int,
        stop_ns: int,
        report: Report,
    ) -> Iterator[AnyMessage]:
        """See `Storage`: what comes within `LOT_NS` comes together."""
        waiting: dict[int, list[Message]] = {}
        since_ns = start_ns
        for message in self.messages(wanted, start_ns, stop_ns, report):
            if message.log_ns - since_ns > LOT_NS:
                for lot in waiting.values():
                    yield from _lot(lot)
                waiting, since_ns = {}, message.log_ns
            if message.channel in together:
                waiting.setdefault(message.channel, []).append(message)
            else:
                yield message
        for lot in waiting.values():
            yield from _lot(lot)

    def _select(
        self, wanted: Collection[int], start_ns: int, stop_ns: int, *, backwards: bool = False, most: int = -1
    ) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield (log stamp, id, topic id, data)."""
        topics = [topic for topic, number in self._numbers.items() if number in wanted]
        start_ns, stop_ns = max(start_ns, -LATEST_NS), min(stop_ns, LATEST_NS + 1)
        where = f"timestamp >= ? AND timestamp < ? AND topic_id IN ({','.join('?' * len(topics))})"
        order = "timestamp DESC, id DESC" if backwards else "timestamp, id"
        # without an index SQLite sorts: keys then, not the messages themselves
        data = "data" if self._has_index else "NULL"
        query = f"SELECT timestamp, id, topic_id, {data} FROM messages WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608
        with closing(self._database.execute(query, (start_ns, stop_ns, *topics, most))) as rows:
            for stamp, key, topic, value in rows:
                yield stamp, key, topic, _bytes(value) if self._has_index else self._fetch(key)

    def _fetch(self, key: int) -> bytes:
        ((value,),) = self._rows("SELECT data FROM messages WHERE id = ?", [key])
        return _bytes(value)

    def _by_key(
        self, wanted: Collection[int], after: tuple[int, int], stop_ns: int, report: Report
    ) -> Iterator[Message]:
        """Yield messages of a damaged file that come after (log stamp, id)."""
        lost: list[int] = []
        cause = ""
        for stamp, key, topic in self._by_id or ():
            number = self._numbers.get(topic)
            if number is None or number not in wanted or (stamp, key) <= after or stamp >= stop_ns:
                continue
            try:
                data = self._fetch(key)
            except DATABASE_ERRORS as error:
                cause = str(error)
                lost.append(stamp)
                continue
            yield Message(number, stamp, data)
        if lost:
            cause = f"{len(lost)} messages can't be read ({cause})"
            report(Incident("failure", cause, "", lost[0], lost[-1] + 1))

    def last_before(self, wanted: Collection[int], log_ns: int, report: Report) -> Message | None:
        """See `Storage`."""
        return self._nearest(wanted, MIN_NS, log_ns, report, backwards=True)

    def first_from(self, wanted: Collection[int], log_ns: int, report: Report) -> Message | None:
        """See `Storage`."""
        return self._nearest(wanted, log_ns, MAX_NS, report, backwards=False)

    def _nearest(
        self, wanted: Collection[int], start_ns: int, stop_ns: int, report: Report, *, backwards: bool
    ) -> Message | None:
        if self._by_id is None:
            try:
                for stamp, _, topic, data in self._select(
                    wanted, start_ns, stop_ns, backwards=backwards, most=1
                ):
                    return Message(self._numbers[topic], stamp, data)
                return None
            except DATABASE_ERRORS as error:
                before = len(self.incidents)
                self._salvage(f"the SQLite file is damaged ({error})")
                for incident in self.incidents[before:]:
                    report(incident)
        stream = self._by_key(wanted, (start_ns, MIN_NS), stop_ns, report)
        if not backwards:
            return next(stream, None)
        found = None
        for message in stream:
            found = message
        return found

    def close(self) -> None:
        """See `Storage`."""
        self._database.close()


def _is_after(value: object, before: object) -> bool:
    """Tell whether two values are whole numbers, and the second is the lesser."""
    return isinstance(value, int) and isinstance(before, int) and value > before


def _lot(messages: list[Message]) -> Iterator[AnyMessage]:
    """Yield messages of one channel, by log stamp: as one where they have one length."""
    size_bytes = len(messages[0].data)
    same = all(len(message.data) == size_bytes for message in messages)
    packed = bytes(messages[0].data[:4]) == ZSTD_MAGIC
    if len(messages) < FEWEST or not size_bytes or not same or packed:
        yield from messages
        return
    data = np.frombuffer(b"".join(message.data for message in messages), np.uint8)
    stamps = np.array([message.log_ns for message in messages], np.int64)
    bulk = Bulk(stamps, data.reshape(len(messages), size_bytes))
    yield ManyMessages(messages[0].channel, messages[0].log_ns, bulk)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise sqlite3.DatabaseError("a message that is no bytes")
    return value


def _size_of(path: Path) -> tuple[int, int]:
    """Return the page size, and how large the file says it is.

    Page size and number of pages are big-endian, at bytes 16 and 28. Source: SQLite file format, 1.3.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(MAGIC):
        raise CannotOpen("not an SQLite file: it does not begin with 'SQLite format 3'")
    page_bytes = int.from_bytes(header[16:18], "big")
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    if page_bytes < 512:
        raise CannotOpen("the SQLite file's header is damaged")
    return page_bytes, page_bytes * int.from_bytes(header[28:32], "big")


DEEPEST = 32
LARGEST_METADATA_BYTES = 4 << 20
"""A description of thousands of files and topics is smaller; YAML takes its time."""


def _is_nested_deeply(text: str) -> bool:
    """Tell whether YAML holds lists in lists in lists …: the parser takes a second for each hundred."""
    depth = 0
    for mark in re.findall(r"[\[\]{}]|\n\s*(?:[-?] +){8}", text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark, DEEPEST)
        if depth > DEEPEST:
            return True
    return False


def _plain(value: object) -> str:
    """Return a text or a number as text. Lists are refused: written out, aliases of aliases have no end."""
    if not isinstance(value, str | int):
        raise TypeError(f"a text must stand here, not {type(value).__name__}")
    return str(value)


@dataclass(frozen=True)
class Metadata:
    """What `metadata.yaml` says that the storage files don't."""

    files: tuple[str, ...]
    """Names of the storage files, in order."""
    ros_distro: str = ""
    encodings: tuple[str, ...] = ()
    """Serialisation formats of the topics."""
    message_count: int = 0


def read_metadata(path: Path) -> Metadata:
    """Read a bag folder's `metadata.yaml`.

    Raises:
        CannotOpen: it is not YAML, or not that of a bag.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if path.stat().st_size > LARGEST_METADATA_BYTES:
        raise CannotOpen(f"metadata.yaml has more than {LARGEST_METADATA_BYTES} bytes")
    try:
        text = path.read_text("utf-8")
        if _is_nested_deeply(text):
            raise CannotOpen("metadata.yaml is nested more deeply than that of a bag")
        content = YAML(typ="safe", pure=True).load(text)
        bag = content["rosbag2_bagfile_information"]
        topics = [entry["topic_metadata"] for entry in bag.get("topics_with_message_count") or ()]
        return Metadata(
            files=tuple(PurePosixPath(_plain(name)).name for name in bag["relative_file_paths"]),
            ros_distro=_plain(bag.get("ros_distro") or ""),
            encodings=tuple(sorted({_plain(topic["serialization_format"]) for topic in topics})),
            message_count=int(_plain(bag.get("message_count") or 0)),
        )
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CannotOpen("metadata.yaml can't be read as YAML") from error
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise CannotOpen("metadata.yaml is not that of a ROS 2 bag") from error
