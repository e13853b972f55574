"""What training of `fifth-audio` minimises, and what its held-out score is: differences of spectra.

Per length of window, L1 of log magnitudes and of magnitudes (relative to the mean one), as in "Parallel
WaveGAN", arXiv 1910.11480, section 2.2; L1 of log mel spectra; and a little of the wave itself, which is what
keeps low tones in phase.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.sound_metrics import mel_bank

WINDOWS = (2048, 1024, 512, 256)
MEL_WINDOW, MEL_BANDS = 1024, 80
FLOOR = 1e-5
"""Magnitudes are taken to be at least this: what is quieter than -100 dB is silence."""
LOG_FLOOR = 1e-4
"""In logarithms, where full accuracy of what nobody hears would cost what everybody does."""
QUIET = 1e-2
"""Added to a crop's mean size, so that near silence a difference does not count beyond measure."""
QUIET_BIN = 3e-4
"""The same for the mean magnitude of its spectrum."""
MEL_WEIGHT, WAVE_WEIGHT, LINEAR_WEIGHT = 2.0, 0.1, 0.5


def spectrum(samples: Tensor, window: int) -> Tensor:
    """Return magnitudes [B, frames, window / 2 + 1] of samples [B, N]: a full-scale sine is 0.5."""
    shape = torch.hann_window(window, dtype=samples.dtype, device=samples.device)
    frames = samples.unfold(1, window, window // 4) * shape
    parts = torch.view_as_real(torch.fft.rfft(frames)) * (2 / window)
    return parts.square().sum(-1).add(FLOOR**2).sqrt()


def sound_loss(made: Tensor, wanted: Tensor, rate: int) -> Tensor:
    """Return one number: how far samples [B, N] are from the wanted ones."""
    total = made.new_zeros(())
    for window in WINDOWS:
        ours, theirs = spectrum(made, window), spectrum(wanted, window)
        total = total + _log_difference(ours, theirs)
        size = theirs.mean((1, 2)) + QUIET_BIN
        total = total + LINEAR_WEIGHT * ((ours - theirs).abs().mean((1, 2)) / size).mean()
        if window == MEL_WINDOW:
            bank = mel_bank(rate, window, MEL_BANDS).to(made)
            total = total + MEL_WEIGHT * _log_difference(ours @ bank, theirs @ bank)
    size = wanted.abs().mean(1) + QUIET
    return total + WAVE_WEIGHT * ((made - wanted).abs().mean(1) / size).mean()


def _log_difference(ours: Tensor, theirs: Tensor) -> Tensor:
    return ((ours + LOG_FLOOR).log() - (theirs + LOG_FLOOR).log()).abs().mean()
