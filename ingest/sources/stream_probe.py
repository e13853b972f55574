"""What one stream of a media file is, from its packets' stamps and its first decoded frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from ingest.decoders.av_errors import DECODING_ERRORS, words_of
from ingest.decoders.av_limits import prepare
from ingest.decoders.av_pictures import UNSAID_RATE, counted_ns, display_rotation
from ingest.decoders.av_text import UNSAID_NS
from ingest.decoders.colour import colour_of
from ingest.recording import Incident, Track
from ingest.sources.keyframe_check import KeyframeCheck
from ingest.sources.stream_stamps import Interleaving, StreamStamps
from ingest.timing import LONGEST_STILL_NS, NS, Ticks, gaps_longer_than, median_period_ns, pts_to_ns

FIRST_FRAME_PACKETS = 5000
"""So many packets are tried until a first frame must have come out."""
WITHOUT_PTS = {"avi"}
"""Containers that store pictures in decoding order and nothing else: FFmpeg's presentation stamps are
guesses there, wrong for packed and for reordered pictures. Picture k is shown at the k-th stamp."""
MOST_STILLS = 10_000
"""Gaps of an hour and more that are kept of a stream."""
LEAST_RATE, GREATEST_RATE = 1_000, 10_000_000
"""Samples per second, of sound. What says otherwise is damaged."""
PROGRESSIVE = 1
"""FFmpeg's AVFieldOrder: 0 is unknown, above are the interlaced ones."""
NO_LOSS_NS = NS // 10
"""Damage shorter than this at the very end is a note, not a failure."""
UNSAID_MATRIX = (0, 2, 3)
"""Matrix numbers that name no YUV matrix: RGB, unspecified, reserved (ITU-T H.273, table 4)."""
_CLEARING_BYTES = 2
"""Size of a `mov_text` packet that is no cue but clears the screen: a text length of 0."""
Tell = Callable[[Incident], None]


