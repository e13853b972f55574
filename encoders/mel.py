"""Mel filter banks and log-mel spectrograms, as Whisper and as Kaldi define them.

Sources: Slaney's mel scale and area normalisation, as librosa's `filters.mel` (used by Whisper, arXiv
2212.04356, section 2.2); Kaldi's `feature-fbank` with HTK's mel scale, as w2v-BERT takes it.
"""

from __future__ import annotations

from functools import cache
from math import log

import numpy as np
import torch
from torch import Tensor

RATE = 16_000
WINDOW, HOP = 400, 160
"""25 ms every 10 ms at 16 kHz."""
QUIETEST = 1e-10
_LINEAR_HZ, _LOG_FROM_HZ, _LOG_STEP = 200 / 3, 1000.0, log(6.4) / 27
_KALDI_FFT, _KALDI_LOWEST_HZ = 512, 20.0


@cache
def slaney_filters(bands: int) -> np.ndarray:
    """Return triangular filters of equal area, float64 [bands, 201], for 16 kHz and windows of 400."""
    edges_hz = _slaney_hz(np.linspace(0.0, _slaney_mel(RATE / 2), bands + 2))
    bins_hz = np.fft.rfftfreq(WINDOW, 1 / RATE)
    return np.asarray(_triangles(edges_hz, bins_hz) * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None])


@cache
def kaldi_filters(bands: int) -> np.ndarray:
    """Return Kaldi's filters, triangles on the mel scale, float64 [bands, 257], for windows padded to 512."""
    bins_mel = _htk_mel(np.arange(_KALDI_FFT // 2 + 1) * RATE / _KALDI_FFT)
    edges = np.linspace(_htk_mel(_KALDI_LOWEST_HZ), _htk_mel(RATE / 2), bands + 2)
    return _triangles(edges, bins_mel)


def _slaney_mel(hz: float) -> float:
    return (
        hz / _LINEAR_HZ
        if hz < _LOG_FROM_HZ
        else _LOG_FROM_HZ / _LINEAR_HZ + log(hz / _LOG_FROM_HZ) / _LOG_STEP
    )


def _slaney_hz(mels: np.ndarray) -> np.ndarray:
    corner = _LOG_FROM_HZ / _LINEAR_HZ
    above = _LOG_FROM_HZ * np.exp(_LOG_STEP * (np.maximum(mels, corner) - corner))
    return np.where(mels < corner, mels * _LINEAR_HZ, above)


def _htk_mel(hz: np.ndarray | float) -> np.ndarray:
    return np.asarray(1127.0 * np.log1p(np.asarray(hz) / 700.0))


def _triangles(edges: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Return triangles with height 1 that rise and fall between neighbouring edges, [bands, bins]."""
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


def mel_power(windows: Tensor, bands: int) -> Tensor:
    """Return the power in each mel band, float32 [..., bands], of windows [..., 400]."""
    shape = torch.hann_window(WINDOW, device=windows.device)
    power: Tensor = torch.fft.rfft(windows * shape).abs().square()
    filters = torch.from_numpy(slaney_filters(bands)).to(power.device, torch.float32)
    return power @ filters.T


def whisper_mel(samples: Tensor, bands: int) -> Tensor:
    """Return what Whisper takes, float32 [B, bands, N / 160], of samples [B, N].

    Windows are centred on every 160th sample, the sound is mirrored at its ends; the logarithm is cut off
    8 below the loudest of the row, and brought to about -1 … 1.
    """
    half = WINDOW // 2
    padded = torch.nn.functional.pad(samples[:, None], (half, half), mode="reflect")[:, 0]
    windows = padded.unfold(1, WINDOW, HOP)[:, : samples.shape[1] // HOP]
    logs = mel_power(windows, bands).clamp_(min=QUIETEST).log10_()
    loudest = logs.flatten(1).amax(1)[:, None, None]
    return torch.maximum(logs, loudest - 8).add_(4).div_(4).transpose(1, 2)


def kaldi_mel(samples: Tensor, bands: int) -> Tensor:
    """Return Kaldi's log-mel filter bank, float32 [B, T, bands], of samples [B, N] in [-1, 1].

    Windows of 400 that lie wholly within: no mean, pre-emphasis 0.97, Povey's window (Hann to the power
    0.85), padded to 512.
    """
    windows = (samples * 2**15).unfold(1, WINDOW, HOP)
    windows = windows - windows.mean(-1, keepdim=True)
    before = torch.cat([windows[..., :1], windows[..., :-1]], -1)
    shape = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64, device=samples.device) ** 0.85
    shaped = (windows - 0.97 * before) * shape.to(torch.float32)
    power: Tensor = torch.fft.rfft(shaped, n=_KALDI_FFT).abs().square()
    filters = torch.from_numpy(kaldi_filters(bands)).to(power.device, torch.float32)
    return (power @ filters.T).clamp_(min=float(np.finfo(np.float32).eps)).log_()
