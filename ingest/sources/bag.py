"""ROS bags as sources: ROS 1 bags, ROS 2 SQLite files and MCAP files, single or split.

    with open_bag([path]) as bag:
        recording = bag.probe()
        for packet in bag.read(recording.tracks, start_ns, stop_ns, report): ...

No ROS installation is needed. Messages are read by log stamp; each topic has its own clock
(`bag_clock`), so a window is read as far around as that clock and the log differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ingest.decoders.record_signals import RecordSignals
from ingest.decoders.ros_pictures import RosPictures
from ingest.decoders.ros_signals import RosSignals
from ingest.decoders.ros_sound import RosSound, sound_format
from ingest.decoders.ros_text import RosText
from ingest.decoders.transforms import TransformRows
from ingest.errors import CannotOpen
from ingest.recording import NO_CHOICE, Decoder, Incident, Moments, Packet, Recording, Report, Track
from ingest.sources.bag_chunks import ChunkedFile
from ingest.sources.bag_clock import header_reader
from ingest.sources.bag_files import (
    METADATA,
    BagGroup,
    claims_to_be_bag,
    group_bag_files,
    is_bag,
    open_storage,
)
from ingest.sources.bag_probe import once, probe_bag
from ingest.sources.bag_ranges import range_decoder
from ingest.sources.bag_reading import SoundReader, TrackReader, format_of_track
from ingest.sources.bag_storage import MAX_NS, MIN_NS, AnyMessage, Series, Storage
from ingest.sources.bag_topics import Topic, topics_of
from ingest.sources.bag_transforms import TransformReader
from ingest.sources.bag_types import AnyType, type_from
from ingest.sources.record_types import RecordType
from ingest.sources.rosbag2 import Metadata, read_metadata

__all__ = ["BagGroup", "BagSource", "claims_to_be_bag", "group_bag_files", "is_bag", "open_bag"]


def open_bag(
    paths: Sequence[Path], *, audio_formats: Mapping[str, str] | None = None, threads: int = 1
) -> BagSource:
    """Open one recording: a bag file, or the files of a split bag in their order.

    Args:
        paths: the files; a `metadata.yaml` beside them is read as well.
        audio_formats: topic -> `s16le:16000:1` or `mp3`, for sound that does not say what it is.
        threads: how many unpack compressed chunks.

    Raises:
        CannotOpen: none of the files can be read.
        WrongUse: an audio format is none.
    """
    for text in (audio_formats or {}).values():
        sound_format(text)
    parts: list[Storage] = []
    incidents: list[Incident] = []
    causes: list[str] = []
    for path in paths:
        try:
            parts.append(open_storage(path))
        except CannotOpen as error:
            causes.append(str(error))
            incidents.append(Incident("failure", f"{path.name}: {error}"))
    if not parts:
        raise CannotOpen(causes[0] if len(causes) == 1 else "; ".join(dict.fromkeys(causes)))
    for part in parts:
        if isinstance(part, ChunkedFile):
            part.threads = threads
    metadata, remarks = _metadata(paths, parts)
    storage = parts[0] if len(parts) == 1 else Series(parts)
    names = [path.name for path in paths]
    return BagSource(storage, metadata, [*incidents, *remarks], audio_formats or {}, names)


def _metadata(paths: Sequence[Path], parts: Sequence[Storage]) -> tuple[Metadata | None, list[Incident]]:
    """Return what `metadata.yaml` beside the files says of them, and what is wrong with it."""
    beside = paths[0].with_name(METADATA)
    if parts[0].container == "rosbag1" or not beside.is_file():
        return None, []
    try:
        metadata = read_metadata(beside)
    except CannotOpen as error:
        return None, [Incident("note", f"{error}: passed over")]
    if paths[0].name not in metadata.files:
        return None, []
    remarks = []
    wrong = [encoding for encoding in metadata.encodings if encoding not in ("cdr", "ros1", "")]
    if wrong:
        cause = f"{METADATA} says that messages are serialised as {wrong[0]!r}: the files themselves decide"
        remarks.append(Incident("note", cause))
    missing = [name for name in metadata.files if not beside.with_name(name).exists()]
    if missing:
        remarks.append(Incident("failure", f"{METADATA} lists files that are missing: {', '.join(missing)}"))
    return metadata, remarks


class BagSource:
    """One opened bag. See `Source`."""

    def __init__(
        self,
        storage: Storage,
        metadata: Metadata | None,
        incidents: Sequence[Incident],
        audio_formats: Mapping[str, str],
        files: Sequence[str],
    ) -> None:
        self._storage = storage
        self._distro = metadata.ros_distro if metadata else ""
        self._message_count = metadata.message_count if metadata and set(metadata.files) <= set(files) else 0
        """As `metadata.yaml` has it; 0 where it does not say, or speaks of other files."""
        self._incidents = list(incidents)
        self._audio_formats = audio_formats
        self._files = list(files)
        self._topics = topics_of(storage.channels)
        self._types: dict[str, AnyType] = {}
        """By track name."""
        self._shared: dict[str, dict[str, Any]] = {}
        """By topic with transforms: the message that was read last."""

    def probe(self) -> Recording:
        """See `Source`."""
        details = {"files": self._files, **self._storage.details}
        if self._distro:
            details["ros_distro"] = self._distro
        found = probe_bag(self._storage, self._topics, self._distro, self._audio_formats)
        if found.calibrations:
            details["cameras"] = found.calibrations
        incidents = (*self._incidents, *self._storage.incidents, *found.incidents)
        if (missing := self._message_count - found.message_count) > 0:
            told = any(incident.severity == "failure" for incident in incidents)
            cause = f"{METADATA} counts {self._message_count} messages, {missing} more than there are"
            incidents = (*incidents, Incident("note" if told else "failure", cause))
        return Recording(
            container=self._storage.container,
            tracks=found.tracks,
            incidents=tuple(dict.fromkeys(incidents)),
            details={**details, "messages": found.message_count},
        )

    def read(
        self,
        tracks: Sequence[Track],
        start_ns: int,
        stop_ns: int,
        report: Report,
        moments: Mapping[str, Moments] = NO_CHOICE,
    ) -> Iterator[Packet]:
        """See `Source`. Packets come by log stamp."""
        report = once(report)
        readers = [
            self._reader(track, start_ns, stop_ns, report, moments.get(track.name)) for track in tracks
        ]
        by_channel: dict[int, list[TrackReader]] = {}
        for reader in readers:
            for number in reader.topic.numbers:
                by_channel.setdefault(number, []).append(reader)
        for message in self._messages(readers, report):
            for reader in by_channel[message.channel]:
                yield from reader.packets(message)

    def stamps(self, tracks: Sequence[Track]) -> Iterator[tuple[str, int, int | None]]:
        """Yield for every message its track's name, its time by the track's clock, and log stamp minus
        header stamp (None where it has no header stamp), by log stamp.
        """
        readers = {}
        for track in tracks:
            message_type = self._type(track)
            found = track, header_reader(message_type)
            readers.update(dict.fromkeys(self._topic(track).numbers, found))
        for message in self._storage.messages(list(readers), MIN_NS, MAX_NS, lambda _: None):
            track, header_of = readers[message.channel]
            header_ns = header_of(message.data) if header_of else 0
            uses_header = track.clock is not None and track.clock.choice == "header"
            time_ns = header_ns if uses_header else message.log_ns
            yield track.name, time_ns, message.log_ns - header_ns if header_ns else None

    def _messages(self, readers: Sequence[TrackReader], report: Report) -> Iterator[AnyMessage]:
        """Yield what comes before the windows of held tracks, what is in the windows, and what ends
        the texts that are shown last.
        """
        before = [
            self._storage.last_before(reader.topic.numbers, reader.log_start_ns, report)
            for reader in readers
            if reader.needs_last_before
        ]
        yield from sorted((message for message in before if message), key=lambda message: message.log_ns)
        together = {number for reader in readers if reader.takes_many for number in reader.topic.numbers}
        # from border to border of the tracks' windows, with the tracks whose windows cover it
        borders = sorted({stamp for reader in readers for stamp in (reader.log_start_ns, reader.log_stop_ns)})
        for begin, end in pairwise(borders):
            inside = [
                number
                for reader in readers
                if reader.log_start_ns <= begin and end <= reader.log_stop_ns
                for number in reader.topic.numbers
            ]
            if inside:
                many = together.intersection(inside)
                yield from self._storage.mixed(inside, many, begin, end, report)
        after = [
            self._storage.first_from(reader.topic.numbers, reader.log_stop_ns, report)
            for reader in readers
            if reader.needs_first_after
        ]
        yield from sorted((message for message in after if message), key=lambda message: message.log_ns)

    def _reader(
        self, track: Track, start_ns: int, stop_ns: int, report: Report, moments: Moments | None
    ) -> TrackReader:
        topic, message_type = self._topic(track), self._type(track)
        if track.medium == "sound":
            return SoundReader(track, topic, message_type, start_ns, stop_ns, report)
        if "pair" in track.details:
            shared = self._shared.setdefault(topic.name, {})
            return TransformReader(track, topic, message_type, start_ns, stop_ns, report, shared)
        if "video" in track.details:
            from ingest.sources.bag_video import VideoReader

            only_keyframes = isinstance(moments, str)
            return VideoReader(track, topic, message_type, start_ns, stop_ns, only_keyframes=only_keyframes)
        return TrackReader(track, topic, message_type, start_ns, stop_ns)

    def decoder(self, track: Track) -> Decoder:
        """See `Source`."""
        message_type = self._type(track)
        if "pair" in track.details:
            return TransformRows()
        if "video" in track.details:
            from ingest.sources.bag_video import video_decoder

            return video_decoder(track, message_type)
        if (ranges := range_decoder(track, message_type)) is not None:
            return ranges
        if track.medium == "pictures":
            return RosPictures(message_type.deserialize)
        if track.medium == "sound":
            return RosSound(format_of_track(track), track.codec, message_type.deserialize)
        if track.medium == "text":
            return RosText(track.codec, message_type.deserialize, track.stop_ns)
        if isinstance(message_type, RecordType):
            return RecordSignals(track.columns, lambda data: message_type.flat(data).numbers)
        return RosSignals(track.columns, message_type)

    def _topic(self, track: Track) -> Topic:
        for topic in self._topics:
            channel = topic.channel
            if (channel.topic, channel.type_name, channel.definition.identity) == (
                track.topic,
                track.codec,
                track.details["definition"],
            ):
                return topic
        raise CannotOpen(f"the recording has no topic {track.topic} any more")

    def _type(self, track: Track) -> AnyType:
        if track.name not in self._types:
            channel = self._topic(track).channel
            self._types[track.name] = type_from(channel, track.details["types"])
        return self._types[track.name]

    def close(self) -> None:
        """See `Source`."""
        self._storage.close()

    def __enter__(self) -> BagSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
