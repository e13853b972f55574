"""A topic's two clocks, measured message by message in bounded memory, and the choice between them.

The log stamp says when the recorder got a message, the header stamp when it was measured. The header
is a topic's time where every message has one that is not zero, none is more than `FARTHEST_NS` from the
log stamp, and it never goes back nor stands still; otherwise the log stamp is. A topic has one clock
from end to end: a mixture would have jumps of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from copy import copy

import numpy as np

from ingest.decoders.ros_columns import HEADERS, TIME
from ingest.errors import CannotDecode
from ingest.recording import Clock, ClockReport
from ingest.sources.bag_types import AnyType, MessageType, plain_cdr
from ingest.sources.record_types import RecordType

FARTHEST_NS = 10_000_000_000
BATCH = 4096
MOST_DISTANCES = 100_000
"""Medians are exact for so many distances; of more, every second, fourth … is used."""
MOST_GAPS = 100

NS = 1_000_000_000
ROS1_STAMP, CDR_STAMP, CDR_STAMP_BIG = struct.Struct("<II"), struct.Struct("<iI"), struct.Struct(">iI")

HeaderOf = Callable[[bytes | memoryview], int]
"""Returns a message's header stamp; 0 where it can't be read."""


def header_reader(message_type: AnyType) -> HeaderOf | None:
    """Return what reads the header stamp of a type's messages; None where the type has no header.

    ROS 1: uint32 seq, secs, nsecs. CDR: 4 bytes of encapsulation (the second: 1 for little-endian),
    int32 sec, uint32 nanosec. Foxglove's types begin with a time `timestamp` instead.
    """
    if isinstance(message_type, RecordType):
        return message_type.header_ns
    fields = message_type.fields()
    if fields and fields[0] == ("timestamp", (2, TIME)):  # Foxglove's types have no header
        return _ros1_timestamp if message_type.ros1 else _cdr_header
    headers = [name for name, (node, inner) in fields if node == 2 and inner in HEADERS]
    if not headers:
        return None
    if fields[0][0] != headers[0]:
        return _deserialized_header(message_type, headers[0])
    return _ros1_header if message_type.ros1 else _cdr_header


def _ros1_header(data: bytes | memoryview) -> int:
    if len(data) < 12:
        return 0
    seconds, nanoseconds = ROS1_STAMP.unpack_from(data, 4)
    return seconds * NS + nanoseconds  # type: ignore[no-any-return]


def _ros1_timestamp(data: bytes | memoryview) -> int:
    if len(data) < 8:
        return 0
    seconds, nanoseconds = ROS1_STAMP.unpack_from(data)
    return seconds * NS + nanoseconds  # type: ignore[no-any-return]


def _cdr_header(data: bytes | memoryview) -> int:
    try:
        data = plain_cdr(data)
    except CannotDecode:
        return 0
    if len(data) < 12:
        return 0
    seconds, nanoseconds = (CDR_STAMP if data[1] & 1 else CDR_STAMP_BIG).unpack_from(data, 4)
    return seconds * NS + nanoseconds  # type: ignore[no-any-return]


def headers_of(header_of: HeaderOf, data: np.ndarray) -> np.ndarray | None:
    """Return the header stamps of messages of one length, int64 [N]; None where they must be read one by
    one.

    Args:
        header_of: what `header_reader` returned.
        data: uint8 [N, L].
    """
    if header_of not in _BEGINS or data.shape[1] < _BEGINS[header_of] + 8:
        return None
    begin = _BEGINS[header_of]
    if header_of is _cdr_header:  # CDR says its byte order; compressed messages begin with neither
        if (data[:, 0] != 0).any() or (data[:, 1] != data[0, 1]).any() or data[0, 1] > 1:
            return None
        order = "<" if data[0, 1] else ">"
        seconds = data[:, 4:8].view(f"{order}i4")[:, 0].astype(np.int64)
        return np.asarray(seconds * NS + data[:, 8:12].view(f"{order}u4")[:, 0])
    stamps = data[:, begin : begin + 8].view("<u4").astype(np.int64)
    return np.asarray(stamps[:, 0] * NS + stamps[:, 1])


_BEGINS: dict[HeaderOf, int] = {_ros1_header: 4, _ros1_timestamp: 0, _cdr_header: 4}
"""Where the stamp begins."""


def _deserialized_header(message_type: MessageType, name: str) -> HeaderOf:
    def read(data: bytes | memoryview) -> int:
        try:
            stamp = getattr(message_type.deserialize(data), name).stamp
        except CannotDecode:
            return 0
        return int(stamp.sec) * NS + int(stamp.nanosec)

    return read


class Sampled:
    """Numbers of which a bounded, evenly spaced part is kept."""

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = []
        self._size = 0
        self._stride = 1
        self._seen = 0

    def add(self, values: np.ndarray) -> None:
        """Take in int64 [N]."""
        first = -self._seen % self._stride
        self._seen += len(values)
        self._kept.append(values[first :: self._stride])
        self._size += len(self._kept[-1])
        while self._size > MOST_DISTANCES:
            self._kept = [np.concatenate(self._kept)[::2]]
            self._stride *= 2
            self._size = len(self._kept[0])

    def median(self) -> int:
        """Return the lower of the two middle values; 0 where there is none."""
        return self.at(1, 2)

    def at(self, numerator: int, denominator: int) -> int:
        """Return the value below which a share of the values lies; 0 where there is none."""
        if not self._size:
            return 0
        values = np.sort(np.concatenate(self._kept))
        return int(values[(len(values) - 1) * numerator // denominator])

    def kept(self) -> tuple[np.ndarray, int]:
        """Return the values that are kept, and how many each of them stands for."""
        return np.concatenate([np.zeros(0, np.int64), *self._kept]), self._stride


class Stamps:
    """What is to be known of one clock's stamps."""

    def __init__(self) -> None:
        self.first_ns = self.last_ns = 0
        self.count = self.back_count = 0
        self.farthest_back_ns = 0
        self._previous: int | None = None
        self._distances = Sampled()
        self._gaps = np.zeros((0, 2), np.int64)

    def add(self, stamps: np.ndarray) -> None:
        """Take in int64 [N], N > 0, in the order of the log."""
        if self._previous is None:
            self.first_ns = self.last_ns = int(stamps[0])
            before = stamps[:-1]
            after = stamps[1:]
        else:
            before = np.concatenate([[self._previous], stamps[:-1]])
            after = stamps
        self._previous = int(stamps[-1])
        self.count += len(stamps)
        self.first_ns = min(self.first_ns, int(stamps.min()))
        self.last_ns = max(self.last_ns, int(stamps.max()))
        distances = after - before
        self.back_count += int((distances < 0).sum())
        self.farthest_back_ns = max(self.farthest_back_ns, -int(distances.min(initial=0)))
        self._distances.add(distances)
        widest = np.argsort(-distances, kind="stable")[:MOST_GAPS]
        gaps = np.concatenate([self._gaps, np.stack([before[widest], after[widest]], axis=1)])
        order = np.argsort(gaps[:, 0] - gaps[:, 1], kind="stable")[:MOST_GAPS]
        self._gaps = gaps[order]

    @property
    def period_ns(self) -> int:
        """Median distance; 0 for fewer than two stamps, at least 1 for more."""
        return max(1, self._distances.median()) if self.count > 1 else 0

    def spread(self) -> tuple[int, int]:
        """Return the 5th and 95th percentile of the distances."""
        return self._distances.at(5, 100), self._distances.at(95, 100)

    def missing(self) -> int:
        """Return how many messages seem to be lost; -1 where there is no steady rate."""
        period_ns = self.period_ns
        low_ns, high_ns = self.spread()
        if self.count < 10 or 2 * low_ns < period_ns or 2 * high_ns > 3 * period_ns:
            return -1
        distances, stands_for = self._distances.kept()
        wide = distances[2 * distances > 3 * period_ns]
        return int(((wide + period_ns // 2) // period_ns - 1).sum()) * stands_for

    def gaps(self, limit_ns: int) -> tuple[tuple[int, int], ...]:
        """Return the widest spans without a message that are longer than the limit, by time."""
        wide = [(int(start), int(stop)) for start, stop in self._gaps if stop - start > limit_ns > 0]
        return tuple(sorted(wide))


class TopicClock:
    """Measures both clocks of one topic.

    Args:
        header_of: reads header stamps; None where the type has no header.
    """

    def __init__(self, header_of: HeaderOf | None) -> None:
        self._header_of = header_of
        self._log_batch: list[int] = []
        self._header_batch: list[int] = []
        self._log = Stamps()
        self._header = Stamps()
        self._offsets = Sampled()
        self._offset_min_ns = self._offset_max_ns = 0
        self._zero_count = self._far_count = 0

    def see(self, log_ns: int, data: bytes | memoryview) -> int:
        """Take in a message; return its header stamp, 0 where there is none."""
        header_ns = self._header_of(data) if self._header_of else 0
        self.see_stamps(log_ns, header_ns)
        return header_ns

    def see_stamps(self, log_ns: int, header_ns: int) -> None:
        """Take in a message by its stamps; a header of 0 is none."""
        self._log_batch.append(log_ns)
        self._header_batch.append(header_ns)
        if len(self._log_batch) == BATCH:
            self._flush()

    def see_many(self, log: np.ndarray, header: np.ndarray) -> None:
        """Take in messages that come together: their stamps, int64 [N], N > 0; headers 0 where there are
        none.
        """
        self._flush()
        self._take(log, header)

    def headers_of(self, data: np.ndarray) -> np.ndarray | None:
        """Return the header stamps of messages of one length; None where they must be seen one by one."""
        if self._header_of is None:
            return np.zeros(len(data), np.int64)
        return headers_of(self._header_of, data)

    def _flush(self) -> None:
        if not self._log_batch:
            return
        log = np.array(self._log_batch, np.int64)
        header = np.array(self._header_batch, np.int64)
        self._log_batch, self._header_batch = [], []
        self._take(log, header)

    def _take(self, log: np.ndarray, header: np.ndarray) -> None:
        if self._header_of:
            offsets = (log - header)[header != 0]
            if len(offsets):
                if not self._offsets_seen:
                    self._offset_min_ns = self._offset_max_ns = int(offsets[0])
                self._offset_min_ns = min(self._offset_min_ns, int(offsets.min()))
                self._offset_max_ns = max(self._offset_max_ns, int(offsets.max()))
                self._offsets.add(offsets)
            self._zero_count += int((header == 0).sum())
            self._far_count += int((np.abs(offsets) > FARTHEST_NS).sum())
            self._header.add(header)
        self._log.add(log)

    @property
    def _offsets_seen(self) -> bool:
        return self._log.count > self._zero_count

    def result(self) -> tuple[Clock, Stamps]:
        """Return the choice, and the chosen clock's stamps."""
        self._flush()
        against = self._against_header()
        if against:
            offset_ns = self._offsets.median() if self._header_of else 0
            return Clock("log", against, offset_ns, report=self._report(self._log)), self._log
        reason = f"all {self._header.count} header stamps are set, near the log stamp, and never go back"
        offsets = self._offsets.median(), self._offset_min_ns, self._offset_max_ns
        return Clock("header", reason, *offsets, self._report(self._header)), self._header

    def as_presented(self) -> tuple[Clock, Stamps] | None:
        """Return the header's clock for messages that lie in another order than that of their header stamps
        (video with B-frames), distances and gaps being those of the log; None where headers are not set, or
        far from the log.
        """
        self._flush()
        if not self._header_of or self._zero_count or self._far_count:
            return None
        offsets = self._offsets.median(), self._offset_min_ns, self._offset_max_ns
        stamps = copy(self._log)
        stamps.first_ns, stamps.last_ns = self._header.first_ns, self._header.last_ns
        stamps._gaps = self._log._gaps - offsets[0]
        reason = "pictures lie in the order of decoding; the header stamps say when each is shown"
        return Clock("header", reason, *offsets, self._report(self._log)), stamps

    def _report(self, chosen: Stamps) -> ClockReport:
        has_header = self._header_of is not None
        span_ns = chosen.last_ns - chosen.first_ns
        low_ns, high_ns = chosen.spread()
        return ClockReport(
            rate_hz=round((chosen.count - 1) * NS / span_ns, 3) if span_ns else 0.0,
            period_p5_ns=low_ns,
            period_p95_ns=high_ns,
            missing=chosen.missing(),
            log_back=self._log.back_count,
            header_back=self._header.back_count,
            farthest_back_ns=max(self._log.farthest_back_ns, self._header.farthest_back_ns),
            header_zero=self._zero_count,
            offset_p5_ns=self._offsets.at(5, 100) if has_header else 0,
            offset_p95_ns=self._offsets.at(95, 100) if has_header else 0,
        )

    def _against_header(self) -> str:
        """Return why the header is not the topic's time; empty if it is."""
        count = self._header.count
        if not self._header_of:
            return "its messages have no header"
        if self._zero_count:
            return f"{self._zero_count} of {count} header stamps are zero"
        if self._far_count:
            seconds = FARTHEST_NS // NS
            return f"{self._far_count} of {count} header stamps are more than {seconds} s from the log stamp"
        if self._header.back_count:
            return f"{self._header.back_count} of {count} header stamps go back"
        stands_still = self._header.first_ns == self._header.last_ns
        if count > 2 and stands_still and self._log.first_ns != self._log.last_ns:
            return f"all {count} header stamps are the same"
        return ""
