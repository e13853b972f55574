"""Media files that are hard to seek in, and the slow way to read any file: decode everything.

`KINDS` are twelve seconds each, in every container and with every trap that we know; `read_window` is how
a pipeline reads, `decode_all` is its twin that knows nothing of tracks, windows or seeking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from made_sound import SAMPLE_RATE, tone
from made_video import BITEXACT, Pictures, SoundTrack, write_video

from ingest.decoders.av_sound import planar_float
from ingest.errors import CannotDecode
from ingest.recording import Cue, Incident, Picture, Sound, Track
from ingest.sources.video_file import VideoFile
from ingest.timing import NS, pts_to_ns

FPS, SECONDS = 12, 12
SMALL: dict[str, Any] = {"frames": FPS * SECONDS, "fps": Fraction(FPS), "width": 96, "height": 64}
X264_OPEN = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3:mbtree=0"}
X264_STRIPES = {"x264-params": "intra-refresh=1:keyint=12:bframes=0:mbtree=0"}
X265_OPEN = {"x265-params": "log-level=none:keyint=12:open-gop=1:pools=1:frame-threads=1"}
SVT_AV1 = {"preset": "10", "svtav1-params": "lp=1"}
FAST_VPX = {"cpu-used": "8", "deadline": "realtime"}


def sound(codec: str = "aac", **more: Any) -> SoundTrack:
    """Return a chirp of twelve seconds: every stretch of it differs from every other."""
    rate = more.get("sample_rate", SAMPLE_RATE)
    times = np.arange(SECONDS * rate) / rate
    chirp = 0.4 * np.sin(2 * np.pi * (200 * times + 40 * times**2))
    return SoundTrack(chirp[None].astype(np.float32), codec=codec, **more)


def _made(name: str, *streams: Any) -> Callable[[Path], Path]:
    return lambda folder: write_video(folder / name, *streams)


def _remuxed(name: str, options: dict[str, str], *streams: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        source = write_video(folder / f"before_{name}", *streams)
        return remux(source, folder / name, options)

    return make


def remux(source: Path, target: Path, options: dict[str, str], *, apart: bool = False) -> Path:
    """Copy all packets into another container.

    Args:
        source: the file.
        target: its ending decides about the container.
        options: of the container: `movflags` and the like.
        apart: each stream's packets after those of the stream before it, not interleaved.
    """
    with (
        av.open(str(source)) as reader,
        av.open(str(target), "w", options={**BITEXACT, **options}) as writer,
    ):
        copies = {stream.index: writer.add_stream_from_template(stream) for stream in reader.streams}
        packets = [packet for packet in reader.demux() if packet.size]
        for packet in sorted(packets, key=lambda packet: packet.stream_index) if apart else packets:
            packet.stream = copies[packet.stream_index]
            writer.mux(packet)
    return target


def _apart(folder: Path) -> Path:
    source = write_video(folder / "before_apart.mkv", Pictures(**SMALL), sound("pcm_s16le"))
    return remux(source, folder / "apart.mkv", {"max_interleave_delta": "1"}, apart=True)


def _false_keyframes(folder: Path) -> Path:
    """An AVI whose index calls every picture a keyframe: entries of four letters, flags, place and size."""
    source = write_video(folder / "before_false_keys.avi", Pictures(**SMALL, codec="msmpeg4v3"))
    data = bytearray(source.read_bytes())
    first = data.rindex(b"idx1") + 8
    for at in range(first, len(data) - 15, 16):
        if data[at : at + 4] == b"00dc":
            data[at + 4 : at + 8] = (0x10).to_bytes(4, "little")  # AVIIF_KEYFRAME
    target = folder / "false_keys.avi"
    target.write_bytes(data)
    return target


KINDS: dict[str, Callable[[Path], Path]] = {
    "b_frames.mp4": _made("b_frames.mp4", Pictures(**SMALL), sound()),
    "long_gop.mp4": _made("long_gop.mp4", Pictures(**SMALL, keyframe_every=100), sound()),
    "open_gop.mp4": _made("open_gop.mp4", Pictures(**SMALL, options=X264_OPEN), sound()),
    "open_gop.mkv": _made("open_gop.mkv", Pictures(**SMALL, options=X264_OPEN), sound()),
    "open_gop.ts": _made("open_gop.ts", Pictures(**SMALL, options=X264_OPEN), sound()),
    "open_gop_hevc.mp4": _made("open_gop_hevc.mp4", Pictures(**SMALL, codec="libx265", options=X265_OPEN)),
    "intra_refresh.ts": _made("intra_refresh.ts", Pictures(**SMALL, options=X264_STRIPES), sound("mp2")),
    "intra_refresh.mp4": _made("intra_refresh.mp4", Pictures(**SMALL, options=X264_STRIPES)),
    "false_keys.avi": _false_keyframes,
    "opus.mkv": _made("opus.mkv", Pictures(**SMALL), sound("libopus")),
    "mp3.mkv": _made("mp3.mkv", Pictures(**SMALL), sound("libmp3lame")),
    "vp9.webm": _made(
        "vp9.webm", Pictures(**SMALL, codec="libvpx-vp9", options=FAST_VPX), sound("libopus")
    ),
    "av1.mp4": _made("av1.mp4", Pictures(**SMALL, codec="libsvtav1", options=SVT_AV1), sound("libopus")),
    "vp8.webm": _made("vp8.webm", Pictures(**SMALL, codec="libvpx", options=FAST_VPX)),
    "aac.flv": _made("aac.flv", Pictures(**SMALL), sound(sample_rate=44_100)),
    "mpeg4.avi": _made("mpeg4.avi", Pictures(**SMALL, codec="mpeg4"), sound("mp3")),
    "h264.avi": _made("h264.avi", Pictures(**SMALL), sound("mp3")),
    "mpeg2.mpg": _made(
        "mpeg2.mpg", Pictures(**{**SMALL, "fps": Fraction(25), "frames": 300}, codec="mpeg2video"),
        sound("mp2"),
    ),
    "mpeg2.ts": _made(
        "mpeg2.ts", Pictures(**{**SMALL, "fps": Fraction(25), "frames": 300}, codec="mpeg2video"),
        sound("mp2"),
    ),
    "mpeg2.mxf": _made(
        "mpeg2.mxf", Pictures(**{**SMALL, "fps": Fraction(25), "frames": 300}, codec="mpeg2video")
    ),
    "msmpeg4.asf": _made("msmpeg4.asf", Pictures(**SMALL, codec="msmpeg4v3"), sound("mp3")),
    "mjpeg.mov": _made(
        "mjpeg.mov", Pictures(**SMALL, codec="mjpeg", pixel_format="yuvj420p"), sound("pcm_s16le")
    ),
    "fragmented.mp4": _remuxed(
        "fragmented.mp4", {"movflags": "frag_keyframe+empty_moov"}, Pictures(**SMALL), sound()
    ),
    "faststart.mp4": _remuxed("faststart.mp4", {"movflags": "faststart"}, Pictures(**SMALL), sound()),
    "apart.mkv": _apart,
    "falling_rate.mp4": _made(
        "falling_rate.mp4",
        Pictures(**{**SMALL, "frames": 0}, times=[Fraction(k * k, 1500) for k in range(130)]), sound(),
    ),
    "from_minus_one_second.mp4": _made(
        "from_minus_one_second.mp4", Pictures(**SMALL, start=Fraction(-1)), sound()
    ),
    "from_three_seconds.mp4": _made(
        "from_three_seconds.mp4", Pictures(**SMALL, start=Fraction(3)), sound(start=Fraction(7, 2))
    ),
    "from_three_seconds.mkv": _made(
        "from_three_seconds.mkv", Pictures(**SMALL, start=Fraction(3)), sound(start=Fraction(7, 2))
    ),
}  # fmt: skip


@dataclass
class Decoded:
    """What a reading of one track gave."""

    pictures: list[Picture] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    packets: int = 0

    def shown(self, start_ns: int, stop_ns: int) -> list[tuple[int, str]]:
        """Return time and digest of the pictures shown in [start, stop): the one on at the start first."""
        seen = [(picture.time_ns, digest(picture.frame)) for picture in self.pictures]  # type: ignore[attr-defined]
        before = [one for one in seen if one[0] <= start_ns]
        return before[-1:] + [one for one in seen if start_ns < one[0] < stop_ns]

    def heard(self, start_ns: int, stop_ns: int, sample_rate: int) -> np.ndarray:
        """Return float32 [N], the first channel's samples in [start, stop); NaN where there are none."""
        first = -(-start_ns * sample_rate // NS)
        heard = np.full(max(0, -(-stop_ns * sample_rate // NS) - first), np.nan, np.float32)
        for chunk in self.sounds:
            at = round(chunk.start_ns * sample_rate / NS) - first
            samples = chunk.samples[0]
            left, right = max(0, at), min(len(heard), at + len(samples))
            if left < right:
                heard[left:right] = samples[left - at : right - at]
        return heard


def read_window(
    source: VideoFile,
    tracks: Sequence[Track],
    start_ns: int,
    stop_ns: int,
    told: list[Incident] | None = None,
) -> dict[str, Decoded]:
    """Read and decode a window of some tracks, as the pipeline does; damage is added to `told`."""
    told = [] if told is None else told
    decoders = {track.name: source.decoder(track) for track in tracks}
    results = {track.name: Decoded() for track in tracks}

    def keep(name: str, items: Any) -> None:
        for item in items:
            kind = {Sound: "sounds", Cue: "cues"}.get(type(item), "pictures")
            getattr(results[name], kind).append(item)

    for packet in source.read(tracks, start_ns, stop_ns, told.append):
        results[packet.track].packets += 1
        try:
            keep(packet.track, decoders[packet.track].decode(packet))
        except CannotDecode as error:
            told.append(Incident("failure", str(error), packet.track, packet.time_ns, packet.time_ns + 1))
    for name, decoder in decoders.items():
        try:
            keep(name, decoder.flush())
        except CannotDecode as error:
            told.append(Incident("failure", str(error), name))
    return results


def decode_all(path: Path, index: int, *, until_ns: int | None = None) -> Iterator[tuple[int | None, Any]]:
    """Yield time and digest (pictures) or samples (sound) of every frame of one stream, from the first."""
    with av.open(str(path), metadata_errors="replace") as container:
        stream: Any = container.streams[index]
        stream.codec_context.thread_count = 1
        packets = (packet for packet in container.demux(stream) if packet.size)
        for packet in [packets, [None]]:
            for one in packet:
                try:
                    frames = stream.codec_context.decode(one)
                except av.error.FFmpegError:
                    continue
                for frame in frames:
                    time_base = frame.time_base or stream.time_base
                    time_ns = None if frame.pts is None else pts_to_ns(frame.pts, time_base)
                    if until_ns is not None and time_ns is not None and time_ns >= until_ns:
                        return
                    if stream.type == "video":
                        yield time_ns, digest(frame)
                    elif frame.samples:
                        yield time_ns, planar_float(frame)


def digest(frame: av.VideoFrame) -> str:
    """Return a digest of a frame's planes, without the padding at the end of their lines."""
    total = hashlib.blake2b(digest_size=12)
    for number, plane in enumerate(frame.planes):
        components = [c for c in frame.format.components if c.plane == number]
        width = plane.width * max(1, len(components)) * -(-max((c.bits for c in components), default=8) // 8)
        lines = np.frombuffer(bytes(plane), np.uint8)[: plane.line_size * plane.height]
        total.update(lines.reshape(plane.height, plane.line_size)[:, :width].tobytes())
    return total.hexdigest()


def tone_file(folder: Path, name: str, seconds: float = 2.0) -> Path:
    """Write a stereo tone of 440 and 880 Hz."""
    from made_sound import write_sound

    return write_sound(folder / name, tone(440, seconds, channels=2))
