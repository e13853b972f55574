"""Made media for the encoders: seeded, the same on every machine, with content of every kind."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from encoders import Encoder, Medium

HEIGHT, WIDTH = 48, 64


def pictures(frames: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """A colour gradient that moves, with a patch of texture and a hard edge: uint8 [T, 3, H, W]."""
    y, x = np.mgrid[0:height, 0:width]
    texture = np.random.default_rng(7).integers(-40, 40, (height // 2, width // 2))
    clip = np.empty((frames, 3, height, width), np.int64)
    for index in range(frames):
        moved = x + 3 * index
        clip[index] = np.stack([moved * 2 % 256, y * 5 % 256, (moved + y) % 256])
        clip[index, :, : height // 2, : width // 2] = 128 + texture
        clip[index, :, height // 2 :, width // 2] = 250
    return torch.from_numpy(clip.clip(0, 255).astype(np.uint8))


def sound(samples: int, rate: int = 16_000) -> Tensor:
    """A chirp from 100 Hz up by 1 kHz a second, over a little noise: float32 [1, N], whole 1/32768ths."""
    n = np.arange(samples)
    chirp = 0.5 * np.sin(2 * np.pi * (100 * n / rate + 500 * (n / rate) ** 2))
    noise = np.random.default_rng(5).integers(-300, 300, samples) / 32768
    return torch.from_numpy((np.rint((chirp + noise) * 32768) / 32768).astype(np.float32)[None])


def signal(rows: int, seed: int = 3) -> Tensor:
    """Columns: a random walk, a constant, a switch, a walk with gaps: float32 [T, 4]."""
    random = np.random.default_rng(seed)
    walk = np.cumsum(random.integers(-100, 101, (rows, 2)), axis=0) / 64
    values = np.stack([walk[:, 0], np.full(rows, 2.5), random.integers(0, 3, rows), walk[:, 1]], axis=1)
    values[random.random(rows) < 0.1, 3] = np.nan
    return torch.from_numpy(values.astype(np.float32))


MAKERS = {"pictures": pictures, "sound": sound, "signal": signal}


def clip_for(encoder: Encoder, length: int) -> Tensor:
    """Return a made clip of this many frames, samples or rows."""
    medium: Medium = encoder.spec.input.medium
    return MAKERS[medium](length)


def noise_like(batch: Tensor, seed: int) -> Tensor:
    """Return noise that this batch could have been."""
    random = torch.Generator().manual_seed(seed)
    if batch.dtype == torch.uint8:
        return torch.randint(0, 256, batch.shape, dtype=torch.uint8, generator=random)
    return torch.rand(batch.shape, generator=random) * 2 - 1