class StreamProbe:
    """Takes the packets of one stream in file order, then describes it as a track.

    Args:
        name: the track's name.
        stream: PyAV's stream.
        container: libavformat's first name of the container.
    """

    def __init__(self, name: str, stream: Any, container: str) -> None:
        self.name = name
        self.is_video = stream.type == "video"
        self._stream = stream
        self._has_pts = container not in WITHOUT_PTS or not self.is_video
        time_base = stream.time_base or Fraction(1, 1_000_000)
        self._ticks = Ticks(time_base)
        self._stamps = StreamStamps(time_base, self._has_pts)
        self._clears = stream.codec_context.name == "mov_text"
        self._late_ns = 0
        self._last: Any = None
        self._frame: Any = None
        """The first one that was decoded."""
        self._frame_samples = 0
        self._encrypted = False
        self._cause = ""
        self._tries = 0 if stream.type == "subtitle" else FIRST_FRAME_PACKETS
        self._check = KeyframeCheck(stream.codec_context, self._has_pts) if self.is_video else None

    def add(self, packet: Any, order: Interleaving) -> None:
        """Take the next packet, and let the container's order know of it."""
        if packet.size == _CLEARING_BYTES and self._clears:
            return
        self._stamps.add(packet)
        self._last = packet
        dts = packet.dts
        if dts is not None:
            late_ns = order.late_ns(self._ticks.ns(dts))
            if late_ns > self._late_ns:
                self._late_ns = late_ns
        if self._tries:
            self._decode_first(packet)
        elif self._check is not None and dts is not None and not packet.is_discard:
            self._check.add(packet)

    def _decode_first(self, packet: Any) -> None:
        """Decode until a first frame appears. Encrypted packets decode to noise at best."""
        if packet is not None and packet.has_sidedata("encryption_info"):
            self._encrypted, self._tries = True, 0
            return
        context = self._stream.codec_context
        self._tries -= 1
        try:
            if not context.is_open:
                prepare(context)
            frames = context.decode(packet)
        except DECODING_ERRORS as error:
            self._cause = self._cause or words_of(error)
            return
        for frame in frames:
            self._frame = self._frame or frame
            if self.is_video or self._frame_samples:  # sound's second frame is the first one of full length
                self._tries = 0
                return
            self._frame_samples = frame.samples if frame is not self._frame else 0

    def knows(self, packet: Any) -> bool:
        """Say whether a packet of this stamp and size was among those added."""
        raw = self._stream.codec_context.name.startswith("pcm_")  # may be cut anywhere
        return raw or self._stamps.knows(packet)

    @property
    def span_ns(self) -> tuple[int, int]:
        """First stamp, and last stamp plus its duration; (0, 0) without packets."""
        if not len(self._stamps):
            return 0, counted_ns(self._stamps.without_stamp, self._rate)
        stop_ns = self._stamps.stop_ns(counted_ns(1, self._rate)) - self._padding_ns
        return self._stamps.in_ns(self._stamps.first), stop_ns

    @property
    def _padding_ns(self) -> int:
        """How much sound at the end of the last packet is to be dropped and is part of its duration.

        Some containers have left it out of the duration already, and some have not: it can't be longer
        than a whole packet without the padding.
        """
        if self._stream.type != "audio":
            return 0
        dropped_ns = skipped_at_end(self._last) * NS // (self._stream.codec_context.sample_rate or NS)
        lasts_ns = self._stamps.in_ns(self._last.duration or 0)
        return max(0, lasts_ns - max(0, self._stamps.longest_ns - dropped_ns))

    @property
    def _may_hold_fields(self) -> bool:
        """Whether a packet may hold one field only, half of a picture: interlaced H.264 as broadcast."""
        context = self._stream.codec_context
        if not self.is_video or context.name != "h264":
            return False
        return bool(getattr(self._frame, "interlaced_frame", False)) or int(context.field_order) > PROGRESSIVE

    @property
    def _rate(self) -> Fraction:
        return getattr(self._stream, "average_rate", None) or UNSAID_RATE

    def track(self, seekable: bool, tell: Tell, why_undecodable: Callable[[], str]) -> Track | None:
        """Describe the stream, once its last packet was added.

        Args:
            seekable: whether the container gives the same packets after a seek.
            tell: hears what is lost or odd.
            why_undecodable: gives a cause that only the file as a whole can show, or "".

        Returns:
            The track; None, with an incident, where nothing of it can be had.
        """
        stamps = self._stamps
        count = len(stamps) + stamps.without_stamp
        if self._tries and (count or stamps.discarded):
            self._decode_first(None)
        if self._check:
            self._check.end()
        if not count:
            what = f"stream #{self._stream.index} ({codec_name(self._stream)})"
            tell(Incident("note", f"{what} has no packets", self.name))
            return None
        if self._stream.type != "subtitle" and self._frame is None:
            tell(Incident("failure", self._why_nothing(count, why_undecodable), self.name, *self.span_ns))
            return None
        base = self._as_text(count, seekable)
        self._tell_of_damage(base, tell)
        return self._with_first_frame(base, tell)

    def _as_text(self, count: int, seekable: bool) -> Track:
        """Describe what all media have in common."""
        stamps, stream = self._stamps, self._stream
        times_ns = stamps.times_ns if len(stamps) else self._counted_times_ns()
        period_ns = median_period_ns(times_ns)
        start_ns, stop_ns = self._first_ns(), self.span_ns[1]
        ahead_ns = stamps.in_ns(max(self._delay or 0, stamps.ahead)) + 1
        return Track(
            name=self.name,
            medium="text",
            topic=f"#{stream.index}",
            codec=codec_name(stream),
            start_ns=start_ns,
            stop_ns=max(stop_ns, start_ns + 1),
            item_count=count,
            byte_count=stamps.byte_count,
            period_ns=period_ns,
            gaps=_gaps(times_ns, 3 * period_ns if stream.type != "subtitle" else LONGEST_STILL_NS),
            details={
                "stream": stream.index,
                "counted": not len(stamps),
                "seekable": seekable,
                "delay": self._delay,
                "ahead_ns": ahead_ns,
                "late_ns": self._late_ns,
                "ordered": stamps.ordered and not self._may_hold_fields,
                "longest_ns": stamps.longest_ns or UNSAID_NS,
                "keyframes": stamps.keyframes,
                "keyframes_hold": self._check is None or self._check.honest,
                "metadata": plain_metadata(stream.metadata),
            },
        )

    def _with_first_frame(self, base: Track, tell: Tell) -> Track | None:
        """Add what only a decoded frame shows; None where that can't be."""
        frame, stream = self._frame, self._stream
        if stream.type == "audio":
            row = {"first_samples": frame.samples, "frame_samples": self._frame_samples or frame.samples}
            details = {**base.details, **row}
            channels = frame.layout.nb_channels
            if not LEAST_RATE <= frame.sample_rate <= GREATEST_RATE:
                cause = f"stream #{stream.index}: sound of {frame.sample_rate} samples a second is damaged"
                tell(Incident("failure", cause, self.name, *self.span_ns))
                return None
            return replace(
                base, medium="sound", sample_rate=frame.sample_rate, channels=channels, details=details
            )
        if stream.type == "subtitle":
            return base
        rotation, mirrored, odd = display_rotation(frame)
        if odd:
            tell(Incident("note", f"display matrix ignored: {odd}", base.name))
        details = {**base.details, "colour": _colour(frame), "interlaced": bool(frame.interlaced_frame)}
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
        return replace(
            base,
            medium="pictures",
            declared_rate=str(stream.average_rate or ""),
            width=frame.width,
            height=frame.height,
            sample_aspect=str(aspect if aspect > 0 else Fraction(1)),
            rotation=rotation,
            mirrored=mirrored,
            pixel_format=frame.format.name,
            details=details,
        )

    def _first_ns(self) -> int:
        """Return the time of the first frame: priming samples are dropped from the first packet, and
        pictures that refer to something before the beginning of the file never come out.
        """
        if self._frame is None or self._frame.pts is None or not len(self._stamps) or not self._has_pts:
            return self.span_ns[0]
        return pts_to_ns(self._frame.pts, self._frame.time_base or self._stamps.time_base)

    @property
    def _delay(self) -> int | None:
        """How many ticks pass between a picture's being shown and the packet that brings it out of the
        decoder, where only decoding stamps are known; None where presentation stamps are.
        """
        if self._has_pts or self._frame is None or not len(self._stamps):
            return None
        return 0 if self._frame.dts is None else max(0, self._frame.dts - self._stamps.first)

    def _counted_times_ns(self) -> np.ndarray:
        times = [counted_ns(k, self._rate) for k in range(self._stamps.without_stamp)]
        return np.array(times, np.int64)

    def _tell_of_damage(self, track: Track, tell: Tell) -> None:
        stamps = self._stamps
        start_ns, stop_ns = self.span_ns
        if track.details["counted"]:
            tell(Incident("note", "no time stamps: frames are timed by the declared rate", self.name))
        if not track.details["keyframes_hold"]:
            cause = "decoding can't begin at every picture marked as keyframe: it is read from the beginning"
            tell(Incident("note", cause, self.name))
        if track.start_ns > start_ns and self._cause:
            cause = f"nothing decodes before the first frame ({self._cause})"
            tell(Incident("failure", cause, self.name, start_ns, track.start_ns))
        elif track.start_ns > start_ns and self.is_video:
            cause = "the first pictures refer to others from before the beginning of the file"
            tell(Incident("note", cause, self.name, start_ns, track.start_ns))
        if len(stamps.strays):
            cause = f"{len(stamps.strays)} of {len(stamps)} time stamps are far from all others: left out"
            tell(Incident("failure", cause, self.name))
        if stamps.damaged:
            first_ns, last_ns = stamps.in_ns(min(stamps.damaged)), stamps.in_ns(max(stamps.damaged))
            cause = f"{len(stamps.damaged)} of {track.item_count} packets are marked as damaged"
            severity: Literal["note", "failure"] = "note" if stop_ns - first_ns <= NO_LOSS_NS else "failure"
            tell(Incident(severity, cause, self.name, first_ns, last_ns + max(1, track.period_ns)))

    def _why_nothing(self, count: int, why_undecodable: Callable[[], str]) -> str:
        what = f"stream #{self._stream.index} ({codec_name(self._stream)})"
        if self._encrypted:
            return f"{what} is encrypted: it can't be decoded without its key"
        why = why_undecodable() or self._cause
        packets = "its only packet does not decode" if count == 1 else f"none of its {count} packets decodes"
        return f"{what}: {packets}{f' ({why})' if why else ''}"


