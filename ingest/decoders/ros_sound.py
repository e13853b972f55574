"""`audio_common_msgs/AudioData` -> sound: raw samples and MP3, on a clock that counts samples.

Chunks of sound carry stamps that jitter by how busy the recorder was, while their samples follow each
other without a gap. So time is counted: the first chunk's stamp, then sample by sample. Where a chunk's
stamp and the count differ by more than `RUNAWAY_NS` (samples were lost, or the sound card's clock has
drifted), the count begins again at that stamp.

A chunk's stamp is taken for the time of the first sample that it completes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

from ingest.decoders.promised import as_promised
from ingest.decoders.ros_mp3 import FrameHeader, Mp3Frames, certain_header
from ingest.decoders.well_known import RAW_AUDIO, well_known
from ingest.errors import CannotDecode, WrongUse
from ingest.recording import Packet, Sound

AUDIO_TYPES = {
    "audio_common_msgs/msg/AudioData": "data",
    "audio_common_msgs/msg/AudioDataStamped": "audio.data",
    RAW_AUDIO: "data",
}
"""Types that are sound, and where in the message it is."""
AUDIO_INFO = "audio_common_msgs/msg/AudioInfo"

RUNAWAY_NS = 200_000_000
NS = 1_000_000_000

PRIMING_FRAMES = 10
"""MP3 frames use bits of up to nine frames before them: so many may fail after a start in the middle."""

SAMPLE_FORMATS: dict[str, np.dtype[Any]] = {
    "u8": np.dtype("u1"),
    "s8": np.dtype("i1"),
    "s16le": np.dtype("<i2"),
    "s16be": np.dtype(">i2"),
    "s24le": np.dtype("u1"),
    "s32le": np.dtype("<i4"),
    "f32le": np.dtype("<f4"),
}
LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


@dataclass(frozen=True)
class SoundFormat:
    """What a topic's bytes are."""

    coding: str
    """One of `SAMPLE_FORMATS`, or `mp3`."""
    sample_rate: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels; raw samples only."""
        return self.channels * (3 if self.coding == "s24le" else SAMPLE_FORMATS[self.coding].itemsize)

    def __str__(self) -> str:
        return f"{self.coding}:{self.sample_rate}:{self.channels}"


def layout_of(channels: int) -> str:
    """Return FFmpeg's name of the usual layout of so many channels."""
    return LAYOUTS[channels - 1] if channels <= len(LAYOUTS) else f"{channels} channels"


def sound_format(text: str) -> SoundFormat | None:
    """Return the format that `FORMAT:RATE:CHANNELS` names; None for plain `mp3`, which says the rest
    itself.

    Raises:
        WrongUse: it names none; the message says how it is written.
    """
    if text.strip().lower() == "mp3":
        return None
    match = re.fullmatch(r"(\w+):(\d+):(\d+)", text.strip().lower())
    if match is None or match[1] not in (*SAMPLE_FORMATS, "mp3"):
        known = ", ".join(SAMPLE_FORMATS)
        raise WrongUse(
            f"--audio-format {text!r}: expected FORMAT:RATE:CHANNELS such as s16le:16000:1 "
            f"(formats: {known}), or mp3"
        )
    rate, channels = int(match[2]), int(match[3])
    if not (1 <= rate <= 1_000_000 and 1 <= channels <= 64):
        raise WrongUse(f"--audio-format {text!r}: the rate must be 1 to 1000000, the channels 1 to 64")
    return SoundFormat(match[1], rate, channels)


def format_of_info(info: Any) -> str:
    """Return what an AudioInfo message says of its sibling, written as `sound_format` reads it; empty
    where it does not say enough.

    Raises:
        CannotDecode: it lacks what its type promises.
    """
    with as_promised("a sound's description"):
        return _format_of_info(info)


