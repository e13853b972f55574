"""Video and audio files, through PyAV: every video, audio and text-subtitle stream is a track.

Planning reads every packet once (no decoding beyond each stream's first frame): packet stamps give
the exact origin, end, gaps and rates, whatever the header declares. It costs about 1 µs per packet
and 3 % of what decoding costs.

Reading a window seeks to the keyframe before it and checks where it landed; where the container
seeks badly, it starts earlier, at worst at the beginning.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from ingest.decoders.av_pictures import PictureDecoder, display_rotation
from ingest.decoders.av_sound import SoundDecoder
from ingest.decoders.av_text import TextDecoder
from ingest.errors import CannotDecode, CannotOpen
from ingest.recording import Cue, Decoder, Incident, Packet, Picture, Recording, Report, Sound, Track
from ingest.sources.sidecar import read_sidecar
from ingest.timing import NS, gaps_longer_than, median_period_ns, ns_to_pts, pts_to_ns

BITMAP_SUBTITLES = {"dvd_subtitle", "dvdsub", "dvb_subtitle", "dvbsub", "hdmv_pgs_subtitle", "pgssub", "xsub"}
NOT_SHOWN = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
PREROLL_NS = NS
"""Sound is decoded from one second before a window: codecs need up to 80 ms (Opus) or a bit
reservoir (MP3) before their output is exact."""
TRUSTED_DURATIONS = {"mov", "matroska", "avi", "flv", "asf", "wav", "ogg", "mxf"}
"""Containers whose declared duration is written, not guessed from a bit rate."""
NO_LOSS_NS = NS // 10
"""Damage shorter than this at the very end is a note, not a failure."""


def open_container(path: Path) -> av.container.InputContainer:
    """Open a file for reading, or raise `CannotOpen` with the cause in words.

    Only the file itself is ever opened: playlists and references that lead elsewhere are refused.
    """
    try:
        return av.open(str(path), metadata_errors="replace", container_options={"protocol_whitelist": "file"})
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise CannotOpen(open_failure(path, error)) from error


def open_failure(path: Path, error: Exception) -> str:
    """Say why a media file does not open."""
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        return "the file is empty (0 bytes)"
    with path.open("rb") as file:
        head = file.read(4096)
    if head[4:8] == b"ftyp" and b"moov" not in head and not _has_top_level_box(path, b"moov"):
        return (
            "the index is missing (an mp4 without 'moov'): the recording was cut off before it was finished"
        )
    if not head.strip(b"\0"):
        return "the file holds only zeros where its header should be"
    if _is_text(head):
        return "the file holds plain text, no audio or video"
    said = str(error).split("]")[-1].strip()
    words = error.strerror if isinstance(error, av.error.FFmpegError) and error.strerror else said
    return f"no container that FFmpeg knows, or a damaged header ({words.lower()})"


def _has_top_level_box(path: Path, kind: bytes) -> bool:
    """Walk the top-level boxes of an mp4 (ISO/IEC 14496-12, section 4.2)."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= size_bytes:
            file.seek(at)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if header[4:8] == kind:
                return True
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:
                return False
            at += length
    return False


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and sum(byte < 9 or 13 < byte < 32 for byte in head) == 0


