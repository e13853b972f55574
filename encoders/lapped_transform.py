"""The integer transform of `sound-mdct`: closed chunks of sound to overlapping spectra, exact everywhere.

    |<------------------ chunk: 50 steps of 320 samples ------------------>|
    |[ step 0 ]                                                            |
    |       [    step 1    ]              windows overlap inside the chunk,
    |                [    step 2    ]     so that no step's border is heard;
    |                                          ...        [    step 49    ]|

It is the MDCT with a sine window. At the chunk's two ends the window is straight, so that a chunk can be
decoded without its neighbours; everywhere the transform is orthogonal and inverts exactly. Samples are
16-bit whole numbers and the matrices are rounded to units of 2^-14, so every sum stays below
2^15 * 2^14 * 640 < 2^39 and float64 holds it exactly, in whatever order a device adds.

Source: J. P. Princen, A. W. Johnson and A. B. Bradley, ICASSP 1987, 2161; switching windows, B. Edler,
Frequenz 43 (1989), 252.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

STEP = 320
"""Samples of one step: 20 ms at 16 kHz. As many coefficients, 25 Hz apart."""
STEPS_PER_CHUNK = 50
CHUNK = STEP * STEPS_PER_CHUNK
UNIT_BITS = 14
"""A coefficient of 1 in an orthonormal transform is 2^14."""


@cache
def basis_values() -> np.ndarray:
    """Return float64 [3, 640, 320]: windowed cosines of a chunk's first, inner and last steps."""
    n, k = np.arange(2 * STEP)[:, None], np.arange(STEP)[None, :]
    # Whole numbers of 1/4M turns are reduced first, so that the cosine's argument is small and precise.
    turns = ((2 * n + 1 + STEP) * (2 * k + 1)) % (8 * STEP)
    cosines = np.sqrt(2 / STEP) * np.cos(turns * (2 * np.pi / (8 * STEP)))
    rising = np.sin(np.pi * (np.arange(STEP) + 0.5) / (2 * STEP))
    straight = (np.arange(STEP) >= STEP // 2).astype(np.float64)
    windows = (
        np.concatenate([straight, rising[::-1]]),
        np.concatenate([rising, rising[::-1]]),
        np.concatenate([rising, straight[::-1]]),
    )
    return np.stack([window[:, None] * cosines for window in windows])


@cache
def integer_basis() -> np.ndarray:
    """Return int64 [3, 640, 320]. No entry is close to a tie, so every machine rounds it alike."""
    basis: np.ndarray = np.rint(basis_values() * (1 << UNIT_BITS)).astype(np.int64)
    return basis


class LappedTransform:
    """The transform's tables on one device."""

    def __init__(self, device: torch.device) -> None:
        self._analysis = torch.from_numpy(integer_basis()).to(device, torch.float64)
        self._synthesis = torch.from_numpy(basis_values()).to(device).transpose(1, 2).contiguous()

    def coefficients(self, samples: Tensor) -> Tensor:
        """Turn float64 whole numbers [B, 16000] into [B, 50, 320], in units of 2^-14."""
        windows = torch.nn.functional.pad(samples, (STEP // 2, STEP // 2)).unfold(1, 2 * STEP, STEP)
        return _by_place(windows, self._analysis)

    def samples(self, coefficients: Tensor) -> Tensor:
        """Turn float64 coefficients [B, 50, 320], in units of 1, into samples [B, 16000]."""
        windows = _by_place(coefficients, self._synthesis)
        # Window i covers the halves 2i … 2i + 3 of steps, counted from half a step before the chunk.
        halves = windows.reshape(-1, STEPS_PER_CHUNK, 2, STEP)
        steps = torch.nn.functional.pad(halves[:, :, 0], (0, 0, 0, 1))
        steps[:, 1:] += halves[:, :, 1]
        return steps.flatten(1)[:, STEP // 2 : -STEP // 2]


def _by_place(rows: Tensor, matrices: Tensor) -> Tensor:
    first, inner, last = matrices
    parts = (rows[:, :1] @ first, rows[:, 1:-1] @ inner, rows[:, -1:] @ last)
    return torch.cat(parts, dim=1)
