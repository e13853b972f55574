"""Sounds made on the spot, to train on beside recordings: tones, chirps, noise, hits."""

from __future__ import annotations

import numpy as np


def made_sound(random: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """Return float32 [count] samples of one to three sounds over each other, at most 1 in size."""
    makers = (harmonics, chirp, coloured_noise, hits)
    total = np.zeros(count, np.float64)
    for _ in range(int(random.integers(1, 4))):
        maker = makers[int(random.integers(len(makers)))]
        total += maker(random, count, rate) * 10 ** (random.uniform(-20, 0) / 20)
    return (total / max(1.0, float(np.abs(total).max()))).astype(np.float32)


def harmonics(random: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """A tone with overtones that fall off, whose pitch wavers, swelling and dying in notes."""
    seconds = np.arange(count) / rate
    pitch = 55 * 2 ** random.uniform(0, 4.5)
    waver = random.uniform(0, 0.02) * np.sin(2 * np.pi * random.uniform(3, 7) * seconds)
    turns = np.cumsum(pitch * (1 + waver)) / rate
    slope = random.uniform(0.5, 2.5)
    out = np.zeros(count)
    for overtone in range(1, min(24, int(rate / 2 / pitch)) + 1):
        out += np.sin(2 * np.pi * overtone * turns + random.uniform(0, 6.3)) / overtone**slope
    length = random.uniform(0.1, 1.0)
    since = np.mod(seconds + random.uniform(0, length), length)
    return out * np.minimum(since / 0.01, 1) * np.exp(-since * random.uniform(0, 8)) * 0.3


def chirp(random: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """A tone that glides from one pitch to another."""
    low, high = 40 * 2 ** random.uniform(0, 7.5, 2)
    pitch = low * (high / low) ** (np.arange(count) / count)
    return np.sin(2 * np.pi * np.cumsum(pitch) / rate) * 0.3


def coloured_noise(random: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """Noise with a slope and one broad peak in its spectrum, rising and falling slowly."""
    hertz = np.fft.rfftfreq(count, 1 / rate)
    centre, width = 100 * 2 ** random.uniform(0, 6.5), random.uniform(0.3, 2)
    octaves = np.log2(np.maximum(hertz, 20) / centre)
    shape = np.maximum(hertz, 20) ** -random.uniform(0, 1) * (
        random.uniform(0, 0.3) + np.exp(-((octaves / width) ** 2))
    )
    noise = np.fft.irfft(np.fft.rfft(random.standard_normal(count)) * shape, count)
    swell = 1 + random.uniform(0, 1) * np.sin(
        2 * np.pi * random.uniform(0.3, 8) * np.arange(count) / rate + random.uniform(0, 6.3)
    )
    return noise / max(1e-9, float(noise.std())) * swell * 0.1


def hits(random: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """Short bursts of noise and of a low tone, each dying away."""
    out = np.zeros(count)
    for start in random.integers(0, count, int(random.integers(1, 12))):
        seconds = np.arange(count - start) / rate
        noise = random.standard_normal(count - start) * np.exp(-seconds * random.uniform(20, 200))
        tone = np.sin(2 * np.pi * random.uniform(50, 400) * seconds) * np.exp(
            -seconds * random.uniform(5, 60)
        )
        out[start:] += 0.15 * noise + random.uniform(0, 0.5) * tone
    return out
