"""Audio packets to sound, and sound to another rate and channel count, through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ingest.decoders.av_errors import DECODING_ERRORS, words_of
from ingest.decoders.av_limits import prepare
from ingest.decoders.mixing import mixed, mixing_matrix
from ingest.errors import CannotDecode
from ingest.recording import Packet, Sound, Track
from ingest.timing import NS, Ticks

MOST_PLANES = 8
"""PyAV reads behind the end of its list of planes where a frame has so many: such a frame must be packed
by libswresample before its planes are touched."""
NO_ARRAYS = ("s64", "s64p")
"""Sample formats that PyAV makes no arrays of."""


GATHERED_SAMPLES = 16384
"""Frames that follow each other exactly are given as one sound of about this length: what comes after costs
more per sound than per sample."""
EXACTLY_NS = 1000
"""So far may a frame's stamp be from where the one before it ended: less than a sample."""


class SoundDecoder:
    """Decodes one audio stream; priming and padding samples are dropped by the codec library."""

    def __init__(self, track: Track, context: Any, time_base: Fraction) -> None:
        self._track = track
        self._context = context
        self._ticks = Ticks(time_base)
        self._tick_ns = self._ticks.ns(1)
        self._packer: Any = None
        self._known_ns = track.start_ns
        """The last time that a frame brought with it."""
        self._counted = 0
        """Samples since then."""
        self._gathered: list[np.ndarray] = []
        self._gathered_samples = 0
        self._gathered_as: tuple[int, int, str] = (0, 0, "")
        """Start, sample rate and layout of what is gathered."""
        if context.is_open:
            context.flush_buffers()
        else:
            prepare(context)

    def decode(self, packet: Packet) -> Iterator[Sound]:
        """Yield the sound that this packet completes."""
        try:
            frames = self._frames(packet.data)
        except CannotDecode:
            yield from self._given()
            raise
        for frame in frames:
            yield from self._gather(frame)

    def flush(self) -> Iterator[Sound]:
        """Yield the sound still inside."""
        try:
            frames = self._frames(None)
        except CannotDecode:
            yield from self._given()
            raise
        for frame in frames:
            yield from self._gather(frame)
        yield from self._given()

    def _frames(self, packet: Any) -> list[Any]:
        try:
            frames = self._context.decode(packet)
        except EOFError:  # flushed before
            return []
        except DECODING_ERRORS as error:
            raise CannotDecode(f"a {self._track.codec} packet does not decode ({words_of(error)})") from error
        raw = self._track.codec.startswith("pcm_")  # half a packet is as good as a whole one
        if not raw and any(frame.is_corrupt for frame in frames):
            raise CannotDecode(f"a {self._track.codec} packet is damaged")
        return [frame for frame in frames if frame.samples]

    def _gather(self, frame: Any) -> Iterator[Sound]:
        rate, samples = frame.sample_rate, frame.samples
        start_ns = self._start_ns(frame.pts, rate, samples)
        layout = layout_name(frame.layout)
        since_ns, *alike = self._gathered_as
        expected_ns = since_ns + self._gathered_samples * NS // rate
        if alike != [rate, layout] or abs(start_ns - expected_ns) > EXACTLY_NS:
            yield from self._given()
        if not self._gathered:
            self._gathered_as = start_ns, rate, layout
        self._gathered.append(self._samples(frame))
        self._gathered_samples += samples
        if self._gathered_samples >= GATHERED_SAMPLES:
            yield from self._given()

    def _given(self) -> Iterator[Sound]:
        if self._gathered:
            samples = np.concatenate(self._gathered, axis=1)
            self._gathered, self._gathered_samples = [], 0
            start_ns, rate, layout = self._gathered_as
            yield Sound(start_ns, samples, rate, layout)

    def _samples(self, frame: Any) -> np.ndarray:
        few_planes = not frame.format.is_planar or frame.layout.nb_channels < MOST_PLANES
        if few_planes and frame.format.name not in NO_ARRAYS:
            return planar_float(frame)
        if self._packer is None:
            rate = frame.sample_rate
            self._packer = av.AudioResampler(format="flt", layout=frame.layout, rate=rate)
        parts = [planar_float(packed) for packed in self._packer.resample(frame)]
        return np.concatenate(parts, axis=1)

    def _start_ns(self, pts: int | None, rate: int, samples: int) -> int:
        """Return when the next frame begins; one without a stamp begins where the one before it ended."""
        if pts is not None:
            self._known_ns, self._counted = self._exact_ns(pts, rate, samples), 0
        start_ns = self._known_ns + self._counted * NS // rate
        self._counted += samples
        return start_ns

    def _exact_ns(self, pts: int, rate: int, samples: int) -> int:
        """Return a frame's time, to the sample even where the container keeps only milliseconds.

        Frames of one length follow each other without a break in nearly every stream, the first one cut
        by priming and the last one by padding: a frame that begins or ends within a tick of a place in
        that row begins or ends there, wherever reading began.
        """
        stamp_ns = self._ticks.ns(pts)
        if self._tick_ns * rate <= NS:
            return stamp_ns
        details = self._track.details
        position = (stamp_ns - self._track.start_ns) * rate // NS - details["first_samples"]
        rows = (
            snapped(position + cut, details["frame_samples"]) - cut + details["first_samples"]
            for cut in (0, samples)
        )
        places = [self._track.start_ns + row * NS // rate for row in rows]
        nearest_ns = min(places, key=lambda place_ns: abs(place_ns - stamp_ns))
        return nearest_ns if abs(nearest_ns - stamp_ns) <= self._tick_ns else stamp_ns


def snapped(position: int, step: int) -> int:
    """Return the multiple of `step` that is nearest to a position."""
    return (2 * position + step) // (2 * step) * step


def planar_float(frame: Any) -> np.ndarray:
    """Return an audio frame's samples as float32 [C, N] in [-1, 1]."""
    if frame.format.name == "fltp":  # what most codecs give: without PyAV's checks
        samples = frame.samples
        return np.array([np.frombuffer(plane, np.float32, samples) for plane in frame.planes])
    data = frame.to_ndarray()
    channels = frame.layout.nb_channels
    if not frame.format.is_planar:
        data = data.reshape(-1, channels).T
    if data.dtype == np.uint8:
        return np.asarray((data.astype(np.float32) - 128) / 128)
    if data.dtype.kind == "i":
        return np.asarray(data.astype(np.float32) / float(2 ** (8 * data.dtype.itemsize - 1)))
    return np.ascontiguousarray(data, dtype=np.float32)


def layout_name(layout: Any) -> str:
    """Return FFmpeg's name of a layout; one or two channels without a name are mono and stereo."""
    name = str(layout.name)
    return {"1 channels": "mono", "2 channels": "stereo"}.get(name, name)


def channel_names(layout: str) -> list[str]:
    """Return FFmpeg's names of a layout's channels: `5.1`, `4 channels (FL+FR+TFL+TFR)`, `9 channels`."""
    if "(" in layout and " channels" in layout:
        return layout[layout.index("(") + 1 : -1].split("+")
    return [channel.name for channel in av.AudioLayout(layout).channels]


class AvResampler:
    """Mixes to mono or stereo (see `mixing`) and resamples (libswresample).

    Args:
        layout: of the input, by FFmpeg's name.
        sample_rate: of the input, in Hz.
        to_rate: of the result.
        to_channels: 1 or 2.
    """

    BLOCK_SAMPLES = 16384
    """Chunks are gathered to this size: a call per 1024-sample frame costs more than the work."""

    def __init__(self, layout: str, sample_rate: int, to_rate: int, to_channels: int) -> None:
        self._sample_rate = sample_rate
        self._to_channels = to_channels
        self._layout = "mono" if to_channels == 1 else "stereo"
        self._matrix = None if layout == self._layout else mixing_matrix(channel_names(layout), to_channels)
        self._to_rate = to_rate
        self._resampler: Any = self._new_resampler() if sample_rate != to_rate else None
        self._has_given = False
        self._waiting: list[np.ndarray] = []
        self._waiting_samples = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take float32 [C, N]; return float32 [to_channels, M]."""
        if self._matrix is not None:
            samples = mixed(samples, self._matrix)
        if self._resampler is None:
            return samples
        self._waiting.append(samples)
        self._waiting_samples += samples.shape[1]
        if self._waiting_samples < self.BLOCK_SAMPLES:
            return self._nothing()
        return self._convert()

    def flush(self) -> np.ndarray:
        """Return what is left."""
        if self._resampler is None:
            return self._nothing()
        rest, samples = self._waiting, self._drained()
        if self._has_given or samples.shape[1] or not rest:
            return samples
        return self._padded(np.concatenate(rest, axis=1))

    def _drained(self) -> np.ndarray:
        parts = [self._convert()] if self._waiting else []
        parts += [frame.to_ndarray() for frame in self._resampler.resample(None)]
        return np.concatenate(parts, axis=1) if parts else self._nothing()

    def _padded(self, piece: np.ndarray) -> np.ndarray:
        """Resample what is shorter than libswresample's filter, which gives nothing for it: with silence
        behind it.
        """
        count = piece.shape[1]
        self._resampler = self._new_resampler()
        self._waiting = [piece, np.zeros((self._to_channels, self.BLOCK_SAMPLES), np.float32)]
        return self._drained()[:, : -(-count * self._to_rate // self._sample_rate)]

    def _new_resampler(self) -> Any:
        return av.AudioResampler(format="fltp", layout=self._layout, rate=self._to_rate)

    def _nothing(self) -> np.ndarray:
        return np.zeros((self._to_channels, 0), np.float32)

    def _convert(self) -> np.ndarray:
        block = np.ascontiguousarray(np.concatenate(self._waiting, axis=1), np.float32)
        self._waiting, self._waiting_samples = [], 0
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
        frame.sample_rate = self._sample_rate
        parts = [out.to_ndarray() for out in self._resampler.resample(frame)]
        self._has_given |= bool(parts)
        return np.concatenate(parts, axis=1) if parts else self._nothing()
