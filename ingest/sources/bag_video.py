"""Compressed video topics: what planning learns of them, and from where a window is read.

Planning notes the keyframes (up to `MOST_CHECKPOINTS`; of more every second, fourth … is kept). A window is
read from the last one of them at or before its start: the same pictures come, wherever reading begins.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from itertools import pairwise

from ingest.decoders.bag_video import BagVideo, codec_of, first_frame, format_of, shown_order, video_in
from ingest.decoders.video_keyframes import packet_facts
from ingest.errors import CannotDecode
from ingest.recording import Incident, Medium, Packet, Track
from ingest.sources.bag_plans import MOST_CHECKPOINTS, TopicPlan
from ingest.sources.bag_reading import TrackReader
from ingest.sources.bag_storage import Message
from ingest.sources.bag_topics import Topic
from ingest.sources.bag_types import AnyType

ORDER_PACKETS = 32
"""So many packets are decoded to learn whether pictures are shown in the order in which they lie."""


class VideoPlan(TopicPlan):
    """Compressed video: its codec, its size, its keyframes on both clocks."""

    medium: Medium = "pictures"

    def __init__(self, topic: Topic, message_type: AnyType) -> None:
        super().__init__(topic, message_type)
        self._codec = ""
        self._parameters = b""
        self._size = 0, 0
        self._pixel_format = ""
        self._before = 0
        """Messages before the first keyframe."""
        self._checkpoints: list[tuple[int, int]] = []
        """Log and header stamp of keyframes, evenly spaced."""
        self._keyframes = 0
        self._stride = 1
        self._first: list[tuple[bytes, int]] = []
        """Packets and header stamps from the first keyframe on, of which the order of showing is learned."""

    def look(self, message: Message, header_ns: int) -> None:
        """See `TopicPlan`."""
        packet = self.type.deserialize(message.data)
        codec = self._codec or codec_of(packet)
        if not codec:
            raise CannotDecode(f"video as {format_of(packet)!r} is not supported")
        data = video_in(packet)
        facts = packet_facts(codec, data)
        if not self._codec:
            self._parameters = self._parameters or facts.parameters
            if not facts.keyframe:
                self._before += 1
                return
            frame = first_frame(codec, data if facts.parameters else self._parameters + data)
            self._size, self._pixel_format = (frame.width, frame.height), frame.format.name
            self._codec = codec
        if len(self._first) < ORDER_PACKETS:
            leads = not self._first and not facts.parameters
            self._first.append((self._parameters + data if leads else data, header_ns))
        if facts.keyframe:
            self._note(message.log_ns, header_ns)

    def _note(self, log_ns: int, header_ns: int) -> None:
        if self._keyframes % self._stride == 0:
            self._checkpoints.append((log_ns, header_ns))
            if len(self._checkpoints) > MOST_CHECKPOINTS:
                self._checkpoints = self._checkpoints[::2]
                self._stride *= 2
        self._keyframes += 1

    def make(self, stop_ns: int) -> Track | Incident:
        """See `TopicPlan`."""
        clock, stamps = self.clock.result()
        if not self._codec:
            return self.incident(f"compressed video without a keyframe in {stamps.count} messages")
        order = shown_order(self._codec, [data for data, _ in self._first])
        if order != sorted(order):  # B-frames
            presented = self.clock.as_presented()
            shown = [self._first[index][1] for index in order]
            if presented is None or not all(before < after for before, after in pairwise(shown)):
                return self.incident(
                    "its pictures lie in the order of decoding, not of showing (B-frames), and its header "
                    "stamps do not say when each is shown: not read"
                )
            clock, stamps = presented
        fields = self.common(clock, stamps)
        column = 1 if clock.choice == "header" else 0
        fields["start_ns"] = self._checkpoints[0][column]
        fields["item_count"] -= self._before
        fields["gaps"] = tuple(gap for gap in fields["gaps"] if gap[0] >= fields["start_ns"])
        fields["details"] |= {
            "video": self._codec,
            "parameters": b64encode(self._parameters).decode(),
            "keyframes": self._keyframes,
            "checkpoints": [[pair[0], pair[column]] for pair in self._checkpoints],
        }
        width, height = self._size
        return Track(**fields, width=width, height=height, pixel_format=f"{self._codec} {self._pixel_format}")

    def remarks(self) -> list[Incident]:
        """See `TopicPlan`."""
        remarks = super().remarks()
        if self._before and self._codec:
            clock, stamps = self.clock.result()
            cause = f"{self._before} pictures before the first keyframe can't be decoded"
            stop_ns = self._checkpoints[0][1 if clock.choice == "header" else 0]
            remarks.append(replace(self.incident(cause), start_ns=stamps.first_ns, stop_ns=stop_ns))
        return remarks


class VideoReader(TrackReader):
    """One video track's share of a window: from the last kept keyframe at or before it."""

    def __init__(
        self,
        track: Track,
        topic: Topic,
        message_type: AnyType,
        start_ns: int,
        stop_ns: int,
        *,
        only_keyframes: bool,
    ) -> None:
        super().__init__(track, topic, message_type, start_ns, stop_ns)
        self._type = message_type
        self._codec = track.details["video"]
        self._only_keyframes = only_keyframes
        checkpoints = track.details["checkpoints"]
        before = [log_ns for log_ns, time_ns in checkpoints if time_ns <= start_ns]
        self.log_start_ns = before[-1] if before else checkpoints[0][0]
        self.log_stop_ns = max(self.log_start_ns, self.log_stop_ns)

    @property
    def needs_last_before(self) -> bool:
        """See `TrackReader`: the keyframe is before whatever the window needs."""
        return False

    def packet(self, message: Message) -> Packet | None:
        """See `TrackReader`. With `only_keyframes`, all others are passed over."""
        if self._only_keyframes:
            data = video_in(self._type.deserialize(message.data))
            if not packet_facts(self._codec, data).keyframe:
                return None
        return super().packet(message)


def video_decoder(track: Track, message_type: AnyType) -> BagVideo:
    """Return the decoder of a video track."""
    parameters = b64decode(track.details["parameters"])
    return BagVideo(track.details["video"], parameters, message_type.deserialize)
