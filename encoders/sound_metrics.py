"""How far made sound is from the original: figures that need no trained listener.

All of samples [N] at one rate. A low-rate codec keeps spectra, not waves: `si_sdr_db` and the others then
say opposite things, and both are true.
"""

from __future__ import annotations

from functools import cache
from math import log10

import numpy as np
import torch
from torch import Tensor

WINDOW, HOP = 1024, 256
MEL_BANDS = 80
FLOOR = 1e-4
"""Added to magnitudes (a full-scale sine is 0.5): what is quieter than about -74 dB does not count."""


def magnitudes(samples: Tensor, window: int = WINDOW, hop: int = HOP) -> Tensor:
    """Return magnitudes [frames, window / 2 + 1] of samples [N], N >= window: a full-scale sine is 0.5."""
    shape = torch.hann_window(window, dtype=samples.dtype)
    spectra: Tensor = torch.fft.rfft(samples.unfold(0, window, hop) * shape)
    return spectra.abs() * (2 / window)


def log_spectral_distance_db(made: Tensor, wanted: Tensor) -> float:
    """Return the mean over frames of the root mean square over bins of the difference in dB.

    Source: A. Gray and J. Markel, IEEE Transactions on Acoustics, Speech and Signal Processing 24 (1976).
    """
    ours, theirs = (20 * (magnitudes(one) + FLOOR).log10() for one in (made, wanted))
    return float((ours - theirs).square().mean(1).sqrt().mean())


def mel_distance(made: Tensor, wanted: Tensor, rate: int) -> float:
    """Return the mean difference in size of natural logarithms of 80 mel bands."""
    bank = mel_bank(rate, WINDOW, MEL_BANDS).to(made)
    ours, theirs = ((magnitudes(one) @ bank + FLOOR).log() for one in (made, wanted))
    return float((ours - theirs).abs().mean())


def si_sdr_db(made: Tensor, wanted: Tensor) -> float:
    """Return the scale-invariant signal to distortion ratio, at least -50 and at most 100 dB.

    Source: J. Le Roux et al., arXiv 1811.02508, section 2.
    """
    made, wanted = made.to(torch.float64), wanted.to(torch.float64)
    power = float(wanted.square().sum())
    if power == 0:
        return 0.0
    target = wanted * (float((made * wanted).sum()) / power)
    clean, error = float(target.square().sum()), float((made - target).square().sum())
    if clean == 0:
        return -50.0
    return max(-50.0, min(100.0, 10 * log10(clean / error))) if error else 100.0


def resampled(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Return float32 samples [N] at another rate, by their frequencies: as good as a whole track allows."""
    if rate == to or not len(samples):
        return samples.astype(np.float32)
    count = len(samples) * to // rate
    spectrum = np.fft.rfft(samples.astype(np.float64))
    kept = np.zeros(count // 2 + 1, np.complex128)
    both = min(len(spectrum), len(kept))
    kept[:both] = spectrum[:both]
    made: np.ndarray = np.fft.irfft(kept, count) * (count / len(samples))
    return made.astype(np.float32)


@cache
def mel_bank(rate: int, window: int, bands: int) -> Tensor:
    """Return float32 [window / 2 + 1, bands]: triangles, evenly spaced on the mel scale, each summing to 1.

    mel = 2595 log10(1 + hertz / 700) (O'Shaughnessy, Speech Communication, 1987).
    """
    hertz = np.linspace(0, rate / 2, window // 2 + 1)
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (hertz[:, None] - low) / (centre - low)
    falling = (high - hertz[:, None]) / (high - centre)
    bank = np.maximum(0, np.minimum(rising, falling))
    nearest = np.abs(hertz[:, None] - centre).argmin(0)
    bank[nearest, np.arange(bands)] = np.maximum(bank[nearest, np.arange(bands)], 1e-3)
    return torch.from_numpy((bank / bank.sum(0)).astype(np.float32))
