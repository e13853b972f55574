"""What a bag file is to us: channels, and messages in the order of their log stamps.

    Storage      one file, or a series of files, whatever its format
    Channel      one stream of messages of one type on one topic
    Message      one message, still serialised

Everything above this page (clocks, tracks, decoders) is the same for every bag format.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from ingest.decoders.bulk import Bulk
from ingest.recording import Incident, Report

MIN_NS, MAX_NS = -(2**63), 2**63 - 1
"""Before and after every stamp."""
LATEST_NS = 2**62
"""Stamps farther from 1970 than this (146 years) are damaged; sums of nearer ones fit int64."""

DefinitionFormat = Literal["", "msg", "idl", "protobuf", "jsonschema", "other"]


@dataclass(frozen=True)
class Definition:
    """A message definition as the recording carries it; format "" where it carries none."""

    format: DefinitionFormat = ""
    text: str = ""
    """Protobuf: the descriptor set in base 64."""
    digest: str = ""
    """ROS 1: the md5 that publisher and subscriber agreed on."""

    @property
    def identity(self) -> str:
        """Equal for definitions that describe the same bytes."""
        return self.digest or hashlib.sha256(f"{self.format}\n{self.text}".encode()).hexdigest()


@dataclass(frozen=True)
class Channel:
    """One stream of messages of one type on one topic."""

    topic: str
    type_name: str
    """`package/msg/Type`, also for ROS 1 and for old ROS 2 bags."""
    encoding: str
    """How messages are serialised: `ros1`, `cdr`, `protobuf`, `json`; something else is left out."""
    definition: Definition = field(default_factory=Definition)
    latched: bool = False
    """Whether a subscriber that comes late still gets the last message."""


class Message(NamedTuple):
    """One message."""

    channel: int
    """Index in the storage's channels."""
    log_ns: int
    data: memoryview | bytes


class ManyMessages(NamedTuple):
    """Messages of one channel that are asked for, and come, together."""

    channel: int
    log_ns: int
    """The first one's."""
    data: Bulk


AnyMessage = Message | ManyMessages
M = TypeVar("M", bound=AnyMessage)


class Storage(Protocol):
    """A bag file that is open. Reading is repeatable; damage is reported, never raised."""

    container: str

    @property
    def channels(self) -> Sequence[Channel]:
        """The channels, by their number."""
        ...

    @property
    def start_ns(self) -> int:
        """No message has an earlier log stamp."""
        ...

    @property
    def stop_ns(self) -> int:
        """No message has this log stamp or a later one. Equal to `start_ns` where there is none."""
        ...

    @property
    def incidents(self) -> Sequence[Incident]:
        """Damage found when opening."""
        ...

    @property
    def details(self) -> Mapping[str, Any]:
        """Metadata for people, JSON."""
        ...

    def messages(
        self, wanted: Collection[int], start_ns: int, stop_ns: int, report: Report
    ) -> Iterator[Message]:
        """Yield the messages of these channels with start <= log stamp < stop, by log stamp; where
        stamps are equal, as they lie in the file.
        """
        ...

    def mixed(
        self,
        wanted: Collection[int],
        together: Collection[int],
        start_ns: int,
        stop_ns: int,
        report: Report,
    ) -> Iterator[AnyMessage]:
        """Yield the same as `messages`; of the channels `together` (some of those wanted) many may come
        at once. A channel's own messages come by log stamp; those of others only about. `together` may
        grow while messages are taken.
        """
        ...

    def last_before(self, wanted: Collection[int], log_ns: int, report: Report) -> Message | None:
        """Return the latest message of these channels with a log stamp before `log_ns`."""
        ...

    def first_from(self, wanted: Collection[int], log_ns: int, report: Report) -> Message | None:
        """Return the earliest message of these channels with a log stamp at or after `log_ns`."""
        ...

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        ...


def merge_by_log_time(parts: Iterable[tuple[int, Callable[[], Iterator[M]]]]) -> Iterator[M]:
    """Merge streams that are each sorted by log stamp; equal stamps come in the order of the parts.

    A part is opened only when its time comes, so that memory holds what overlaps and no more.

    Args:
        parts: a lower bound of the stream's log stamps, and what opens it; in any order.
    """
    heap: list[tuple[int, int, M, Iterator[M]]] = []
    numbered = sorted((start_ns, number, opened) for number, (start_ns, opened) in enumerate(parts))
    for start_ns, number, opened in numbered:
        yield from _drain(heap, start_ns)
        stream = opened()
        first = next(stream, None)
        if first is not None:
            heapq.heappush(heap, (first.log_ns, number, first, stream))
    yield from _drain(heap, None)


