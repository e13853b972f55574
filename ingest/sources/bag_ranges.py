"""Topics that measure distances: depth pictures, point clouds, laser scans."""

from __future__ import annotations

from ingest.decoders import laser_scans
from ingest.decoders.depth_pictures import RosDepths
from ingest.decoders.laser_scans import LaserScans, is_scan, scan_of
from ingest.decoders.point_clouds import CLOUD_TYPES, RosClouds, points_of
from ingest.decoders.range_images import FieldOfView, Projection
from ingest.decoders.well_known import well_known
from ingest.recording import Decoder, Incident, Medium, Track
from ingest.sources.bag_plans import TopicPlan
from ingest.sources.bag_storage import Message
from ingest.sources.bag_topics import Topic
from ingest.sources.bag_types import AnyType

MOST_LOOKS = 32
"""So many clouds of a topic, evenly spaced, say what its field of view is; at most twice as many are read."""


def is_cloud(type_name: str) -> bool:
    """Return whether a type is a point cloud that we read."""
    return well_known(type_name) in CLOUD_TYPES


class CloudPlan(TopicPlan):
    """Point clouds: the grid of the first good one, or the field of view of some."""

    medium: Medium = "depth"

    def __init__(self, topic: Topic, message_type: AnyType) -> None:
        super().__init__(topic, message_type)
        self._grid: Projection | None = None
        self._view = FieldOfView()
        self._frame = ""
        self._seen = 0
        self._looks = 0
        self._stride = 1

    def look(self, message: Message, header_ns: int) -> None:
        """See `TopicPlan`."""
        number, self._seen = self._seen, self._seen + 1
        if self._any_good and (self._grid is not None or number % self._stride):
            return
        found = self.type.deserialize(message.data)
        points = points_of(found, self.topic.channel.type_name)
        if not self._any_good:
            header = getattr(found, "header", found)
            self._frame = str(getattr(header, "frame_id", ""))
            if points.ndim == 3:
                self._grid = Projection.of_grid(*points.shape[:2])
        self._view.see(points)
        self._looks += 1
        if self._looks == MOST_LOOKS:
            self._looks //= 2
            self._stride *= 2

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`."""
        projection = self._grid or self._view.projection()
        fields = self.common(*self.clock.result())
        fields["details"] |= {
            "projection": projection.to_json(),
            "depth_rule": projection.rule,
            "frame": self._frame,
        }
        return Track(**fields, width=projection.columns, height=projection.rows, pixel_format="points")


class ScanPlan(TopicPlan):
    """Laser scans: a column per degree."""

    medium: Medium = "signal"

    def look(self, message: Message, header_ns: int) -> None:
        """See `TopicPlan`."""
        if not self._any_good:
            scan_of(self.type.deserialize(message.data))

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`."""
        fields = self.common(*self.clock.result())
        fields["details"] |= {"range_rule": laser_scans.RULE}
        return Track(**fields, columns=laser_scans.COLUMNS, kinds=laser_scans.KINDS)


def range_decoder(track: Track, message_type: AnyType) -> Decoder | None:
    """Return the decoder of a track of distances; None for every other track."""
    if "projection" in track.details:
        projection = Projection.from_json(track.details["projection"])
        return RosClouds(track.codec, message_type.deserialize, projection)
    if track.medium == "depth":
        return RosDepths(message_type.deserialize)
    if is_scan(track.codec):
        return LaserScans(message_type.deserialize)
    return None
