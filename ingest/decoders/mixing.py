"""Mixing any number of channels to one or two, so that nothing grows louder than it can be.

The shares are those of ITU-R BS.775-3, annex 4, which FFmpeg uses too: what stands on one side goes to
that side, the centre to both, surround channels at -3 dB, the bass channel not at all. They are scaled
so that the shares of one output channel add up to 1: the mean of two channels, not their sum at -3 dB.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

HALF_POWER = sqrt(0.5)
_FRONT = {"FL": (1.0, 0.0), "FR": (0.0, 1.0), "FC": (HALF_POWER, HALF_POWER)}
_WIDE = {
    "FLC": (1.0, 0.0),
    "FRC": (0.0, 1.0),
    "DL": (1.0, 0.0),
    "DR": (0.0, 1.0),
    "WL": (1.0, 0.0),
    "WR": (0.0, 1.0),
}
_SHARES = {**_FRONT, **_WIDE, "LFE": (0.0, 0.0), "LFE2": (0.0, 0.0), "AMBI0": (HALF_POWER, HALF_POWER)}
"""Left and right share of a channel, by FFmpeg's name for it."""


def mixing_matrix(channels: Sequence[str], to_channels: int) -> np.ndarray:
    """Return float32 [to_channels, C]: the share of each channel in each output channel.

    Args:
        channels: FFmpeg's name of each channel (`FL`, `SR`, `LFE` …). Where none is known, all count
            alike: mono is their mean, stereo the means of every second one.
        to_channels: 1 or 2.
    """
    shares = np.array([_share(name, place) for place, name in enumerate(channels)], np.float64).T
    if not shares.any():
        shares = np.ones((2, len(channels)))
    matrix = shares.sum(axis=0, keepdims=True) if to_channels == 1 else shares
    return np.asarray(matrix / matrix.sum(axis=1).max(), np.float32)


def mixed(samples: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return float32 [C', N] of float32 [C, N], bit for bit the same however the sound is cut.

    Channels are added one after the other: a matrix product may add them in any order.
    """
    total = np.zeros((len(matrix), samples.shape[1]), np.float32)
    for shares, channel in zip(matrix.T, samples, strict=True):
        total += shares[:, None] * channel
    return total


def _share(name: str, place: int) -> tuple[float, float]:
    if name in _SHARES:
        return _SHARES[name]
    if name.startswith("AMBI"):
        return 0.0, 0.0  # directions of a sound field; AMBI0 holds all of its sound
    if name.endswith("L"):
        return HALF_POWER, 0.0
    if name.endswith("R"):
        return 0.0, HALF_POWER
    if name.endswith("C"):
        return 0.5, 0.5
    return (1.0, 0.0) if place % 2 == 0 else (0.0, 1.0)
