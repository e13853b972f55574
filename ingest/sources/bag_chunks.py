"""Bags whose messages lie in chunks (ROS 1 bags, MCAP): what both formats share.

A table of chunks says where each one lies, which time it spans and which channels it may hold.
Reading loads only the chunks that are needed, and holds only those that overlap in time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ingest.decoders.bulk import FEWEST, Bulk, rows_at
from ingest.recording import Incident, Report
from ingest.sources.bag_storage import AnyMessage, Channel, M, ManyMessages, Message, merge_by_log_time
from ingest.sources.chunk_unpacking import Unpacked
from ingest.sources.lost_messages import lost_words
from ingest.sources.read_ahead import ReadAhead

LOOSE_BYTES = 1 << 20
"""How many bytes of messages that lie in no chunk are read at once."""

CHUNKS_KEPT = 2
"""Unpacked chunks that are kept, since neighbouring questions fall into the same ones."""


class Chunk(NamedTuple):
    """Where one chunk lies and what it holds."""

    offset: int
    """Of its record in the file; loose messages: of the first one."""
    size_bytes: int
    """Of its record; loose messages: of all of them."""
    start_ns: int
    stop_ns: int
    """Log stamps are in [start, stop)."""
    channels: int
    """Bit n is set where the chunk may hold messages of channel n; -1: not known."""

    def may_hold(self, mask: int) -> bool:
        """Return whether the chunk may hold messages of these channels."""
        return bool(self.channels & mask)


Ahead = ReadAhead[Chunk, Unpacked]


class Damaged(Exception):
    """What should be a record is none. The message says why."""


class ChunkedFile:
    """Base of the storages that are made of chunks. A subclass fills the fields, and gives `_read`
    and `_parse`.
    """

    container = ""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._file_lock = Lock()
        """Held while the file is read; unpacking needs it no more."""
        self.threads = 1
        """How many threads unpack chunks; whoever opens the file may say more."""
        self._unpacked: OrderedDict[int, Unpacked] = OrderedDict()
        self.channels: Sequence[Channel] = ()
        self.chunks: list[Chunk] = []
        self.incidents: list[Incident] = []
        self.details: Mapping[str, Any] = {}

    def _read(self, chunk: Chunk) -> Unpacked:
        """Return the chunk's records. Called from several threads."""
        raise NotImplementedError

    def _locate(self, records: bytes | memoryview) -> Located:
        """Return where the messages are, in the file's order."""
        raise NotImplementedError

    def _indexed_count(self, chunk: Chunk) -> int | None:
        """Return how many messages the index that follows a chunk counts; None where there is none."""
        raise NotImplementedError

    def _load(self, chunk: Chunk, wanted: frozenset[int], report: Report) -> list[Message]:
        """Return the messages of one chunk, in the file's order; damage is reported."""
        records, located = self._opened(chunk, report)
        return list(one_by_one(records, located.of(wanted)))

    def _load_mixed(
        self, ahead: Ahead, chunk: Chunk, wanted: frozenset[int], together: frozenset[int], report: Report
    ) -> list[AnyMessage]:
        """Return the messages of one chunk; those of the channels `together` many at once where all
        have one length, behind the others.
        """
        records, located = self._opened(chunk, report, ahead)
        many = [found for number in sorted(together) if (found := at_once(records, located, number))]
        rest = wanted - {found.channel for found in many}
        return [*one_by_one(records, located.of(rest)), *many]

    def _opened(
        self, chunk: Chunk, report: Report, ahead: Ahead | None = None
    ) -> tuple[bytes | memoryview, Located]:
        """Return a chunk's records and where its messages are; damage is reported."""
        unpacked = self._unpacked.pop(chunk.offset, None)
        if unpacked is None:
            unpacked = ahead.take(chunk) if ahead else self._read(chunk)
        self._unpacked[chunk.offset] = unpacked
        while len(self._unpacked) > CHUNKS_KEPT:
            self._unpacked.popitem(last=False)
        located = self._within_span(chunk, self._locate(unpacked.data), report)
        if damage := unpacked.damage or located.damage:
            # what is lost lies behind the last message that can be read
            last_ns = int(located.log_ns.max()) if len(located.log_ns) else chunk.start_ns
            cause = f"{damage}: {self._loss(chunk, unpacked, located)}"
            report(Incident("failure", cause, start_ns=last_ns, stop_ns=max(chunk.stop_ns, last_ns + 1)))
        return unpacked.data, located

    def _within_span(self, chunk: Chunk, located: Located, report: Report) -> Located:
        """Return the messages that lie in the time which the index says of their chunk: others would be met
        at the wrong moment, or never.
        """
        outside = (located.log_ns < chunk.start_ns) | (located.log_ns >= chunk.stop_ns)
        if not outside.any():
            return located
        cause = f"{int(outside.sum())} messages lie outside the time that the index says of their chunk"
        report(Incident("failure", cause, "", chunk.start_ns, chunk.stop_ns))
        numbers, log_ns, begins, ends = (values[~outside] for values in located[:4])
        return Located(numbers, log_ns, begins, ends, located.damage)

    def _loss(self, chunk: Chunk, unpacked: Unpacked, located: Located) -> str:
        """Return how many messages of a damaged chunk are lost, in words."""
        indexed = self._indexed_count(chunk)
        if indexed is None and len(unpacked.distrusted):
            indexed = len(self._locate(unpacked.distrusted).log_ns)
        read_bytes = int(located.ends.max()) if len(located.ends) else 0
        whole_bytes = max(unpacked.whole_bytes, len(unpacked.data))
        return lost_words(len(located.log_ns), indexed, read_bytes, whole_bytes)

    @property
    def start_ns(self) -> int:
        """See `Storage`."""
        return min((chunk.start_ns for chunk in self.chunks), default=0)

    @property
    def stop_ns(self) -> int:
        """See `Storage`."""
        return max((chunk.stop_ns for chunk in self.chunks), default=0)

    def messages(
        self, wanted: Collection[int], start_ns: int, stop_ns: int, report: Report
    ) -> Iterator[Message]:
        """See `Storage`."""
        for message in self._merged(wanted, (), start_ns, stop_ns, report):
            assert isinstance(message, Message), "none was asked for together"
            yield message

    def mixed(
        self,
        wanted: Collection[int],
        together: Collection[int],
        start_ns: int,
        stop_ns: int,
        report: Report,
    ) -> Iterator[AnyMessage]:
        """See `Storage`. Of chunks that overlap in time, messages come one by one."""
        return self._merged(wanted, together, start_ns, stop_ns, report)

    def _merged(
        self,
        wanted: Collection[int],
        together: Collection[int],
        start_ns: int,
        stop_ns: int,
        report: Report,
    ) -> Iterator[AnyMessage]:
        channels, mask = frozenset(wanted), mask_of(wanted)
        chunks = [
            chunk
            for chunk in self.chunks
            if chunk.start_ns < stop_ns and chunk.stop_ns > start_ns and chunk.may_hold(mask)
        ]
        overlapping = _overlapping(chunks)

        def opened(chunk: Chunk) -> Callable[[], Iterator[AnyMessage]]:
            def load() -> Iterator[AnyMessage]:
                own = frozenset() if chunk.offset in overlapping else frozenset(together)
                return iter(within(self._load_mixed(ahead, chunk, channels, own, report), start_ns, stop_ns))

            return load

        in_order = sorted(chunks, key=lambda chunk: chunk.start_ns)
        with ReadAhead(in_order, self._read, _worked_bytes, self.threads) as ahead:
            yield from merge_by_log_time((chunk.start_ns, opened(chunk)) for chunk in chunks)

    def last_before(self, wanted: Collection[int], log_ns: int, report: Report) -> Message | None:
        """See `Storage`."""
        channels, mask = frozenset(wanted), mask_of(wanted)
        best: Message | None = None
        for chunk in sorted(self.chunks, key=lambda chunk: -chunk.stop_ns):
            if best is not None and chunk.stop_ns <= best.log_ns:
                break
            if chunk.may_hold(mask) and chunk.start_ns < log_ns:
                for message in self._load(chunk, channels, report):
                    if message.log_ns < log_ns and (best is None or message.log_ns >= best.log_ns):
                        best = message
        return best

    def first_from(self, wanted: Collection[int], log_ns: int, report: Report) -> Message | None:
        """See `Storage`."""
        channels, mask = frozenset(wanted), mask_of(wanted)
        best: Message | None = None
        for chunk in sorted(self.chunks, key=lambda chunk: chunk.start_ns):
            if best is not None and chunk.start_ns >= best.log_ns:
                break
            if chunk.may_hold(mask) and chunk.stop_ns > log_ns:
                for message in self._load(chunk, channels, report):
                    if message.log_ns >= log_ns and (best is None or message.log_ns < best.log_ns):
                        best = message
        return best

    def close(self) -> None:
        """See `Storage`."""
        self._file.close()


