"""Camera calibration as a recording carries it: `sensor_msgs/CameraInfo`, `foxglove.CameraCalibration`.

Both have the same fields, in upper or lower case: distortion model and D, intrinsics K (3 x 3), rectification
R (3 x 3), projection P (3 x 4), row by row.
"""

from __future__ import annotations

from typing import Any

from ingest.decoders.promised import as_promised

CALIBRATION_TYPES = ("sensor_msgs/msg/CameraInfo", "foxglove/CameraCalibration")
MOST_NUMBERS = 64


def calibration_of(message: Any) -> dict[str, Any]:
    """Return a calibration as JSON.

    Raises:
        CannotDecode: it lacks what its type promises.
    """
    with as_promised("a calibration"):
        return _calibration(message)


def _calibration(message: Any) -> dict[str, Any]:
    header = getattr(message, "header", message)
    found: dict[str, Any] = {
        "frame_id": str(getattr(header, "frame_id", "")),
        "width": int(message.width),
        "height": int(message.height),
        "model": str(message.distortion_model),
    }
    for name in ("D", "K", "R", "P"):
        # ROS 2 writes them small
        values: Any = getattr(message, name if hasattr(message, name) else name.lower(), ())
        found[name] = [float(value) for value in list(values)[:MOST_NUMBERS]]
    return found
