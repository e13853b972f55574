"""How the table in `block_classes.py` was made; run it on your own frames to make another.

Blocks of pictures are of many kinds: flat, edges this way or that, texture, text. Each class is a set of
variances, one for each coefficient; a block belongs to the class under which its coefficients are most
likely, taken as independent and normal. Classes and memberships are improved in turn until they agree
(k-means with this measure), from a start that orders the blocks by energy.

The table in use was fitted to 134 frames of 26 clips: film, animation, phones, driving, screens, test cards.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from encoders.block_classes import AC_PLACES, CLASS_COUNT, exponent_lines
from encoders.block_transform import UNIT_BITS, BlockTransform

FLOOR = 4.0
"""Added to every variance, in squared units of an orthonormal transform of 0 … 255: finer is noise."""

PRIOR = 8
"""Blocks' worth of the overall variance that each class starts from, so that small classes stay sane."""

ROUNDS = 60


def fit_block_classes(frames: Iterable[np.ndarray]) -> list[str]:
    """Return the lines of a table from RGB frames, uint8 [3, H, W] with H and W multiples of 16."""
    transform = BlockTransform(torch.device("cpu"))
    parts = [transform.coefficients(torch.from_numpy(frame)[None]).numpy() for frame in frames]
    squares = (np.concatenate(parts)[:, list(AC_PLACES)] / (1 << UNIT_BITS)) ** 2
    variances = _classes(squares)
    exponents = np.rint(2 * np.log2(variances)).astype(int)
    order = np.argsort(exponents.sum(1), kind="stable")
    return exponent_lines(exponents[order])


def _classes(squares: np.ndarray) -> np.ndarray:
    by_energy = np.argsort(squares.sum(1), kind="stable")
    members = np.empty(len(squares), np.int64)
    members[by_energy] = np.arange(len(squares)) * CLASS_COUNT // len(squares)
    overall = squares.mean(0)
    variances = np.empty((CLASS_COUNT, squares.shape[1]))
    for _ in range(ROUNDS):
        for index in range(CLASS_COUNT):
            own = squares[members == index]
            # A class's own mean bounds what the prior adds: a flat class must stay flat.
            prior = np.minimum(overall, own.mean(0)) if len(own) else overall
            variances[index] = (own.sum(0) + PRIOR * prior) / (len(own) + PRIOR) + FLOOR
        cost = squares @ (1 / variances).T + np.log(variances).sum(1)
        nearest = cost.argmin(1)
        if (nearest == members).all():
            break
        members = nearest
    return variances
