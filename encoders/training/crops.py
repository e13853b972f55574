"""Crops of clips for training `fifth-video`, changed at random so that a few hours of media teach more.

Everything that is drawn for step k depends on the seed and k alone, so a run that goes on where another
stopped draws the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from encoders.training.made_pictures import made_chunk
from encoders.video_model import MODES

TIME_STEPS = ((1,) * 6, (2,) * 2, (0,) * 1, (0.5,) * 1)
"""How far apart in a clip the frames of a chunk are, and how often: mostly neighbours, sometimes every other
one, each one twice, or one alone (a still)."""
SHRUNK_SHARE = 0.3
"""Crops that are taken at twice the size and shrunk: finer detail than the clips have."""
RECOLOURED_SHARE = 0.5
MADE_SHARE = 0.04
"""Crops that are of no recording."""


@dataclass(frozen=True)
class Crops:
    """Draws batches from clips that are held in memory."""

    clips: Sequence[Tensor]
    """uint8 [T, 3, H, W] each, of any length from 1; H and W at least `edge`."""
    edge: int
    """Height and width of a crop, in pixels."""
    batch: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.clips:
            raise ValueError("there are no clips to train on")
        small = [tuple(clip.shape) for clip in self.clips if min(clip.shape[-2:]) < self.edge]
        if small:
            raise ValueError(f"clips must have at least {self.edge} pixels each way, got {small[0]}")

    def at(self, step: int) -> Tensor:
        """Return the batch of a step: float32 [B, 8, 3, edge, edge] in [-1, 1]."""
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return torch.stack([self._crop(random) for _ in range(self.batch)])

    def _crop(self, random: torch.Generator) -> Tensor:
        if _share(random) < MADE_SHARE:
            return made_chunk(MODES["video"], self.edge, random)
        clip = self.clips[_below(len(self.clips), random)]
        frames = clip[self._moments(len(clip), random)]
        frames = self._place(frames, random).to(torch.float32) / 127.5 - 1
        for axis in (-1, -2):
            if axis == -1 or _share(random) < 0.2:
                frames = frames.flip(axis) if _share(random) < 0.5 else frames
        if _share(random) < RECOLOURED_SHARE:
            frames = recoloured(frames, random)
        return frames.contiguous()

    def _moments(self, length: int, random: torch.Generator) -> Tensor:
        kinds = [step for group in TIME_STEPS for step in group]
        moments = (torch.arange(MODES["video"]) * kinds[_below(len(kinds), random)]).to(torch.int64)
        moments = moments + _below(max(1, length - int(moments[-1])), random)
        if _share(random) < 0.5:
            moments = moments.flip(0)
        return moments.clamp(max=length - 1)

    def _place(self, frames: Tensor, random: torch.Generator) -> Tensor:
        height, width = frames.shape[-2:]
        edge = self.edge
        shrinks = _share(random) < SHRUNK_SHARE and min(height, width) >= 2 * edge
        edge = 2 * edge if shrinks else edge
        top, left = _below(height - edge + 1, random), _below(width - edge + 1, random)
        cut = frames[..., top : top + edge, left : left + edge]
        return functional.avg_pool2d(cut.to(torch.float32), 2) if shrinks else cut


def recoloured(frames: Tensor, random: torch.Generator) -> Tensor:
    """Return frames [T, 3, H, W] in [-1, 1] with another brightness, contrast and saturation."""
    contrast = 0.6 + 0.7 * _share(random)
    brightness = 0.3 * (_share(random) - 0.5)
    saturation = 1.4 * _share(random)
    grey = frames.mean(1, keepdim=True)
    return ((grey + (frames - grey) * saturation) * contrast + brightness).clamp(-1, 1)


def _share(random: torch.Generator) -> float:
    return float(torch.rand((), generator=random))


def _below(stop: int, random: torch.Generator) -> int:
    return int(torch.randint(stop, (), generator=random))
