"""What planning learns of each topic while it reads a bag once, and the track it makes of it.

Each kind of topic has a small planner. It sees every message, keeps what it needs in bounded memory,
and in the end makes the track, or says why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ingest.decoders.depth_pictures import RULE as DEPTH_RULE
from ingest.decoders.records import SeenColumns
from ingest.decoders.ros_columns import (
    MOST_COLUMNS,
    Lengths,
    fixed_columns,
    sequence_fields,
    sequence_kind,
)
from ingest.decoders.ros_layout import layout_of
from ingest.decoders.ros_pictures import COMPRESSED_IMAGE, IMAGE, Facts, facts_of
from ingest.decoders.ros_signals import reader_of
from ingest.decoders.ros_sound import SampleClock, SoundFormat, pieces_of, sound_in
from ingest.decoders.ros_text import TEXT_FIELDS
from ingest.decoders.well_known import COMPRESSED_IMAGE as FOXGLOVE_COMPRESSED_IMAGE
from ingest.decoders.well_known import RAW_IMAGE, well_known
from ingest.errors import CannotDecode
from ingest.recording import Clock, Incident, Medium, Severity, Track
from ingest.sources.bag_clock import Stamps, TopicClock, header_reader
from ingest.sources.bag_storage import Channel, ManyMessages, Message
from ingest.sources.bag_topics import Topic
from ingest.sources.bag_types import AnyType, MessageType
from ingest.sources.record_types import RecordType
from ingest.timing import LONGEST_STILL_NS

NS = 1_000_000_000

MOST_CHECKPOINTS = 1024
"""A sound track's places to begin reading at; of more, every second, fourth … is kept."""


class TopicPlan:
    """Base of the planners: clock, counts, and the fields that all tracks have."""

    medium: Medium

    def __init__(self, topic: Topic, message_type: AnyType) -> None:
        self.topic = topic
        self.type = message_type
        self.clock = TopicClock(header_reader(message_type))
        self.byte_count = 0
        self.bad_count = 0
        self.bad_cause = ""
        self._any_good = False

    def see(self, message: Message) -> None:
        """Take in the next message."""
        self.byte_count += len(message.data)
        header_ns = self.clock.see(message.log_ns, message.data)
        try:
            self.look(message, header_ns)
            self._any_good = True
        except CannotDecode as error:
            self.bad_count += 1
            self.bad_cause = str(error)

    def look(self, message: Message, header_ns: int) -> None:
        """Learn what the medium needs; at least, whether the first message fits the type.

        Raises:
            CannotDecode: the message does not fit.
        """
        if not self._any_good:
            self.type.deserialize(message.data)

    def finish(self, stop_ns: int) -> Track | Incident:
        """Return the track, or why there is none.

        Args:
            stop_ns: when the recording ends.
        """
        if not self._any_good:
            return self.incident(f"none of its {self.bad_count} messages can be decoded: {self.bad_cause}")
        return self.make(stop_ns)

    def make(self, stop_ns: int) -> Track | Incident:
        """Return the track of a topic that has good messages."""
        raise NotImplementedError

    def remarks(self) -> list[Incident]:
        """Return what is to be said beside the track."""
        remarks = []
        channel = self.topic.channel
        if channel.definition.format and self.type.origin != "recording":
            cause = (
                f"the recording's definition of {channel.type_name} does not fit; {self.type.origin}'s does"
            )
            remarks.append(topic_incident("note", channel, self.topic.name, cause))
        if self.bad_count and self._any_good:
            _, stamps = self.clock.result()
            cause = f"{self.bad_count} of {stamps.count} messages can't be decoded: {self.bad_cause}"
            remarks.append(self.incident(cause))
        return remarks

    def common(self, clock: Clock, stamps: Stamps) -> dict[str, Any]:
        """Return the fields that all tracks have."""
        period_ns = stamps.period_ns
        limit_ns = 3 * period_ns
        held = self.topic.held or stamps.count < 3
        channel = self.topic.channel
        return {
            "name": self.topic.name,
            "medium": self.medium,
            "topic": channel.topic,
            "codec": channel.type_name,
            "start_ns": stamps.first_ns,
            "stop_ns": stamps.last_ns + max(1, min(period_ns, LONGEST_STILL_NS)),
            "item_count": stamps.count,
            "byte_count": self.byte_count,
            "period_ns": period_ns,
            "max_age_ns": 0 if held else limit_ns,
            "gaps": stamps.gaps(min(limit_ns, LONGEST_STILL_NS)),
            "clock": clock,
            "details": {"definition": channel.definition.identity, "types": self.type.origin},
        }

    def incident(self, cause: str) -> Incident:
        """Return a failure of this topic, over its whole span."""
        _, stamps = self.clock.result()
        return topic_incident("failure", self.topic.channel, self.topic.name, cause, stamps)


