"""Whether decoding may begin where a container marks keyframes: tried on a few of them.

Some writers mark pictures that refer to earlier ones, and some streams have no whole pictures at all
but refresh a strip at a time. Beginning there gives garbage without any error.
"""

from __future__ import annotations

from typing import Any

from ingest.decoders.av_errors import DECODING_ERRORS

MOST_PACKETS = 64
"""So many packets after a keyframe its picture must have come out."""


class KeyframeCheck:
    """Decodes the 2nd, 3rd, 5th, 9th, 17th … keyframe of a stream on its own.

    Args:
        context: the stream's codec context, free for use; it is left flushed.
        has_pts: whether the container stores when a packet's picture is shown.
    """

    def __init__(self, context: Any, has_pts: bool) -> None:
        self.honest = True
        """False once a keyframe's picture does not come out, or not as one that stands alone."""
        self._context = context
        self._has_pts = has_pts
        self._seen = 0
        self._next = 2
        self._wanted: int | None = None
        """The stamp of the keyframe being decoded."""
        self._left = 0

    def add(self, packet: Any) -> None:
        """Take the stream's next packet that has a stamp and is shown."""
        if packet.is_keyframe:
            self._seen += 1
            if self._seen == self._next and self._wanted is None:
                self._context.flush_buffers()
                self._wanted, self._left = packet.pts, MOST_PACKETS
            if self._seen >= self._next:
                self._next = 2 * self._seen - 1
        if self._wanted is not None:
            self._feed(packet)

    def end(self) -> None:
        """Judge what is still being decoded when the stream is over."""
        if self._wanted is not None:
            self._feed(None)
        if self._wanted is not None:
            self._finish(False)

    def _feed(self, packet: Any) -> None:
        try:
            frames = self._context.decode(packet)
        except DECODING_ERRORS:  # damage says nothing about the others
            self._finish(self.honest)
            return
        self._left -= 1
        for frame in frames:
            if not self._has_pts:
                self._finish(frame.key_frame)
                return
            if frame.pts is None or frame.pts >= self._wanted:
                self._finish(frame.key_frame and frame.pts == self._wanted)
                return
        if not self._left:
            self._finish(False)

    def _finish(self, honest: bool) -> None:
        self.honest = self.honest and bool(honest)
        self._wanted = None
        self._context.flush_buffers()
