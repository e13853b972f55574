"""Which stretches of sound a step of training sees: a function of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encoders.training.made_sound import made_sound

MADE_SHARE = 0.12
"""Of the rows, how many are made sounds."""
MIXED_SHARE = 0.15
"""Of the recorded rows, how many have a second recording over them."""
STARTING_SHARE = 0.15
"""Of all rows, how many begin like a clip: with silence as the context."""
SPEEDS = (0.8, 1.25)
GAIN_DB = (-24.0, 6.0)
"""Around a peak of 1/2."""
LEAST_PEAK = 0.003


@dataclass(frozen=True)
class SoundCrops:
    """Draws batches from recordings.

    Recordings are drawn by the square root of their length, so that a long one does not drown the short.
    """

    recordings: Mapping[str, np.ndarray]
    """float32 [N] mono, by name."""
    rate: int
    context: int
    """Samples before each crop."""
    length: int
    """Samples of a crop."""
    batch: int
    seed: int

    def __post_init__(self) -> None:
        if not self.recordings:
            raise ValueError("there is no sound to train on")

    def at(self, step: int) -> Tensor:
        """Return float32 [batch, context + length] for a step."""
        random = np.random.default_rng((self.seed, step))
        return torch.from_numpy(np.stack([self._row(random) for _ in range(self.batch)]))

    def _row(self, random: np.random.Generator) -> np.ndarray:
        count = self.context + self.length
        if random.random() < MADE_SHARE:
            row = made_sound(random, count, self.rate)
        else:
            row = self._recorded(random, count)
            if random.random() < MIXED_SHARE:
                row = row + self._recorded(random, count) * np.float32(random.uniform(0.1, 1))
        peak = max(float(np.abs(row).max()), LEAST_PEAK)
        gain = 10 ** (random.uniform(*GAIN_DB) / 20) * 0.5 / peak
        row = np.clip(row * np.float32(gain * random.choice((-1, 1))), -1, 1)
        if random.random() < STARTING_SHARE:
            row[: self.context] = 0
        return row.astype(np.float32)

    def _recorded(self, random: np.random.Generator, count: int) -> np.ndarray:
        names = sorted(self.recordings)
        weights = np.sqrt([float(len(self.recordings[name])) for name in names])
        recording = self.recordings[names[int(random.choice(len(names), p=weights / weights.sum()))]]
        speed = random.uniform(*SPEEDS) if random.random() < 0.5 else 1.0
        needed = int(count * speed) + 2
        start = int(random.integers(0, max(1, len(recording) - needed + 1)))
        part = recording[start : start + needed]
        part = np.pad(part, (needed - len(part), 0))
        if speed == 1.0:
            return part[:count]
        stretched = np.interp(np.arange(count) * speed, np.arange(needed), part)
        return np.asarray(stretched, np.float32)
