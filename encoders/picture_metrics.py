"""How alike two pictures are: PSNR, SSIM, MS-SSIM. With gradients, so that they serve as losses, too."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

BEST_DB = 100.0
"""What a frame that comes back exactly counts as."""
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(one: Tensor, other: Tensor, peak: float = 255.0) -> Tensor:
    """Return the peak signal-to-noise ratio of each picture in dB, at most 100.

    Args:
        one: [..., 3, H, W].
        other: of the same shape.
        peak: the difference of the largest and the smallest value.
    """
    error = (one.to(torch.float64) - other.to(torch.float64)).square().flatten(-3).mean(-1)
    return (20 * torch.log10(torch.tensor(peak)) - 10 * torch.log10(error)).clamp(max=BEST_DB)


def ssim(one: Tensor, other: Tensor, peak: float = 255.0) -> Tensor:
    """Return the structural similarity of each picture: the mean over colours and places.

    Gaussian window of 11 pixels (sigma 1.5), no padding, as in Z. Wang et al., IEEE Trans. Image Process. 13
    (2004), 600.

    Args:
        one: float [N, C, H, W], H and W at least 11.
        other: of the same shape.
        peak: the difference of the largest and the smallest value.
    """
    return _similarity(one, other, peak)[0].flatten(1).mean(1)


def ms_ssim(one: Tensor, other: Tensor, peak: float = 255.0) -> Tensor:
    """Return the multi-scale structural similarity of each picture [N], over up to 5 scales.

    As in Z. Wang et al., Asilomar 2003. Pictures under 176 pixels take part at as many scales as fit (11
    pixels each); the exponents of those are scaled to the same sum.
    """
    count = scale_count(min(one.shape[-2:]))
    weights = SCALE_WEIGHTS[:count]
    total = sum(weights)
    result = torch.ones(len(one), dtype=one.dtype, device=one.device)
    for scale, weight in enumerate(weights):
        whole, contrast = _similarity(one, other, peak)
        last = scale == count - 1
        mean = (whole if last else contrast).flatten(1).mean(1).clamp(min=1e-6)
        result = result * mean ** (weight / total)
        if not last:
            one, other = functional.avg_pool2d(one, 2), functional.avg_pool2d(other, 2)
    return result


def scale_count(edge: int) -> int:
    """Return how many scales a picture with this shorter edge takes part at.

    >>> scale_count(256), scale_count(175), scale_count(11)
    (5, 4, 1)
    """
    return min(len(SCALE_WEIGHTS), max(1, (edge // WINDOW).bit_length()))


def _similarity(one: Tensor, other: Tensor, peak: float) -> tuple[Tensor, Tensor]:
    """Return the similarity and its part without brightness, at each place where the window fits."""
    channels = one.shape[1]
    maps = torch.cat([one, other, one * one, other * other, one * other], dim=1)
    window = _window(one.dtype, one.device)
    for shape in ((1, 1, 1, WINDOW), (1, 1, WINDOW, 1)):
        maps = functional.conv2d(
            maps, window.reshape(shape).expand(maps.shape[1], -1, -1, -1), groups=maps.shape[1]
        )
    mean_one, mean_other, square_one, square_other, product = torch.split(maps, channels, dim=1)
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    means = mean_one * mean_other
    squares = mean_one.square() + mean_other.square()
    contrast = (2 * (product - means) + c2) / (square_one + square_other - squares + c2)
    return (2 * means + c1) / (squares + c1) * contrast, contrast


@cache
def _window(dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # made while measuring, it is still good for a loss
        places = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
        window = torch.exp(-places.square() / (2 * SIGMA**2))
        return (window / window.sum()).to(device, dtype)
