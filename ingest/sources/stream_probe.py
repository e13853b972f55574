"""What one stream of a media file is, from its packets' stamps and its first decoded frame."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av.error
import numpy as np

from ingest.decoders.av_pictures import display_rotation
from ingest.recording import Incident, Severity, Track
from ingest.sources.av_container import words_of
from ingest.sources.keyframe_check import KeyframeCheck
from ingest.timing import NS, gaps_longer_than, median_period_ns, pts_to_ns

FIRST_FRAME_PACKETS = 5000
"""So many packets are tried until a first frame must have come out."""
UNSAID_NS = 5 * NS
"""How long text is shown whose packet has no duration."""
MEDIA = {"video": "pictures", "audio": "sound", "subtitle": "text"}


class StreamProbe:
    """Takes the packets of one stream in file order, then describes it as a track.

    Args:
        name: the track's name.
        stream: PyAV's stream.
        padding_is_cut: whether this container's packet durations leave out the padding at the end.
    """

    def __init__(self, name: str, stream: Any, padding_is_cut: bool = False) -> None:
        self.name = name
        self.late_ns = 0
        """How far, in file order, packets come behind packets of other streams."""
        self._stream = stream
        self._padding_is_cut = padding_is_cut
        self._time_base: Fraction = stream.time_base or Fraction(1, 1_000_000)
        self._ns_times, self._ns_over = self._time_base.numerator * NS, self._time_base.denominator
        self._pts = array("q")
        self._sizes = array("i")
        self._longest = 0
        self._ahead = 0
        """How far the decoding stamp of a packet comes after its presentation stamp at most."""
        self._end = -(2**63)
        self._last: Any = None
        """The packet that ends last."""
        self._byte_count = self._keyframes = 0
        self._without_pts = self._discarded = self._corrupt = 0
        self._frame: Any = None
        self._encrypted = False
        self._cause = ""
        self._tries = 0 if stream.type == "subtitle" else FIRST_FRAME_PACKETS
        self._keyframe_check = KeyframeCheck(stream.codec_context) if stream.type == "video" else None

    def add(self, packet: Any, latest_ns: int) -> int:
        """Take the next packet.

        Args:
            packet: of this stream.
            latest_ns: the greatest decoding time of any stream so far.

        Returns:
            `latest_ns`, or this packet's decoding time if it is greater.
        """
        size = packet.size
        pts, dts = packet.pts, packet.dts
        self._byte_count += size
        self._keyframes += packet.is_keyframe
        self._corrupt += packet.is_corrupt
        if pts is None:
            self._without_pts += 1
        elif packet.is_discard:
            self._discarded += 1
        else:
            self._pts.append(pts)
            self._sizes.append(size)
            duration = packet.duration or 0
            if duration > self._longest:
                self._longest = duration
            if pts + duration >= self._end:
                self._end, self._last = pts + duration, packet
            if dts is not None and dts - pts > self._ahead:
                self._ahead = dts - pts
        if self._tries:
            self._decode_first(packet)
        elif self._keyframe_check and pts is not None:
            self._keyframe_check.add(packet)
        if dts is None:
            return latest_ns
        time_ns = dts * self._ns_times // self._ns_over
        if time_ns >= latest_ns:
            return int(time_ns)
        self.late_ns = max(self.late_ns, latest_ns - time_ns)
        return latest_ns

    def _decode_first(self, packet: Any) -> None:
        """Decode until a first frame appears. Encrypted packets decode to noise at best."""
        if packet is not None and packet.has_sidedata("encryption_info"):
            self._encrypted, self._tries = True, 0
            return
        context = self._stream.codec_context
        self._tries -= 1
        try:
            if not context.is_open:
                context.thread_count = 1
            frames = context.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            self._cause = self._cause or words_of(error)
            return
        for frame in frames[:1]:
            self._frame, self._tries = frame, 0

    @property
    def span_ns(self) -> tuple[int, int]:
        """First stamp, and last stamp plus its duration; (0, 0) without packets."""
        if not len(self._pts):
            return 0, self._without_pts * self._declared_period_ns
        stamps = np.frombuffer(self._pts, np.int64)
        first, last = int(stamps.min()), int(stamps.max())
        start_ns = first * self._ns_times // self._ns_over
        if self._end <= last:  # no duration stored for the last packet
            return start_ns, last * self._ns_times // self._ns_over + self._declared_period_ns
        return start_ns, self._end * self._ns_times // self._ns_over - self._padding_ns

    @property
    def _padding_ns(self) -> int:
        """How much sound at the end of the last packet is to be dropped."""
        if self._padding_is_cut or self._stream.type != "audio" or self._last is None:
            return 0
        return skipped_samples(self._last)[1] * NS // (self._stream.codec_context.sample_rate or NS)

    @property
    def _declared_period_ns(self) -> int:
        rate = getattr(self._stream, "average_rate", None)
        return int(NS / rate) if rate else NS // 25

    def knows(self, packet: Any) -> bool:
        """Say whether a packet of this stamp and size was among those added."""
        where = np.flatnonzero(np.frombuffer(self._pts, np.int64) == packet.pts)
        return bool((np.frombuffer(self._sizes, np.int32)[where] == packet.size).any())

    def track(
        self, seekable: bool, tell: Callable[[Incident], None], why_undecodable: Callable[[], str]
    ) -> Track | None:
        """Describe the stream, once its last packet was added.

        Args:
            seekable: whether the container gives the same packets after a seek.
            tell: hears what is lost or odd.
            why_undecodable: gives a cause that only the file as a whole can show, or "".

        Returns:
            The track; None, with an incident, where nothing of it can be had.
        """
        stream, codec = self._stream, codec_name(self._stream)
        count = len(self._pts) + self._without_pts + self._discarded
        if self._tries and count:
            self._decode_first(None)
        if self._keyframe_check:
            self._keyframe_check.end()
        if not len(self._pts) and not self._without_pts:
            tell(Incident("note", f"stream #{stream.index} ({codec}) has no packets", self.name))
            return None
        if stream.type != "subtitle" and self._frame is None:
            tell(
                Incident(
                    "failure", self._why_nothing(codec, count, why_undecodable), self.name, *self.span_ns
                )
            )
            return None
        counted = not len(self._pts)
        if counted:
            tell(Incident("note", "no time stamps: frames are timed by the declared rate", self.name))
        start_ns = self._start_ns(tell)
        times = self._times_ns()
        period_ns = median_period_ns(times)
        base = Track(
            name=self.name,
            medium=MEDIA[stream.type],  # type: ignore[arg-type]
            topic=f"#{stream.index}",
            codec=codec,
            start_ns=start_ns,
            stop_ns=max(self.span_ns[1], start_ns + 1),
            item_count=len(self._pts) + self._without_pts,
            byte_count=self._byte_count,
            period_ns=period_ns,
            gaps=tuple(gaps_longer_than(times, 3 * period_ns)) if stream.type != "subtitle" else (),
            details={
                "stream": stream.index,
                "counted": counted,
                "seekable": seekable,
                "keyframes_hold": self._keyframe_check is None or self._keyframe_check.honest,
                "late_ns": self.late_ns,
                "ahead_ns": -(-self._ahead * self._ns_times // self._ns_over),
                "longest_ns": self._longest * self._ns_times // self._ns_over or UNSAID_NS,
                "keyframes": self._keyframes,
                "metadata": plain_metadata(stream.metadata),
            },
        )
        if not base.details["keyframes_hold"]:
            cause = "decoding can't begin at every picture marked as keyframe: it is read from the beginning"
            tell(Incident("note", cause, self.name))
        if self._corrupt:
            cause = f"{self._corrupt} of {count} packets are marked as damaged"
            tell(Incident("failure", cause, self.name, base.start_ns, base.stop_ns))
        return self._with_first_frame(base, tell)

    def _why_nothing(self, codec: str, count: int, why_undecodable: Callable[[], str]) -> str:
        what = f"stream #{self._stream.index} ({codec})"
        if self._encrypted:
            return f"{what} is encrypted: it can't be decoded without its key"
        why = why_undecodable() or self._cause
        packets = "its only packet" if count == 1 else f"none of its {count} packets"
        verb = "does not decode" if count == 1 else "decodes"
        return f"{what}: {packets} {verb}{f' ({why})' if why else ''}"

    def _start_ns(self, tell: Callable[[Incident], None]) -> int:
        """Return the time of the first frame, and say what does not decode before it.

        Priming samples are dropped from the first packet; pictures that refer to something before the
        beginning of the file never come out.
        """
        start_ns = self.span_ns[0]
        if self._frame is None or self._frame.pts is None or not len(self._pts):
            return start_ns
        first_ns = pts_to_ns(self._frame.pts, self._frame.time_base or self._time_base)
        if first_ns > start_ns and (self._cause or self._stream.type == "video"):
            severity: Severity = "failure" if self._cause else "note"
            cause = (
                "what comes before the first whole picture refers to something that the file does not hold"
            )
            if self._cause:
                cause = f"nothing decodes before the first frame ({self._cause})"
            tell(Incident(severity, cause, self.name, start_ns, first_ns))
        return first_ns

    def _times_ns(self) -> np.ndarray:
        """Return the stamps in ascending order, int64 [N]."""
        if not len(self._pts):  # timed by counting
            return np.arange(self._without_pts, dtype=np.int64) * self._declared_period_ns
        return stamps_to_ns(np.sort(np.frombuffer(self._pts, np.int64)), self._time_base)

    def _with_first_frame(self, base: Track, tell: Callable[[Incident], None]) -> Track:
        """Add what only a decoded frame shows."""
        frame, stream = self._frame, self._stream
        if base.medium == "pictures":
            rotation, mirrored, odd = display_rotation(frame)
            if odd:
                tell(Incident("note", f"display matrix ignored: {odd}", base.name))
            aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
            return replace(
                base,
                declared_rate=str(stream.average_rate or ""),
                width=frame.width,
                height=frame.height,
                sample_aspect=str(aspect if aspect > 0 else Fraction(1)),
                rotation=rotation,
                mirrored=mirrored,
                pixel_format=frame.format.name,
            )
        if base.medium == "sound":
            return replace(base, sample_rate=frame.sample_rate, channels=frame.layout.nb_channels)
        return base


def stamps_to_ns(stamps: np.ndarray, time_base: Fraction) -> np.ndarray:
    """Return `pts_to_ns` of many stamps at once, int64 [N].

    Whole seconds and the rest are converted apart, so that nothing overflows.
    """
    ticks = stamps * time_base.numerator
    seconds, rest = np.divmod(ticks, time_base.denominator)
    return np.asarray(seconds * NS + rest * NS // time_base.denominator)


def skipped_samples(packet: Any) -> tuple[int, int]:
    """Return how many samples the container says to drop at a packet's start and end.

    Source: FFmpeg's AV_PKT_DATA_SKIP_SAMPLES, which begins with two little-endian uint32.
    """
    data = bytes(packet.get_sidedata("skip_samples")) if packet.has_sidedata("skip_samples") else b""
    return int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")


def codec_name(stream: Any) -> str:
    """Return the codec's name, whichever of its decoders this FFmpeg has (`av1`, not `libdav1d`)."""
    return str(stream.codec_context.codec.canonical_name)


def plain_metadata(metadata: Any) -> dict[str, str]:
    """Return metadata as JSON, long values cut."""
    return {str(key): str(value)[:500] for key, value in sorted(dict(metadata).items())}