def topic_incident(
    severity: Severity, channel: Channel, name: str, cause: str, stamps: Stamps | None = None
) -> Incident:
    """Return an incident that names the topic."""
    span = (stamps.first_ns, stamps.last_ns + 1) if stamps and stamps.count else (0, 0)
    return Incident(severity, f"topic {channel.topic}: {cause}", name, *span)


class LeftOut:
    """A topic that becomes no track; counted all the same, so that its span can be told."""

    def __init__(self, topic: Topic, severity: Severity, cause: str) -> None:
        self.topic = topic
        self.clock = TopicClock(None)
        self._severity: Severity = severity
        self._cause = cause

    def see(self, message: Message) -> None:
        """See `TopicPlan`."""
        self.clock.see(message.log_ns, message.data)

    def finish(self, stop_ns: int) -> Incident:
        """See `TopicPlan`."""
        _, stamps = self.clock.result()
        return topic_incident(self._severity, self.topic.channel, self.topic.name, self._cause, stamps)

    def remarks(self) -> list[Incident]:
        """See `TopicPlan`."""
        return []


class PicturePlan(TopicPlan):
    """Pictures, of colours or of distances: what they are, size and encoding are those of the first good
    message.
    """

    medium: Medium = "pictures"

    def __init__(self, topic: Topic, message_type: AnyType) -> None:
        super().__init__(topic, message_type)
        self._facts: Facts | None = None

    def look(self, message: Message, header_ns: int) -> None:
        """See `TopicPlan`."""
        if self._facts is None:
            self._facts = facts_of(self.type.deserialize(message.data))

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`."""
        facts = self._facts
        assert facts is not None
        fields = self.common(*self.clock.result())
        if facts.is_depth:
            fields["medium"] = "depth"
            fields["details"]["depth_rule"] = DEPTH_RULE
        if facts.rule:
            fields["details"]["picture_rule"] = facts.rule
        return Track(**fields, width=facts.width, height=facts.height, pixel_format=facts.pixel_format)


class TextPlan(TopicPlan):
    """Text: each message is shown until the next; the last until the recording ends."""

    medium: Medium = "text"

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`."""
        fields = self.common(*self.clock.result())
        fields["stop_ns"] = max(fields["stop_ns"], stop_ns)
        return Track(**fields)


class SignalPlan(TopicPlan):
    """Signals: columns by the type; for arrays whose meaning is known, by the messages as well."""

    medium: Medium = "signal"

    def __init__(self, topic: Topic, message_type: MessageType) -> None:
        super().__init__(topic, message_type)
        self._raw = message_type.raw
        self.columns = fixed_columns(message_type)
        self.lengths = Lengths(message_type.name)
        self._read = reader_of(message_type)
        self._variable = bool(sequence_fields(message_type.name))
        self._layout = layout_of(message_type, ros1=message_type.ros1)

    def look(self, message: Message, header_ns: int) -> None:
        """See `TopicPlan`."""
        if self._variable:
            values = self._read(self._raw(message.data))
            sizes = {name: len(array) for name, array in values.arrays.items()}
            self.lengths.see(sizes, values.names)
        else:
            super().look(message, header_ns)

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`."""
        variable = self.lengths.columns()
        names = [*self.columns.names, *variable]
        if not names:
            _, stamps = self.clock.result()
            cause = f"{self.topic.channel.type_name} has neither numbers of known meaning nor text: left out"
            if self.columns.left_out:
                cause += f" ({', '.join(self.columns.left_out)})"
            return topic_incident("note", self.topic.channel, self.topic.name, cause, stamps)
        fields = self.common(*self.clock.result())
        kinds = [*self.columns.kinds, *(sequence_kind(name) for name in variable)]
        if self.columns.left_out:
            fields["details"]["left_out"] = list(self.columns.left_out)
        quaternions = tuple(self.columns.quaternions)
        return Track(**fields, columns=tuple(names), kinds=tuple(kinds), quaternions=quaternions)

    def see_many(self, messages: ManyMessages) -> None:
        """Take in messages that come together."""
        bulk = messages.data
        header_ns = self.clock.headers_of(bulk.data)
        if header_ns is None or not self._see_values(bulk.data):
            for log_ns, data in zip(bulk.times_ns.tolist(), bulk.data, strict=True):
                self.see(Message(messages.channel, log_ns, data.tobytes()))
            return
        self.byte_count += bulk.data.size
        self.clock.see_many(bulk.times_ns, header_ns)
        self._any_good = True

    def _see_values(self, data: np.ndarray) -> bool:
        """Learn what messages of one length hold; False where they must be seen one by one."""
        if self._layout is None:
            return False
        try:
            many = self._layout.read_many(data if self._variable else data[:1])
        except CannotDecode:
            return False
        if self._variable and many.alike.all():
            self.lengths.see({name: array.shape[1] for name, array in many.arrays.items()}, many.names)
        return bool(many.alike.all())

    def remarks(self) -> list[Incident]:
        """See `TopicPlan`."""
        remarks = super().remarks()
        if self.lengths.cut:
            cause = f"more than {MOST_COLUMNS} values in one message: the first {MOST_COLUMNS} are used"
            remarks.append(topic_incident("note", self.topic.channel, self.topic.name, cause))
        return remarks


