"""Reading a bag once from end to end, to know its tracks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from ingest.decoders.calibration import CALIBRATION_TYPES, calibration_of
from ingest.decoders.laser_scans import is_scan
from ingest.decoders.ros_mp3 import Mp3Frames
from ingest.decoders.ros_sound import (
    AUDIO_INFO,
    SoundFormat,
    format_of_content,
    format_of_info,
    format_of_raw_audio,
    sound_format,
    sound_in,
)
from ingest.decoders.transforms import is_transforms
from ingest.decoders.well_known import RAW_AUDIO, well_known
from ingest.errors import CannotDecode, CannotOpen
from ingest.recording import Incident, Report, Track
from ingest.sources.bag_plans import (
    LeftOut,
    SignalPlan,
    SoundPlan,
    TextPlan,
    TopicPlan,
    UnknownSoundPlan,
    plan_for,
)
from ingest.sources.bag_ranges import CloudPlan, ScanPlan, is_cloud
from ingest.sources.bag_reading import may_come_together
from ingest.sources.bag_storage import MAX_NS, MIN_NS, ManyMessages, Message, Storage
from ingest.sources.bag_topics import Topic, info_topics, is_sound, is_video, left_out
from ingest.sources.bag_transforms import TransformPlan
from ingest.sources.bag_types import AnyType, find_type

RECOGNITION_MESSAGES = 64
"""So many messages of a sound topic are looked at to recognise what it is."""


class Probed(NamedTuple):
    """What is in a bag."""

    tracks: tuple[Track, ...]
    incidents: tuple[Incident, ...]
    message_count: int
    calibrations: Mapping[str, Mapping[str, Any]]
    """By topic: the first calibration of each camera."""


def probe_bag(
    storage: Storage, topics: Sequence[Topic], distro: str, audio_formats: Mapping[str, str]
) -> Probed:
    """Read all messages once.

    Args:
        storage: the bag.
        topics: of the bag.
        distro: the distribution it was recorded with, as far as it says so.
        audio_formats: topic -> format, for sound that does not say what it is.
    """
    incidents: list[Incident] = []
    report = once(incidents.append)
    planner = Planner(storage, topics, distro, audio_formats, report)
    plans: dict[str, TopicPlan | LeftOut] = {}
    by_channel: dict[int, TopicPlan | LeftOut] = {}
    topic_of = {number: topic for topic in topics for number in topic.numbers}
    together: set[int] = set()
    count = 0
    for message in storage.mixed(range(len(storage.channels)), together, MIN_NS, MAX_NS, report):
        plan = by_channel.get(message.channel)
        if isinstance(message, ManyMessages):
            assert isinstance(plan, SignalPlan), "only what was planned already comes together"
            plan.see_many(message)
            count += len(message.data.times_ns)
            continue
        if plan is None:
            topic = topic_of[message.channel]
            plan = plans.get(topic.name) or planner.plan(topic, message)
            plans[topic.name] = by_channel[message.channel] = plan
            if isinstance(plan, SignalPlan) and may_come_together(topic, plan.type):
                together.add(message.channel)
        plan.see(message)
        count += 1
    tracks, remarks = finished([plans[topic.name] for topic in topics if topic.name in plans])
    silent = [topic.channel.topic for topic in topics if topic.name not in plans]
    if not count:
        incidents.append(Incident("note", "the bag has no messages"))
    elif silent:
        remarks.append(Incident("note", f"topics without messages: {', '.join(silent)}"))
    calibrations = _calibrations(storage, topics, plans, report)
    return Probed(tuple(tracks), (*incidents, *remarks), count, calibrations)


def _calibrations(
    storage: Storage, topics: Sequence[Topic], plans: Mapping[str, TopicPlan | LeftOut], report: Report
) -> dict[str, dict[str, Any]]:
    found = {}
    for topic in topics:
        plan = plans.get(topic.name)
        if well_known(topic.channel.type_name) not in CALIBRATION_TYPES or not isinstance(plan, TopicPlan):
            continue
        first = storage.first_from(topic.numbers, MIN_NS, report)
        if first is not None:
            with suppress(CannotDecode):
                found[topic.channel.topic] = calibration_of(plan.type.deserialize(first.data))
    return found


def finished(plans: Sequence[TopicPlan | LeftOut]) -> tuple[list[Track], list[Incident]]:
    """Return the tracks, and what is to be said beside them."""
    # the last text is shown until the recording ends, which the other tracks say
    results: dict[int, Track | Incident] = {}
    for texts in (False, True):
        stop_ns = max((track.stop_ns for track in results.values() if isinstance(track, Track)), default=0)
        for index, plan in enumerate(plans):
            if isinstance(plan, TextPlan) == texts:
                results[index] = plan.finish(stop_ns)
    tracks = []
    for index, found in sorted(results.items()):
        plan = plans[index]
        pairs = plan.tracks() if isinstance(plan, TransformPlan) else []
        if pairs:
            results[index] = pairs[0]
        tracks += pairs or ([found] if isinstance(found, Track) else [])
    tracks = _with_free_names(tracks)
    stop_ns = max((track.stop_ns for track in tracks), default=0)
    tracks = [replace(track, stop_ns=stop_ns) if track.medium == "text" else track for track in tracks]
    remarks = [result for _, result in sorted(results.items()) if isinstance(result, Incident)]
    remarks += [remark for plan in plans for remark in plan.remarks()]
    arrays = [
        f"{track.topic}: {', '.join(track.details['left_out'])}"
        for track in tracks
        if "left_out" in track.details
    ]
    if arrays:
        remarks.append(Incident("note", f"fields that are no columns are left out: {'; '.join(arrays)}"))
    return tracks, remarks


def _with_free_names(tracks: list[Track]) -> list[Track]:
    """Return tracks whose names all differ: of equal ones, the later end in 6 hex of topic and pair."""
    taken: set[str] = set()
    free = []
    for track in tracks:
        if track.name in taken:
            title = f"{track.topic} {track.details.get('pair', '')}"
            mark = hashlib.sha256(title.encode()).hexdigest()[:6]
            track = replace(track, name=f"{track.name[:33]}_{mark}")
        taken.add(track.name)
        free.append(track)
    return free


class Planner:
    """Decides what each topic is."""

    def __init__(
        self,
        storage: Storage,
        topics: Sequence[Topic],
        distro: str,
        audio_formats: Mapping[str, str],
        report: Report,
    ) -> None:
        self._storage = storage
        self._distro = distro
        self._audio_formats = audio_formats
        self._report = report
        self._sound_topics = [topic.channel.topic for topic in topics if is_sound(topic.channel.type_name)]
        self._info_topics = {
            topic.channel.topic: topic for topic in topics if topic.channel.type_name == AUDIO_INFO
        }

    def plan(self, topic: Topic, first: Message) -> TopicPlan | LeftOut:
        """Return what gathers a topic's facts.

        Args:
            topic: the topic.
            first: its first message, by which its type's definition is checked.
        """
        if topic.channel.type_name == AUDIO_INFO and self._describes_sound(topic):
            return LeftOut(topic, "note", "says what the sound beside it is; no track of its own")
        if refusal := left_out(topic.channel.type_name):
            return LeftOut(topic, *refusal)
        try:
            message_type = find_type(topic.channel, first.data, self._distro)
        except CannotOpen as error:
            return LeftOut(topic, "failure", str(error))
        if is_sound(topic.channel.type_name):
            sound = self._sound_format(topic, message_type, first)
            return SoundPlan(topic, message_type, sound) if sound else UnknownSoundPlan(topic, message_type)
        if is_transforms(topic.channel.type_name):
            return TransformPlan(topic, message_type)
        if is_video(topic.channel.type_name):
            from ingest.sources.bag_video import VideoPlan

            return VideoPlan(topic, message_type)
        if is_cloud(topic.channel.type_name):
            return CloudPlan(topic, message_type)
        if is_scan(topic.channel.type_name):
            return ScanPlan(topic, message_type)
        return plan_for(topic, message_type)

    def _sound_format(self, topic: Topic, message_type: AnyType, first: Message) -> SoundFormat | None:
        """Return what a sound topic is: as the message itself says, as the user says, as its sibling
        says, as its bytes show.
        """
        if well_known(topic.channel.type_name) == RAW_AUDIO:
            try:
                return format_of_raw_audio(message_type.deserialize(first.data))
            except CannotDecode:
                return None
        text = self._audio_formats.get(topic.channel.topic) or self._said_by_sibling(topic)
        if text and (said := sound_format(text)):
            return said
        data = b"".join(self._first_sounds(topic, message_type))
        if text:  # it is MP3; which one, the first frame says
            frames = Mp3Frames().push(data)
            return SoundFormat("mp3", frames[0][1].sample_rate, frames[0][1].channels) if frames else None
        return format_of_content(data)

    def _said_by_sibling(self, topic: Topic) -> str:
        """Return what the AudioInfo of a sound topic says, as the user would; empty where it says
        nothing.
        """
        for name in info_topics(topic.channel.topic):
            info_topic = self._info_topics.get(name)
            if info_topic is None:
                continue
            first = self._storage.first_from(info_topic.numbers, MIN_NS, self._report)
            if first is None:
                continue
            try:
                info_type = find_type(info_topic.channel, first.data, self._distro)
                return format_of_info(info_type.deserialize(first.data))
            except (CannotDecode, CannotOpen):
                continue
        return ""

    def _describes_sound(self, info_topic: Topic) -> bool:
        return any(info_topic.channel.topic in info_topics(topic) for topic in self._sound_topics)

    def _first_sounds(self, topic: Topic, message_type: AnyType) -> list[bytes]:
        sounds = []
        messages = self._storage.messages(topic.numbers, MIN_NS, MAX_NS, self._report)
        for message in islice(messages, RECOGNITION_MESSAGES):
            try:
                sounds.append(sound_in(message_type.deserialize(message.data), topic.channel.type_name))
            except CannotDecode:
                break
        return sounds


def once(report: Callable[[Incident], Any]) -> Report:
    """Return a report that passes equal incidents on only once."""
    seen: set[Incident] = set()

    def passed_on(incident: Incident) -> None:
        if incident not in seen:
            seen.add(incident)
            report(incident)

    return passed_on
