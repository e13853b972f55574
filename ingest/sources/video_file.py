"""Video and audio files, through PyAV: every video, audio and text-subtitle stream is a track.

Planning reads every packet once (no decoding beyond each stream's first frame): packet stamps give
the exact origin, end, gaps and rates, whatever the header declares.

Reading a window seeks to before it and checks where it landed; where the container seeks badly, it
starts earlier, at worst at the beginning. What is before the last keyframe that the window needs is
passed over and never decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import av.error

from ingest.decoders.av_pictures import PictureDecoder
from ingest.decoders.av_sound import SoundDecoder
from ingest.decoders.av_text import TextDecoder
from ingest.errors import CannotOpen
from ingest.recording import NO_CHOICE, Cue, Decoder, Incident, Moments, Packet, Recording, Report, Track
from ingest.sources.av_container import Damage, open_container, packets_of
from ingest.sources.declared_length import MAY_MISS_NS, declared_stop_ns, lacks_end_mark
from ingest.sources.needed_packets import PREROLL_NS, need_of
from ingest.sources.open_failure import is_encrypted_matroska
from ingest.sources.packet_choice import Chosen, PacketTimes, must_begin_first
from ingest.sources.placed_pictures import PicturesAsTheyAre, PlacedPictures, is_placed, merged
from ingest.sources.sidecar import read_sidecar
from ingest.sources.stream_probe import StreamProbe, plain_metadata
from ingest.sources.stream_stamps import Interleaving
from ingest.timing import NS, ns_to_pts, pts_to_ns

BITMAP_SUBTITLES = {"dvd_subtitle", "dvb_subtitle", "hdmv_pgs_subtitle", "xsub"}
NOT_SHOWN = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
SLACK_NS = NS
"""How far a container may deliver packets in another order after a seek than from the beginning."""
SHORT_NS = 10 * NS
"""Shorter files are read from the beginning, which costs less than knowing whether they seek well."""
TRIAL_PACKETS = 1000
MAY_LIE_BESIDE_BYTES = 1 << 16
"""Headers, indices and padding of a small file."""


class VideoFile:
    """One video or audio file and the text beside it.

    One `read` at a time: beginning the next one, or closing the file, ends the one before.

    Args:
        path: the file.
        sidecars: text files beside it that become text tracks.
    """

    def __init__(self, path: Path, sidecars: Sequence[Path] = ()) -> None:
        self._path = path
        self._sidecars = {sidecar.suffix.lower().lstrip("."): sidecar for sidecar in sidecars}
        self._container = open_container(path)
        self._at_beginning = True
        self._turn = 0
        """Counts the readers: an earlier one must not touch the container again."""

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._turn += 1
        self._container.close()

    # planning

    def probe(self) -> Recording:
        """Read every packet once; see `Source.probe`."""
        self._turn += 1
        self._rewind()
        container = self._container
        kind = container.format.name.split(",")[0]
        incidents: list[Incident] = []
        details: dict[str, Any] = {
            "metadata": plain_metadata(container.metadata),
            "format": container.format.name,
        }
        if container.duration is not None:
            details["declared_duration_ns"] = container.duration * 1000
        probes = self._probes(kind, incidents, details)
        tracks: list[Track] = []
        if probes:
            damage, end_ns, packet_bytes = self._read_stamps(probes)
            seekable = self._seeks_truly(probes)
            for probe in probes.values():
                track = probe.track(seekable, incidents.append, self._why_undecodable)
                tracks += [track] if track else []
            self._compare_with_header(kind, damage, end_ns, incidents)
            incidents += self._beside_packets(packet_bytes)
        span = Recording(kind, tuple(tracks))
        for ending in self._sidecars if tracks else ():
            self._add_sidecar(ending, span, tracks, incidents)
        return Recording(kind, tuple(tracks), tuple(incidents), details)

    def _probes(
        self, kind: str, incidents: list[Incident], details: dict[str, Any]
    ) -> dict[int, StreamProbe]:
        """Choose the streams that become tracks, and name them."""
        probes: dict[int, StreamProbe] = {}
        counts = {"video": 0, "audio": 0, "text": 0}
        for stream in self._container.streams:
            medium = {"subtitle": "text"}.get(stream.type, stream.type)
            if medium not in counts:
                continue
            if medium == "video" and stream.disposition & NOT_SHOWN:
                details["attached_pictures"] = details.get("attached_pictures", 0) + 1
                continue
            counts[medium] += 1
            name = medium if counts[medium] == 1 else f"{medium}_{counts[medium]}"
            context = stream.codec_context
            if context is None:
                cause = f"stream #{stream.index} ({medium}) has a codec that FFmpeg does not know"
                incidents.append(Incident("failure", cause, name))
            elif medium == "text" and context.codec.canonical_name in BITMAP_SUBTITLES:
                kind_of = context.codec.canonical_name
                cause = f"subtitle stream #{stream.index} holds pictures ({kind_of}), no text: passed over"
                incidents.append(Incident("note", cause, name))
            else:
                probes[stream.index] = StreamProbe(name, stream, kind)
        return probes

    def _read_stamps(self, probes: dict[int, StreamProbe]) -> tuple[Damage, int, int]:
        """Hand out all packets; return what was damaged, where the last packet of any stream ends, and how
        many bytes they have.

        Streams that become no tracks count for the end: the header's duration counts them too.
        """
        damage, order = Damage(), Interleaving()
        end_ns = packet_bytes = 0
        streams = [stream for stream in self._container.streams if not stream.disposition & NOT_SHOWN]
        self._at_beginning = False
        for packet in packets_of(self._container, streams, damage):
            packet_bytes += packet.size
            probe = probes.get(packet.stream_index)
            if probe is None:
                end_ns = max(end_ns, pts_to_ns((packet.pts or 0) + (packet.duration or 0), packet.time_base))
                continue
            probe.add(packet, order)
            damage.latest_ns = order.latest_ns
            if damage.is_open:
                damage.end()
        return damage, max(end_ns, *(probe.span_ns[1] for probe in probes.values()), 0), packet_bytes

    def _beside_packets(self, packet_bytes: int) -> list[Incident]:
        """Tell of a file that holds far more than its packets, as after a damaged length.

        Pictures and fonts that are attached on purpose lie beside the packets as well.
        """
        streams = self._container.streams
        if any(stream.type == "attachment" or stream.disposition & NOT_SHOWN for stream in streams):
            return []
        size_bytes = self._path.stat().st_size
        if size_bytes - packet_bytes <= max(MAY_LIE_BESIDE_BYTES, size_bytes // 2):
            return []
        cause = f"only {packet_bytes} of the file's {size_bytes} bytes belong to a packet, the rest to none"
        return [Incident("note", cause)]

    def _seeks_truly(self, probes: dict[int, StreamProbe]) -> bool:
        """Seek to a few places: each stream's first packet there must be one that was met before.

        Some demuxers label packets wrongly after a seek. Short files are not worth a seek.
        """
        start_ns = min(probe.span_ns[0] for probe in probes.values())
        length_ns = max(probe.span_ns[1] for probe in probes.values()) - start_ns
        if length_ns < SHORT_NS:
            return False
        streams = [self._container.streams[index] for index in probes]
        for quarter in (1, 2, 3):
            if not self._seek(start_ns + length_ns * quarter // 4, streams):
                return False
            waiting = set(probes)
            for packet in islice(packets_of(self._container, streams, Damage()), TRIAL_PACKETS):
                if packet.pts is not None and packet.stream_index in waiting and not packet.is_discard:
                    if not probes[packet.stream_index].knows(packet):
                        return False
                    waiting.discard(packet.stream_index)
                if not waiting:
                    break
        return True

    def _compare_with_header(self, kind: str, damage: Damage, end_ns: int, incidents: list[Incident]) -> None:
        """Tell of damage, and of a file that was cut off: its header declares more than there is."""
        start_ns = (self._container.start_time or 0) * 1000
        declared_ns = declared_stop_ns(self._container, kind, self._path)
        if declared_ns is not None and declared_ns - end_ns > MAY_MISS_NS:
            cause = (
                f"the header declares {(declared_ns - start_ns) / NS:.1f} s, but the data ends at "
                f"{max(0, end_ns - start_ns) / NS:.1f} s: the file was cut off"
            )
            incidents.append(Incident("failure", cause, "", end_ns, declared_ns))
        elif kind == "ogg" and lacks_end_mark(self._path):
            cause = "the last page is not marked as the last: the file may have been cut off"
            incidents.append(Incident("note", cause, "", end_ns, end_ns))
        incidents += damage.incidents("", start_ns, max(end_ns, declared_ns or end_ns))

    def _why_undecodable(self) -> str:
        return "it is encrypted" if is_encrypted_matroska(self._path) else ""

    def _add_sidecar(
        self, ending: str, span: Recording, tracks: list[Track], incidents: list[Incident]
    ) -> None:
        path = self._sidecars[ending]
        name = "text" if "text" not in [track.name for track in tracks] else f"text_{ending}"
        cues = read_sidecar(path, span.origin_ns, span.stop_ns)
        inside = [cue for cue in cues if cue.start_ns < span.stop_ns]
        if len(inside) < len(cues) or not cues:
            late = f"{len(cues) - len(inside)} of {len(cues)} cues begin after the recording's end: left out"
            incidents.append(Incident("note", f"{ending} file: {late if cues else 'it holds no cues'}", name))
        if not inside:
            return
        track = Track(
            name=name,
            medium="text",
            topic=ending,
            codec=ending,
            start_ns=min(cue.start_ns for cue in inside),
            stop_ns=min(span.stop_ns, max(cue.stop_ns for cue in inside)),
            item_count=len(inside),
            byte_count=path.stat().st_size,
            details={"sidecar": ending, "from_ns": span.origin_ns, "until_ns": span.stop_ns},
        )
        tracks.append(track)

    # reading

    def read(
        self,
        tracks: Sequence[Track],
        start_ns: int,
        stop_ns: int,
        report: Report,
        moments: Mapping[str, Moments] = NO_CHOICE,
    ) -> Iterator[Packet]:
        """Yield the packets that [start_ns, stop_ns) needs; see `Source.read`.

        Each track's packets come in the container's order; pictures may be held back behind sound
        until it is clear from which keyframe they are needed.
        """
        placed = [track for track in tracks if is_placed(track)]
        if placed:
            pictures = [self._read_placed(track, start_ns, stop_ns, moments) for track in placed]
            others = [track for track in tracks if not is_placed(track)]
            yield from merged(self.read(others, start_ns, stop_ns, report, moments), pictures)
            return
        self._turn += 1
        turn = self._turn
        for track in tracks:
            if "sidecar" in track.details:
                yield from self._read_sidecar(track)
        by_stream = {track.details["stream"]: track for track in tracks if "stream" in track.details}
        if not by_stream:
            return
        self._check_turn(turn)
        self._go_before(start_ns, by_stream)
        damage = Damage()
        needs = {
            index: need_of(track, start_ns, stop_ns, self._at_beginning, moments.get(track.name))
            for index, track in by_stream.items()
        }
        times = {index: PacketTimes(track) for index, track in by_stream.items()}
        for packet in self._from_here(by_stream, times, damage, stop_ns):
            index = packet.stream_index
            for chosen in needs[index].take(packet):
                yield _packet(by_stream[index], times[index], chosen)
                self._check_turn(turn)
        for index, need in needs.items():
            for chosen in need.rest():
                yield _packet(by_stream[index], times[index], chosen)
        for incident in damage.incidents("", start_ns, stop_ns):
            report(incident)

    def _read_placed(
        self, track: Track, start_ns: int, stop_ns: int, moments: Mapping[str, Moments]
    ) -> Iterator[Packet]:
        wanted = moments.get(track.name)
        if isinstance(wanted, str):
            raise ValueError(f"keyframes alone are read by av only, not by {track.details['decoder']}")
        return PlacedPictures(self._path, track).read(start_ns, stop_ns, wanted)

    def _check_turn(self, turn: int) -> None:
        if turn != self._turn:
            raise RuntimeError("this reading is over: another one was begun, or the file was closed")

    def _from_here(
        self, by_stream: dict[int, Track], times: dict[int, PacketTimes], damage: Damage, stop_ns: int
    ) -> Iterator[Any]:
        """Take out packets until none can follow that belongs before `stop_ns`."""
        streams = [self._container.streams[index] for index in by_stream]
        late_ns = max(track.details["late_ns"] for track in by_stream.values())
        ahead_ns = max(track.details["ahead_ns"] for track in by_stream.values())
        enough_ns = stop_ns + late_ns + ahead_ns + SLACK_NS
        order = Interleaving()
        self._at_beginning = False
        for packet in packets_of(self._container, streams, damage):
            yield packet
            dts = packet.dts
            if dts is not None:
                order.late_ns(times[packet.stream_index].ns(dts, packet))
                damage.latest_ns = order.latest_ns
                if order.latest_ns is not None and order.latest_ns >= enough_ns:
                    return
            if damage.is_open:
                damage.end()

    def decoder(self, track: Track) -> Decoder:
        """Return a decoder for one track. It ends an earlier one of the same track."""
        if "sidecar" in track.details:
            return _CuesAsTheyAre()
        if is_placed(track):
            return PicturesAsTheyAre()
        stream = self._container.streams[track.details["stream"]]
        if stream.codec_context.is_open:  # its state would show: it gets a fresh one
            self._turn += 1
            self._at_beginning = False
            self._rewind()
            stream = self._container.streams[track.details["stream"]]
        if track.details.get("decoder") == "nvdec":
            from ingest.decoders.backends.nvdec_pictures import NvdecDecoder

            return NvdecDecoder(track, stream.codec_context, stream.time_base)
        if track.medium == "pictures":
            return PictureDecoder(track, stream.codec_context, stream.time_base)
        if track.medium == "sound":
            return SoundDecoder(track, stream.codec_context, stream.time_base)
        return TextDecoder(track, stream.codec_context, stream.time_base)

    def _read_sidecar(self, track: Track) -> Iterator[Packet]:
        details = track.details
        path = self._sidecars.get(details["sidecar"])
        if path is None:
            raise CannotOpen(f"the {details['sidecar']} file that belongs to this recording was not given")
        for cue in read_sidecar(path, details["from_ns"], details["until_ns"]):
            if cue.start_ns < details["until_ns"]:
                cue = replace(cue, stop_ns=min(cue.stop_ns, details["until_ns"]))
                yield Packet(track.name, cue.start_ns, cue)

    # positions

    def _go_before(self, start_ns: int, by_stream: dict[int, Track]) -> None:
        """Place the reading position so that everything `start_ns` needs follows it."""
        tracks = by_stream.values()
        begins_ns = min(track.start_ns for track in tracks)
        ahead_ns = max(
            track.details["longest_ns"] if track.medium == "text" else PREROLL_NS for track in tracks
        )
        back_ns = ahead_ns + max(track.details["late_ns"] for track in tracks)
        may_seek = all(track.details["seekable"] and not must_begin_first(track) for track in tracks)
        streams = [self._container.streams[index] for index in by_stream]
        while may_seek and start_ns - back_ns > begins_ns:
            if self._seek(start_ns - back_ns, streams) and self._landed_before(start_ns, by_stream):
                self._seek(start_ns - back_ns, streams)
                return
            back_ns *= 4
        self._rewind()

    def _seek(self, time_ns: int, streams: Sequence[Any]) -> bool:
        """Seek to a keyframe at or before a time, of pictures if there are any; False if that fails."""
        stream = next((stream for stream in streams if stream.type == "video"), streams[0])
        self._at_beginning = False
        try:
            self._container.seek(
                ns_to_pts(time_ns, stream.time_base or Fraction(1, 1_000_000)), stream=stream, backward=True
            )
        except av.error.FFmpegError:
            return False
        return True

    def _landed_before(self, start_ns: int, by_stream: dict[int, Track]) -> bool:
        """Look ahead: there must be a keyframe at or before the start, and all of the sound's pre-roll."""
        wanting = {
            index: start_ns - (PREROLL_NS // 2 if track.medium == "sound" else 0)
            for index, track in by_stream.items()
            if track.medium != "text" and track.start_ns < start_ns < track.stop_ns
        }
        streams = [self._container.streams[index] for index in by_stream]
        for packet in packets_of(self._container, streams, Damage()):
            if not wanting:
                return True
            latest_ns = wanting.get(packet.stream_index)
            track = by_stream[packet.stream_index]
            if latest_ns is None or (track.medium == "pictures" and not packet.is_keyframe):
                continue
            shown_ns = PacketTimes(track).shown_by_ns(packet)
            if shown_ns is None or shown_ns > max(latest_ns, track.start_ns):
                return False
            del wanting[packet.stream_index]
        return not wanting

    def _rewind(self) -> None:
        """Start again at the first packet, as just opened: not every container can seek there."""
        if not self._at_beginning:
            self._container.close()
            self._container = open_container(self._path)
        self._at_beginning = True


def _packet(track: Track, times: PacketTimes, chosen: Chosen) -> Packet:
    time_ns = times.begins_ns(chosen.packet)
    at_ns = track.start_ns if time_ns is None else time_ns
    return Packet(track.name, at_ns, chosen.packet, chosen.begins, chosen.shown)


class _CuesAsTheyAre:
    """Sidecar text arrives as cues."""

    def decode(self, packet: Packet) -> list[Cue]:
        return [packet.data]

    def flush(self) -> list[Cue]:
        return []


__all__ = ["VideoFile"]