@dataclass
class _Stamps:
    """The packet stamps of one stream, in file order, in stream units."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    byte_count: int = 0
    keyframes: int = 0
    without_pts: int = 0
    discarded: int = 0
    corrupt: int = 0
    longest: int = 0
    late_ns: int = 0
    """How far, in file order, this stream's packets come behind other streams' (bad interleaving)."""


class VideoFile:
    """One video or audio file and the text beside it.

    Args:
        path: the file.
        sidecars: text files beside it that become text tracks.
    """

    def __init__(self, path: Path, sidecars: Sequence[Path] = ()) -> None:
        self._path = path
        self._sidecars = list(sidecars)
        self._container = open_container(path)
        self._first = True

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    # planning

    def probe(self) -> Recording:
        """Read every packet once; see `Source.probe`."""
        self._rewind()
        container = self._container
        incidents: list[Incident] = []
        details: dict[str, Any] = {"metadata": _plain(container.metadata)}
        streams, names = self._wanted(incidents, details)
        stamps = {stream.index: _Stamps() for stream in streams}
        firsts = {stream.index: _FirstItem(names[stream.index]) for stream in streams}
        self._read_stamps(streams, stamps, firsts, incidents)
        tracks = []
        for stream in streams:
            name = names[stream.index]
            track = _track(name, stream, stamps[stream.index], firsts[stream.index], incidents)
            if track is not None:
                tracks.append(track)
        container_name = container.format.name.split(",")[0]
        details["format"] = container.format.name
        if container.duration is not None:
            details["declared_duration_ns"] = container.duration * 1000
        if tracks:
            self._check_declared_end(container_name, tracks, incidents)
        span = Recording(container_name, tuple(tracks))
        for path in self._sidecars:
            tracks.append(self._sidecar_track(path, span, [track.name for track in tracks]))
        return Recording(container_name, tuple(tracks), tuple(incidents), details)

    def _wanted(self, incidents: list[Incident], details: dict[str, Any]) -> tuple[list[Any], dict[int, str]]:
        """Choose the streams that become tracks, and name them."""
        wanted: list[Any] = []
        names: dict[int, str] = {}
        counts: dict[str, int] = {}
        for stream in self._container.streams:
            medium = {"video": "video", "audio": "audio", "subtitle": "text"}.get(stream.type)
            if medium is None:
                continue
            if medium == "video" and stream.disposition & NOT_SHOWN:
                details["attached_pictures"] = details.get("attached_pictures", 0) + 1
                continue
            counts[medium] = counts.get(medium, 0) + 1
            name = medium if counts[medium] == 1 else f"{medium}_{counts[medium]}"
            context = stream.codec_context
            if context is None:
                cause = f"{medium} stream #{stream.index} has no codec that FFmpeg knows"
                incidents.append(Incident("failure", cause, name))
                continue
            if medium == "text" and context.name in BITMAP_SUBTITLES:
                cause = (
                    f"subtitle stream #{stream.index} holds pictures ({context.name}), no text: passed over"
                )
                incidents.append(Incident("note", cause, name))
                continue
            wanted.append(stream)
            names[stream.index] = name
        return wanted, names

    def _read_stamps(
        self,
        streams: list[Any],
        stamps: dict[int, _Stamps],
        firsts: dict[int, _FirstItem],
        incidents: list[Incident],
    ) -> None:
        latest_ns = -(2**62)
        for packet in _packets(self._container, streams, incidents):
            of = stamps[packet.stream_index]
            of.byte_count += packet.size
            of.keyframes += packet.is_keyframe
            of.corrupt += packet.is_corrupt
            firsts[packet.stream_index].offer(packet)
            pts = packet.pts
            if pts is None:
                of.without_pts += 1
                continue
            if packet.is_discard:
                of.discarded += 1
                continue
            skip_start, skip_end = _skipped_samples(packet)
            of.pts.append(pts + skip_start)
            of.ends.append(pts + _kept_duration(packet.duration or 0, of.longest, skip_end))
            of.longest = max(of.longest, packet.duration or 0)
            time_ns = pts_to_ns(packet.dts if packet.dts is not None else pts, packet.time_base)
            of.late_ns = max(of.late_ns, latest_ns - time_ns)
            latest_ns = max(latest_ns, time_ns)

    def _check_declared_end(
        self, container_name: str, tracks: list[Track], incidents: list[Incident]
    ) -> None:
        """Compare the declared duration with what is there: a file that was cut off lost the rest."""
        duration_us = self._container.duration
        if duration_us is None or container_name not in TRUSTED_DURATIONS:
            return
        start_ns = (self._container.start_time or 0) * 1000
        declared_ns = start_ns + duration_us * 1000
        measured_ns = max(track.stop_ns for track in tracks)
        missing_ns = declared_ns - measured_ns
        if missing_ns > max(NS, (declared_ns - start_ns) // 50):
            cause = (
                f"the header declares {(declared_ns - start_ns) / NS:.1f} s, but the data ends at "
                f"{(measured_ns - start_ns) / NS:.1f} s: the file was cut off"
            )
            incidents.append(Incident("failure", cause, "", measured_ns, declared_ns))

    def _sidecar_track(self, path: Path, recording: Recording, taken: list[str]) -> Track:
        ending = path.suffix.lower().lstrip(".")
        name = "text" if "text" not in taken else f"text_{ending}"
        cues = read_sidecar(path, recording.origin_ns, recording.stop_ns)
        return Track(
            name=name,
            medium="text",
            topic=ending,
            codec=ending,
            start_ns=min((cue.start_ns for cue in cues), default=recording.origin_ns),
            stop_ns=max((cue.stop_ns for cue in cues), default=recording.stop_ns),
            item_count=len(cues),
            byte_count=path.stat().st_size,
            details={
                "sidecar": ending,
                "from_ns": recording.origin_ns,
                "until_ns": recording.stop_ns,
            },
        )

    # reading

    def read(self, tracks: Sequence[Track], start_ns: int, stop_ns: int, report: Report) -> Iterator[Packet]:
        """Yield the packets that [start_ns, stop_ns) needs; see `Source.read`."""
        for track in tracks:
            if "sidecar" in track.details:
                yield from self._read_sidecar(track)
        by_stream = {track.details["stream"]: track for track in tracks if "stream" in track.details}
        if not by_stream:
            return
        self._go_before(start_ns, by_stream)
        streams = [self._container.streams[index] for index in by_stream]
        slack_ns = NS + max(track.details["late_ns"] for track in by_stream.values())
        going_on = {index for index, track in by_stream.items() if track.stop_ns > stop_ns}
        past_end: set[int] = set()
        incidents: list[Incident] = []
        for packet in _packets(self._container, streams, incidents):
            index = packet.stream_index
            track = by_stream[index]
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is not None:
                behind_ns = pts_to_ns(stamp, packet.time_base) - stop_ns
                if behind_ns >= 0:
                    if behind_ns >= slack_ns and going_on:
                        past_end.add(index)
                        if past_end >= going_on:
                            break
                    continue
            shown = packet.pts if packet.pts is not None else stamp
            time_ns = track.start_ns if shown is None else pts_to_ns(shown, packet.time_base)
            yield Packet(track.name, time_ns, packet)
        for incident in incidents:
            report(incident)

    def decoder(self, track: Track) -> Decoder:
        """Return a decoder for one track."""
        if "sidecar" in track.details:
            return _CuesAsTheyAre()
        stream = self._container.streams[track.details["stream"]]
        return _decoder(track, stream)

    def _read_sidecar(self, track: Track) -> Iterator[Packet]:
        details = track.details
        path = next(path for path in self._sidecars if path.suffix.lower() == f".{details['sidecar']}")
        for cue in read_sidecar(path, details["from_ns"], details["until_ns"]):
            yield Packet(track.name, cue.start_ns, cue)

    def _go_before(self, start_ns: int, by_stream: dict[int, Track]) -> None:
        """Place the reading position so that everything `start_ns` needs follows it."""
        begins_ns = min(track.start_ns for track in by_stream.values())
        late_ns = max(track.details["late_ns"] for track in by_stream.values())
        counted = any(track.details["counted"] for track in by_stream.values())
        back_ns = PREROLL_NS + late_ns
        while not counted and start_ns - back_ns > begins_ns:
            if self._seek(start_ns - back_ns, by_stream) and self._landed_before(start_ns, by_stream):
                self._seek(start_ns - back_ns, by_stream)
                return
            back_ns *= 4
        self._rewind()

    def _seek(self, time_ns: int, by_stream: dict[int, Track]) -> bool:
        """Seek to the keyframe at or before a time; False where the container can't."""
        pictures = [index for index, track in by_stream.items() if track.medium == "pictures"]
        stream = self._container.streams[pictures[0] if pictures else next(iter(by_stream))]
        try:
            self._container.seek(
                ns_to_pts(time_ns, stream.time_base or Fraction(1, 1_000_000)), stream=stream, backward=True
            )
        except av.error.FFmpegError:
            return False
        self._first = False
        return True

    def _landed_before(self, start_ns: int, by_stream: dict[int, Track]) -> bool:
        """Look at each stream's first packet: a keyframe at or before the start, sound its pre-roll."""
        wanting = {
            index
            for index, track in by_stream.items()
            if track.medium != "text" and track.start_ns < start_ns < track.stop_ns
        }
        streams = [self._container.streams[index] for index in by_stream]
        for packet in _packets(self._container, streams, []):
            index = packet.stream_index
            if index not in wanting:
                continue
            track = by_stream[index]
            if packet.pts is None or (track.medium == "pictures" and not packet.is_keyframe):
                return False
            ahead_ns = PREROLL_NS // 2 if track.medium == "sound" else 0
            time_ns = pts_to_ns(packet.pts, packet.time_base)
            if time_ns > start_ns - ahead_ns and time_ns > track.start_ns:
                return False
            wanting.discard(index)
            if not wanting:
                return True
        return not wanting

    def _rewind(self) -> None:
        """Start again at the first packet, as just opened."""
        if not self._first:
            self._container.close()
            self._container = open_container(self._path)
        self._first = False


