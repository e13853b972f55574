"""Point clouds in bags -> x, y, z -> range images (`range_images`), worked out only when wanted.

    sensor_msgs/PointCloud2, foxglove/PointCloud     packed points with named fields `x`, `y`, `z`
    sensor_msgs/PointCloud, Livox CustomMsg          an array of messages with x, y, z
    velodyne_msgs/VelodyneScan                       a turn's packets (`velodyne`)

Foxglove's `pose` is left alone: the cloud is seen from its own origin.

Source: `sensor_msgs/PointCloud2`, `sensor_msgs/PointField`; `foxglove.PointCloud`,
`foxglove.PackedElementField`; `livox_ros_driver2/CustomMsg`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingest.decoders.promised import as_promised
from ingest.decoders.range_images import Projection
from ingest.decoders.velodyne import VELODYNE_SCAN, points_in_scan
from ingest.decoders.well_known import well_known
from ingest.errors import CannotDecode
from ingest.geometry import Region
from ingest.recording import DepthCounts, Packet

POINT_CLOUD_2, POINT_CLOUD = "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/PointCloud"
FOXGLOVE_POINT_CLOUD = "foxglove/PointCloud"
LIVOX = tuple(
    f"{name}/msg/CustomMsg" for name in ("livox_ros_driver", "livox_ros_driver2", "livox_interfaces")
)
CLOUD_TYPES = (POINT_CLOUD_2, POINT_CLOUD, FOXGLOVE_POINT_CLOUD, *LIVOX, VELODYNE_SCAN)

ROS_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
FOXGLOVE_NUMBERS = {1: "u1", 2: "i1", 3: "u2", 4: "i2", 5: "u4", 6: "i4", 7: "f4", 8: "f8"}
"""Numeric types by their number in the schemas: not the same order."""


def points_of(message: Any, type_name: str) -> np.ndarray:
    """Return a cloud's points: [H, W, 3] where it is organised (more than one row), else [N, 3].

    Raises:
        CannotDecode: a field is missing, or the sizes do not fit the bytes.
    """
    with as_promised("a point cloud"):
        return _points(message, well_known(type_name))


def _points(message: Any, name: str) -> np.ndarray:
    if name == POINT_CLOUD_2:
        return _packed(
            message.data,
            {
                field.name: (ROS_NUMBERS.get(int(field.datatype)), int(field.offset))
                for field in message.fields
            },
            (int(message.height), int(message.width)),
            int(message.point_step),
            int(message.row_step),
            big_endian=bool(message.is_bigendian),
        )
    if name == FOXGLOVE_POINT_CLOUD:
        stride = int(message.point_stride)
        fields = {f.name: (FOXGLOVE_NUMBERS.get(int(f.type)), int(f.offset)) for f in message.fields}
        count = len(message.data) // stride if stride > 0 else 0
        return _packed(message.data, fields, (1, count), stride, 0, big_endian=False)
    if name == VELODYNE_SCAN:
        return points_in_scan([bytes(packet.data) for packet in message.packets])
    return np.array([(point.x, point.y, point.z) for point in message.points], np.float64).reshape(-1, 3)


def _packed(
    data: Any,
    fields: dict[str, tuple[str | None, int]],
    shape: tuple[int, int],
    point_step: int,
    row_step: int,
    *,
    big_endian: bool,
) -> np.ndarray:
    raw = np.frombuffer(data, np.uint8)
    height, width = shape
    row_step = row_step or width * point_step
    columns = []
    for axis in "xyz":
        code, offset = fields.get(axis, (None, 0))
        if code is None:
            has = ", ".join(fields) or "none"
            raise CannotDecode(f"a point cloud has no field {axis!r} of a known type (it has {has})")
        dtype = np.dtype((">" if big_endian else "<") + code)
        end = (height - 1) * row_step + (width - 1) * point_step + offset + dtype.itemsize
        fits = 0 <= offset <= point_step - dtype.itemsize and row_step >= width * point_step
        if height * width and not (fits and end <= len(raw)):
            size = f"{width} x {height} points of {point_step} bytes, rows of {row_step}"
            raise CannotDecode(f"a point cloud's sizes do not fit its {len(raw)} bytes ({size})")
        values = np.ndarray(
            shape if height * width else (height, 0), dtype, raw.data, offset, (row_step, point_step)
        )
        columns.append(values.astype(np.float64))
    points = np.stack(columns, axis=-1)
    return points if height > 1 else points.reshape(-1, 3)


@dataclass(eq=False)
class RosCloud:
    """A point cloud that is still a message's bytes."""

    time_ns: int
    width: int
    height: int
    points: Callable[[], np.ndarray]
    projection: Projection
    stop_ns: int = 0

    def metres(self, width: int, height: int, region: Region | None = None) -> tuple[np.ndarray, DepthCounts]:
        """See `DepthPicture`. A range image has one size only, and is wanted whole."""
        if (width, height) != (self.width, self.height) or region is not None:
            raise ValueError(f"a range image is {self.width} x {self.height}, asked for {width} x {height}")
        return self.projection.image(self.points())


class RosClouds:
    """Decoder of one track of point clouds.

    Args:
        type_name: of its messages.
        deserialize: turns bytes into messages; raises `CannotDecode`.
        projection: as planned.
    """

    def __init__(self, type_name: str, deserialize: Callable[[Any], Any], projection: Projection) -> None:
        self._type_name = type_name
        self._deserialize = deserialize
        self._projection = projection

    def decode(self, packet: Packet) -> list[RosCloud]:
        """See `Decoder`."""
        data, projection = packet.data, self._projection

        def points() -> np.ndarray:
            return points_of(self._deserialize(data), self._type_name)

        return [RosCloud(packet.time_ns, projection.columns, projection.rows, points, projection)]

    def flush(self) -> list[RosCloud]:
        """See `Decoder`."""
        return []
