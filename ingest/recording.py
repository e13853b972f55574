"""What flows through ingest: recordings, tracks, packets, and the media they decode to.

    Source.probe()  -> Recording          what is inside, read once from end to end
    Source.read()   -> Packet ...         in the container's own order
    Decoder.decode(packet) -> Picture | DepthPicture | Sound | Rows | Cue

All values are plain and small; all times are int64 nanoseconds on the recording's own timeline
(bags: Unix time; files: container time). Ranges are half open. A `Recording` survives JSON
unchanged, so that what planning learned travels to the workers and nothing is scanned twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from ingest.geometry import Region

Medium = Literal["pictures", "depth", "sound", "signal", "text"]
Severity = Literal["failure", "note"]


@dataclass(frozen=True)
class Incident:
    """Media lost (a failure), or something repaired or ignored (a note)."""

    severity: Severity
    cause: str
    """One sentence for people, the same on every machine: no absolute path, no time of day."""
    track: str = ""
    """The track's name; empty when the whole recording is meant."""
    start_ns: int = 0
    stop_ns: int = 0
    """The time span that is lost, on the recording's timeline; both 0 when it is not known."""


Moments = np.ndarray | Literal["keyframes"]
"""Times at which a track's pictures are wanted, int64 [N], ascending, in ns, within the window: of each the
picture shown then. Or all pictures that are decodable by themselves, each at its own time."""
NO_CHOICE: Mapping[str, Moments] = {}
Report = Callable[[Incident], None]
"""Where sources and decoders say what was lost or repaired while they go on."""


@dataclass(frozen=True)
class ClockReport:
    """What was measured of a bag topic's two clocks. Percentiles are of at most 100,000 messages, evenly
    spaced; everything else counts all of them.
    """

    rate_hz: float
    """Messages per second from the first to the last, by the chosen clock; 0 for fewer than two."""
    period_p5_ns: int = 0
    period_p95_ns: int = 0
    """5th and 95th percentile of the distance of two messages: the jitter."""
    missing: int = -1
    """How many messages seem to be lost: what a steady rate would have put into distances of more than
    1.5 periods. -1 where there is no steady rate (90 % of distances within half and one and a half)."""
    log_back: int = 0
    header_back: int = 0
    """How often each clock goes back."""
    farthest_back_ns: int = 0
    """The longest jump back of either clock."""
    header_zero: int = 0
    """Header stamps that are not set."""
    offset_p5_ns: int = 0
    offset_p95_ns: int = 0
    """5th and 95th percentile of log stamp minus header stamp; 0 where there is no header."""


@dataclass(frozen=True)
class Clock:
    """Which of a bag topic's two stamps is its time, and why."""

    choice: Literal["header", "log"]
    reason: str
    offset_ns: int = 0
    """Median of log stamp minus header stamp; 0 where there is no header."""
    offset_min_ns: int = 0
    offset_max_ns: int = 0
    """Smallest and largest log stamp minus chosen stamp: how far around a time span to read."""
    report: ClockReport | None = field(default=None, compare=False)
    """What was measured; for people."""