class LooseMessages:
    """Gathers messages that lie in no chunk into spans of about a mebibyte, as if they were chunks."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self._chunks = chunks
        self._begin = self._end = self._mask = 0
        self._times: list[int] = []

    def add(self, begin: int, end: int, channel: int | None, log_ns: int) -> None:
        """Take in a message that lies in bytes [begin, end) of the file."""
        if not self._times:
            self._begin = begin
        self._end = end
        self._times.append(log_ns)
        self._mask |= 0 if channel is None else 1 << channel
        if self._end - self._begin >= LOOSE_BYTES:
            self.flush()

    def flush(self) -> None:
        """End the span."""
        if self._times:
            size_bytes = self._end - self._begin
            start_ns, stop_ns = min(self._times), max(self._times) + 1
            self._chunks.append(Chunk(self._begin, size_bytes, start_ns, stop_ns, self._mask))
        self._mask, self._times = 0, []


def _worked_bytes(unpacked: Unpacked) -> int:
    """Return the bytes that took unpacking; 0 where they are those of the file."""
    return len(unpacked.data) if isinstance(unpacked.data, bytes) else 0


def mask_of(channels: Iterable[int]) -> int:
    """Return an integer with the bit of each channel set."""
    return sum(1 << channel for channel in set(channels))


def within(messages: Sequence[M], start_ns: int, stop_ns: int) -> list[M]:
    """Return the messages of [start, stop), sorted by log stamp."""
    kept: list[M] = []
    for message in messages:
        if isinstance(message, ManyMessages):
            inside = message.data.within(start_ns, stop_ns)
            if len(inside.times_ns):
                kept.append(message._replace(log_ns=int(inside.times_ns[0]), data=inside))
        elif start_ns <= message.log_ns < stop_ns:
            kept.append(message)
    kept.sort(key=lambda message: message.log_ns)
    return kept


class Located(NamedTuple):
    """Where the messages of a chunk are, in the file's order."""

    numbers: np.ndarray
    """int64 [N]: channels; -1: not known."""
    log_ns: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    """int64 [N]: where each message's data is in the chunk's records."""
    damage: str = ""
    """Why these are not all; empty when they are."""

    @classmethod
    def of_lists(cls, found: Sequence[Sequence[int]], damage: str) -> Located:
        """Make it of four lists."""
        numbers, log_ns, begins, ends = (np.array(values, np.int64) for values in found)
        return cls(numbers, log_ns, begins, ends, damage)

    def of(self, wanted: Collection[int]) -> Located:
        """Return those of some channels."""
        chosen = self._are(wanted)
        return Located(self.numbers[chosen], self.log_ns[chosen], self.begins[chosen], self.ends[chosen])

    def _are(self, wanted: Collection[int]) -> np.ndarray:
        """Return bool [N]: which are of these channels; by a table, which is quicker than `isin`."""
        table = np.zeros(max([*wanted, int(self.numbers.max(initial=0))]) + 2, bool)  # the last: not known
        table[list(wanted)] = True
        chosen: np.ndarray = table[self.numbers]
        return chosen