class SoundPlan(TopicPlan):
    """Sound: counted in samples from the first chunk's stamp; on both clocks, until one is chosen."""

    medium: Medium = "sound"

    def __init__(self, topic: Topic, message_type: AnyType, sound: SoundFormat) -> None:
        super().__init__(topic, message_type)
        self.sound = sound
        self._pieces = pieces_of(sound)
        self._counts = {"log": SoundCount(sound.sample_rate), "header": SoundCount(sound.sample_rate)}
        self._previous_log_ns: int | None = None

    def look(self, message: Message, header_ns: int) -> None:
        """See `TopicPlan`."""
        # reading can begin at a chunk that completes no sample of an earlier one, and whose stamp
        # names it
        entry = self._pieces.at_border and message.log_ns != self._previous_log_ns
        self._previous_log_ns = message.log_ns
        data = sound_in(self.type.deserialize(message.data), self.topic.channel.type_name)
        samples = self._pieces.push(data)
        self._counts["log"].see(message.log_ns, message.log_ns, samples, entry=entry)
        self._counts["header"].see(message.log_ns, header_ns, samples, entry=entry)

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`."""
        clock, stamps = self.clock.result()
        count = self._counts[clock.choice]
        if count.start_ns is None:
            return self.incident(f"none of its messages holds {self.sound.coding} sound")
        fields = self.common(clock, stamps)
        fields["start_ns"], fields["stop_ns"] = count.start_ns, max(count.stop_ns, count.start_ns + 1)
        fields["details"] |= {
            "audio_format": str(self.sound),
            "checkpoints": count.checkpoints,
            "clock_restarts": count.clock.restarts,
        }
        return Track(**fields, sample_rate=self.sound.sample_rate, channels=self.sound.channels)


class UnknownSoundPlan(TopicPlan):
    """Sound of which neither the recording nor its content says for certain what it is."""

    medium: Medium = "sound"

    def __init__(self, topic: Topic, message_type: AnyType) -> None:
        super().__init__(topic, message_type)
        self._sound_bytes = self._last_bytes = 0

    def look(self, message: Message, header_ns: int) -> None:
        """See `TopicPlan`."""
        data = sound_in(self.type.deserialize(message.data), self.topic.channel.type_name)
        self._last_bytes = len(data)
        self._sound_bytes += len(data)

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`."""
        _, stamps = self.clock.result()
        seconds = (stamps.last_ns - stamps.first_ns) / NS  # without the last chunk
        per_second = (self._sound_bytes - self._last_bytes) / seconds if seconds else 0
        rate = f" ({per_second:.0f} bytes a second)" if per_second else ""
        return self.incident(
            f"raw sound{rate} whose format is not recorded; say what it is with "
            f"--audio-format {self.topic.channel.topic}=s16le:RATE:CHANNELS (for instance s16le:16000:1)"
        )


class SoundCount:
    """Counts one topic's samples on one clock, and keeps points from which counting can go on."""

    def __init__(self, sample_rate: int) -> None:
        self.clock = SampleClock(sample_rate)
        self.start_ns: int | None = None
        self.stop_ns = 0
        self.checkpoints: list[list[int]] = []
        """[log stamp of a chunk, the anchor it is counted from, samples since then], evenly spaced."""
        self._stride = 1
        self._entries = 0

    def see(self, log_ns: int, stamp_ns: int, samples: int, *, entry: bool) -> None:
        """Take in a chunk."""
        time_ns = self.clock.place(stamp_ns, samples)
        if entry:
            if self._entries % self._stride == 0:
                anchor_ns = self.clock.anchor_ns or 0
                self.checkpoints.append([log_ns, anchor_ns, self.clock.count - samples])
                if len(self.checkpoints) > MOST_CHECKPOINTS:
                    self.checkpoints = self.checkpoints[::2]
                    self._stride *= 2
            self._entries += 1
        if samples:
            self.start_ns = time_ns if self.start_ns is None else min(self.start_ns, time_ns)
            self.stop_ns = max(self.stop_ns, self.clock.time_ns)