def _drain(heap: list[tuple[int, int, M, Iterator[M]]], until_ns: int | None) -> Iterator[M]:
    """Yield from the heap what is before `until_ns`; everything for None."""
    while heap and (until_ns is None or heap[0][0] < until_ns):
        _, number, message, stream = heap[0]
        yield message
        following = next(stream, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.log_ns, number, following, stream))


class Series:
    """Several files that are one recording: a split bag."""

    def __init__(self, parts: Sequence[Storage]) -> None:
        self._parts = list(parts)
        self.container = parts[0].container
        self.channels = list(dict.fromkeys(channel for part in parts for channel in part.channels))
        number = {channel: index for index, channel in enumerate(self.channels)}
        self._numbers = [[number[channel] for channel in part.channels] for part in parts]
        filled = [part for part in parts if part.start_ns < part.stop_ns]
        self.start_ns = min((part.start_ns for part in filled), default=0)
        self.stop_ns = max((part.stop_ns for part in filled), default=0)
        self.incidents = [incident for part in parts for incident in part.incidents]
        self.details: Mapping[str, Any] = dict(parts[0].details)

    def messages(
        self, wanted: Collection[int], start_ns: int, stop_ns: int, report: Report
    ) -> Iterator[Message]:
        """See `Storage`."""

        def opened(index: int) -> Callable[[], Iterator[Message]]:
            return lambda: self._renumbered(index, wanted, start_ns, stop_ns, report)

        return merge_by_log_time(
            (part.start_ns, opened(index))
            for index, part in enumerate(self._parts)
            if part.start_ns < stop_ns and part.stop_ns > start_ns
        )

    def mixed(
        self,
        wanted: Collection[int],
        together: Collection[int],
        start_ns: int,
        stop_ns: int,
        report: Report,
    ) -> Iterator[AnyMessage]:
        """See `Storage`. Where files overlap in time, messages come one by one."""
        spans = sorted((part.start_ns, part.stop_ns) for part in self._parts)
        apart = all(stop <= start for (_, stop), (start, _) in pairwise(spans))

        def opened(index: int) -> Callable[[], Iterator[AnyMessage]]:
            return lambda: self._renumbered_mixed(
                index, wanted, together if apart else (), start_ns, stop_ns, report
            )

        return merge_by_log_time(
            (part.start_ns, opened(index))
            for index, part in enumerate(self._parts)
            if part.start_ns < stop_ns and part.stop_ns > start_ns
        )

    def _renumbered_mixed(
        self,
        index: int,
        wanted: Collection[int],
        together: Collection[int],
        start_ns: int,
        stop_ns: int,
        report: Report,
    ) -> Iterator[AnyMessage]:
        numbers = self._numbers[index]
        own, many = self._local(index, wanted), self._local(index, together)
        for message in self._parts[index].mixed(own, many, start_ns, stop_ns, report):
            yield message._replace(channel=numbers[message.channel])

    def _renumbered(
        self, index: int, wanted: Collection[int], start_ns: int, stop_ns: int, report: Report
    ) -> Iterator[Message]:
        numbers = self._numbers[index]
        for channel, log_ns, data in self._parts[index].messages(
            self._local(index, wanted), start_ns, stop_ns, report
        ):
            yield Message(numbers[channel], log_ns, data)

    def _local(self, index: int, wanted: Collection[int]) -> list[int]:
        return [local for local, number in enumerate(self._numbers[index]) if number in wanted]

    def last_before(self, wanted: Collection[int], log_ns: int, report: Report) -> Message | None:
        """See `Storage`."""
        best: Message | None = None
        order = sorted(range(len(self._parts)), key=lambda index: -self._parts[index].stop_ns)
        for index in order:
            part = self._parts[index]
            if best is not None and part.stop_ns <= best.log_ns:
                break
            found = part.last_before(self._local(index, wanted), log_ns, report)
            if found is not None and (best is None or found.log_ns > best.log_ns):
                best = Message(self._numbers[index][found.channel], found.log_ns, found.data)
        return best

    def first_from(self, wanted: Collection[int], log_ns: int, report: Report) -> Message | None:
        """See `Storage`."""
        best: Message | None = None
        order = sorted(range(len(self._parts)), key=lambda index: self._parts[index].start_ns)
        for index in order:
            part = self._parts[index]
            if best is not None and part.start_ns >= best.log_ns:
                break
            found = part.first_from(self._local(index, wanted), log_ns, report)
            if found is not None and (best is None or found.log_ns < best.log_ns):
                best = Message(self._numbers[index][found.channel], found.log_ns, found.data)
        return best

    def close(self) -> None:
        """See `Storage`."""
        for part in self._parts:
            part.close()