def _packets(
    container: av.container.InputContainer, streams: list[Any], incidents: list[Incident]
) -> Iterator[Any]:
    """Demultiplex until the end; an unreadable place is an incident, and the end."""
    if not streams:
        return
    demuxed = container.demux(streams)
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError) as error:
            if isinstance(error, OSError) and error.errno == 5:
                raise  # the machine's fault, not the recording's
            words = getattr(error, "strerror", None) or str(error)
            incidents.append(Incident("failure", f"the container is damaged from here on ({words.lower()})"))
            return
        if packet.size:
            yield packet


def _skipped_samples(packet: Any) -> tuple[int, int]:
    """Return how many samples the container says to drop at a packet's start and end.

    FFmpeg's AV_PKT_DATA_SKIP_SAMPLES: two little-endian uint32, in samples; only used where the
    stream's unit is a sample.
    """
    if packet.stream.type != "audio" or not packet.has_sidedata("skip_samples"):
        return 0, 0
    if packet.time_base != Fraction(1, packet.stream.codec_context.sample_rate or 1):
        return 0, 0
    data = bytes(packet.get_sidedata("skip_samples"))
    if len(data) < 8:
        return 0, 0
    return int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")


def _kept_duration(duration: int, longest: int, skip_end: int) -> int:
    """Return a packet's duration without its padding, which some demuxers have subtracted already."""
    return max(0, min(duration, max(duration, longest) - skip_end))


