"""What training `fifth-video` makes small. No pretrained network is part of it."""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.haar import GROUP_FRAMES, forward_haar
from encoders.picture_metrics import ssim

FLOOR = (8 / 127.5) ** 2
"""Squared error under which less is hardly better: 8 steps of 8 bits. A choice, not a measurement: a lower
one gives flat crops more of the gradient."""
SSIM_WEIGHT = 0.1
BANDS_WEIGHT = 0.05
LIKENESS_FIRST = 1
"""Likeness is the dearest part: it is taken of one frame of each group, this one."""


def picture_loss(wanted: Tensor, found: Tensor) -> Tensor:
    """Return one number for a batch: logarithm of the squared error, likeness, and sharpness.

    The logarithm is taken per crop, as decibels are, so that a dark, still crop counts as much as a busy one.

    Args:
        wanted: float32 [B, T, 3, H, W] in [-1, 1].
        found: of the same shape.
    """
    error = (found - wanted).square().flatten(1).mean(1)
    some = slice(LIKENESS_FIRST, None, GROUP_FRAMES)
    likeness = ssim(found[:, some].flatten(0, 1), wanted[:, some].flatten(0, 1), peak=2.0).mean()
    # Sharpness: details of each cell shall be as strong as they were, where they can't be in their place.
    bands_found, bands_wanted = (forward_haar(part)[..., 1:] for part in (found, wanted))
    bands = (bands_found - bands_wanted).abs().mean() / bands_wanted.abs().mean().clamp(min=1e-3)
    return torch.log(error + FLOOR).mean() / 2 + SSIM_WEIGHT * (1 - likeness) + BANDS_WEIGHT * bands