class RecordPlan(TopicPlan):
    """Signals of protobuf and JSON: columns by the messages."""

    medium: Medium = "signal"

    def __init__(self, topic: Topic, message_type: RecordType) -> None:
        super().__init__(topic, message_type)
        self._columns = SeenColumns()
        self._flat = message_type.flat

    def look(self, message: Message, header_ns: int) -> None:
        """See `TopicPlan`."""
        self._columns.see(self._flat(message.data))

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`."""
        columns = self._columns
        clock, stamps = self.clock.result()
        if not columns.names:
            cause = f"{self.topic.channel.type_name} has neither numbers nor text of known meaning: left out"
            return topic_incident("note", self.topic.channel, self.topic.name, cause, stamps)
        fields = self.common(clock, stamps)
        if columns.left_out:
            fields["details"]["left_out"] = list(columns.left_out)[:MOST_COLUMNS]
        quaternions = columns.quaternions()
        kinds = tuple(columns.kinds(quaternions))
        return Track(**fields, columns=tuple(columns.names), kinds=kinds, quaternions=tuple(quaternions))

    def remarks(self) -> list[Incident]:
        """See `TopicPlan`."""
        remarks = super().remarks()
        if self._columns.cut:
            cause = f"more than {MOST_COLUMNS} columns: the first {MOST_COLUMNS} are used"
            remarks.append(topic_incident("note", self.topic.channel, self.topic.name, cause))
        return remarks


PLANS: Mapping[str, type[TopicPlan]] = {
    IMAGE: PicturePlan,
    COMPRESSED_IMAGE: PicturePlan,
    RAW_IMAGE: PicturePlan,
    FOXGLOVE_COMPRESSED_IMAGE: PicturePlan,
    **dict.fromkeys(TEXT_FIELDS, TextPlan),
}
"""Planners by type; `AUDIO_TYPES` need their format, everything else is a signal."""


def plan_for(topic: Topic, message_type: AnyType) -> TopicPlan:
    """Return what gathers the facts of a topic that is no sound."""
    plan = PLANS.get(well_known(topic.channel.type_name))
    if plan is not None:
        return plan(topic, message_type)
    if isinstance(message_type, RecordType):
        return RecordPlan(topic, message_type)
    return SignalPlan(topic, message_type)