class _FirstItem:
    """Decodes a stream's packets until its first frame appears, to know what it is."""

    MOST_PACKETS = 5000

    def __init__(self, name: str) -> None:
        self.item: Any = None
        self.cause = ""
        self._name = name
        self._tried = 0

    def offer(self, packet: Any) -> None:
        """Decode this packet, unless the first frame is known already."""
        if self.item is not None or self._tried >= self.MOST_PACKETS or packet.stream.type == "subtitle":
            return
        self._tried += 1
        self._keep(packet.stream, packet)

    def flush(self, stream: Any) -> None:
        """Ask the decoder for what it holds back."""
        if self.item is None and stream.type != "subtitle":
            self._keep(stream, None)
        stream.codec_context.flush_buffers() if stream.codec_context.is_open else None

    def _keep(self, stream: Any, packet: Any) -> None:
        if not stream.codec_context.is_open:
            stream.codec_context.thread_count = 1
        try:
            frames = stream.codec_context.decode(packet)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.cause = self.cause or str(getattr(error, "strerror", None) or error).lower()
            return
        self.item = frames[0] if frames else None


def _track(
    name: str, stream: Any, stamps: _Stamps, first: _FirstItem, incidents: list[Incident]
) -> Track | None:
    """Describe one stream; None, with an incident, where nothing of it can be had."""
    codec = stream.codec_context.name
    first.flush(stream)
    if not len(stamps.pts) and not stamps.without_pts:
        incidents.append(Incident("note", f"stream #{stream.index} ({codec}) has no packets", name))
        return None
    if stream.type != "subtitle" and first.item is None:
        why = f": {first.cause}" if first.cause else ""
        count = len(stamps.pts) + stamps.without_pts + stamps.discarded
        cause = f"no frame of stream #{stream.index} ({codec}) decodes, of {count} packets{why}"
        span = _span_ns(stamps, stream)
        incidents.append(Incident("failure", cause, name, *span))
        return None
    counted = not len(stamps.pts)
    if counted:
        incidents.append(Incident("note", "no time stamps: frames are timed by the declared rate", name))
    times = _times_ns(stamps, stream)
    period_ns = median_period_ns(times)
    start_ns, stop_ns = _span_ns(stamps, stream)
    make = {"video": _picture_track, "audio": _sound_track, "subtitle": _text_track}[stream.type]
    base = Track(
        name=name,
        medium="text",
        topic=f"#{stream.index}",
        codec=codec,
        start_ns=start_ns,
        stop_ns=max(stop_ns, start_ns + 1),
        item_count=len(stamps.pts) + stamps.without_pts,
        byte_count=stamps.byte_count,
        period_ns=period_ns,
        gaps=tuple(gaps_longer_than(times, 3 * period_ns)) if stream.type != "subtitle" else (),
        details={
            "stream": stream.index,
            "counted": counted,
            "late_ns": max(0, stamps.late_ns),
            "keyframes": stamps.keyframes,
            "metadata": _plain(stream.metadata),
        },
    )
    return make(base, stream, first.item, incidents)


