"""Message types whose meaning is known, whatever they are called in the recording.

Foxglove's schemas come as protobuf and JSON (`foxglove.RawImage`), as ROS 1 and ROS 2 messages
(`foxglove_msgs/RawImage`, `foxglove_msgs/msg/RawImage`) and as IDL (`foxglove::RawImage`); here all of
them are `foxglove/RawImage`. Every other type keeps its name.

Source: github.com/foxglove/foxglove-sdk, "schemas".
"""

from __future__ import annotations

import re

_FOXGLOVE = re.compile(r"foxglove(?:_msgs)?(?:\.|::|/|/msg/)(\w+)")

RAW_IMAGE, COMPRESSED_IMAGE = "foxglove/RawImage", "foxglove/CompressedImage"
RAW_AUDIO, LOG = "foxglove/RawAudio", "foxglove/Log"
COMPRESSED_VIDEO = "foxglove/CompressedVideo"


def well_known(type_name: str) -> str:
    """Return the one name of a type.

    >>> well_known("foxglove_msgs/msg/RawImage"), well_known("sensor_msgs/msg/Imu")
    ('foxglove/RawImage', 'sensor_msgs/msg/Imu')
    """
    match = _FOXGLOVE.fullmatch(type_name)
    return f"foxglove/{match[1]}" if match else type_name
