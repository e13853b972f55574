"""Video files of test cards, in any container and codec, with or without sound and subtitles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from made_cards import draw_card
from made_sound import SAMPLE_RATE, add_sound_stream, encode_sound

BITEXACT = {"fflags": "+bitexact"}
"""Container options without which Matroska draws random identities."""
DETERMINISTIC = {"libx264": {"x264-params": "mbtree=0"}, "libx265": {"x265-params": "log-level=none"}}
"""Codec options: with its macroblock tree, x264 writes other bytes in about one run of ten."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """One video stream of test cards."""

    frames: int = 48
    fps: Fraction = Fraction(24)
    width: int = 320
    """Stored width, before rotation and sample aspect ratio."""
    height: int = 192
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    first_number: int = 0
    """Number of the first card; frame k shows `first_number + k`."""
    times: Sequence[Fraction] | None = None
    """Variable frame rate: one ascending time in seconds per frame, instead of `frames / fps`."""
    start: Fraction = Fraction(0)
    """Seconds added to every time."""
    keyframe_every: int = 12
    b_frames: int = 2
    rotation: int = 0
    """Clockwise degrees by which a player turns the stored picture (mp4, mov)."""
    mirrored: bool = False
    """Whether a player mirrors the stored picture left to right, before it turns it."""
    sample_aspect: Fraction = Fraction(1)
    flashes: Sequence[int] = ()
    """Frames, counted from 0, with a bright background."""
    options: Mapping[str, str] | None = None
    draw: Callable[[int, int, int], np.ndarray] | None = None
    """`draw(k, width, height)` gives the stored picture k instead of a test card."""

    @property
    def moments(self) -> list[Fraction]:
        """The time of each frame in seconds."""
        times = self.times or [k / self.fps for k in range(self.frames)]
        return [self.start + time for time in times]

    @property
    def time_base(self) -> Fraction:
        """The clock in which the encoder counts: one tick per frame, or 90 kHz where that varies."""
        return Fraction(1, 90_000) if self.times else 1 / self.fps

    def stored(self, k: int) -> np.ndarray:
        """Return picture k as it stands in the file: uint8 [height, width, 3]."""
        if self.draw is not None:
            return self.draw(k, self.width, self.height)
        shown = (self.height, self.width) if self.rotation in (90, 270) else (self.width, self.height)
        card = draw_card(self.first_number + k, *shown, flash=k in self.flashes)
        card = np.rot90(card, self.rotation // 90)  # against the clock, which the player undoes
        return np.ascontiguousarray(card[:, ::-1] if self.mirrored else card)


@dataclass(frozen=True, eq=False)
class SoundTrack:
    """One sound stream."""

    samples: np.ndarray
    """float32 [C, N] in [-1, 1]."""
    sample_rate: int = SAMPLE_RATE
    codec: str = "aac"
    start: Fraction = Fraction(0)
    """Seconds on the file's timeline at which the first sample is heard."""


@dataclass(frozen=True, eq=False)
class Subtitles:
    """One stream of timed text: `subrip` in mkv, `mov_text` in mp4, `webvtt` in webm."""

    cues: Sequence[tuple[Fraction, Fraction, str]]
    """Start and stop in seconds, and the text."""
    codec: str = "subrip"


def write_video(path: Path, *streams: Pictures | SoundTrack | Subtitles) -> Path:
    """Write the streams in this order; the ending decides about the container. Same bytes each time."""
    with av.open(str(path), "w", options=BITEXACT) as container:
        encoders = [_add(container, stream) for stream in streams]
        mux_in_order(container, (packet for encode in encoders for packet in encode()))
    return path


def stored_times_ns(path: Path, pictures: Pictures) -> list[int]:
    """Return the times of the frames as the container keeps them, in ns, rounded down.

    Matroska counts milliseconds, rounded to the nearest; mp4, mov and avi keep what we give.

    Raises:
        ValueError: other containers (ts, flv) move all stamps by an amount of their own.
    """
    if path.suffix not in (".mkv", ".webm", ".mp4", ".mov", ".avi"):
        raise ValueError(f"{path.suffix} keeps times in its own way")
    if path.suffix in (".mkv", ".webm"):
        return [int(moment * 1000 + Fraction(1, 2)) * 1_000_000 for moment in pictures.moments]
    return [int(moment * 1_000_000_000) for moment in pictures.moments]


def mux_in_order(container: av.container.OutputContainer, packets: Iterable[av.Packet[Any]]) -> None:
    """Write the packets of all streams in the order of their decoding times."""

    def decoding_time(packet: av.Packet[Any]) -> Fraction:
        stamp = packet.pts if packet.dts is None else packet.dts
        assert stamp is not None
        assert packet.time_base is not None
        return stamp * packet.time_base

    for packet in sorted((packet for packet in packets if packet.size), key=decoding_time):
        container.mux(packet)


def _add(
    container: av.container.OutputContainer, track: Pictures | SoundTrack | Subtitles
) -> Callable[[], list[av.Packet[Any]]]:
    """Add the stream to the container and return what encodes it once all streams are there."""
    if isinstance(track, Pictures):
        video = _add_pictures(container, track)
        return lambda: _encode_pictures(video, track)
    if isinstance(track, SoundTrack):
        sound = add_sound_stream(container, track.codec, track.sample_rate, len(track.samples))
        return lambda: encode_sound(sound, track.samples, track.sample_rate, track.start)
    text = container.add_mux_stream(track.codec, time_base=Fraction(1, 1000))
    return lambda: _text_packets(text, track)


def _add_pictures(container: av.container.OutputContainer, pictures: Pictures) -> av.VideoStream:
    options = {**DETERMINISTIC.get(pictures.codec, {}), **(pictures.options or {})}
    stream = container.add_stream(pictures.codec, rate=pictures.fps, options=options)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height, stream.pix_fmt = pictures.width, pictures.height, pictures.pixel_format
    stream.time_base = pictures.time_base
    context = stream.codec_context
    context.time_base = pictures.time_base
    context.thread_count = 1
    context.gop_size = pictures.keyframe_every
    context.flags |= av.codec.context.Flags.bitexact
    if pictures.codec in ("libx264", "mpeg4", "mpeg2video"):
        context.max_b_frames = pictures.b_frames
    if pictures.sample_aspect != 1:
        stream.sample_aspect_ratio = pictures.sample_aspect
    if pictures.rotation or pictures.mirrored:
        # PyAV turns against the clock and mirrors afterwards; mirrored first, the turn changes its sense.
        turn = pictures.rotation if pictures.mirrored else -pictures.rotation
        stream.set_display_rotation(turn, hflip=pictures.mirrored)
    return stream


def _encode_pictures(stream: av.VideoStream, pictures: Pictures) -> list[av.Packet[Any]]:
    packets = []
    for k, moment in enumerate(pictures.moments):
        frame = av.VideoFrame.from_ndarray(pictures.stored(k), format="rgb24")
        ticks = moment / pictures.time_base
        if ticks.denominator != 1:
            raise ValueError(f"frame {k}: {moment} s is no whole number of ticks of {pictures.time_base} s")
        frame.pts, frame.time_base = int(ticks), pictures.time_base
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _text_packets(stream: av.stream.Stream, subtitles: Subtitles) -> list[av.Packet[Any]]:
    packets = []
    for start, stop, text in subtitles.cues:
        data = text.encode()
        if subtitles.codec == "mov_text":
            data = len(data).to_bytes(2, "big") + data
        packet = av.Packet(data)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = int(start * 1000)
        packet.duration = int((stop - start) * 1000)
        packet.is_keyframe = True
        packets.append(packet)
    return packets