def _picture_track(base: Track, stream: Any, frame: Any, incidents: list[Incident]) -> Track:
    rotation, mirrored, odd = display_rotation(frame)
    if odd:
        incidents.append(Incident("note", f"display matrix ignored: {odd}", base.name))
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    return _with(
        base,
        medium="pictures",
        declared_rate=str(stream.average_rate or ""),
        width=frame.width,
        height=frame.height,
        sample_aspect=str(aspect if aspect > 0 else Fraction(1)),
        rotation=rotation,
        mirrored=mirrored,
        pixel_format=frame.format.name,
    )


def _sound_track(base: Track, stream: Any, frame: Any, incidents: list[Incident]) -> Track:
    start_ns = base.start_ns
    if frame.pts is not None:  # where the decoder drops priming samples, the first frame starts later
        start_ns = max(start_ns, pts_to_ns(frame.pts, frame.time_base or stream.time_base))
    return _with(
        base,
        medium="sound",
        start_ns=start_ns,
        stop_ns=max(base.stop_ns, start_ns + 1),
        sample_rate=frame.sample_rate,
        channels=frame.layout.nb_channels,
    )


def _text_track(base: Track, stream: Any, frame: Any, incidents: list[Incident]) -> Track:
    return base


def _with(track: Track, **changes: Any) -> Track:
    values = {name: getattr(track, name) for name in track.__dataclass_fields__}
    return Track(**{**values, **changes})


def _times_ns(stamps: _Stamps, stream: Any) -> np.ndarray:
    if not len(stamps.pts):  # timed by counting
        period_ns = _declared_period_ns(stream)
        return np.arange(stamps.without_pts, dtype=np.int64) * period_ns
    pts = sorted(stamps.pts)
    return np.array([pts_to_ns(p, stream.time_base) for p in pts], np.int64)


def _span_ns(stamps: _Stamps, stream: Any) -> tuple[int, int]:
    if not len(stamps.pts):
        return 0, stamps.without_pts * _declared_period_ns(stream)
    first, last, end = min(stamps.pts), max(stamps.pts), max(stamps.ends)
    start_ns = pts_to_ns(first, stream.time_base)
    stop_ns = pts_to_ns(end, stream.time_base)
    if end <= last:  # no duration stored for the last packet
        stop_ns = pts_to_ns(last, stream.time_base) + _declared_period_ns(stream)
    return start_ns, stop_ns


def _declared_period_ns(stream: Any) -> int:
    rate = getattr(stream, "average_rate", None)
    return int(NS / rate) if rate else NS // 25


def _decoder(track: Track, stream: Any) -> Decoder:
    if track.medium == "pictures":
        return PictureDecoder(track, stream.codec_context, stream.time_base)
    if track.medium == "sound":
        return SoundDecoder(track, stream.codec_context, stream.time_base)
    return TextDecoder(track, stream.codec_context, stream.time_base)


def _plain(metadata: Any) -> dict[str, str]:
    return {str(key): str(value)[:500] for key, value in sorted(dict(metadata).items())}


class _CuesAsTheyAre:
    """Sidecar text arrives as cues."""

    def decode(self, packet: Packet) -> list[Picture | Sound | Cue]:
        return [packet.data]

    def flush(self) -> list[Picture | Sound | Cue]:
        return []


__all__ = ["CannotDecode", "VideoFile", "open_container"]
