"""Which messages of a track a time window needs, and when each of them is."""

from __future__ import annotations

from collections.abc import Iterator

from ingest.decoders.bulk import Bulk
from ingest.decoders.laser_scans import is_scan
from ingest.decoders.ros_layout import layout_of
from ingest.decoders.ros_sound import (
    NS,
    RUNAWAY_NS,
    SampleClock,
    SoundFormat,
    pieces_of,
    sound_format,
    sound_in,
)
from ingest.errors import CannotDecode, CannotOpen
from ingest.recording import Incident, Packet, Report, Track
from ingest.sources.bag_clock import header_reader, headers_of
from ingest.sources.bag_storage import MAX_NS, MIN_NS, AnyMessage, Message
from ingest.sources.bag_topics import Topic
from ingest.sources.bag_types import AnyType, MessageType

SHOWN = ("pictures", "depth")
"""Media of which the last item before a time is shown then."""
PREROLL_NS = 1_000_000_000
"""Sound is read from so much earlier, so that MP3 is in step when the window begins."""


class TrackReader:
    """One track's share of a window: pictures, signals, text.

    `log_start_ns` and `log_stop_ns` are the log stamps between which its messages lie. The log is at
    least `offset_min_ns` and at most `offset_max_ns` later than the track's own time.
    """

    def __init__(
        self, track: Track, topic: Topic, message_type: AnyType, start_ns: int, stop_ns: int
    ) -> None:
        self.topic = topic
        self._track = track
        self._message_type = message_type
        clock = track.clock
        assert clock is not None
        uses_header = clock.choice == "header"
        self._header_of = header_reader(message_type) if uses_header else None
        self._earliest_ns = clock.offset_min_ns if uses_header else 0
        self._latest_ns = clock.offset_max_ns if uses_header else 0
        after_ns = track.max_age_ns if track.medium == "signal" else 0
        before_ns = track.max_age_ns if track.medium in ("signal", *SHOWN) else 0
        self.log_start_ns = _int64(start_ns - before_ns + self._earliest_ns)
        self.log_stop_ns = _int64(stop_ns + after_ns + self._latest_ns + 1)

    @property
    def needs_last_before(self) -> bool:
        """Whether the last message before the window is needed, however old."""
        return self._track.medium == "text" or (
            self._track.medium in ("signal", *SHOWN) and not self._track.max_age_ns
        )

    @property
    def needs_first_after(self) -> bool:
        """Whether the first message after the window is needed: it ends the text that is shown last."""
        return self._track.medium == "text"

    def time_ns(self, message: Message) -> int:
        """Return when a message is, by the track's clock."""
        return self._header_of(message.data) if self._header_of else message.log_ns

    @property
    def takes_many(self) -> bool:
        """Whether messages may come many at once: signals that are laid out as ROS does."""
        return self._track.medium == "signal" and may_come_together(self.topic, self._message_type)

    def packets(self, message: AnyMessage) -> Iterator[Packet]:
        """Yield a message, or many at once, as packets."""
        if isinstance(message, Message):
            packet = self.packet(message)
            if packet is not None:
                yield packet
            return
        bulk = message.data
        times_ns = headers_of(self._header_of, bulk.data) if self._header_of else bulk.times_ns
        if times_ns is not None:
            yield Packet(self._track.name, int(times_ns[0]), Bulk(times_ns, bulk.data))
            return
        for log_ns, data in zip(bulk.times_ns.tolist(), bulk.data, strict=True):
            yield from self.packets(Message(message.channel, log_ns, data.tobytes()))

    def packet(self, message: Message) -> Packet | None:
        """Return a message as a packet; None where it only serves to count."""
        return Packet(self._track.name, self.time_ns(message), message.data)


def may_come_together(topic: Topic, message_type: AnyType) -> bool:
    """Return whether a signal topic's messages may be read many at once: they are laid out as ROS does,
    and come on one channel, so that they stay in the order of the log.
    """
    return (
        len(topic.numbers) == 1
        and not is_scan(topic.channel.type_name)
        and isinstance(message_type, MessageType)
        and layout_of(message_type, ros1=message_type.ros1) is not None
    )


class SoundReader(TrackReader):
    """One sound track's share of a window: from the last checkpoint before it, counting samples."""

    def __init__(
        self,
        track: Track,
        topic: Topic,
        message_type: AnyType,
        start_ns: int,
        stop_ns: int,
        report: Report,
    ) -> None:
        super().__init__(track, topic, message_type, start_ns, stop_ns)
        self._type = message_type
        self._report = report
        sound = format_of_track(track)
        self._pieces = pieces_of(sound)
        rate = sound.sample_rate
        checkpoints = track.details["checkpoints"]
        later = [
            index
            for index, (_, anchor_ns, count) in enumerate(checkpoints)
            if anchor_ns + count * NS // rate > start_ns - PREROLL_NS
        ]
        log_ns, anchor_ns, count = checkpoints[max(0, (later[0] if later else len(checkpoints)) - 1)]
        self._clock = SampleClock(rate, anchor_ns, count)
        self.log_start_ns = log_ns
        self.log_stop_ns = max(log_ns, _int64(self.log_stop_ns + RUNAWAY_NS))

    def packet(self, message: Message) -> Packet | None:
        """See `TrackReader`."""
        try:
            data = sound_in(self._type.deserialize(message.data), self._track.codec)
        except CannotDecode as error:
            time_ns = self.time_ns(message)
            self._report(Incident("failure", str(error), self._track.name, time_ns, time_ns + 1))
            return None
        time_ns = self._clock.place(self.time_ns(message), self._pieces.push(data))
        return Packet(self._track.name, time_ns, message.data)


def format_of_track(track: Track) -> SoundFormat:
    """Return what a sound track's bytes are, as planning found."""
    sound = sound_format(track.details["audio_format"])
    if sound is None:
        raise CannotOpen(f"track {track.name} does not say what its sound is")
    return sound


def _int64(value: int) -> int:
    return max(MIN_NS, min(MAX_NS, value))
