"""A bag's topics: which channels are one, which are held, and which are left out by their type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingest.decoders.ros_sound import AUDIO_TYPES
from ingest.decoders.well_known import COMPRESSED_VIDEO, well_known
from ingest.names import track_names
from ingest.recording import Severity
from ingest.sources.bag_storage import Channel

COMMAND_TYPES = (
    "geometry_msgs/msg/Twist",
    "geometry_msgs/msg/TwistStamped",
    "ackermann_msgs/msg/AckermannDrive",
    "ackermann_msgs/msg/AckermannDriveStamped",
    "sensor_msgs/msg/Joy",
    "trajectory_msgs/msg/JointTrajectory",
)
COMMAND_TOPIC = re.compile(r"^cmd(_|$)|cmd_vel|(^|_)(cmds?|commands?|setpoints?|goals?|targets?)$")
"""A topic is a command if its type is one of these, or its last part ends in one of these words or
begins with `cmd`: the robot goes on doing what it was told last."""

VIDEO_TYPES = (
    COMPRESSED_VIDEO,
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
    "ffmpeg_image_transport/msg/FFMPEGPacket",
)
UNREAD_VIDEO_TYPES = ("theora_image_transport/msg/Packet",)
OTHER_TYPES = {
    "foxglove/Grid": "grids",
    "foxglove/VoxelGrid": "grids",
    "foxglove/SceneUpdate": "drawings",
    "foxglove/ImageAnnotations": "drawings",
    "foxglove/PointsAnnotation": "drawings",
    "foxglove/GeoJSON": "drawings",
}
"""Types that hold numbers whose meaning is not that of columns: left out, with a note."""


@dataclass(frozen=True)
class Topic:
    """Channels that are one stream: the same topic, type and definition."""

    name: str
    """The track's name."""
    channel: Channel
    numbers: tuple[int, ...]
    """The channels, by their index in the storage."""

    @property
    def held(self) -> bool:
        """Whether the topic's values hold until the next one comes, however long that takes."""
        last = self.channel.topic.rstrip("/").rpartition("/")[2].lower()
        command = self.channel.type_name in COMMAND_TYPES or COMMAND_TOPIC.search(last)
        return self.channel.latched or bool(command)


def left_out(type_name: str) -> tuple[Severity, str] | None:
    """Return severity and cause for types that are left out by name; None for all others."""
    plain = type_name.replace("/msg/", "/")
    if type_name in UNREAD_VIDEO_TYPES:
        return "failure", f"compressed video ({plain}) is not read"
    if (kind := OTHER_TYPES.get(well_known(type_name))) is not None:
        return "note", f"{kind} ({plain}) are left out"
    return None


def is_video(type_name: str) -> bool:
    """Return whether a type is compressed video that we read."""
    return well_known(type_name) in VIDEO_TYPES


def is_sound(type_name: str) -> bool:
    """Return whether a type is sound."""
    return well_known(type_name) in AUDIO_TYPES


def info_topics(topic: str) -> Sequence[str]:
    """Return the topics on which a sound topic's AudioInfo may be, nearest first."""
    namespace = topic.rstrip("/").rpartition("/")[0]
    return [
        f"{topic}_info",
        f"{topic}/audio_info",
        f"{topic}/info",
        f"{namespace}/audio_info",
        f"{namespace}/info",
    ]


def topics_of(channels: Sequence[Channel]) -> list[Topic]:
    """Return a bag's topics, sorted by name: channels of one topic, type and definition are one.

    A topic on which there are several types is several; all but the first carry theirs in the name.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for number, channel in enumerate(channels):
        key = (channel.topic, channel.type_name, channel.definition.identity)
        groups.setdefault(key, []).append(number)
    keys = sorted(groups)
    titles: list[str] = []
    for topic, type_name, identity in keys:
        titles.append(
            next(
                t
                for t in (topic, f"{topic} {type_name}", f"{topic} {type_name} {identity}")
                if t not in titles
            )
        )
    topics = []
    for key, name in zip(keys, track_names(titles), strict=True):
        numbers = tuple(groups[key])
        latched = any(channels[number].latched for number in numbers)
        topics.append(Topic(name, replace(channels[numbers[0]], latched=latched), numbers))
    return topics