def one_by_one(records: bytes | memoryview, located: Located) -> Iterator[Message]:
    """Yield messages, in the file's order."""
    view = memoryview(records)
    columns = (located.numbers, located.log_ns, located.begins, located.ends)
    for number, log_ns, begin, end in zip(*(values.tolist() for values in columns), strict=True):
        yield Message(number, log_ns, view[begin:end])


def at_once(records: bytes | memoryview, located: Located, number: int) -> ManyMessages | None:
    """Return a channel's messages by log stamp; None where they are few or differ in length."""
    own = located.of([number])
    lengths = own.ends - own.begins
    if len(lengths) < FEWEST or not lengths[0] or (lengths != lengths[0]).any():
        return None
    order = np.argsort(own.log_ns, kind="stable")
    log_ns = own.log_ns[order]
    data = rows_at(records, own.begins[order], int(lengths[0]))
    return ManyMessages(number, int(log_ns[0]), Bulk(log_ns, data))


def _overlapping(chunks: Sequence[Chunk]) -> set[int]:
    """Return the offsets of chunks that hold messages from between those of another chunk."""
    found: set[int] = set()
    latest: Chunk | None = None
    for chunk in sorted(chunks, key=lambda chunk: chunk.start_ns):
        if latest is not None and chunk.start_ns < latest.stop_ns - 1:
            found |= {chunk.offset, latest.offset}
        if latest is None or chunk.stop_ns > latest.stop_ns:
            latest = chunk
    return found
