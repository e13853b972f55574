"""Transforms between frames (`tf`, `tf_static`, Foxglove's) -> one signal per pair of frames.

A message holds transforms of several pairs, each with a stamp of its own; a pair's values are where the child
frame is in its parent frame, and how it is turned: seven columns, the rotation a quaternion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ingest.decoders.promised import as_promised
from ingest.decoders.records import TIME_FIELDS
from ingest.decoders.row_batches import RowBatches
from ingest.decoders.well_known import well_known
from ingest.recording import Packet, Rows

TRANSFORM_TYPES = (
    "tf2_msgs/msg/TFMessage",
    "tf/msg/tfMessage",
    "foxglove/FrameTransform",
    "foxglove/FrameTransforms",
)
COLUMNS = (*(f"translation.{axis}" for axis in "xyz"), *(f"rotation.{axis}" for axis in "xyzw"))
KINDS = ("linear",) * 3 + ("slerp",) * 4
QUATERNION = (3, 4, 5, 6)
NS = 1_000_000_000


class Transform(NamedTuple):
    """One transform of one message."""

    pair: str
    """`PARENT>CHILD`."""
    stamp_ns: int
    """0 where it says none."""
    values: tuple[float, ...]
    """In the order of `COLUMNS`."""


def is_transforms(type_name: str) -> bool:
    """Return whether a type holds transforms."""
    return well_known(type_name) in TRANSFORM_TYPES


def transforms_in(message: Any) -> Iterator[Transform]:
    """Yield the transforms of a message, whichever of the types it is of.

    Raises:
        CannotDecode: they lack what the type promises.
    """
    with as_promised("a transform"):
        yield from list(_transforms(message))


def _transforms(message: Any) -> Iterator[Transform]:
    for one in getattr(message, "transforms", None) or ([message] if hasattr(message, "rotation") else ()):
        if hasattr(one, "header"):
            parent, stamp, moved = one.header.frame_id, one.header.stamp, one.transform
        else:
            parent, stamp, moved = one.parent_frame_id, one.timestamp, one
        turn, shift = moved.rotation, moved.translation
        values = (shift.x, shift.y, shift.z, turn.x, turn.y, turn.z, turn.w)
        pair = f"{str(parent).strip('/')}>{str(one.child_frame_id).strip('/')}"
        yield Transform(pair, _time_ns(stamp), tuple(map(float, values)))


def _time_ns(stamp: Any) -> int:
    """Return a stamp as ROS, JSON or protobuf has it."""
    for seconds, rest in (("sec", "nanosec"), *TIME_FIELDS):
        if hasattr(stamp, seconds) and hasattr(stamp, rest):
            return int(getattr(stamp, seconds)) * NS + int(getattr(stamp, rest))
    return 0


class TransformRows:
    """Decoder of one pair of frames: packets are rows already."""

    def __init__(self) -> None:
        self._batches = RowBatches()

    def decode(self, packet: Packet) -> list[Rows]:
        """See `Decoder`."""
        return self._batches.add(packet.time_ns, packet.data)

    def flush(self) -> list[Rows]:
        """See `Decoder`."""
        return self._batches.flush()
