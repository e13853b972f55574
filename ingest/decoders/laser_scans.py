"""Laser scans in bags -> 360 ranges in metres, one per degree around the sensor: the same for every scanner.

Column k, `range[k - 180]`, is the nearest valid return of the beams whose angle lies in [k - 180, k - 179)
degrees, from x to the left. A degree without a beam takes the beam nearest to its middle, where one is
within half a beam's distance. Invalid (NaN) is what has no beam or no return: a range that is not finite,
not above 0, or outside `range_min` and `range_max` as far as the message names them.

Source: `sensor_msgs/LaserScan`, `MultiEchoLaserScan` (the nearest echo counts); `foxglove.LaserScan`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ingest.decoders.promised import as_promised
from ingest.decoders.row_batches import RowBatches
from ingest.decoders.well_known import well_known
from ingest.errors import CannotDecode
from ingest.recording import Packet, Rows

SCAN_TYPES = ("sensor_msgs/msg/LaserScan", "sensor_msgs/msg/MultiEchoLaserScan", "foxglove/LaserScan")
DEGREES = 360
COLUMNS = tuple(f"range[{degree}]" for degree in range(-180, 180))
KINDS = ("last",) * DEGREES
"""Ranges are never averaged: half way between a chair and the wall there is nothing."""
FARTHEST_RAD = 1e6
"""Angles beyond this, or not finite, are none."""
RULE = "range in metres per degree, nearest return"


class Scan(NamedTuple):
    """The beams of one message."""

    first_rad: float
    step_rad: float
    """From beam to beam; negative where they run clockwise."""
    ranges: np.ndarray
    """float64 [N], in metres; NaN where there is no return."""


def is_scan(type_name: str) -> bool:
    """Return whether a type is a laser scan."""
    return well_known(type_name) in SCAN_TYPES


def scan_of(message: Any) -> Scan:
    """Return the beams of a message.

    Raises:
        CannotDecode: it has ranges, but no angles for them, or no ranges.
    """
    with as_promised("a laser scan"):
        return _scan(message)


def _scan(message: Any) -> Scan:
    values = list(message.ranges) if not isinstance(message.ranges, np.ndarray) else message.ranges
    if len(values) and hasattr(values[0], "echoes"):
        values = [min((echo for echo in beam.echoes if echo > 0), default=np.nan) for beam in values]
    ranges = np.array(values, np.float64)
    if hasattr(message, "start_angle"):  # Foxglove's: from the first beam to the last
        first = float(message.start_angle)
        step = (float(message.end_angle) - first) / max(1, len(ranges) - 1)
        low, high = 0.0, 0.0
    else:
        first, step = float(message.angle_min), float(message.angle_increment)
        low, high = float(message.range_min), float(message.range_max)
    if not abs(first) + abs(step) * len(ranges) < FARTHEST_RAD or (step == 0 and len(ranges) > 1):
        raise CannotDecode(f"a laser scan of {len(ranges)} beams has no angles (from {first}, by {step})")
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(ranges) & (ranges > 0) & (ranges >= low)
        if high > 0:
            valid &= ranges <= high
    ranges[~valid] = np.nan
    return Scan(first, step, ranges)


def by_degree(scan: Scan) -> np.ndarray:
    """Return the range of each degree, float64 [360], from -180 up; NaN where there is none."""
    found = np.full(DEGREES, np.inf)
    covered = np.zeros(DEGREES, bool)
    if not len(scan.ranges):
        return np.full(DEGREES, np.nan)
    angles = np.degrees(scan.first_rad + scan.step_rad * np.arange(len(scan.ranges)))
    # a hair's breadth: 1.0 degree in float32 radians may be 0.99999 degrees
    column = np.floor(angles + 180 + 1e-4).astype(np.int64) % DEGREES
    covered[column] = True
    returned = ~np.isnan(scan.ranges)
    np.minimum.at(found, column[returned], scan.ranges[returned])
    step = abs(np.degrees(scan.step_rad))
    if step > 1:
        for index in np.flatnonzero(~covered):
            away = np.abs((angles - (index - 179.5) + 180) % 360 - 180)
            nearest = int(np.argmin(away))
            if away[nearest] <= step / 2 and returned[nearest]:
                found[index] = scan.ranges[nearest]
    found[np.isinf(found)] = np.nan
    return found


class LaserScans:
    """Decoder of one track of laser scans.

    Args:
        deserialize: turns bytes into messages; raises `CannotDecode`.
    """

    def __init__(self, deserialize: Callable[[Any], Any]) -> None:
        self._deserialize = deserialize
        self._batches = RowBatches()

    def decode(self, packet: Packet) -> list[Rows]:
        """See `Decoder`."""
        return self._batches.add(packet.time_ns, by_degree(scan_of(self._deserialize(packet.data))))

    def flush(self) -> list[Rows]:
        """See `Decoder`."""
        return self._batches.flush()