def _gaps(times_ns: np.ndarray, limit_ns: int) -> tuple[tuple[int, int], ...]:
    """Return the first gaps that are longer than a limit, and all in which nothing counts any more."""
    longest = gaps_longer_than(times_ns, LONGEST_STILL_NS, MOST_STILLS)
    return tuple(sorted({*gaps_longer_than(times_ns, limit_ns), *longest}))


def skipped_at_end(packet: Any) -> int:
    """Return how many samples the container says to drop at a packet's end.

    Source: FFmpeg's AV_PKT_DATA_SKIP_SAMPLES: two little-endian uint32, for start and end.
    """
    data = bytes(packet.get_sidedata("skip_samples")) if packet.has_sidedata("skip_samples") else b""
    return int.from_bytes(data[4:8], "little")


def codec_name(stream: Any) -> str:
    """Return the codec's name, whichever of its decoders this FFmpeg has (`av1`, not `libdav1d`)."""
    return str(stream.codec_context.codec.canonical_name)


def _colour(frame: Any) -> dict[str, Any]:
    """Return how a frame's samples are understood, as JSON."""
    colour, name = colour_of(frame), frame.format.name
    kind = "rgb" if frame.format.is_rgb or name == "pal8" else "grey" if name.startswith("gray") else ""
    declared = bool(kind) or int(frame.colorspace) not in UNSAID_MATRIX
    return {
        "matrix": kind or colour.matrix,
        "range": "full" if colour.full_range else "limited",
        "transfer": colour.transfer,
        "declared": declared,
    }


def plain_metadata(metadata: Any) -> dict[str, str]:
    """Return metadata as JSON, long values cut."""
    return {str(key): str(value)[:500] for key, value in sorted(dict(metadata).items())}
