"""Topics with transforms: a track per pair of frames, each with a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingest.decoders.transforms import COLUMNS, KINDS, QUATERNION, transforms_in
from ingest.errors import CannotDecode
from ingest.names import track_names
from ingest.recording import Incident, Medium, Packet, Report, Track
from ingest.sources.bag_clock import TopicClock
from ingest.sources.bag_plans import TopicPlan, topic_incident
from ingest.sources.bag_reading import TrackReader
from ingest.sources.bag_storage import AnyMessage, Message
from ingest.sources.bag_topics import Topic
from ingest.sources.bag_types import AnyType

MOST_PAIRS = 256
"""Pairs of one topic that become tracks; of more, the first."""


class TransformPlan(TopicPlan):
    """Learns which pairs of frames there are."""

    medium: Medium = "signal"

    def __init__(self, topic: Topic, message_type: AnyType) -> None:
        super().__init__(topic, message_type)
        self._pairs: dict[str, TopicClock] = {}
        self._left_out: set[str] = set()

    def look(self, message: Message, header_ns: int) -> None:
        """See `TopicPlan`."""
        for transform in transforms_in(self.type.deserialize(message.data)):
            clock = self._pairs.get(transform.pair)
            if clock is None:
                if len(self._pairs) >= MOST_PAIRS:
                    self._left_out.add(transform.pair)
                    continue
                clock = self._pairs[transform.pair] = TopicClock(lambda _: 0)
            clock.see_stamps(message.log_ns, transform.stamp_ns)

    def tracks(self) -> list[Track]:
        """Return a track per pair, by name."""
        pairs = sorted(self._pairs)
        tracks = []
        for pair, name in zip(pairs, track_names(f"{self.topic.name} {pair}" for pair in pairs), strict=True):
            fields = self.common(*self._pairs[pair].result())
            fields["name"] = name
            fields["byte_count"] = 0
            fields["details"]["pair"] = pair
            tracks.append(Track(**fields, columns=COLUMNS, kinds=KINDS, quaternions=(QUATERNION,)))
        return tracks

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`; asked only where there is no pair."""
        _, stamps = self.clock.result()
        cause = "its messages hold no transforms"
        return topic_incident("note", self.topic.channel, self.topic.name, cause, stamps)

    def remarks(self) -> list[Incident]:
        """See `TopicPlan`."""
        remarks = super().remarks()
        if self._left_out:
            cause = f"more than {MOST_PAIRS} pairs of frames: {len(self._left_out)} are left out"
            remarks.append(topic_incident("note", self.topic.channel, self.topic.name, cause))
        return remarks


class TransformReader(TrackReader):
    """One pair's share of a window."""

    def __init__(
        self,
        track: Track,
        topic: Topic,
        message_type: AnyType,
        start_ns: int,
        stop_ns: int,
        report: Report,
        shared: dict[str, Any],
    ) -> None:
        super().__init__(track, topic, message_type, start_ns, stop_ns)
        clock = track.clock
        self._uses_header = clock is not None and clock.choice == "header"
        self._report = report
        self._pair = track.details["pair"]
        self._shared = shared
        """The message that was read last, for the readers of its other pairs."""

    @property
    def takes_many(self) -> bool:
        """See `TrackReader`."""
        return False

    def packets(self, message: AnyMessage) -> Iterator[Packet]:
        """See `TrackReader`."""
        assert isinstance(message, Message)
        if self._shared.get("data") is not message.data:
            try:
                found = list(transforms_in(self._message_type.deserialize(message.data)))
            except CannotDecode as error:
                found = []
                span = message.log_ns, message.log_ns + 1
                self._report(Incident("failure", str(error), self._track.name, *span))
            self._shared.update(data=message.data, found=found)
        for transform in self._shared["found"]:
            if transform.pair == self._pair:
                time_ns = transform.stamp_ns if self._uses_header else message.log_ns
                yield Packet(self._track.name, time_ns, transform.values)
