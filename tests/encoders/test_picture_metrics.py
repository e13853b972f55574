"""PSNR, SSIM and MS-SSIM against plain twins and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders.picture_metrics import SIGMA, WINDOW, ms_ssim, psnr, scale_count, ssim


def noisy(seed: int, edge: int = 24) -> tuple[Tensor, Tensor]:
    """Two pictures that are alike: float32 [1, 3, edge, edge], 0 to 255."""
    random = torch.Generator().manual_seed(seed)
    one = torch.rand(1, 3, edge, edge, generator=random) * 255
    return one, (one + torch.randn(one.shape, generator=random) * 20).clamp(0, 255)


def plain_ssim(one: np.ndarray, other: np.ndarray) -> float:
    """One window after the other, by the formula: the slow twin."""
    places = np.arange(WINDOW) - WINDOW // 2
    window = np.exp(-(places**2) / (2 * SIGMA**2))
    weights = np.outer(window, window) / window.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = []
    for channel in range(3):
        for y in range(one.shape[1] - WINDOW + 1):
            for x in range(one.shape[2] - WINDOW + 1):
                a = one[channel, y : y + WINDOW, x : x + WINDOW]
                b = other[channel, y : y + WINDOW, x : x + WINDOW]
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
                both = (weights * (a - mean_a) * (b - mean_b)).sum()
                found.append(
                    (2 * mean_a * mean_b + c1)
                    * (2 * both + c2)
                    / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
                )
    return float(np.mean(found))


def test_psnr_is_that_of_the_formula() -> None:
    """An error of one step everywhere is 48.13 dB; a picture that comes back exactly counts as 100 dB."""
    one = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    other = one.clone()
    other[1] += 1
    assert psnr(one, other).tolist() == pytest.approx([100.0, 48.1308], abs=1e-4)


def test_ssim_is_that_of_the_plain_twin() -> None:
    """The fast way, by convolutions, gives what window after window gives."""
    one, other = noisy(0)
    wanted = plain_ssim(one[0].to(torch.float64).numpy(), other[0].to(torch.float64).numpy())
    assert float(ssim(one, other)) == pytest.approx(wanted, abs=1e-5)


def test_equal_pictures_are_alike() -> None:
    """Both measures are 1 for equal pictures, and smaller the more noise there is."""
    one, other = noisy(1, edge=96)
    noisier = (other + 40 * torch.randn(other.shape, generator=torch.Generator().manual_seed(2))).clamp(
        0, 255
    )
    for measure in (ssim, ms_ssim):
        assert float(measure(one, one)) == pytest.approx(1.0, abs=1e-5)
        assert 1 > float(measure(one, other)) > float(measure(one, noisier)) > 0


def test_small_pictures_take_part_at_fewer_scales() -> None:
    """Five scales need 176 pixels; a scale is left out when no window fits."""
    assert [scale_count(edge) for edge in (256, 176, 175, 88, 22, 21, 11)] == [5, 5, 4, 4, 2, 1, 1]