@dataclass(frozen=True)
class Track:
    """One stream of a recording. Fields that a medium does not have keep their defaults."""

    name: str
    """Lower-case letters, digits, underscores; at most 40 characters; unique in the recording."""
    medium: Medium
    topic: str
    """The topic, or the stream's place in its file (`#0`)."""
    codec: str
    """Codec name or message type."""
    start_ns: int
    stop_ns: int
    """First stamp, and last stamp plus that item's duration."""
    item_count: int
    """Packets or messages."""
    byte_count: int = 0
    period_ns: int = 0
    """Median distance of two items; 0 where there are fewer than two."""
    declared_rate: str = ""
    """Items (frames) per second as the container declares it, a fraction such as `30000/1001`."""
    max_age_ns: int = 0
    """How long an item stays valid when none follows it: 3 median periods. 0: without limit
    (held topics: fewer than 3 messages, latched, commands; pictures in files, which carry their
    own durations)."""
    gaps: tuple[tuple[int, int], ...] = ()
    """Up to 100 spans longer than the maximum age (or 3 periods) without an item."""
    width: int = 0
    height: int = 0
    """Stored size in pixels, before rotation and sample aspect ratio; of point clouds that of the range
    images they become."""
    sample_aspect: str = "1"
    """Width of a pixel by its height, a fraction."""
    rotation: int = 0
    """Clockwise degrees (0, 90, 180, 270) by which the stored picture must be turned to be upright."""
    mirrored: bool = False
    """Whether the stored picture must be mirrored left to right, before it is turned."""
    pixel_format: str = ""
    """Pixel format or message encoding as stored."""
    sample_rate: int = 0
    channels: int = 0
    columns: tuple[str, ...] = ()
    """Signals: the columns by their path in the message."""
    kinds: tuple[str, ...] = ()
    """Signals: per column `linear`, `last` (discrete) or `slerp` (part of a quaternion)."""
    quaternions: tuple[tuple[int, int, int, int], ...] = ()
    """Signals: indices of the x, y, z, w columns of each quaternion."""
    clock: Clock | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the source needs to read the track again, and metadata; JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object from which `from_json` makes an equal track."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Track:
        """Make a track from what `to_json` returned."""
        values = dict(data)
        for name in ("columns", "kinds"):
            values[name] = tuple(values[name])
        for name in ("gaps", "quaternions"):
            values[name] = tuple(tuple(item) for item in values[name])
        if values["clock"] is not None:
            clock = dict(values["clock"])
            if clock.get("report") is not None:
                clock["report"] = ClockReport(**clock["report"])
            values["clock"] = Clock(**clock)
        return cls(**values)


@dataclass(frozen=True)
class Recording:
    """One video or audio file, or one bag, as found by reading it once from end to end."""

    container: str
    """What it is: `mp4`, `matroska`, `rosbag1`, `rosbag2-mcap` …"""
    tracks: tuple[Track, ...]
    incidents: tuple[Incident, ...] = ()
    """What planning already knows to be lost or left out."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Metadata for people (declared duration, encoder, chapters, profile …); JSON."""

    @property
    def origin_ns(self) -> int:
        """The smallest stamp of all tracks; 0 where there is none."""
        return min((track.start_ns for track in self.tracks), default=0)

    @property
    def stop_ns(self) -> int:
        """Last stamp of all tracks plus that item's duration, at least 1 ns after the origin."""
        if not self.tracks:
            return 0
        return max(self.origin_ns + 1, max(track.stop_ns for track in self.tracks))

    def track(self, name: str) -> Track:
        """Return the track of this name, or raise `KeyError`."""
        for track in self.tracks:
            if track.name == name:
                return track
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object from which `from_json` makes an equal recording."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recording:
        """Make a recording from what `to_json` returned."""
        return cls(
            container=data["container"],
            tracks=tuple(Track.from_json(track) for track in data["tracks"]),
            incidents=tuple(Incident(**incident) for incident in data["incidents"]),
            details=dict(data["details"]),
        )


@dataclass(frozen=True, eq=False)
class Packet:
    """One packet or message of one track, still encoded."""

    track: str
    time_ns: int
    """Its presentation time on the recording's timeline (bags: by the track's clock)."""
    data: Any
    """Whatever the track's decoder takes: an `av.Packet`, or a message's raw bytes."""
    begins: bool = False
    """Decoding begins anew here: what is still inside the decoder comes out first."""
    shown: bool = True
    """False: nobody wants what this packet shows. A decoder passes over it where nothing refers to it."""


class Picture(Protocol):
    """A decoded picture that is converted only when somebody wants it."""

    @property
    def time_ns(self) -> int:
        """Return when it is first shown."""
        ...

    @property
    def stop_ns(self) -> int:
        """Return until when it is shown if no other follows; 0 where the container does not say."""
        ...

    @property
    def width(self) -> int:
        """Return the stored width in pixels, before rotation and sample aspect ratio."""
        ...

    @property
    def height(self) -> int:
        """Return the stored height."""
        ...

    def rgb(self, width: int, height: int, region: Region | None = None) -> np.ndarray:
        """Return uint8 [height, width, 3] RGB: a region of the stored picture (None: all of it),
        scaled to the given size (area average when shrinking), not turned.

        Raises:
            CannotDecode: the picture's bytes are damaged.
        """
        ...


