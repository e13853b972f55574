"""Fitting `Seams`: for each class the least squares from features across a seam to what pixels lack."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from encoders.moving_blocks import BLOCK
from encoders.seams import DIRECTIONS, FEATURES, KINDS, REACH, Seams, mended_columns, planes_of, sides

PRIOR = 0.02
"""Share of all classes' squares in those of one, so that rare classes learn from all."""
RIDGE = 1e-3
FIRST_NOISE = 30.0
"""Mean squared error of a block that every class is taken to have had."""


def fit_seams(examples: Iterable[tuple[Tensor, Tensor, Tensor]], classes: int) -> Seams:
    """Fit to pictures and what they came from.

    Args:
        examples: pictures as decoded and the originals, float32 [B, F, 3, H, W], and their blocks' classes
            int64 [B, H/16, W/16]. All are held.
        classes: how many there are.
    """
    held = [(planes_of(found), planes_of(wanted), numbers) for found, wanted, numbers in examples]
    noise = _noise(held, classes)
    weights = torch.zeros(DIRECTIONS, KINDS, classes, FEATURES, REACH)
    for direction in range(DIRECTIONS):
        weights[direction] = _weights(held, noise, classes)
        held = [
            (mended_columns(found, numbers, noise, weights[direction]).mT, wanted.mT, numbers.mT)
            for found, wanted, numbers in held
        ]
    return Seams(weights, noise)


def _noise(held: list[tuple[Tensor, Tensor, Tensor]], classes: int) -> Tensor:
    errors, counts = torch.full((classes,), FIRST_NOISE), torch.ones(classes)
    for found, wanted, numbers in held:
        batch, height, width = numbers.shape
        split = (batch, -1, height, BLOCK, width, BLOCK)
        squares = (found - wanted).square().reshape(split).mean((1, 3, 5))
        errors.index_add_(0, numbers.flatten(), squares.flatten())
        counts.index_add_(0, numbers.flatten(), torch.ones(numbers.numel()))
    return errors / counts


def _weights(held: list[tuple[Tensor, Tensor, Tensor]], noise: Tensor, classes: int) -> Tensor:
    """Return float32 [2 kinds, K, 8, 8] for the seams between columns."""
    squares = torch.zeros(KINDS, classes, FEATURES, FEATURES, dtype=torch.float64)
    products = torch.zeros(KINDS, classes, FEATURES, REACH, dtype=torch.float64)
    for found, wanted, numbers in held:
        pairs = zip(sides(found, numbers, noise), sides(wanted, numbers, noise), strict=True)
        for side, true in pairs:
            features = side.features()[:, :, side.inner].flatten(0, 2).flatten(2, 3)
            lacking = (true.own - side.own)[:, :, side.inner, ..., :REACH].flatten(0, 2).flatten(2, 3)
            told = numbers[:, :, side.inner].flatten()
            for total, other in ((squares, features), (products, lacking)):
                sums = torch.einsum("nplf,nplg->npfg", features, other).to(torch.float64)
                total[0].index_add_(0, told, sums[:, 0])
                total[1].index_add_(0, told, sums[:, 1:].sum(1))
    return _solved(squares, products).to(torch.float32)


def _solved(squares: Tensor, products: Tensor) -> Tensor:
    """Solve for each class; what it has seen little of is as in all of them together."""
    overall = squares.sum(1, keepdim=True)
    usual = torch.linalg.solve(_ridged(overall), products.sum(1, keepdim=True))
    strength = _trace(squares).clamp(min=1.0) / _trace(overall).clamp(min=1.0)
    prior = PRIOR * strength[..., None, None] * overall
    found: Tensor = torch.linalg.solve(_ridged(squares + prior), products + prior @ usual)
    return found


def _ridged(squares: Tensor) -> Tensor:
    size = squares.shape[-1]
    mean = (_trace(squares) / size).clamp(min=1.0)[..., None, None]
    return squares + RIDGE * mean * torch.eye(size, dtype=squares.dtype)


def _trace(squares: Tensor) -> Tensor:
    return squares.diagonal(dim1=-2, dim2=-1).sum(-1)
