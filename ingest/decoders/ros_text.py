"""ROS messages that are text -> cues: each is shown until the next one comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ingest.decoders.promised import as_promised
from ingest.decoders.well_known import LOG, well_known
from ingest.recording import Cue, Packet

TEXT_FIELDS = {
    "std_msgs/msg/String": "data",
    "rosgraph_msgs/msg/Log": "msg",
    "roslib/msg/Log": "msg",
    "rcl_interfaces/msg/Log": "msg",
    LOG: "message",
}
"""Types that are text, and the field it stands in."""


class RosText:
    """Decoder of one text track.

    Args:
        type_name: one of `TEXT_FIELDS`, by whatever name.
        deserialize: turns bytes into messages; raises `CannotDecode`.
        stop_ns: when the recording ends: until then the last text is shown.
    """

    def __init__(self, type_name: str, deserialize: Callable[[Any], Any], stop_ns: int) -> None:
        self._field = TEXT_FIELDS[well_known(type_name)]
        self._deserialize = deserialize
        self._stop_ns = stop_ns
        self._open: tuple[int, str] | None = None

    def decode(self, packet: Packet) -> list[Cue]:
        """See `Decoder`."""
        message = self._deserialize(packet.data)
        with as_promised("a text"):
            text = str(getattr(message, self._field))
        cues = self._close(packet.time_ns)
        self._open = packet.time_ns, text
        return cues

    def flush(self) -> list[Cue]:
        """See `Decoder`."""
        return self._close(self._stop_ns)

    def _close(self, stop_ns: int) -> list[Cue]:
        if self._open is None:
            return []
        (start_ns, text), self._open = self._open, None
        return [Cue(start_ns, max(stop_ns, start_ns + 1), text)]