def _format_of_info(info: Any) -> str:
    if str(info.coding_format).strip().lower() == "mp3":
        return "mp3"
    coding = str(info.sample_format).strip().lower().replace("_", "")
    if str(info.coding_format).strip().lower() in ("wave", "wav", "pcm", "") and coding in SAMPLE_FORMATS:
        rate, channels = int(info.sample_rate), int(info.channels)
        if rate > 0 and channels > 0:
            return str(SoundFormat(coding, rate, channels))
    return ""


def format_of_raw_audio(message: Any) -> SoundFormat | None:
    """Return what a `foxglove/RawAudio` message says that it holds; None where it is not known.

    Raises:
        CannotDecode: it lacks what its type promises.
    """
    with as_promised("a sound"):
        return _format_of_raw_audio(message)


def _format_of_raw_audio(message: Any) -> SoundFormat | None:
    coding = {"pcm-s16": "s16le"}.get(str(message.format).strip().lower())
    rate, channels = int(message.sample_rate), int(message.number_of_channels)
    return SoundFormat(coding, rate, channels) if coding and rate > 0 and channels > 0 else None


def format_of_content(data: bytes) -> SoundFormat | None:
    """Return what the first bytes of a stream say for certain: a RIFF header, or MP3 frames."""
    if header := certain_header(data):
        return SoundFormat("mp3", header.sample_rate, header.channels)
    found = _riff(data)
    return found[0] if found else None


def _riff(data: bytes) -> tuple[SoundFormat | None, int] | None:
    """Return what a RIFF header says, and where its samples begin; None where there is no header.

    `RIFF` size `WAVE`, then chunks of 4 letters, uint32 size, content: `fmt ` has uint16 tag (1: PCM,
    3: float, FFFE: see bits), channels, uint32 rate, 6 bytes, uint16 bits.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at, found = 12, None
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            return found, at + 8
        if name == b"fmt " and at + 24 <= len(data):
            tag, channels, rate, bits = (
                int.from_bytes(data[at + begin : at + end], "little")
                for begin, end in ((8, 10), (10, 12), (12, 16), (22, 24))
            )
            kinds = {8: "u8", 16: "s16le", 24: "s24le", 32: "f32le" if tag == 3 else "s32le"}
            if tag in (1, 3, 0xFFFE) and bits in kinds and channels and rate:
                found = SoundFormat(kinds[bits], rate, channels)
        at += 8 + size + size % 2
    return found, len(data)


class Pieces(Protocol):
    """Cuts a topic's chunks into what can be decoded by itself."""

    at_border: bool
    """Whether nothing is kept for the next chunk."""

    def push(self, chunk: bytes) -> int:
        """Take the next chunk; return how many samples it completes."""
        ...

    def samples(self) -> list[tuple[int, np.ndarray]]:
        """Decode what the last chunk completed: how many of its samples come before, and float32
        [C, N], in [-1, 1].
        """
        ...


class RawPieces:
    """Raw samples."""

    def __init__(self, sound: SoundFormat) -> None:
        self._sound = sound
        self._kept = b""
        self._complete = b""

    @property
    def at_border(self) -> bool:
        """See `Pieces`."""
        return not self._kept

    def push(self, chunk: bytes) -> int:
        """See `Pieces`."""
        header = _riff(chunk)
        data = self._kept + (chunk[header[1] :] if header else chunk)
        count = len(data) // self._sound.frame_bytes
        self._complete = data[: count * self._sound.frame_bytes]
        self._kept = data[len(self._complete) :]
        return count

    def samples(self) -> list[tuple[int, np.ndarray]]:
        """See `Pieces`."""
        values = raw_samples(self._complete, self._sound.coding)
        return [(0, np.ascontiguousarray(values.reshape(-1, self._sound.channels).T))]


