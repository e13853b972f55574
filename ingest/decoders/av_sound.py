"""Audio packets to sound, and sound to another rate and channel count, through PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np

from ingest.errors import CannotDecode
from ingest.recording import Packet, Sound, Track
from ingest.timing import NS, pts_to_ns


class SoundDecoder:
    """Decodes one audio stream; priming and padding samples are dropped by the codec library."""

    def __init__(self, track: Track, context: Any, time_base: Fraction) -> None:
        self._track = track
        self._context = context
        self._time_base = time_base
        self._next_ns = track.start_ns
        if context.is_open:
            context.flush_buffers()
        else:
            context.thread_count = 1

    def decode(self, packet: Packet) -> Iterable[Sound]:
        """Return the sound that this packet completes."""
        return self._sounds(packet.data)

    def flush(self) -> Iterable[Sound]:
        """Return the sound still inside."""
        return self._sounds(None)

    def _sounds(self, packet: Any) -> list[Sound]:
        try:
            frames = self._context.decode(packet)
        except EOFError:
            return []
        except (av.error.FFmpegError, OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise CannotDecode(f"{self._track.codec} packet does not decode ({words.lower()})") from error
        return [self._sound(frame) for frame in frames if frame.samples]

    def _sound(self, frame: Any) -> Sound:
        if frame.pts is None or self._track.details.get("counted"):
            start_ns = self._next_ns
        else:
            start_ns = pts_to_ns(frame.pts, frame.time_base or self._time_base)
        self._next_ns = start_ns + frame.samples * NS // frame.sample_rate
        return Sound(start_ns, planar_float(frame), frame.sample_rate, layout_name(frame.layout))


def planar_float(frame: Any) -> np.ndarray:
    """Return an audio frame's samples as float32 [C, N] in [-1, 1]."""
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
    """Return the layout's name; files that give only a number of channels get FFmpeg's usual one."""
    name = str(layout.name)
    if name.endswith("channels") or not name:
        return {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}.get(
            layout.nb_channels, name
        )
    return name


class AvResampler:
    """Mixes to mono or stereo by FFmpeg's standard coefficients and resamples (libswresample).

    Args:
        layout: of the input, by FFmpeg's name.
        sample_rate: of the input, in Hz.
        to_rate: of the result.
        to_channels: 1 or 2.
    """

    BLOCK_SAMPLES = 16384
    """Chunks are gathered to this size: a call per 1024-sample frame costs more than the work."""

    def __init__(self, layout: str, sample_rate: int, to_rate: int, to_channels: int) -> None:
        self._layout = layout
        self._sample_rate = sample_rate
        self._to_channels = to_channels
        target = "mono" if to_channels == 1 else "stereo"
        self._same = (layout, sample_rate) == (target, to_rate)
        self._resampler = av.AudioResampler(format="fltp", layout=target, rate=to_rate)
        self._waiting: list[np.ndarray] = []
        self._waiting_samples = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take float32 [C, N]; return float32 [to_channels, M]."""
        if self._same:
            return samples
        self._waiting.append(samples)
        self._waiting_samples += samples.shape[1]
        if self._waiting_samples < self.BLOCK_SAMPLES:
            return self._nothing()
        return self._convert()

    def flush(self) -> np.ndarray:
        """Return what is left."""
        if self._same:
            return self._nothing()
        parts = [self._convert()] if self._waiting else []
        parts += [frame.to_ndarray() for frame in self._resampler.resample(None)]
        return np.concatenate(parts, axis=1) if parts else self._nothing()

    def _nothing(self) -> np.ndarray:
        return np.zeros((self._to_channels, 0), np.float32)

    def _convert(self) -> np.ndarray:
        block = np.ascontiguousarray(np.concatenate(self._waiting, axis=1), np.float32)
        self._waiting, self._waiting_samples = [], 0
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
        frame.sample_rate = self._sample_rate
        parts = [out.to_ndarray() for out in self._resampler.resample(frame)]
        return np.concatenate(parts, axis=1) if parts else self._nothing()