class DepthCounts(NamedTuple):
    """What became of the measurements that a range image was asked of."""

    points: int = 0
    """All of them: pixels that were looked at, or points of the cloud."""
    invalid: int = 0
    """Without a distance."""
    outside: int = 0
    """Outside the field of view that was planned."""
    hidden: int = 0
    """Behind a nearer one in the same pixel, or between the rows and columns that were taken."""

    def plus(self, other: DepthCounts) -> DepthCounts:
        """Return the sums."""
        return DepthCounts(*(a + b for a, b in zip(self, other, strict=True)))


class DepthPicture(Protocol):
    """Distances that are worked out only when somebody wants them."""

    @property
    def time_ns(self) -> int:
        """Return when they were measured."""
        ...

    @property
    def stop_ns(self) -> int:
        """Return until when they are shown if no others follow; 0 where the source does not say."""
        ...

    @property
    def width(self) -> int:
        """Return the stored width in pixels; of a point cloud that of its range image."""
        ...

    @property
    def height(self) -> int:
        """Return the stored height."""
        ...

    def metres(self, width: int, height: int, region: Region | None = None) -> tuple[np.ndarray, DepthCounts]:
        """Return float32 [height, width], NaN where nothing was measured, of a region (None: all of it),
        every value one that was measured; and what became of the measurements.

        Raises:
            CannotDecode: the bytes are damaged.
        """
        ...


@dataclass(frozen=True, eq=False)
class Sound:
    """A stretch of sound as decoded: not yet mixed or resampled."""

    start_ns: int
    """Time of the first sample."""
    samples: np.ndarray
    """float32 [C, N], in [-1, 1]."""
    sample_rate: int
    layout: str
    """FFmpeg's name of the channel layout: `mono`, `stereo`, `5.1` …"""

    def __post_init__(self) -> None:
        if self.samples.ndim != 2:
            raise ValueError(f"sound must be [C, N], got shape {self.samples.shape}")


@dataclass(frozen=True, eq=False)
class Rows:
    """Values of a signal track, in the order of its columns."""

    times_ns: np.ndarray
    """int64 [N], in any order."""
    values: np.ndarray
    """float64 [N, D]; NaN where a message lacks the column."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.times_ns.shape != self.values.shape[:1]:
            shapes = f"{self.times_ns.shape} and {self.values.shape}"
            raise ValueError(f"rows must be [N] and [N, D], got {shapes}")


@dataclass(frozen=True)
class Cue:
    """One line of timed text."""

    start_ns: int
    stop_ns: int
    text: str


MediaItem = Picture | DepthPicture | Sound | Rows | Cue


class Decoder(Protocol):
    """Turns the packets of one track into media. Passive: no threads, no files, no printing."""

    def decode(self, packet: Packet) -> Iterable[MediaItem]:
        """Return what this packet completes: nothing, one item, or several, in time order.

        Raises:
            CannotDecode: this packet is lost; the decoder is still usable.
        """
        ...

    def flush(self) -> Iterable[MediaItem]:
        """Return what is still inside after the last packet."""
        ...


class Source(Protocol):
    """One opened recording. Close it, or use it as a context manager."""

    def probe(self) -> Recording:
        """Read everything once, decoding only what is needed to know the tracks.

        Damage is told in the result's incidents, never raised. The incidents name what a later
        `read` of the whole recording can't give.

        Raises:
            CannotOpen: nothing can be read.
        """
        ...

    def read(
        self,
        tracks: Sequence[Track],
        start_ns: int,
        stop_ns: int,
        report: Report,
        moments: Mapping[str, Moments] = NO_CHOICE,
    ) -> Iterator[Packet]:
        """Yield, in the container's order, every packet of these tracks that is needed for what is
        shown in [start_ns, stop_ns): pictures from the keyframe (or message) before, sound from
        its pre-roll, signals from one maximum age before to one after, held signals from the last
        value before however old. More may come; nothing needed may be missing.

        Args:
            tracks: tracks of this recording, as `probe` returned them, on this or another machine.
            report: told of damage met on the way; reading goes on behind it where it can.
            moments: by picture track, the times at which its pictures are wanted: what none of them
                falls to, and no wanted picture needs, may be left out. Tracks not named: everything.
        """
        ...

    def decoder(self, track: Track) -> Decoder:
        """Return a new decoder for one of the tracks.

        Raises:
            CannotOpen: the track can't be decoded at all.
        """
        ...

    def close(self) -> None:
        """Let go of files. May be called twice."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(self, *exc: object) -> None: ...
