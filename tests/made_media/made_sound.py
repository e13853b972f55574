"""Sound whose answer is known: tones of one pitch, clicks at given times, and how to hear both again."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SAMPLE_RATE = 48_000
CODECS = {
    ".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame", ".m4a": "aac", ".aac": "aac",
    ".ogg": "vorbis", ".opus": "libopus", ".mp4": "aac", ".mkv": "aac", ".webm": "libopus",
}  # fmt: skip
"""The codec that `write_sound` takes for a file's ending."""


def tone(pitch_hz: float, seconds: float, *, sample_rate: int = SAMPLE_RATE, channels: int = 1) -> np.ndarray:
    """Return a sine of one pitch: float32 [C, N], amplitude 0.5, starting at phase 0.

    Channel c has `c + 1` times the pitch, so that channels can be told apart.
    """
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    rows = [0.5 * np.sin(2 * np.pi * pitch_hz * (channel + 1) * times) for channel in range(channels)]
    return np.array(rows, np.float32)


def clicks(
    times: Sequence[Fraction | float], seconds: float, *, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
    """Return silence with a click of 4 ms at each of these times (seconds): float32 [1, N].

    A click is loudest in its first millisecond; the first sample that is not 0 is at the given
    time, rounded up to a sample.
    """
    samples = np.zeros((1, round(seconds * sample_rate)), np.float32)
    length = sample_rate // 250
    fading = np.exp(-np.arange(length) / (length / 4))
    click = 0.9 * fading * np.cos(2 * np.pi * 2000 * np.arange(length) / sample_rate)
    for time in times:
        first = -int(-time * sample_rate // 1)
        samples[0, first : first + length] = click[: samples.shape[1] - first]
    return samples


def heard_pitch(samples: np.ndarray, sample_rate: int) -> float:
    """Return the pitch of the loudest tone in Hz, within about 0.1 Hz for half a second of sound.

    Args:
        samples: float [N], or [C, N] of which the first channel counts.
    """
    heard = np.asarray(samples, np.float64).reshape(-1, np.shape(samples)[-1])[0]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 8 * len(heard)))
    peak = int(spectrum[1:-1].argmax()) + 1
    left, middle, right = np.log(spectrum[peak - 1 : peak + 2] + 1e-12)
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    return float((peak + offset) * sample_rate / (8 * len(heard)))


def heard_clicks(samples: np.ndarray, sample_rate: int, *, loudness: float = 0.25) -> list[float]:
    """Return the onset of every click in seconds since the first sample, right to about 1 ms.

    Clicks must be at least 50 ms apart.
    """
    heard = np.abs(np.asarray(samples, np.float64).reshape(-1, np.shape(samples)[-1])[0])
    loud = np.flatnonzero(heard > loudness)
    apart = np.diff(loud, prepend=-sample_rate) > sample_rate // 20
    return [float(first) / sample_rate for first in loud[apart]]


def add_sound_stream(
    container: av.container.OutputContainer, codec: str, sample_rate: int, channels: int
) -> av.AudioStream:
    """Add a sound stream with bit-exact settings."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    stream = container.add_stream(codec, rate=sample_rate, layout=layout)
    assert isinstance(stream, av.AudioStream)
    stream.codec_context.flags |= av.codec.context.Flags.bitexact
    if codec == "vorbis":
        stream.codec_context.options = {"strict": "experimental"}
    return stream


def encode_sound(
    stream: av.AudioStream, samples: np.ndarray, sample_rate: int, start: Fraction = Fraction(0)
) -> list[av.Packet[Any]]:
    """Encode float32 [C, N] whose first sample is heard `start` seconds into the file."""
    packets = []
    step = sample_rate // 10  # small frames, as a microphone gives them
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    for first in range(0, samples.shape[1], step):
        part = np.ascontiguousarray(samples[:, first : first + step], np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base = sample_rate, Fraction(1, sample_rate)
        frame.pts = int(start * sample_rate) + first
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def write_sound(
    path: Path,
    samples: np.ndarray,
    *,
    sample_rate: int = SAMPLE_RATE,
    codec: str = "",
    start: Fraction = Fraction(0),
) -> Path:
    """Write float32 [C, N] as a sound file and return its path; same arguments, same bytes.

    Args:
        path: its ending decides about container and codec (see `CODECS`).
        codec: overrides the ending's codec.
        start: seconds on the file's timeline at which the first sample is heard.
    """
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = add_sound_stream(container, codec or CODECS[path.suffix], sample_rate, len(samples))
        container.mux(encode_sound(stream, samples, sample_rate, start))
    return path
