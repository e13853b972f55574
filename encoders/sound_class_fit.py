"""How the table in `sound_classes.py` was made; run it on your own sound to make another.

As in `block_class_fit`: classes of variances, each spectrum in the one under which it is likeliest. The start
is k-means on the logarithms of the bands, from spectra spread evenly over the loudness of the treble.

The table in use was fitted to 172 s of 16 recordings (speech, music, film, phones) and to `made_sounds`,
without which a whistle would find no class.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import torch

from encoders.lapped_transform import CHUNK, STEP, UNIT_BITS, LappedTransform
from encoders.sound_classes import BAND_COUNT, BAND_EDGES, BAND_WIDTHS, CLASS_COUNT, ZERO, exponent_lines

RATE = 16_000
QUIETEST = 3.0
"""Steps whose root mean square is below this, of 32767, teach nothing."""
FLOOR = 2.0**-14
PRIOR = 4
ROUNDS = 40


def fit_sound_classes(clips: Iterable[np.ndarray]) -> list[str]:
    """Return the lines of a table from 16 kHz mono clips, float32 [N] in [-1, 1]."""
    bands = np.concatenate([_bands(clip) for clip in clips])
    variances = _classes(bands, _start(np.log(bands + 1e-6)))
    exponents = np.rint(2 * np.log2(variances)).astype(int) + ZERO
    order = np.lexsort(exponents.T[::-1])
    return exponent_lines(exponents[order])


def made_sounds(steps: int = 20) -> list[np.ndarray]:
    """Return what recordings seldom hold alone: tones and pairs of tones, noise, clicks."""
    random = np.random.default_rng(1)
    time = np.arange(STEP * steps) / RATE
    spans = list(pairwise(BAND_EDGES))
    sounds = []
    for noise in (0.0003, 0.003):
        for low, high in spans:
            pitch = 25 * random.uniform(max(low, 0.8), min(high, STEP - 4))
            sounds.append(0.3 * np.sin(2 * np.pi * pitch * time) + noise * random.standard_normal(len(time)))
    for _ in range(len(spans)):
        pitches = 25 * np.exp(random.uniform(np.log(4), np.log(STEP - 4), 2))
        sounds.append(0.2 * np.sin(2 * np.pi * pitches[:, None] * time).sum(0))
    white = 0.1 * random.standard_normal(STEP * 100)
    clicks = np.zeros(STEP * 100)
    clicks[random.integers(0, len(clicks), 100)] = 0.8
    return [*sounds, white, (white + np.roll(white, 1)) / 2, clicks]


def _bands(clip: np.ndarray) -> np.ndarray:
    """Return the mean squares in each band of all steps that are loud enough, [steps, bands]."""
    samples = np.rint(np.clip(clip.astype(np.float64), -1, 1) * 32767)
    samples = np.pad(samples, (0, -len(samples) % CHUNK)).reshape(-1, CHUNK)
    transform = LappedTransform(torch.device("cpu"))
    spectra = transform.coefficients(torch.from_numpy(samples)).numpy().reshape(-1, STEP) / (1 << UNIT_BITS)
    power = (spectra**2).mean(1, keepdims=True)
    loud = power[:, 0] > QUIETEST**2
    squares = spectra[loud] ** 2 / power[loud]
    bands: np.ndarray = np.add.reduceat(squares, BAND_EDGES[:-1], axis=1) / BAND_WIDTHS
    return bands


def _start(logs: np.ndarray) -> np.ndarray:
    by_treble = np.argsort(logs[:, BAND_COUNT // 2 :].mean(1), kind="stable")
    centres = logs[by_treble[(np.arange(CLASS_COUNT) * 2 + 1) * len(logs) // (2 * CLASS_COUNT)]]
    members = np.zeros(len(logs), np.int64)
    for _ in range(ROUNDS):
        members = ((centres**2).sum(1) - 2 * logs @ centres.T).argmin(1)
        for index in np.unique(members):
            centres[index] = logs[members == index].mean(0)
    return members


def _classes(bands: np.ndarray, members: np.ndarray) -> np.ndarray:
    overall = bands.mean(0)
    variances = np.empty((CLASS_COUNT, BAND_COUNT))
    for _ in range(ROUNDS):
        for index in range(CLASS_COUNT):
            own = bands[members == index]
            prior = own.mean(0) if len(own) else overall
            variances[index] = (own.sum(0) + PRIOR * prior) / (len(own) + PRIOR) + FLOOR
        cost = (bands * BAND_WIDTHS) @ (1 / variances).T + (np.log(variances) * BAND_WIDTHS).sum(1)
        nearest = cost.argmin(1)
        if (nearest == members).all():
            break
        members = nearest
    return variances