class Mp3Pieces:
    """MP3 frames."""

    def __init__(self) -> None:
        self._frames = Mp3Frames()
        self._complete: list[tuple[bytes, FrameHeader]] = []
        self._decoder: Any = None
        self._taken = 0

    @property
    def at_border(self) -> bool:
        """See `Pieces`."""
        return self._frames.at_border

    def push(self, chunk: bytes) -> int:
        """See `Pieces`."""
        self._complete = self._frames.push(chunk)
        return sum(header.samples for _, header in self._complete)

    def samples(self) -> list[tuple[int, np.ndarray]]:
        """See `Pieces`.

        Raises:
            CannotDecode: a frame is damaged.
        """
        found, before = [], 0
        for frame, header in self._complete:
            found += [(before, samples) for samples in self._decoded(frame)]
            before += header.samples
        return found

    def _decoded(self, frame: bytes) -> list[np.ndarray]:
        import av

        if self._decoder is None:
            self._decoder = av.CodecContext.create("mp3float", "r")
            self._decoder.thread_count = 1
        self._taken += 1
        try:
            decoded = self._decoder.decode(av.Packet(frame))
        except av.FFmpegError as error:
            if self._taken <= PRIMING_FRAMES:
                return []
            raise CannotDecode(f"an MP3 frame is damaged ({error.strerror})") from error
        return [np.asarray(one.to_ndarray(), np.float32) for one in decoded]


def pieces_of(sound: SoundFormat) -> RawPieces | Mp3Pieces:
    """Return what cuts chunks of this format."""
    return Mp3Pieces() if sound.coding == "mp3" else RawPieces(sound)


def raw_samples(data: bytes, coding: str) -> np.ndarray:
    """Return raw samples as float32 in [-1, 1]."""
    if coding == "s24le":
        threes = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(threes), 4), np.uint8)
        wide[:, 1:] = threes  # as the upper bytes of 32 bits
        return raw_samples(wide.tobytes(), "s32le")
    values = np.frombuffer(data, SAMPLE_FORMATS[coding])
    scaled: np.ndarray
    if coding == "f32le":
        scaled = np.clip(np.nan_to_num(values), -1, 1)
    elif coding == "u8":
        scaled = (values.astype(np.float32) - 128) / 128
    else:
        scaled = values.astype(np.float64) / 2.0 ** (8 * values.itemsize - 1)
    return scaled.astype(np.float32)


@dataclass
class SampleClock:
    """Counts samples from an anchor."""

    sample_rate: int
    anchor_ns: int | None = None
    count: int = 0
    """Samples since the anchor."""
    restarts: int = 0

    @property
    def time_ns(self) -> int:
        """When the next sample is, by the count."""
        return (self.anchor_ns or 0) + self.count * NS // self.sample_rate

    def place(self, stamp_ns: int, samples: int) -> int:
        """Return the time of a chunk's first sample, and count the chunk."""
        if self.anchor_ns is None or abs(stamp_ns - self.time_ns) > RUNAWAY_NS:
            self.restarts += self.anchor_ns is not None
            self.anchor_ns, self.count = stamp_ns, 0
        time_ns = self.time_ns
        self.count += samples
        return time_ns


def sound_in(message: Any, type_name: str) -> bytes:
    """Return the bytes of sound in a message.

    Raises:
        CannotDecode: it lacks what its type promises.
    """
    with as_promised("a sound"):
        return bytes(attrgetter(AUDIO_TYPES[well_known(type_name)])(message))


class RosSound:
    """Decoder of one sound track. A packet's time is that of the first sample that it completes.

    Args:
        sound: what the topic's bytes are.
        type_name: one of `AUDIO_TYPES`.
        deserialize: turns bytes into messages; raises `CannotDecode`.
    """

    def __init__(self, sound: SoundFormat, type_name: str, deserialize: Callable[[Any], Any]) -> None:
        self._sound = sound
        self._type_name = type_name
        self._deserialize = deserialize
        self._pieces = pieces_of(sound)

    def decode(self, packet: Packet) -> list[Sound]:
        """See `Decoder`."""
        self._pieces.push(sound_in(self._deserialize(packet.data), self._type_name))
        rate = self._sound.sample_rate
        return [
            Sound(packet.time_ns + before * NS // rate, samples, rate, layout_of(samples.shape[0]))
            for before, samples in self._pieces.samples()
            if samples.shape[1]
        ]

    def flush(self) -> list[Sound]:
        """See `Decoder`."""
        return []
