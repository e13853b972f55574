"""What one stream of a media file is, from its packets' stamps and its first decoded frame."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from ingest.decoders.av_errors import DECODING_ERRORS, words_of
from ingest.decoders.av_pictures import UNSAID_RATE, counted_ns, display_rotation
from ingest.recording import Incident, Severity, Track
from ingest.sources.keyframe_check import KeyframeCheck
from ingest.timing import NS, gaps_longer_than, median_period_ns, pts_to_ns

FIRST_FRAME_PACKETS = 5000
"""So many packets are tried until a first frame must have come out."""
UNSAID_NS = 5 * NS
"""How long text is shown whose packet has no duration."""
PADDING_IS_CUT = {"ogg"}
"""Containers whose packet durations leave out the padding at the end already (granule positions)."""
WITHOUT_PTS = {"avi"}
"""Containers that store pictures in decoding order and nothing else: FFmpeg's presentation stamps are
guesses there, wrong for packed and for reordered pictures. Picture k is shown at the k-th stamp."""
MEDIA = {"video": "pictures", "audio": "sound", "subtitle": "text"}


class StreamProbe:
    """Takes the packets of one stream in file order, then describes it as a track.

    Args:
        name: the track's name.
        stream: PyAV's stream.
        container: libavformat's first name of the container.
    """

    def __init__(self, name: str, stream: Any, container: str) -> None:
        self.name = name
        self.late_ns = 0
        """How far, in file order, packets come behind packets of other streams."""
        self._stream = stream
        self._padding_is_cut = container in PADDING_IS_CUT
        self._has_pts = container not in WITHOUT_PTS or stream.type != "video"
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
        self._without_pts = self._discarded = 0
        self._corrupt = array("q")
        """Stamps of packets that the demuxer knows to be damaged."""
        self._frame: Any = None
        self._encrypted = False
        self._cause = ""
        self._tries = 0 if stream.type == "subtitle" else FIRST_FRAME_PACKETS
        self._keyframe_check: KeyframeCheck | None = None
        if stream.type == "video":
            self._keyframe_check = KeyframeCheck(stream.codec_context, self._has_pts)

    def add(self, packet: Any, latest_ns: int) -> int:
        """Take the next packet.

        Args:
            packet: of this stream.
            latest_ns: the greatest decoding time of any stream so far.

        Returns:
            `latest_ns`, or this packet's decoding time if it is greater.
        """
        size = packet.size
        dts = packet.dts
        pts = packet.pts if self._has_pts else dts
        self._byte_count += size
        self._keyframes += packet.is_keyframe
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
        if packet.is_corrupt:
            self._corrupt.append((pts if dts is None else dts) or 0)
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
        except DECODING_ERRORS as error:
            self._cause = self._cause or words_of(error)
            return
        for frame in frames[:1]:
            self._frame, self._tries = frame, 0

    @property
    def span_ns(self) -> tuple[int, int]:
        """First stamp, and last stamp plus its duration; (0, 0) without packets."""
        if not len(self._pts):
            return 0, counted_ns(self._without_pts, self._declared_rate)
        stamps = np.frombuffer(self._pts, np.int64)
        first, last = int(stamps.min()), int(stamps.max())
        start_ns = first * self._ns_times // self._ns_over
        if self._end <= last:  # no duration stored for the last packet
            return start_ns, last * self._ns_times // self._ns_over + counted_ns(1, self._declared_rate)
        return start_ns, self._end * self._ns_times // self._ns_over - self._padding_ns

    @property
    def _padding_ns(self) -> int:
        """How much sound at the end of the last packet is to be dropped."""
        if self._padding_is_cut or self._stream.type != "audio" or self._last is None:
            return 0
        return skipped_samples(self._last)[1] * NS // (self._stream.codec_context.sample_rate or NS)

    @property
    def _declared_rate(self) -> Fraction:
        return getattr(self._stream, "average_rate", None) or UNSAID_RATE

    def knows(self, packet: Any) -> bool:
        """Say whether a packet of this stamp and size was among those added."""
        if self._stream.codec_context.name.startswith("pcm_"):
            return True  # raw samples may be cut anywhere
        stamp = packet.pts if self._has_pts else packet.dts
        where = np.flatnonzero(np.frombuffer(self._pts, np.int64) == stamp)
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
                "delay": self._delay,
                "keyframes_hold": self._keyframe_check is None or self._keyframe_check.honest,
                "late_ns": self.late_ns,
                "ahead_ns": -(-(self._delay or self._ahead) * self._ns_times // self._ns_over),
                "longest_ns": self._longest * self._ns_times // self._ns_over or UNSAID_NS,
                "keyframes": self._keyframes,
                "metadata": plain_metadata(stream.metadata),
            },
        )
        if not base.details["keyframes_hold"]:
            cause = "decoding can't begin at every picture marked as keyframe: it is read from the beginning"
            tell(Incident("note", cause, self.name))
        if self._corrupt:
            cause = f"{len(self._corrupt)} of {count} packets are marked as damaged"
            spans = [stamp * self._ns_times // self._ns_over for stamp in self._corrupt]
            tell(Incident("note", cause, self.name, min(spans), max(spans) + max(1, period_ns)))
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
        if not self._has_pts:
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

    @property
    def _delay(self) -> int | None:
        """How many ticks pass between a picture's being shown and the packet that brings it out of the
        decoder, where only decoding stamps are known; None where presentation stamps are.
        """
        if self._has_pts or self._frame is None or not len(self._pts):
            return None
        return 0 if self._frame.dts is None else max(0, self._frame.dts - min(self._pts))

    def _times_ns(self) -> np.ndarray:
        """Return the stamps in ascending order, int64 [N]."""
        if not len(self._pts):  # timed by counting
            times = [counted_ns(k, self._declared_rate) for k in range(self._without_pts)]
            return np.array(times, np.int64)
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
            details = {**base.details, "first_samples": frame.samples}
            channels = frame.layout.nb_channels
            return replace(base, sample_rate=frame.sample_rate, channels=channels, details=details)
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
